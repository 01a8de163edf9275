"""Stored events, their failed attempts, and the audit entries of operators' actions."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from billing_core.events import Disposition, Effect, EventKey
from billing_core.model import CustomerId, TenantId
from billing_core.model.time import aware


@attrs.frozen(kw_only=True)
class StoredEvent:
    """One event of the inbox without its body: envelope, status and outcome."""

    dispatch_id: int
    key: EventKey
    type: str
    api_version: str | None
    created_at: datetime = attrs.field(validator=aware)
    received_at: datetime = attrs.field(validator=aware)
    secret_slot: int
    status: Disposition
    attempt: int
    """Attempts over the whole life of the event, replays included."""
    due_at: datetime = attrs.field(validator=aware)
    """When the next attempt is due; for a leased event, when its lease expires. Meaningless for finished events."""
    effect: Effect | None = None
    reason: str | None = None
    error: str | None = None
    customer_id: CustomerId | None = None
    parked_on: str | None = None
    tenant_id: TenantId | None = None
    sequence: int | None = None
    """The number of the message it caused; None if it caused none."""
    finished_at: datetime | None = None
    duplicates: int = 0
    """How many times it was delivered again."""
    last_duplicate_at: datetime | None = None
    body_kept: bool = True


@attrs.frozen(kw_only=True)
class EventTally:
    """How many events of a group there are, by their status."""

    name: str
    """The type, the hour in UTC (`2026-03-01T12:00Z`), or the status with its reason (`dead: bug`)."""
    counts: Mapping[Disposition, int]
    """Without the statuses that no event of the group has."""

    @property
    def total(self) -> int:
        """The events of all statuses."""
        return sum(self.counts.values())


@attrs.frozen(kw_only=True)
class FailedAttempt:
    """An attempt that did not succeed. An attempt during which the process died is not recorded."""

    attempt: int
    failed_at: datetime = attrs.field(validator=aware)
    reason: str
    error: str | None


@attrs.frozen(kw_only=True)
class Pruned:
    """The result of one step of pruning."""

    bodies: int
    reached: int | None
    """The number of the last event examined: pass it as `after` of the next step. None if no older event is left."""


@attrs.frozen(kw_only=True)
class Audit:
    """An audit entry: something an operator did to stored events."""

    audit_id: int
    action: str
    actor: str
    reason: str | None
    filter: Mapping[str, object]
    started_at: datetime = attrs.field(validator=aware)
    finished_at: datetime | None = None
    result: Mapping[str, object] | None = None
    """None while the action runs, and permanently if it was interrupted."""
    progress: Mapping[str, object] | None = None
    """The last progress of an action that records it."""
    progressed_at: datetime | None = attrs.field(default=None, validator=aware)
    canceled_by: str | None = None
    """The operator who asked it to end."""
