"""Publishing: from the outbox to the bus, each tenant's messages in order and without a hole."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from itertools import groupby

import attrs

from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.stream.ports import EventBus, MessageHistory, Outbox


@attrs.frozen(kw_only=True)
class PublishPolicy:
    """How messages get to the bus."""

    batch: int = 500
    poll: timedelta = timedelta(seconds=1)
    """How often the outbox is searched for what nobody published, and how long a message may wait before that."""
    queue_limit: int = 10_000
    """Messages kept in memory; beyond it they are left to the search of the outbox."""


@attrs.frozen(kw_only=True)
class PublishingReport:
    """What one round of publishing came to."""

    published: int
    backfilled: int
    """Messages sent again because the bus had lost them."""
    failed: int


class Publisher:
    """Sends committed messages to the bus and takes them out of the outbox once it has them.

    Every process publishes what it committed, straight from memory; whatever is left over (a crash between commit and
    publish, a bus that was away) is found in the outbox by anyone. Two publishers at once are harmless: the bus takes
    each message once, and only behind its predecessor.
    """

    def __init__(
        self,
        *,
        history: MessageHistory,
        outbox: Outbox,
        bus: EventBus,
        policy: PublishPolicy,
        observe: Callable[[PublishingReport], None],
    ) -> None:
        self._history = history
        self._outbox = outbox
        self._bus = bus
        self._policy = policy
        self._observe = observe
        self._fresh: deque[BillingEvent] = deque()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def offer(self, events: Sequence[BillingEvent]) -> None:
        """Take committed messages; they leave with the next round."""
        room = self._policy.queue_limit - len(self._fresh)
        self._fresh.extend(events[: max(room, 0)])
        self._wake.set()

    async def run(self) -> None:
        """Publish until stopped; what is in memory then is still sent."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_fresh())
            tasks.create_task(self._run_left_over())

    def stop(self) -> None:
        """Ask `run` to end once nothing fresh is left."""
        self._stopping.set()
        self._wake.set()

    async def _run_fresh(self) -> None:
        while self._fresh or not self._stopping.is_set():
            if not self._fresh:
                self._wake.clear()
                await self._wake.wait()
                continue
            count = min(len(self._fresh), self._policy.batch)
            await self._publish_or_leave([self._fresh.popleft() for _ in range(count)])

    async def _run_left_over(self) -> None:
        """Search the outbox. The wait doubles as a back-off: a bus that is away is asked once a round."""
        while not self._stopping.is_set():
            with contextlib.suppress(StoreUnavailableError):
                entries = await self._outbox.unpublished(older_than=self._policy.poll, limit=self._policy.batch)
                full = len(entries) == self._policy.batch
                if entries and await self._publish_or_leave([entry.event for entry in entries]) and full:
                    continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._policy.poll.total_seconds())

    async def _publish_or_leave(self, events: Sequence[BillingEvent]) -> bool:
        """Publish, and say whether all of it; whatever fails stays in the outbox, where the next search finds it."""
        try:
            return await self.publish(events)
        except (EventBusUnavailableError, StoreUnavailableError):
            self._observe(PublishingReport(published=0, backfilled=0, failed=len(events)))
            return False

    async def publish(self, events: Sequence[BillingEvent]) -> bool:
        """Append messages of any tenants to the bus, filling what it lost, and take them out of the outbox.

        Returns: whether it took all of them; those of a part of the bus that is away stay in the outbox.
        Raises: EventBusUnavailableError, StoreUnavailableError; repeating the call is safe.
        """
        ordered = sorted(set(events), key=lambda event: (event.tenant_id, event.sequence))
        last = {tenant_id: max(one.sequence for one in run) for tenant_id, run in _by_tenant(ordered)}
        heads = await self._bus.append(ordered)
        backfilled = 0
        for tenant_id, head in heads.items():
            if head < last[tenant_id]:
                backfilled += await self._fill(tenant_id, after=head, until=last[tenant_id])
        # What a part of the bus that is away may or may not have taken stays in the outbox.
        taken = [event for event in ordered if event.tenant_id in heads]
        await self._outbox.published(taken)
        self._observe(PublishingReport(published=len(taken), backfilled=backfilled, failed=len(ordered) - len(taken)))
        return len(taken) == len(ordered)

    async def _fill(self, tenant_id: TenantId, *, after: int, until: int) -> int:
        """Send the messages the bus misses between its head and a number, from the history."""
        sent = 0
        while after < until:
            events = await self._history.events(tenant_id, after=after, limit=self._policy.batch)
            if not events:
                break
            head = (await self._bus.append(events))[tenant_id]
            sent += len(events)
            after = max(head, events[-1].sequence)
        return sent


def _by_tenant(ordered: Sequence[BillingEvent]) -> Iterable[tuple[TenantId, Iterable[BillingEvent]]]:
    return groupby(ordered, key=lambda event: event.tenant_id)
