"""What publishing and streams need from the outside. The docstrings are the contracts."""

import enum
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import attrs

from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.model.epoch import Epoch


@attrs.frozen(kw_only=True)
class OutboxEntry:
    """A committed message on its way to the bus, and since when it has been waiting."""

    event: BillingEvent
    committed_at: datetime


@runtime_checkable
class Outbox(Protocol):
    """The messages that the bus has not confirmed yet."""

    async def unpublished(self, *, older_than: timedelta, limit: int) -> Sequence[OutboxEntry]:
        """Messages that have waited at least `older_than`, lowest numbers of each tenant first."""
        ...

    async def published(self, events: Collection[BillingEvent]) -> None:
        """Take messages out. Saying it twice is harmless."""
        ...

    async def oldest(self) -> timedelta:
        """How long the longest waiting message has waited; nothing when none waits."""
        ...

    async def history(self, *, after: tuple[TenantId, int], newest: int, limit: int) -> Sequence[BillingEvent]:
        """Messages that were taken out, by tenant and number, those behind `after`; of each tenant the `newest`."""
        ...


@runtime_checkable
class MessageHistory(Protocol):
    """Every message that was ever numbered, and how far each tenant's numbers go. Only reads."""

    async def events(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """Messages numbered strictly above `after`, lowest first, without a gap."""
        ...

    async def sequence(self, tenant_id: TenantId) -> int:
        """The number of a tenant's last message; 0 when there is none."""
        ...

    async def sequences(self, tenant_ids: Collection[TenantId]) -> Mapping[TenantId, int]:
        """The numbers of many tenants' last messages, of those that have any."""
        ...


@runtime_checkable
class EventBus(Protocol):
    """Per-tenant, contiguous log of messages, followed live by every server.

    A cache of the history in the repository: it may lose its tail or everything, it may neither reorder nor skip.
    """

    async def append(self, events: Sequence[BillingEvent], *, announced: bool = True) -> Mapping[TenantId, int]:
        """Append messages, ordered by number within each tenant, and say how far each tenant's log reaches now.

        A message that is there already is skipped, so a repeated call is safe. A message that would leave a hole is
        not taken, nor are its successors: the answer is then lower than the number asked for, and the caller sends
        what is missing first. An empty log takes any first number. Followers hear of what was taken, unless it is not
        to be `announced`.

        A tenant whose part of the bus does not answer is left out, and it is unknown what became of its messages.
        Raises EventBusUnavailableError when that is so for all of them.
        """
        ...

    async def read(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """Messages of the log numbered strictly above `after`, lowest first; () when the log does not have them."""
        ...

    def follow(self) -> AsyncGenerator[Sequence[BillingEvent], None]:
        """Messages of all tenants as they are appended. Ends never; raises EventBusUnavailableError.

        The first batch is empty: it comes when the follower listens, and from then on it misses nothing without a
        word. Another empty batch says that something may have been missed, as when a part of the bus is away.
        """
        ...


class BackfillTurn(enum.Enum):
    """What there is to do for whoever wants to fill the bus."""

    OURS = "ours"
    OTHERS = "others"
    """Somebody is at it."""
    DONE = "done"


@runtime_checkable
class BackfillableBus(EventBus, Protocol):
    """A bus that knows whether it was filled since it was empty."""

    async def claim_backfill(self, name: str, *, lease: timedelta) -> BackfillTurn:
        """Take the turn, or keep it: the same name may claim again. One that is not kept is free after `lease`.

        Raises EventBusUnavailableError.
        """
        ...

    async def finish_backfill(self) -> None:
        """Note that everything is there, until the bus loses it. Raises EventBusUnavailableError."""
        ...


@runtime_checkable
class EpochLog(Protocol):
    """The epochs of a database. The latest one is the current one."""

    async def enter(self) -> Epoch:
        """The current epoch; a new one is begun where the database shows that it was restored or has failed over.

        A database that has none yet gets its first. Asked by many at once, one new epoch is begun. Raises
        StoreUnavailableError.
        """
        ...

    async def begin(self, reason: str) -> Epoch:
        """Begin a new epoch: an operator knows what the database does not show. Raises StoreUnavailableError."""
        ...
