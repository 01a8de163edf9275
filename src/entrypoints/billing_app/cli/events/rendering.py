"""Stored events as JSON and as lines for people."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from billing_app.cli.terminal import moment

if TYPE_CHECKING:
    from billing_core.oversight.inspection import FailedAttempt, StoredEvent


def instant(value: datetime | None) -> str | None:
    """As JSON takes it."""
    return None if value is None else value.isoformat()


def event_to_json(event: StoredEvent) -> dict[str, Any]:
    """One event without its body."""
    return {
        "event_id": event.key.event_id,
        "livemode": event.key.livemode,
        "account": event.key.account or None,
        "type": event.type,
        "api_version": event.api_version,
        "created_at": instant(event.created_at),
        "received_at": instant(event.received_at),
        "secret_slot": event.secret_slot,
        "status": event.status.value,
        "attempts": event.attempt,
        "due_at": instant(event.due_at) if event.finished_at is None else None,
        "effect": event.effect and event.effect.value,
        "reason": event.reason,
        "error": event.error,
        "customer_id": event.customer_id,
        "waits_for": event.parked_on,
        "tenant_id": event.tenant_id,
        "sequence": event.sequence,
        "finished_at": instant(event.finished_at),
        "duplicates": event.duplicates,
        "last_duplicate_at": instant(event.last_duplicate_at),
        "body_kept": event.body_kept,
    }


def attempt_to_json(attempt: FailedAttempt) -> dict[str, Any]:
    """One attempt that failed."""
    return {
        "attempt": attempt.attempt,
        "failed_at": instant(attempt.failed_at),
        "reason": attempt.reason,
        "error": attempt.error,
    }


def standing(event: StoredEvent) -> str:
    """How an event stands, in a few words."""
    status = event.status.value
    match status:
        case "applied":
            effect = event.effect.value if event.effect else "applied"
            return f"applied: {effect}" + (f", message {event.sequence}" if event.sequence is not None else "")
        case "parked":
            return f"parked: waits for {event.parked_on or event.reason}"
        case "due" if event.attempt:
            return f"due again {moment(event.due_at)} after {event.attempt} attempts: {event.reason or 'released'}"
        case "leased":
            return f"being worked on, attempt {event.attempt}, until {moment(event.due_at)}"
        case _:
            return status if event.reason is None else f"{status}: {event.reason}"
