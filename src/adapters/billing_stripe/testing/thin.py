"""Thin events: they name an object without showing it, and look the same in every API version."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

_COLLECTIONS = {
    "subscription": "/v1/subscriptions",
    "invoice": "/v1/invoices",
    "customer": "/v1/customers",
    "checkout.session": "/v1/checkout/sessions",
}


@attrs.frozen(kw_only=True)
class ThinEvent:
    """One event of the newer generation, such as `v1.customer.subscription.updated`."""

    event_id: str
    type: str
    created_at: datetime
    related_type: str | None = None
    """The kind of object it is about, as that object names itself; None for the few that are about none."""
    related_id: str | None = None
    snapshot_event_id: str | None = None
    """The event of the older generation that tells of the same fact."""
    livemode: bool = False
    data: Mapping[str, Any] | None = None
    """What the few types say that are about no object, or about more than it shows; told on request only."""


def notification(fact: ThinEvent) -> dict[str, Any]:
    """What Stripe posts: less than it tells on request."""
    return {
        "id": fact.event_id,
        "object": "v2.core.event",
        "type": fact.type,
        "created": fact.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "livemode": fact.livemode,
        "context": None,
        "reason": None,
        "related_object": _related(fact),
    }


def thin_event(fact: ThinEvent) -> dict[str, Any]:
    """What Stripe answers when asked for the event."""
    notified = {} if fact.data is None else {"data": dict(fact.data)}
    return {**notification(fact), "changes": None, "snapshot_event": fact.snapshot_event_id, **notified}


def _related(fact: ThinEvent) -> dict[str, str] | None:
    if fact.related_type is None or fact.related_id is None:
        return None
    collection = _COLLECTIONS.get(fact.related_type, f"/v1/{fact.related_type.replace('.', '/')}s")
    return {"id": fact.related_id, "type": fact.related_type, "url": f"{collection}/{fact.related_id}"}
