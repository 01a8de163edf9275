"""Publishing: from the outbox to the bus, each tenant's messages in order and without a gap."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import attrs

from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.stream.ports import EventBus, MessageHistory, Outbox
from billing_core.tracing import NOT_TRACED, Tracer
from billing_core.waiting import wait_at_most


@attrs.frozen(kw_only=True)
class PublishPolicy:
    """Batch size, intervals and memory limit of publishing."""

    batch: int = 500
    poll: timedelta = timedelta(seconds=1)
    """Interval between searches of the outbox, which cover messages that have waited at least this long."""
    gather: timedelta = timedelta(milliseconds=100)
    """How long messages that were sent gather, so that one transaction removes them from the outbox."""
    queue_limit: int = 10_000
    """Messages kept in memory. Any more are left in the outbox, where the next search finds them."""


@attrs.frozen(kw_only=True)
class PublishingReport:
    """The result of publishing one batch."""

    published: int
    backfilled: int
    """Messages sent again because the bus had lost them."""
    failed: int
    waits: Mapping[float, int] = attrs.field(factory=dict, eq=False)
    """How many of the published messages waited so many seconds since their commit."""
    bus_error: EventBusUnavailableError | None = attrs.field(default=None, eq=False)
    """Why the bus took none of them, if it was the bus."""


_Committed = tuple[BillingEvent, float, str | None]
"""A message, when it was committed, by the publisher's clock, and the context of the trace, if that is known."""


class Publisher:
    """Sends committed messages to the bus, and removes them from the outbox once the bus has them.

    Every process publishes what it committed, straight from memory. Messages left over after a crash between commit and
    publish, or while the bus was unavailable, are found in the outbox by any process. Concurrent publishers are
    harmless: the bus accepts each message once, and only after its predecessor.
    """

    def __init__(
        self,
        *,
        history: MessageHistory,
        outbox: Outbox,
        bus: EventBus,
        policy: PublishPolicy,
        observe: Callable[[PublishingReport], None],
        clock: Callable[[], float] = time.monotonic,
        tracer: Tracer = NOT_TRACED,
    ) -> None:
        self._history = history
        self._outbox = outbox
        self._bus = bus
        self._policy = policy
        self._observe = observe
        self._clock = clock
        self._tracer = tracer
        self._queue: deque[_Committed] = deque()
        self._sent: list[BillingEvent] = []
        """Messages that the bus has and the outbox, too."""
        self._sent_some = asyncio.Event()
        self._sent_all = False
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def offer(self, events: Sequence[BillingEvent]) -> None:
        """Queue committed messages; `run` publishes them at once. Messages beyond the queue limit are skipped."""
        room = self._policy.queue_limit - len(self._queue)
        now, context = self._clock(), self._tracer.context()
        self._queue.extend((event, now, context) for event in events[: max(room, 0)])
        self._wake.set()

    async def run(self) -> None:
        """Publish until stopped; messages still queued in memory are sent before it returns."""
        self._sent_all = False
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish_left_over())
            tasks.create_task(self._clear_outbox())
            await self._publish_queued()
            self._sent_all = True
            self._sent_some.set()

    def stop(self) -> None:
        """Ask `run` to return once its queue is empty."""
        self._stopping.set()
        self._wake.set()

    async def _publish_queued(self) -> None:
        while self._queue or not self._stopping.is_set():
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            count = min(len(self._queue), self._policy.batch)
            self._sent += await self._send([self._queue.popleft() for _ in range(count)])
            self._sent_some.set()

    async def _clear_outbox(self) -> None:
        """Remove what was sent. Beside the sending: no message waits for the commit that removes others."""
        while self._sent or not self._sent_all:
            if not self._sent:
                self._sent_some.clear()
                await self._sent_some.wait()
                continue
            await wait_at_most(self._stopping, self._policy.gather)
            sent, self._sent = self._sent, []
            with contextlib.suppress(StoreUnavailableError):  # they are found, sent again, and known to the bus
                await self._outbox.published(sent)

    async def _publish_left_over(self) -> None:
        """Search the outbox. The pause doubles as back-off: an unavailable bus is tried once per poll interval."""
        while not self._stopping.is_set():
            with contextlib.suppress(StoreUnavailableError):
                entries = await self._outbox.unpublished(older_than=self._policy.poll, limit=self._policy.batch)
                full = len(entries) == self._policy.batch
                now = self._clock()
                found = [(entry.event, now - entry.waited.total_seconds(), None) for entry in entries]
                if found:
                    sent = await self._send(found)
                    await self._outbox.published(sent)
                    if full and len(sent) == len(found):
                        continue
            await wait_at_most(self._stopping, self._policy.poll)

    async def _send(self, committed: Sequence[_Committed]) -> Sequence[BillingEvent]:
        """Send messages and return those that the bus has. The others stay in the outbox for the next search."""
        events, instants, contexts = zip(*committed, strict=True)
        with self._tracer.publishing(contexts):
            try:
                return await self._append(events, instants)
            except (EventBusUnavailableError, StoreUnavailableError) as exc:
                bus_error = exc if isinstance(exc, EventBusUnavailableError) else None
                self._observe(PublishingReport(published=0, backfilled=0, failed=len(events), bus_error=bus_error))
                return ()

    async def publish(self, events: Sequence[BillingEvent], committed: Sequence[float] = ()) -> bool:
        """Append messages of any tenants to the bus, resend what it lost, and remove them from the outbox.

        Args:
            events: the messages.
            committed: when each was committed, by the publisher's clock, if that is known.

        Returns: whether the bus accepted all of them. Messages for an unavailable part of the bus stay in the outbox.
        Raises: EventBusUnavailableError, StoreUnavailableError; repeating the call is safe.
        """
        sent = await self._append(events, committed)
        await self._outbox.published(sent)
        return len(sent) == len({(event.tenant_id, event.sequence) for event in events})

    async def _append(self, events: Sequence[BillingEvent], committed: Sequence[float]) -> Sequence[BillingEvent]:
        """Append messages to the bus, resend what it lost, and return those that it has. See `publish`."""
        numbered = {(event.tenant_id, event.sequence): event for event in events}
        ordered = [numbered[number] for number in sorted(numbered)]
        last = {event.tenant_id: event.sequence for event in ordered}
        heads = await self._bus.append(ordered, trace_context=self._tracer.context())
        backfilled = 0
        for tenant_id, head in heads.items():
            if head < last[tenant_id]:
                backfilled += await self._resend(tenant_id, after=head, until=last[tenant_id])
        # An unavailable part of the bus may or may not have accepted its messages: they stay in the outbox.
        taken = [event for event in ordered if event.tenant_id in heads]
        now = self._clock()
        instants = Counter(at for event, at in zip(events, committed, strict=False) if event.tenant_id in heads)
        self._observe(
            PublishingReport(
                published=len(taken),
                backfilled=backfilled,
                failed=len(ordered) - len(taken),
                waits={now - at: count for at, count in instants.items()},
            )
        )
        return taken

    async def _resend(self, tenant_id: TenantId, *, after: int, until: int) -> int:
        """Send the messages numbered in `(after, until]` from the history, because the bus no longer has them."""
        sent = 0
        while after < until:
            events = await self._history.events(tenant_id, after=after, limit=self._policy.batch)
            if not events:
                break
            head = (await self._bus.append(events, trace_context=self._tracer.context()))[tenant_id]
            sent += len(events)
            after = max(head, events[-1].sequence)
        return sent
