"""The account that a key opens, and the events in it."""

from collections.abc import Mapping
from typing import Final

import attrs

from billing_core.errors import GatewayPermissionError
from billing_stripe.client import Json, StripeClient

_CATALOG_EVENTS: Final = ("product.created", "product.updated", "price.created", "price.updated")
"""Events that set-up causes. They belong to no tenant."""


@attrs.frozen(kw_only=True)
class StripeAccount:
    """An account, as a person recognizes it."""

    account_id: str
    name: str | None = None


async def find_account(client: StripeClient) -> StripeAccount | None:
    """Return the account; None if the key may not read it. Raises: GatewayError."""
    try:
        shown = await client.get("fetch_account")
    except GatewayPermissionError:
        return None
    return None if shown is None else StripeAccount(account_id=shown["id"], name=_name(shown))


async def find_catalog_event(client: StripeClient) -> Json | None:
    """Return the latest event about products and prices of the last 30 days; None without one. Raises: GatewayError."""
    listed = await client.get("list_events", params={"types": list(_CATALOG_EVENTS), "limit": 1})
    return next(iter((listed or {}).get("data") or ()), None)


def _name(shown: Json) -> str | None:
    for path in (("settings", "dashboard", "display_name"), ("business_profile", "name"), ("email",)):
        value: object = shown
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, str) and value:
            return value
    return None
