"""Messages and states as JSON, and messages read from it: also those of earlier versions."""

from billing_core import converters
from billing_core.events import SourceKind
from billing_core.payloads.schema import (
    BillingEventPayload,
    EntitlementPayload,
    EntitlementsPayload,
    StatePayload,
)


def dumps(payload: BillingEventPayload | StatePayload | EntitlementsPayload | EntitlementPayload) -> str:
    """Encode a payload as one line of JSON."""
    return converters.dumps(payload)


def loads(text: str | bytes) -> BillingEventPayload:
    """Decode a message; fields that a later revision added are ignored. Version 1 knew no cause but a provider event.

    Raises ValueError, KeyError or TypeError.
    """
    content = converters.decode(text)
    if isinstance(content, dict) and content.get("schema_version") == 1:
        content.setdefault("source", {"kind": SourceKind.WEBHOOK.value, "id": content["stripe_event_id"]})
    return converters.from_decoded(content, BillingEventPayload)
