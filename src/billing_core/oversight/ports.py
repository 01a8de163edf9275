"""Ports of oversight: what operators see of stored rows, and what they do to them. The docstrings are the contracts.

Every method raises StoreUnavailableError.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol, runtime_checkable

import attrs

from billing_core.events import BillingEvent
from billing_core.inbox.ports import AuditTrail, EventSelector
from billing_core.inbox.selection import EventFilter
from billing_core.model import (
    AccessState,
    Attention,
    CustomerId,
    DuplicateSubscriptions,
    EventId,
    LinkDecision,
    PriceId,
    TenantId,
)
from billing_core.model.time import aware
from billing_core.oversight.delays import DelayCount, Histogram, MeasuredStage
from billing_core.oversight.explain import TenantHistory
from billing_core.oversight.flow import FlowDelays, FlowStep
from billing_core.oversight.inspection import Audit, EventTally, FailedAttempt, Pruned, StoredEvent
from billing_core.oversight.invariants import Violation

TallyBy = Literal["status", "type", "hour"]
"""The ways to group events. The hour is that of their receipt, in UTC."""


@attrs.frozen(kw_only=True)
class Backlog:
    """The unfinished and the dead events of the inbox."""

    oldest_due: timedelta = timedelta(0)
    """How long the oldest due event has been due; a claimed event is due again once its lease has expired."""
    due: int = 0
    parked: int = 0
    oldest_parked: timedelta = timedelta(0)
    """How long the longest waiting parked event has been parked."""
    dead: Mapping[str, int] = attrs.field(factory=dict)
    """Dead events by reason."""
    oldest_dead: Mapping[str, timedelta] = attrs.field(factory=dict)
    """How long the oldest of them has been dead, by reason."""


@runtime_checkable
class InboxBacklog(Protocol):
    """Measures the backlog of the inbox. Read-only."""

    async def backlog(self) -> Backlog:
        """Return the current backlog. Called often for gauges: its cost grows with the backlog, not with all events."""
        ...


@runtime_checkable
class InboxFlow(Protocol):
    """Measures the flow of events through the inbox. Read-only; its cost grows with the events of the time."""

    async def steps(self, *, since: datetime, until: datetime, step: timedelta) -> Sequence[FlowStep]:
        """Count the events received in `[since, until)`, in steps from `since` on; every step is there.

        They are counted where they were received, and once more where they ended, if that is within the time.
        """
        ...

    async def delays(self, *, since: datetime, until: datetime) -> FlowDelays:
        """Measure the delays of the latest `billing_core.oversight.flow.MEASURED` events received in the time."""
        ...


@runtime_checkable
class InboxUpkeep(Protocol):
    """Changes that operators make to stored events, besides replays."""

    async def ignore(self, dispatch_ids: Collection[int], *, reason: str) -> Collection[int]:
        """Finish events as ignored and return their numbers. Applied events and those being processed are skipped."""
        ...

    async def prunable(self, *, older_than: timedelta) -> int:
        """Return how many bodies `prune` would delete in all."""
        ...

    async def prune(self, *, older_than: timedelta, after: int, limit: int) -> Pruned:
        """Delete the bodies of up to `limit` older events numbered above `after`, lowest first.

        Only applied and ignored events are pruned. Key, type, hash and outcome are kept, so that duplicates are
        recognized permanently.
        """
        ...


@runtime_checkable
class EventLog(EventSelector, Protocol):
    """The inbox as operators see it: every stored event, whatever its status. Read-only."""

    async def find(self, wanted: EventFilter, *, before: int | None, limit: int) -> Sequence[StoredEvent]:
        """Return events that match a filter, latest received first; with `before`, only those numbered below it."""
        ...

    async def tally(self, wanted: EventFilter, *, by: TallyBy) -> Sequence[EventTally]:
        """Count the events that match a filter, in groups ordered by name. Reads every one of them."""
        ...

    async def attempts(self, dispatch_id: int) -> Sequence[FailedAttempt]:
        """Return the failed attempts of an event, earliest first."""
        ...

    async def body(self, dispatch_id: int) -> bytes | None:
        """Return the raw bytes as received; None if they were pruned."""
        ...

    async def messages(self, event_id: EventId) -> Sequence[BillingEvent]:
        """Return every message, of any tenant, that a provider event caused."""
        ...


@runtime_checkable
class TenantTimeline(Protocol):
    """The history of one tenant. Read-only."""

    async def history(
        self, tenant_id: TenantId, *, since: datetime | None, until: datetime | None, limit: int
    ) -> TenantHistory | None:
        """Return a tenant's state and the latest `limit` events received in `[since, until)`, read at one instant.

        The events are those attributed to the tenant, those parked on its customers, and those that died before their
        customer was linked to it. The messages are those that
        the events caused, and enough earlier ones to tell what changed. None if the tenant is unknown.
        """
        ...

    async def attention(self, tenant_id: TenantId) -> Attention:
        """Return what needs attention of a tenant now; nothing does of an unknown one."""
        ...


@runtime_checkable
class AuditLog(AuditTrail, Protocol):
    """The audit entries of operators' actions on stored events."""

    async def latest(
        self, *, limit: int, action: str | None = None, actor: str | None = None, before: int | None = None
    ) -> Sequence[Audit]:
        """Return entries, latest first: only those of an action or an actor, and numbered below `before`, if given."""
        ...

    async def cancel(self, audit_id: int, *, actor: str) -> bool:
        """Ask a running action to end; False if it has ended, or there is none. The first who asks is recorded."""
        ...


@runtime_checkable
class InvariantLog(Protocol):
    """Finds rows that violate a `billing_core.oversight.invariants.Invariant`. Read-only."""

    async def sample(self) -> Sequence[Violation]:
        """Check the waiting rows, the newest events and another sample of tenants each time; bounded at any size."""
        ...

    async def everything(self) -> Sequence[Violation]:
        """Check every row."""
        ...


@attrs.frozen(kw_only=True)
class CustomerLink:
    """A customer, the tenant it is linked to, and the numbers of events that wait for a link and that are dead."""

    customer_id: CustomerId
    tenant_id: TenantId | None
    waiting: int
    dead: int = 0
    email: str | None = attrs.field(default=None, repr=False)
    access: AccessState | None = None
    """The access that was announced to the tenant last; None if none was."""
    plans: tuple[str, ...] = ()
    """The plans of the customer's subscriptions that have not ended, each once, by code."""
    statuses: tuple[str, ...] = ()
    """The statuses of the same subscriptions, each once, by name."""


@attrs.frozen(kw_only=True)
class LoggedDecision:
    """One operator's decision about a link, its number in the log, and when it was made."""

    number: int
    made_at: datetime
    decision: LinkDecision


@attrs.frozen(kw_only=True)
class UnmappedPrice:
    """A price that belongs to no plan, and who is on it."""

    price_id: PriceId
    product_id: str | None
    lookup_key: str | None
    subscriptions: int
    tenants: tuple[TenantId, ...]
    """By id."""


@runtime_checkable
class StateUpkeep(Protocol):
    """Queries over all tenants, for operators. Read-only."""

    async def duplicate_subscriptions(self) -> Sequence[DuplicateSubscriptions]:
        """Return what `billing_core.model.duplicate_subscriptions` finds among all subscriptions."""
        ...

    async def unmapped_prices(self) -> Sequence[UnmappedPrice]:
        """Return the deciding prices of those subscriptions that have not ended and are on no plan, ordered by id.

        Asked often for a gauge: its cost grows with these subscriptions, not with all.
        """
        ...

    async def customers(
        self, *, linked: bool | None, after: str, limit: int, search: str | None = None
    ) -> Sequence[CustomerLink]:
        """Return customers with a tenant, or those without one, or both, with ids above `after`, ordered by id.

        With `search`, only those whose id or whose tenant's id begins with it, or whose e-mail address it is.
        """
        ...

    async def decisions(self, *, about: str | None, before: int | None, limit: int) -> Sequence[LoggedDecision]:
        """Return decisions about links with numbers below `before`, the last made first.

        `about` is the id of a customer, a subscription or a tenant that they are about; None: all of them.
        """
        ...

    async def owner(self, object_id: str) -> TenantId | None:
        """Return the tenant that an object belongs to: a customer, a subscription, an invoice or a stored event.

        The id of a tenant stands for itself. None if nothing has this id, or what has it belongs to no tenant.
        """
        ...

    async def knows(self, *, payer: str, tenant: TenantId) -> tuple[bool, bool]:
        """Return whether a customer or subscription with this id was ever seen, and whether a tenant was."""
        ...


REFUSALS_KEPT: Final = timedelta(days=30)
"""How long refused webhooks stay in a tally."""


@attrs.frozen(kw_only=True)
class RefusedWebhooks:
    """The webhooks of one hour that were refused for the same reason."""

    hour: datetime = attrs.field(validator=aware)
    """Its beginning."""
    reason: str
    count: int
    largest: int
    """The size of the largest body in bytes, as far as it is known; 0 if none is."""

    def plus(self, other: "RefusedWebhooks") -> "RefusedWebhooks":
        """Return both counts, of the same reason, as one of the earlier hour."""
        return attrs.evolve(
            self,
            hour=min(self.hour, other.hour),
            count=self.count + other.count,
            largest=max(self.largest, other.largest),
        )


@runtime_checkable
class RefusalTally(Protocol):
    """Counts refused webhooks, which are not stored. Approximate: a killed process loses its last minute."""

    async def add(self, refused: Collection[RefusedWebhooks]) -> None:
        """Add to what is counted, and keep the largest size. What is older than `REFUSALS_KEPT` is deleted.

        The newest hour given is the current one; each pair of hour and reason is given once.
        """
        ...

    async def since(self, instant: datetime) -> Sequence[RefusedWebhooks]:
        """Return what was counted in hours that began then or later, ordered by hour and reason."""
        ...


@runtime_checkable
class DelayTally(Protocol):
    """Adds up the delays that processes measure. Approximate: a killed process loses its last interval."""

    async def add(self, counted: Collection[DelayCount]) -> None:
        """Add to what is counted. What is older than `billing_core.oversight.delays.DELAYS_KEPT` is deleted.

        The newest minute given is the current one; each bucket of a minute and stage is given once.
        """
        ...

    async def since(self, instant: datetime) -> Mapping[MeasuredStage, Histogram]:
        """Return what was counted in minutes that began then or later; a stage without any is left out."""
        ...


SILENT_KEPT: Final = timedelta(hours=1)
"""How long a process that is silent stays on the list."""


SILENT_AFTER: Final = timedelta(seconds=20)
"""A process that has been silent for longer is not alive: it beats every few seconds."""


ProcessKind = Literal["serve", "worker", "application"]
"""A server, a worker, or an application that has billing inside."""


@attrs.frozen(kw_only=True)
class RunningProcess:
    """A process that takes part in billing."""

    process_id: str
    """Unique over all processes and restarts."""
    kind: ProcessKind
    processes_events: bool
    """Whether it processes stored events; servers and applications may leave that to workers."""
    host: str
    pid: int
    version: str
    started_at: datetime = attrs.field(validator=aware)


@attrs.frozen(kw_only=True)
class SeenProcess:
    """A process on the list, and how long ago it last confirmed that it is alive."""

    process: RunningProcess
    silent_for: timedelta


@attrs.frozen(kw_only=True)
class Beat:
    """The store's answer to a heartbeat."""

    at: datetime = attrs.field(validator=aware)
    """The time by its own clock."""
    pending: int = 0
    """Migrations that its schema lacks."""


@runtime_checkable
class ProcessRegister(Protocol):
    """The processes that take part in billing. Time is the store's own. Every method raises StoreUnavailableError."""

    async def beat(self, process: RunningProcess) -> Beat:
        """Confirm by a committed, durable write that a process is alive.

        A process that is not on the list is added; of one that is, it is noted whether it processes events now. Those
        that have been silent for `SILENT_KEPT` are deleted.
        """
        ...

    async def leave(self, process_id: str) -> None:
        """Take a process off the list. One that is not on it is left alone."""
        ...

    async def current(self) -> Sequence[SeenProcess]:
        """Return all processes on the list, the longest running first."""
        ...
