"""The bodies of answers about replays."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

import attrs

from billing_app.http.operator.answers import EventFilterAnswer
from billing_app.http.operator.tenant_answers import DifferenceAnswer, PlannedMessage
from billing_core.inbox.replay import ReplayReport
from billing_core.oversight.inspection import Audit
from billing_core.payloads import AccessSection

LOST_AFTER: Final = timedelta(minutes=1)
"""Without a sign of life for so long, a replay's process is taken for dead."""


@attrs.frozen(kw_only=True)
class ReplayCounts:
    """Events by what became of them, and messages."""

    changed: int = 0
    confirmed: int = 0
    stale: int = 0
    ignored: int = 0
    parked: int = 0
    dead: int = 0
    not_confirmed: int = 0
    """Applied events whose replay failed or contradicted them. They stay applied."""
    unfinished: int = 0
    busy: int = 0
    pruned: int = 0
    messages: int = 0


_SEEN: Final = tuple(field.name for field in attrs.fields(ReplayCounts) if field.name != "messages")


def counts_of(report: ReplayReport) -> ReplayCounts:
    """Return the counts of a report."""
    return ReplayCounts(**{field.name: getattr(report, field.name) for field in attrs.fields(ReplayCounts)})


@attrs.frozen(kw_only=True)
class ReplayAnswer:
    """A replay: who, what, why, how far it is, and its end."""

    audit_id: int
    actor: str
    why: str | None
    filter: Mapping[str, object]
    started_at: datetime
    finished_at: datetime | None
    state: Literal["running", "canceling", "done", "interrupted", "lost"]
    """`interrupted`: canceled, or its process ended. `lost`: no sign of life for a minute, and no result."""
    matched: int
    seen: int
    counts: ReplayCounts
    cancel_requested_by: str | None


def replay_answer(audit: Audit, now: datetime) -> ReplayAnswer:
    """Return a replay as its entry in the audit log has it."""
    known = audit.result or audit.progress or {}
    numbers = {name: value for name, value in known.items() if isinstance(value, int)}
    counts = ReplayCounts(**{name: numbers.get(name, 0) for name in (*_SEEN, "messages")})
    return ReplayAnswer(
        audit_id=audit.audit_id,
        actor=audit.actor,
        why=audit.reason,
        filter=audit.filter,
        started_at=audit.started_at,
        finished_at=audit.finished_at,
        state=_state(audit, now),
        matched=numbers.get("matched", 0),
        seen=sum(getattr(counts, name) for name in _SEEN),
        counts=counts,
        cancel_requested_by=audit.canceled_by,
    )


def _state(audit: Audit, now: datetime) -> Literal["running", "canceling", "done", "interrupted", "lost"]:
    if audit.result is not None:
        return "interrupted" if audit.result.get("interrupted") else "done"
    if now - (audit.progressed_at or audit.started_at) > LOST_AFTER:
        return "lost"
    return "running" if audit.canceled_by is None else "canceling"


@attrs.frozen(kw_only=True)
class ReplaysAnswer:
    """Replays, the last begun first."""

    replays: tuple[ReplayAnswer, ...]


@attrs.frozen(kw_only=True)
class LostPlan:
    """A plan that live subscriptions are on and the rules in force lack: a replay would take it away."""

    plan_code: str
    subscriptions: int
    tenant_id: str


Decision = Literal["changed", "confirmed", "stale", "ignored", "parked", "dead", "not_confirmed"]


@attrs.frozen(kw_only=True)
class ReplayedEvent:
    """The end that an event would have."""

    event_id: str
    decision: Decision
    reason: str | None
    error: str | None
    sequence: int | None


@attrs.frozen(kw_only=True)
class AccessChange:
    """The access of a tenant before and after; null for events without one."""

    before: AccessSection | None
    after: AccessSection | None
    changes: bool


@attrs.frozen(kw_only=True)
class ReplayedTenant:
    """The events, changes and messages of one tenant; null for events without one."""

    tenant_id: str | None
    access: AccessChange
    events: tuple[ReplayedEvent, ...]
    differences: tuple[DifferenceAnswer, ...]
    messages: tuple[PlannedMessage, ...]


@attrs.frozen(kw_only=True)
class ReplayFailure:
    """An event that could not be applied, and why."""

    event_id: str
    reason: str
    error: str


@attrs.frozen(kw_only=True)
class DryRunAnswer:
    """The result that a replay would have. Nothing was changed."""

    as_of: datetime
    filter: EventFilterAnswer
    matched: int
    fingerprint: str
    """Stands for the events that match. Send it with the replay that was confirmed."""
    counts: ReplayCounts
    access_changes: int
    """Tenants whose access would be another one."""
    lost_plans: tuple[LostPlan, ...]
    tenants: tuple[ReplayedTenant, ...]
    failures: tuple[ReplayFailure, ...]
