"""The envelope of Stripe's events: the members that say what happened, when, and in whose account.

A webhook is answered once these are stored, so the object it shows is checked to be JSON and not built yet.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from billing_core.errors import MalformedEventError
from billing_core.events import EventKey, ProviderEvent
from billing_core.model import EventId
from billing_stripe.parsing import member_parser

THIN_EVENT = "v2.core.event"
"""The `object` of events that name an object without showing it."""

_MAX_CREATED = 2**63 - 1
_END_OF_TIME = 253_402_300_800  # the year 10000, beyond datetime
_CREATED_LEEWAY = timedelta(hours=1)
_EVENT_ID = re.compile(r"evt_[A-Za-z0-9_]{1,251}")
_LABEL = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,120}")
"""Text that is safe to store, to log and to use as a label: no control characters, no lone surrogates."""

_parse = member_parser("id", "object", "type", "livemode", "account", "context", "api_version", "created")


def read_envelope(body: bytes, received_at: datetime, secret_slot: int) -> ProviderEvent:
    """Read the envelope of an event whose signature was verified.

    Raises: MalformedEventError if the body is not JSON, or lacks the event's id, type, mode or time.
    """
    try:
        envelope = _parse(body)
    except ValueError:
        raise MalformedEventError("the body is not JSON") from None  # the parser's error contains the whole body
    if not isinstance(envelope, dict):
        raise MalformedEventError("the body is not a JSON object")
    event_id, event_type, livemode = envelope.get("id"), envelope.get("type"), envelope.get("livemode")
    if not isinstance(event_id, str) or _EVENT_ID.fullmatch(event_id) is None:
        raise MalformedEventError("the event has no usable id")
    if not isinstance(event_type, str) or _LABEL.fullmatch(event_type) is None:
        raise MalformedEventError("the event has no usable type")
    if not isinstance(livemode, bool):
        raise MalformedEventError("the event does not say whether it is live")
    return ProviderEvent(
        key=EventKey(event_id=EventId(event_id), livemode=livemode, account=_account(envelope)),
        type=event_type,
        api_version=_label_or_none(envelope.get("api_version")),
        created_at=_created_at(envelope, latest=received_at + _CREATED_LEEWAY),
        received_at=received_at,
        body=body,
        secret_slot=secret_slot,
    )


def _account(envelope: Mapping[str, object]) -> str:
    """Return the connected account, which thin events call `context`."""
    value = envelope.get("context" if envelope.get("object") == THIN_EVENT else "account")
    if value is None:
        return ""
    account = _label_or_none(value)
    if account is None:
        raise MalformedEventError("the event has no usable account")
    return account


def _created_at(envelope: Mapping[str, object], *, latest: datetime) -> datetime:
    """Return the provider's timestamp, capped at `latest`: one in the far future would win over all later events."""
    created = envelope.get("created")
    if isinstance(created, str) and envelope.get("object") == THIN_EVENT:
        return min(_instant_from_iso(created), latest.replace(microsecond=0))
    if type(created) is not int or not 0 <= created <= _MAX_CREATED:
        raise MalformedEventError("the event has no usable creation time")
    if created >= _END_OF_TIME:
        return latest.replace(microsecond=0)
    instant = datetime.fromtimestamp(created, UTC)
    return instant if instant < latest else latest.replace(microsecond=0)


def _instant_from_iso(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise MalformedEventError("the event's creation time has no time zone")
        return instant.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError) as exc:
        raise MalformedEventError("the event has no usable creation time") from exc


def _label_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and _LABEL.fullmatch(value) is not None else None
