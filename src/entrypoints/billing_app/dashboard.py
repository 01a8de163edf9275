"""Links to objects in Stripe's dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_PAGES: Final[Mapping[str, str]] = {
    "cus_": "customers",
    "sub_": "subscriptions",
    "in_": "invoices",
    "evt_": "events",
}


def dashboard_url(object_id: str, *, livemode: bool | None, account: str | None = None) -> str | None:
    """Return the address of an object's page; None if its kind has none, or its mode is unknown.

    Args:
        object_id: as Stripe gave it, such as `cus_1`.
        livemode: whether it is an object of live mode.
        account: the account that it belongs to; without one, the page is that of the account signed in to.
    """
    page = next((page for prefix, page in _PAGES.items() if object_id.startswith(prefix)), None)
    if page is None or livemode is None or not object_id.replace("_", "").isalnum():
        return None
    parts = ("https://dashboard.stripe.com", account, None if livemode else "test", page, object_id)
    return "/".join(part for part in parts if part)
