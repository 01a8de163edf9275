"""The inbox as operators see it, and the log of their actions, in process."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC
from itertools import islice

import attrs

from billing_core.events import BillingEvent, Disposition
from billing_core.inbox.ports import HeldPlan
from billing_core.inbox.selection import EventFilter
from billing_core.model import EventId, TenantId
from billing_core.oversight.inspection import Audit, EventTally, FailedAttempt, StoredEvent
from billing_core.oversight.ports import TallyBy
from billing_core.state.ports import Clock
from billing_memory.database import Dispatch, MemoryDatabase

_OF_OUTCOME = ("effect", "customer_id", "parked_on", "tenant_id", "sequence")


class MemoryEventLog:
    """An `EventLog` and an `AuditLog`."""

    def __init__(self, database: MemoryDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, wanted: EventFilter, *, before: int | None, limit: int) -> Sequence[StoredEvent]:
        """Return the events that match a filter, latest received first."""
        found = [row for row in self._matching(wanted) if before is None or row.dispatch_id < before]
        return [stored_event(row) for row in sorted(found, key=lambda row: -row.dispatch_id)[:limit]]

    async def select(self, wanted: EventFilter, *, limit: int | None = None) -> Sequence[int]:
        """Return the numbers of the events that match a filter, in the order they happened."""
        found = sorted(self._matching(wanted), key=lambda row: (row.event.created_at, row.dispatch_id))
        return [row.dispatch_id for row in found][:limit]

    async def fingerprint(self, dispatch_ids: Sequence[int]) -> str:
        """Identify events with their ends."""
        rows = (self._database.tables.dispatch[id_] for id_ in sorted(dispatch_ids))
        marks = (f"{row.dispatch_id} {_end_of(row)}" for row in rows)
        return hashlib.sha256("\n".join(marks).encode()).hexdigest()

    async def plans(self, dispatch_ids: Collection[int]) -> Sequence[HeldPlan]:
        """Return the plans of live subscriptions of the events' tenants, by code."""
        tables = self._database.tables
        outcomes = [tables.dispatch[id_].outcome for id_ in dispatch_ids]
        tenants = {outcome.tenant_id for outcome in outcomes if outcome is not None}
        holders: dict[str, list[TenantId]] = {}
        for held in tables.subscriptions.values():
            seen = held.snapshot
            live = not seen.ended and seen.status != "incomplete"
            if held.tenant_id in tenants and live and seen.plan_code is not None:
                holders.setdefault(seen.plan_code, []).append(held.tenant_id)
        return [
            HeldPlan(plan_code=code, subscriptions=len(found), tenant_id=min(found))
            for code, found in sorted(holders.items())
        ]

    async def tally(self, wanted: EventFilter, *, by: TallyBy) -> Sequence[EventTally]:
        """Count the events that match a filter, in groups ordered by name."""
        groups: dict[str, Counter[Disposition]] = {}
        for row in self._matching(wanted):
            groups.setdefault(_group(row, by), Counter())[row.disposition] += 1
        return [EventTally(name=name, counts=groups[name]) for name in sorted(groups)]

    async def attempts(self, dispatch_id: int) -> Sequence[FailedAttempt]:
        """Return the failed attempts at an event."""
        return self._database.tables.dispatch[dispatch_id].failures

    async def body(self, dispatch_id: int) -> bytes | None:
        """Return the raw bytes as received."""
        return self._database.tables.dispatch[dispatch_id].event.body or None

    async def messages(self, event_id: EventId) -> Sequence[BillingEvent]:
        """Return the messages that a provider event caused."""
        messages = self._database.tables.messages
        return [messages[key] for key in sorted(messages) if messages[key].event_id == event_id]

    async def begin(self, action: str, *, actor: str, reason: str | None, filter: Mapping[str, object]) -> int:
        """Record that an action begins."""
        number = len(self._database.audits) + 1
        begun = Audit(
            audit_id=number,
            action=action,
            actor=actor,
            reason=reason,
            filter=dict(filter),
            started_at=self._clock.now(),
        )
        self._database.audits.append(begun)
        return number

    async def advance(self, audit_id: int, progress: Mapping[str, object]) -> bool:
        """Record the progress of a running action."""
        audit = self._database.audits[audit_id - 1]
        if audit.finished_at is not None:
            return False
        self._database.audits[audit_id - 1] = attrs.evolve(
            audit, progress=dict(progress), progressed_at=self._clock.now()
        )
        return audit.canceled_by is not None

    async def cancel(self, audit_id: int, *, actor: str) -> bool:
        """Ask a running action to end."""
        if not 0 < audit_id <= len(self._database.audits):
            return False
        audit = self._database.audits[audit_id - 1]
        if audit.finished_at is not None:
            return False
        self._database.audits[audit_id - 1] = attrs.evolve(audit, canceled_by=audit.canceled_by or actor)
        return True

    async def finish(self, audit_id: int, result: Mapping[str, object]) -> None:
        """Record the result of an action."""
        audit = self._database.audits[audit_id - 1]
        if audit.finished_at is None:
            finished = attrs.evolve(audit, finished_at=self._clock.now(), result=dict(result))
            self._database.audits[audit_id - 1] = finished

    async def latest(
        self, *, limit: int, action: str | None = None, actor: str | None = None, before: int | None = None
    ) -> Sequence[Audit]:
        """Return entries, latest first."""
        wanted = (
            each
            for each in reversed(self._database.audits)
            if action in (None, each.action)
            and actor in (None, each.actor)
            and (before is None or each.audit_id < before)
        )
        return list(islice(wanted, limit))

    def _matching(self, wanted: EventFilter) -> Sequence[Dispatch]:
        tables = self._database.tables
        return [row for row in tables.dispatch.values() if _matches(row, wanted, tables.owner(row))]


def _end_of(row: Dispatch) -> str:
    unfinished = row.disposition in (Disposition.DUE, Disposition.LEASED)
    return f"{'' if unfinished else row.disposition.value} {row.finished_at}"


def _group(row: Dispatch, by: TallyBy) -> str:
    match by:
        case "type":
            return row.event.type
        case "hour":
            return row.event.received_at.astimezone(UTC).strftime("%Y-%m-%dT%H:00Z")
        case _:
            return row.disposition.value + (f": {row.reason}" if row.reason else "")


def _matches(row: Dispatch, wanted: EventFilter, tenant_id: TenantId | None) -> bool:
    customer_id = None if row.outcome is None else row.outcome.customer_id
    return (
        (not wanted.ids or row.event.event_id in wanted.ids)
        and wanted.matches_type(row.event.type)
        and wanted.tenant_id in (None, tenant_id)
        and wanted.customer_id in (None, customer_id)
        and (not wanted.statuses or row.disposition in wanted.statuses)
        and (not wanted.reasons or row.reason in wanted.reasons)
        and (wanted.since is None or row.event.received_at >= wanted.since)
        and (wanted.until is None or row.event.received_at < wanted.until)
    )


def stored_event(row: Dispatch) -> StoredEvent:
    """Return one event of the inbox without its body."""
    outcome = row.outcome
    known = {} if outcome is None else {name: getattr(outcome, name) for name in _OF_OUTCOME}
    return StoredEvent(
        dispatch_id=row.dispatch_id,
        key=row.event.key,
        type=row.event.type,
        api_version=row.event.api_version,
        created_at=row.event.created_at,
        received_at=row.event.received_at,
        secret_slot=row.event.secret_slot,
        status=row.disposition,
        attempt=row.attempt,
        due_at=row.due_at,
        reason=row.reason,
        error=row.error,
        finished_at=row.finished_at,
        duplicates=row.duplicates,
        last_duplicate_at=row.last_duplicate_at,
        body_kept=bool(row.event.body),
        **known,
    )
