"""The event bus in one process: for tests, and for a deployment of one server without Redis."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta

import attrs

from billing_core.errors import EventBusUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.stream.ports import BackfillClaim


class MemoryEventBus:
    """A `BackfillableBus` with a bounded log per tenant. Followers receive what is appended in this process."""

    def __init__(self, *, log_length: int = 10_000, follower_backlog: int = 100_000) -> None:
        """Keep `log_length` messages per tenant; a follower with more than `follower_backlog` unread ones fails."""
        self._log_length = log_length
        self._follower_backlog = follower_backlog
        self._logs: dict[TenantId, deque[BillingEvent]] = {}
        self._followers: dict[int, _Follower] = {}
        self._claimed_by: str | None = None
        self._filled = False

    async def append(
        self, events: Sequence[BillingEvent], *, announced: bool = True, trace_context: str | None = None
    ) -> Mapping[TenantId, int]:
        """Append messages, and return the last number in each tenant's log."""
        heads: dict[TenantId, int] = {}
        accepted = []
        for event in events:
            log = self._logs.setdefault(event.tenant_id, deque(maxlen=self._log_length))
            if not log or event.sequence == log[-1].sequence + 1:
                log.append(event)
                accepted.append(event)
            heads[event.tenant_id] = log[-1].sequence
        if accepted and announced and self._followers:
            now = time.time()
            live = [attrs.evolve(event, published_at=now, trace_context=trace_context) for event in accepted]
            for follower in self._followers.values():
                follower.put(live)
        return heads

    async def read(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """Return messages of a tenant's log."""
        return [event for event in self._logs.get(tenant_id, ()) if event.sequence > after][:limit]

    async def replace(self, tenant_id: TenantId, events: Sequence[BillingEvent]) -> None:
        """Replace a tenant's log."""
        self._logs[tenant_id] = deque(events, maxlen=self._log_length)

    async def follow(self) -> AsyncGenerator[Sequence[BillingEvent], None]:
        """Yield messages of all tenants as they are appended."""
        follower = _Follower(self._follower_backlog)
        self._followers[id(follower)] = follower
        try:
            yield ()
            while True:
                yield await follower.next()
        finally:
            del self._followers[id(follower)]

    async def claim_backfill(self, name: str, *, lease: timedelta) -> BackfillClaim:
        """Claim the backfill. A claim does not expire: everything that shares this bus ends with the process."""
        if self._filled:
            return BackfillClaim.DONE
        self._claimed_by = self._claimed_by or name
        return BackfillClaim.OURS if self._claimed_by == name else BackfillClaim.OTHERS

    async def finish_backfill(self) -> None:
        """Record that the bus is filled."""
        self._filled = True

    def clear(self) -> None:
        """Forget every message, as a flushed server does. Followers stay."""
        self._logs.clear()
        self._claimed_by, self._filled = None, False


class NullEventBus:
    """An `EventBus` that accepts every message and keeps none. Used while the stream is switched off."""

    async def append(
        self, events: Sequence[BillingEvent], *, announced: bool = True, trace_context: str | None = None
    ) -> Mapping[TenantId, int]:
        """Return the numbers of the messages, as if all were stored."""
        return {event.tenant_id: event.sequence for event in events}

    async def read(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """Return nothing: no message is kept."""
        return ()

    async def replace(self, tenant_id: TenantId, events: Sequence[BillingEvent]) -> None:
        """Do nothing: no message is kept."""

    async def follow(self) -> AsyncGenerator[Sequence[BillingEvent], None]:
        """Yield the first, empty batch, and never another one."""
        yield ()
        await asyncio.Event().wait()


class _Follower:
    """The unread messages of one follower."""

    def __init__(self, backlog: int) -> None:
        self._backlog = backlog
        self._unread: list[BillingEvent] = []
        self._arrived = asyncio.Event()

    def put(self, events: Sequence[BillingEvent]) -> None:
        self._unread += events
        self._arrived.set()

    async def next(self) -> Sequence[BillingEvent]:
        await self._arrived.wait()
        self._arrived.clear()
        unread, self._unread = self._unread, []
        if len(unread) > self._backlog:
            raise EventBusUnavailableError("follow: too far behind")
        return unread
