"""Stored events as JSON and as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from billing_app.cli.lists import Column, Listing
from billing_app.cli.terminal import moment, plain

if TYPE_CHECKING:
    from billing_app.cli.lists import Part
    from billing_core.oversight.inspection import StoredEvent
    from billing_core.state.diff import FieldChange, ObjectChange

_RENAMED: Final = {"attempt": "attempts", "parked_on": "waits_for"}
_LEFT_OUT: Final = ("dispatch_id", "key")
_SHOWN: Final = 120
"""Characters of a value that a difference prints."""


def instant(value: datetime | None) -> str | None:
    """Format an instant for JSON."""
    return None if value is None else value.isoformat()


def event_to_json(event: StoredEvent) -> Mapping[str, Any]:
    """Return an event without its body. `due_at` is null for a finished event, which has nothing due."""
    from billing_core.converters import to_plain

    fields = {_RENAMED.get(name, name): value for name, value in to_plain(event).items() if name not in _LEFT_OUT}
    key = {**to_plain(event.key), "account": event.key.account or None}
    return {**key, **fields, "due_at": fields["due_at"] if event.finished_at is None else None}


def changes_to_json(changes: Iterable[FieldChange]) -> Mapping[str, Any]:
    """Return the values before and after, by field."""
    return {change.field: {"before": change.before, "after": change.after} for change in changes}


def difference_to_json(change: ObjectChange) -> dict[str, Any]:
    """Return one row that would change, with its values before and after, by field."""
    return {
        "kind": change.kind,
        "object_id": change.object_id,
        "tenant_id": change.tenant_id,
        "fields": changes_to_json(change.fields),
    }


def difference_lines(change: ObjectChange) -> Iterator[str]:
    """Yield the lines that show one row that would change; long values are cut, `--json` has all of them."""
    owner = f" of {plain(change.tenant_id)}" if change.tenant_id else ""
    yield f"{change.kind} {plain(change.object_id)}{owner}"
    for field in change.fields:
        yield f"  {field.field}: {_cut(value_text(field.before))} → {_cut(value_text(field.after))}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def value_text(value: object) -> str:
    """Format one side of a change."""
    return "–" if value is None else plain(json.dumps(value, ensure_ascii=False))


def status_text(event: StoredEvent) -> str:
    """Summarize the status of an event in a few words; its error is not among them."""
    parts = (moment(part) if isinstance(part, datetime) else str(part) for part in _standing(event))
    return ": ".join(filter(None, (event.status.value, " ".join(parts))))


def detail(event: StoredEvent) -> Sequence[Part]:
    """Return what explains the status of an event: its effect, what it waits for, or why it failed."""
    return _standing(event) if event.error is None else (*_standing(event), f"({event.error})")


def _standing(event: StoredEvent) -> Sequence[Part]:
    match event.status.value:
        case "applied":
            effect = event.effect.value if event.effect else ""
            return (effect,) if event.sequence is None else (f"{effect}, message {event.sequence}",)
        case "parked":
            return (f"waiting for {event.parked_on or event.reason}",)
        case "due" if event.attempt:
            return ("retry", event.due_at, f"after {event.attempt} attempts: {event.reason or 'released'}")
        case "leased":
            return (f"attempt {event.attempt}, leased until", event.due_at)
        case _:
            return () if event.reason is None else (event.reason,)


STATUSES: Final = ("due", "leased", "applied", "ignored", "parked", "dead")
"""Of stored events; `billing_core.events.Disposition` by value, which the help does not import."""
_COLORS: Final = {"applied": "green", "dead": "red", "parked": "yellow", "due": "yellow"}


def _status(event: StoredEvent) -> str:
    return event.status.value


EVENTS: Final = Listing["StoredEvent"](
    "events",
    [
        Column("received", lambda event: event.received_at, width=20),
        Column("event", lambda event: event.key.event_id, width=28),
        Column("type", lambda event: event.type, width=29),
        Column("tenant", lambda event: event.tenant_id, width=12),
        Column(
            "status", lambda event: event.status.value, width=7, color=lambda event: _COLORS.get(event.status.value)
        ),
        Column("detail", detail, cut=True),
    ],
    event_to_json,
)
"""Stored events, as `list` and `tail` show them."""
