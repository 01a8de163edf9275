"""Stored events as JSON and as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from billing_app.cli.terminal import moment, plain

if TYPE_CHECKING:
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
    """Summarize the status of an event in a few words."""
    status = event.status.value
    match status:
        case "applied":
            effect = event.effect.value if event.effect else "applied"
            return f"applied: {effect}" + (f", message {event.sequence}" if event.sequence is not None else "")
        case "parked":
            return f"parked: waiting for {event.parked_on or event.reason}"
        case "due" if event.attempt:
            return f"retry due {moment(event.due_at)} after {event.attempt} attempts: {event.reason or 'released'}"
        case "leased":
            return f"being processed: attempt {event.attempt}, leased until {moment(event.due_at)}"
        case _:
            return status if event.reason is None else f"{status}: {event.reason}"
