"""Events in Stripe's form: the envelope, the layout of the body, and the signature."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from billing_stripe.signature import sign

__all__ = ["encode", "event", "make_id", "sign"]

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 24


def event(
    type: str,
    object: Mapping[str, Any],
    *,
    created: datetime,
    api_version: str,
    event_id: str,
    livemode: bool = False,
    previous_attributes: Mapping[str, Any] | None = None,
    request_id: str | None = None,
    account: str | None = None,
) -> dict[str, Any]:
    """Build an `event` about `object`, which should be rendered in the same API version.

    Args:
        type: Stripe's event type, such as `customer.subscription.updated`.
        object: the value of `data.object`; its `livemode`, if it has one, follows the event's.
        created: an aware datetime; Stripe keeps whole seconds.
        api_version: the version of the endpoint that receives the event.
        event_id: `evt_…`.
        livemode: whether the event is live.
        previous_attributes: of updates only, see `builders.previous_attributes`.
        request_id: None for a change that Stripe makes by itself, such as a renewal.
        account: the connected account, on a platform.
    """
    if created.tzinfo is None:
        raise ValueError(f"{created!r} has no time zone")
    data: dict[str, Any] = {"object": {**object, "livemode": livemode} if "livemode" in object else dict(object)}
    if previous_attributes is not None:
        data["previous_attributes"] = dict(previous_attributes)
    return {
        "id": event_id,
        "object": "event",
        **({} if account is None else {"account": account}),
        "api_version": api_version,
        "created": int(created.timestamp()),
        "data": data,
        "livemode": livemode,
        "pending_webhooks": 1,
        "request": {"id": request_id, "idempotency_key": None},
        "type": type,
    }


def encode(event: Mapping[str, Any]) -> bytes:
    """Encode the body of the webhook in Stripe's layout, indented by two spaces."""
    return json.dumps(event, indent=2, ensure_ascii=False).encode()


def make_id(prefix: str, *parts: object) -> str:
    """Return an id in Stripe's form that is derived from its parts, such as `make_id("sub", seed, 7)`: `sub_1…`."""
    number = int.from_bytes(hashlib.sha256(repr(parts).encode()).digest())
    letters = []
    for _ in range(_ID_LENGTH):
        number, rest = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return f"{prefix}_{''.join(letters)}"
