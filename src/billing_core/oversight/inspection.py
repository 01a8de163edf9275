"""What operators look at: stored events, how far each has come, what became of it, and who stepped in."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from billing_core.events import Disposition, Effect, EventKey
from billing_core.model import CustomerId, TenantId
from billing_core.model.time import aware


@attrs.frozen(kw_only=True)
class StoredEvent:
    """One event of the inbox without its body: its envelope, and how it stands."""

    dispatch_id: int
    key: EventKey
    type: str
    api_version: str | None
    created_at: datetime = attrs.field(validator=aware)
    received_at: datetime = attrs.field(validator=aware)
    secret_slot: int
    status: Disposition
    attempt: int
    """Counted over the whole life of the event, replays included."""
    due_at: datetime = attrs.field(validator=aware)
    """When it is tried next; while leased, when its lease runs out. Of finished events it says nothing."""
    effect: Effect | None = None
    reason: str | None = None
    error: str | None = None
    customer_id: CustomerId | None = None
    parked_on: str | None = None
    tenant_id: TenantId | None = None
    sequence: int | None = None
    """The message it caused, if any."""
    finished_at: datetime | None = None
    duplicates: int = 0
    """How often it was delivered again."""
    last_duplicate_at: datetime | None = None
    body_kept: bool = True


@attrs.frozen(kw_only=True)
class FailedAttempt:
    """An attempt that did not succeed. One that killed its process left none."""

    attempt: int
    failed_at: datetime = attrs.field(validator=aware)
    reason: str
    error: str | None


@attrs.frozen(kw_only=True)
class Pruned:
    """What one step of pruning came to."""

    bodies: int
    reached: int | None
    """The number of the last event looked at, to go on behind; None when nothing older is left."""


@attrs.frozen(kw_only=True)
class Audit:
    """Something an operator did to stored events."""

    audit_id: int
    action: str
    actor: str
    reason: str | None
    filter: Mapping[str, object]
    started_at: datetime = attrs.field(validator=aware)
    finished_at: datetime | None = None
    result: Mapping[str, object] | None = None
    """None while it is being done, and for ever when it was cut short."""
