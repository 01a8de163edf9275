"""What operators see of stored rows, and what they do to them. The docstrings are the contracts."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import attrs

from billing_core.events import BillingEvent
from billing_core.inbox.ports import AuditTrail, EventSelector
from billing_core.inbox.selection import EventFilter
from billing_core.model import CustomerId, DuplicateSubscriptions, EventId, TenantId
from billing_core.oversight.explain import TenantHistory
from billing_core.oversight.inspection import Audit, FailedAttempt, Pruned, StoredEvent
from billing_core.oversight.invariants import Violation


@attrs.frozen(kw_only=True)
class Backlog:
    """What waits in the inbox."""

    oldest_due: timedelta = timedelta(0)
    """How long the longest waiting event has been due, or claimed by somebody whose lease ran out."""
    due: int = 0
    parked: int = 0
    dead: Mapping[str, int] = attrs.field(factory=dict)
    """Dead events by reason."""


@runtime_checkable
class InboxBacklog(Protocol):
    """How much of the inbox waits. Only reads."""

    async def backlog(self) -> Backlog:
        """What waits right now; for gauges, so at the cost of what waits and not of what was ever stored."""
        ...


@runtime_checkable
class InboxUpkeep(Protocol):
    """What operators do to stored events beside replaying them."""

    async def ignore(self, dispatch_ids: Collection[int], *, reason: str) -> Collection[int]:
        """End these events as ignored; which ones that were. Applied ones, and those somebody works on, stay."""
        ...

    async def prunable(self, *, older_than: timedelta) -> int:
        """How many bodies `prune` would let go in all."""
        ...

    async def prune(self, *, older_than: timedelta, after: int, limit: int) -> Pruned:
        """Let go the bodies of up to `limit` events received longer ago, numbered above `after`, lowest first.

        Only of applied and ignored ones. Key, type, hash and outcome stay, so that duplicates are recognised for ever.
        """
        ...


@runtime_checkable
class EventLog(EventSelector, Protocol):
    """The inbox as operators see it: every event that was ever stored, whatever its status. Only reads."""

    async def find(self, wanted: EventFilter, *, before: int | None, limit: int) -> Sequence[StoredEvent]:
        """Events that a filter means, latest received first; with `before` those whose number is below it."""
        ...

    async def attempts(self, dispatch_id: int) -> Sequence[FailedAttempt]:
        """The attempts at an event that failed, first one first."""
        ...

    async def body(self, dispatch_id: int) -> bytes | None:
        """The raw bytes as received; None once they were pruned."""
        ...

    async def messages(self, event_id: EventId) -> Sequence[BillingEvent]:
        """Everything that tenants were told because of a provider event."""
        ...


@runtime_checkable
class TenantTimeline(Protocol):
    """What happened to a tenant. Only reads."""

    async def history(
        self, tenant_id: TenantId, *, since: datetime | None, until: datetime | None, limit: int
    ) -> TenantHistory | None:
        """A tenant's state and the latest `limit` events received in `[since, until)`, read at one instant.

        Its events are those that were found to be its own, and those parked on its customers; the messages are those
        they caused, and enough of the earlier ones to say what changed. None when nothing is known of such a tenant.
        """
        ...


@runtime_checkable
class AuditLog(AuditTrail, Protocol):
    """What operators did to stored events."""

    async def latest(self, *, limit: int, action: str | None = None) -> Sequence[Audit]:
        """Entries, latest first; of one action only where it is named."""
        ...


@runtime_checkable
class InvariantLog(Protocol):
    """Looks for rows of which a `billing_core.oversight.invariants.Invariant` does not hold. Only reads."""

    async def sample(self) -> Sequence[Violation]:
        """Look at what waits, the newest events and some tenants, others each time; bounded, however much is stored."""
        ...

    async def everything(self) -> Sequence[Violation]:
        """Look at every row."""
        ...


@attrs.frozen(kw_only=True)
class CustomerLink:
    """Whose customer somebody is, and how many events wait to know."""

    customer_id: CustomerId
    tenant_id: TenantId | None
    waiting: int


@runtime_checkable
class StateUpkeep(Protocol):
    """What operators look up across all tenants. Only reads."""

    async def duplicate_subscriptions(self) -> Sequence[DuplicateSubscriptions]:
        """What `billing_core.model.duplicate_subscriptions` finds among all subscriptions."""
        ...

    async def customers(self, *, linked: bool, after: str, limit: int) -> Sequence[CustomerLink]:
        """Customers with a tenant, or those without one; ids above `after`, by id."""
        ...
