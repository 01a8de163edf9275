"""Thin events, which reference an object without including it; their shape is the same in all API versions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from billing_stripe.testing import objects

_COLLECTIONS = {
    "subscription": "/v1/subscriptions",
    "invoice": "/v1/invoices",
    "customer": "/v1/customers",
    "checkout.session": "/v1/checkout/sessions",
    "v2.core.event_destination": "/v2/core/event_destinations",
}


@attrs.frozen(kw_only=True)
class ThinEvent:
    """An event of the newer generation, such as `v1.customer.subscription.updated`."""

    event_id: str
    type: str
    created_at: datetime
    related_type: str | None = None
    """The `object` value of the related object; None for the few types without one."""
    related_id: str | None = None
    snapshot_event_id: str | None = None
    """The event of the older generation about the same change."""
    livemode: bool = False
    data: Mapping[str, Any] | None = None
    """The content of the few types that have some; included only in a fetched event."""


def notification(source: ThinEvent) -> dict[str, Any]:
    """Render the notification that Stripe posts, which has less than a fetched event."""
    return {
        "id": source.event_id,
        "object": "v2.core.event",
        "type": source.type,
        "created": iso(source.created_at),
        "livemode": source.livemode,
        "context": None,
        "reason": None,
        "related_object": _related(source),
    }


def thin_event(source: ThinEvent) -> dict[str, Any]:
    """Render the event as Stripe returns it."""
    notified = {} if source.data is None else {"data": dict(source.data)}
    return {**notification(source), "changes": None, "snapshot_event": source.snapshot_event_id, **notified}


def iso(at: datetime) -> str:
    """Return a time as the second generation of the API shows it."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_destination(source: objects.EventDestination, *, default_version: str) -> dict[str, Any]:
    """Render a `v2.core.event_destination` object without what is shown on request only.

    Args:
        source: the destination.
        default_version: of the account's snapshots.
    """
    return {
        "id": source.destination_id,
        "object": "v2.core.event_destination",
        "created": iso(source.created_at),
        "description": source.description,
        "enabled_events": list(source.enabled_events),
        "event_payload": source.payload,
        "events_from": ["self"],
        "livemode": False,
        "metadata": dict(source.metadata),
        "name": source.name,
        "snapshot_api_version": (source.api_version or default_version) if source.payload == "snapshot" else None,
        "status": "enabled" if source.enabled else "disabled",
        "status_details": None if source.enabled else {"disabled": {"reason": "user"}},
        "type": "webhook_endpoint",
        "updated": iso(source.updated_at),
        "webhook_endpoint": None,
    }


def _related(source: ThinEvent) -> dict[str, str] | None:
    if source.related_type is None or source.related_id is None:
        return None
    collection = _COLLECTIONS.get(source.related_type, f"/v1/{source.related_type.replace('.', '/')}s")
    return {"id": source.related_id, "type": source.related_type, "url": f"{collection}/{source.related_id}"}
