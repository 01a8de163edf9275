"""The event bus inside one process: for tests, and for a deployment of one server without Redis."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta

from billing_core.errors import EventBusUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.stream.ports import BackfillClaim


class MemoryEventBus:
    """EventBus with a bounded log per tenant. Followers share the process, so they hear only of its own appends."""

    def __init__(self, *, log_length: int = 10_000, follower_backlog: int = 100_000) -> None:
        """Keep `log_length` messages per tenant; cut off a follower that leaves more than `follower_backlog` unread."""
        self._log_length = log_length
        self._follower_backlog = follower_backlog
        self._logs: dict[TenantId, deque[BillingEvent]] = {}
        self._followers: dict[int, _Follower] = {}
        self._filler: str | None = None
        self._filled = False

    async def append(self, events: Sequence[BillingEvent], *, announced: bool = True) -> Mapping[TenantId, int]:
        """See EventBus."""
        heads: dict[TenantId, int] = {}
        taken = []
        for event in events:
            log = self._logs.setdefault(event.tenant_id, deque(maxlen=self._log_length))
            if not log or event.sequence == log[-1].sequence + 1:
                log.append(event)
                taken.append(event)
            heads[event.tenant_id] = log[-1].sequence
        if taken and announced:
            for follower in self._followers.values():
                follower.tell(taken)
        return heads

    async def read(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """See EventBus."""
        return [event for event in self._logs.get(tenant_id, ()) if event.sequence > after][:limit]

    async def follow(self) -> AsyncGenerator[Sequence[BillingEvent], None]:
        """See EventBus."""
        follower = _Follower(self._follower_backlog)
        self._followers[id(follower)] = follower
        try:
            yield ()
            while True:
                yield await follower.next()
        finally:
            del self._followers[id(follower)]

    async def claim_backfill(self, name: str, *, lease: timedelta) -> BackfillClaim:
        """See BackfillableBus. Whoever has the turn keeps it: processes that share this die together."""
        if self._filled:
            return BackfillClaim.DONE
        self._filler = self._filler or name
        return BackfillClaim.OURS if self._filler == name else BackfillClaim.OTHERS

    async def finish_backfill(self) -> None:
        """See BackfillableBus."""
        self._filled = True

    def clear(self) -> None:
        """Forget every message, as a flushed server does. Followers stay."""
        self._logs.clear()
        self._filler, self._filled = None, False


class NullEventBus:
    """EventBus where nobody listens: takes every message and keeps none. Bound while the stream is switched off."""

    async def append(self, events: Sequence[BillingEvent], *, announced: bool = True) -> Mapping[TenantId, int]:
        """See EventBus."""
        return {event.tenant_id: event.sequence for event in events}

    async def read(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """See EventBus: the log has nothing."""
        return ()

    async def follow(self) -> AsyncGenerator[Sequence[BillingEvent], None]:
        """See EventBus: there is nothing to hear."""
        yield ()
        await asyncio.Event().wait()


class _Follower:
    """What one follower has not read yet."""

    def __init__(self, backlog: int) -> None:
        self._backlog = backlog
        self._unread: list[BillingEvent] = []
        self._news = asyncio.Event()

    def tell(self, events: Sequence[BillingEvent]) -> None:
        self._unread += events
        self._news.set()

    async def next(self) -> Sequence[BillingEvent]:
        await self._news.wait()
        self._news.clear()
        unread, self._unread = self._unread, []
        if len(unread) > self._backlog:
            raise EventBusUnavailableError("follow: too far behind")
        return unread
