"""Publishing from the outbox to the bus: in order and without gaps, whatever is unavailable meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from time import monotonic
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import ACME, BOB, GLOBEX, Loop, subscription, until

from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.stream.ports import Outbox, OutboxEntry
from billing_core.stream.publisher import Publisher, PublishingReport, PublishPolicy
from billing_core.testing.builders import messages
from billing_memory.stream.bus import MemoryEventBus
from billing_memory.stream.outbox import MemoryOutbox

POLL = timedelta(milliseconds=5)


@attrs.define
class Bus:
    """A bus that can be unavailable, and that records the messages it was sent."""

    log: MemoryEventBus = attrs.field(factory=MemoryEventBus)
    away: bool = False
    cut_off: set[TenantId] = attrs.field(factory=set)
    """Tenants whose part of the bus is unavailable."""
    sent: list[Sequence[BillingEvent]] = attrs.field(factory=list)

    async def append(
        self, events: Sequence[BillingEvent], *, announced: bool = True, trace_context: str | None = None
    ) -> Mapping[TenantId, int]:
        """Append, unless the bus is unavailable."""
        if self.away:
            raise EventBusUnavailableError("append")
        self.sent.append(events)
        return await self.log.append(
            [event for event in events if event.tenant_id not in self.cut_off],
            announced=announced,
            trace_context=trace_context,
        )

    async def read(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """See EventBus."""
        return await self.log.read(tenant_id, after=after, limit=limit)

    def follow(self) -> AsyncIterator[Sequence[BillingEvent]]:
        """See EventBus."""
        return self.log.follow()

    async def numbers(self, tenant_id: TenantId = ACME) -> list[int]:
        """Return the numbers in a tenant's log."""
        return [event.sequence for event in await self.log.read(tenant_id, after=0, limit=1000)]


@attrs.define
class FalteringOutbox:
    """An outbox whose store is unavailable for the first search."""

    outbox: MemoryOutbox
    searched: int = 0

    async def unpublished(self, *, older_than: timedelta, limit: int) -> Sequence[OutboxEntry]:
        """Search, except the first time."""
        self.searched += 1
        if self.searched == 1:
            raise StoreUnavailableError("unpublished")
        return await self.outbox.unpublished(older_than=older_than, limit=limit)

    async def published(self, events: Collection[BillingEvent]) -> None:
        """See Outbox."""
        await self.outbox.published(events)


@attrs.define
class SlowOutbox:
    """An outbox that removes nothing until it may."""

    outbox: MemoryOutbox
    may_remove: asyncio.Event = attrs.field(factory=asyncio.Event)
    removals: int = 0

    async def unpublished(self, *, older_than: timedelta, limit: int) -> Sequence[OutboxEntry]:
        """Find nothing: a search is not what the test is about."""
        return []

    async def published(self, events: Collection[BillingEvent]) -> None:
        """Remove, once it may."""
        self.removals += 1
        await self.may_remove.wait()
        await self.outbox.published(events)


@attrs.define
class Desk:
    """A publisher with its bus, its outbox and its reports."""

    loop: Loop
    bus: Bus = attrs.field(factory=Bus)
    reports: list[PublishingReport] = attrs.field(factory=list)

    def publisher(self, *, clock: Callable[[], float] = monotonic, **policy: Any) -> Publisher:
        """Return a publisher that polls often."""
        return self.publisher_of(self.outbox, clock=clock, **{"poll": POLL, **policy})

    def publisher_of(self, outbox: Outbox, *, clock: Callable[[], float] = monotonic, **policy: Any) -> Publisher:
        """Return a publisher of another outbox."""
        return Publisher(
            history=self.loop.history,
            outbox=outbox,
            bus=self.bus,
            policy=PublishPolicy(**policy),
            observe=self.reports.append,
            clock=clock,
        )

    @property
    def outbox(self) -> MemoryOutbox:
        """The outbox of the database."""
        return MemoryOutbox(self.loop.database, self.loop.clock)

    async def waiting(self) -> list[int]:
        """Return the numbers of the messages in the outbox."""
        return [entry.event.sequence for entry in await self.outbox.unpublished(older_than=timedelta(0), limit=1000)]

    async def commit(self, count: int, *, tenant: TenantId = ACME) -> list[BillingEvent]:
        """Commit messages of a tenant, old enough for a search to find them."""
        before = len(self.loop.messages)
        fields = {} if tenant == ACME else {"customer_id": BOB}
        for number in range(count):
            shown = subscription(f"sub_{tenant}_{before + number}", **fields)
            await self.loop.arrive(self.loop.says(shown, tenant=tenant))
        self.loop.clock.advance(POLL)
        return self.loop.messages[before:]


@pytest.fixture
def desk(loop: Loop) -> Desk:
    """A desk without messages."""
    return Desk(loop)


async def test_messages_reach_the_bus_and_leave_the_outbox(desk: Desk) -> None:
    """Several tenants and any order of the given messages work alike."""
    events = [*await desk.commit(2), *await desk.commit(1, tenant=GLOBEX), *await desk.commit(1)]
    await desk.publisher().publish(events[::-1])
    assert (await desk.bus.numbers(), await desk.bus.numbers(GLOBEX)) == ([1, 2, 3], [1])
    assert await desk.waiting() == []
    assert desk.reports == [PublishingReport(published=4, backfilled=0, failed=0)]


async def test_publishing_again_changes_nothing(desk: Desk) -> None:
    """The repetition may be in one call, or in the calls of two processes."""
    events = await desk.commit(2)
    await desk.publisher().publish([*events, *events])
    await desk.publisher().publish(events)
    assert await desk.bus.numbers() == [1, 2]


@pytest.mark.parametrize("batch", [1, 2, 500])
async def test_messages_the_bus_lost_are_resent_from_the_history(desk: Desk, batch: int) -> None:
    """Any number of messages, in batches of any size."""
    events = await desk.commit(7)
    await desk.bus.append(events[:1])
    await desk.publisher(batch=batch).publish(events[5:])
    assert await desk.bus.numbers() == [1, 2, 3, 4, 5, 6, 7]
    assert desk.reports == [PublishingReport(published=2, backfilled=6, failed=0)]


async def test_a_gap_of_one_tenant_does_not_delay_another(desk: Desk) -> None:
    """Only the missing messages are sent again."""
    acme, globex = await desk.commit(3), await desk.commit(2, tenant=GLOBEX)
    await desk.bus.append(acme[:1])
    await desk.publisher().publish([acme[2], *globex])
    assert (await desk.bus.numbers(), await desk.bus.numbers(GLOBEX)) == ([1, 2, 3], [1, 2])
    assert [report.backfilled for report in desk.reports] == [2]


async def test_messages_that_the_history_lacks_leave_a_gap(desk: Desk) -> None:
    """After a restored backup, for example: nothing can be resent, and the call ends."""
    await desk.bus.append(messages(ACME, 1, 1))
    async with asyncio.timeout(10):
        assert await desk.publisher().publish(messages(ACME, 3, 4))
    assert await desk.bus.numbers() == [1]
    assert desk.reports == [PublishingReport(published=2, backfilled=0, failed=0)]


async def test_a_bus_that_lost_everything_continues_with_the_next_message(desk: Desk) -> None:
    """The history is not copied: readers find older messages in the repository."""
    events = await desk.commit(3)
    await desk.publisher().publish(events[:2])
    desk.bus.log.clear()
    await desk.publisher().publish(events[2:])
    assert await desk.bus.numbers() == [3]


async def test_an_unavailable_bus_leaves_messages_in_the_outbox(desk: Desk) -> None:
    """The call raises."""
    events = await desk.commit(2)
    desk.bus.away = True
    with pytest.raises(EventBusUnavailableError):
        await desk.publisher().publish(events)
    assert await desk.waiting() == [1, 2]


async def test_an_unavailable_part_of_the_bus_delays_only_its_own_messages(desk: Desk) -> None:
    """Other tenants' messages are published. Nothing is resent to the unavailable part: its last number is unknown."""
    events = [*await desk.commit(2), *await desk.commit(1, tenant=GLOBEX)]
    desk.bus.cut_off = {ACME}
    assert not await desk.publisher().publish(events)
    assert (await desk.bus.numbers(), await desk.bus.numbers(GLOBEX)) == ([], [1])
    assert await desk.waiting() == [1, 2]
    assert desk.reports == [PublishingReport(published=1, backfilled=0, failed=2)]
    desk.bus.cut_off = set()
    assert await desk.publisher().publish(events)
    assert (await desk.bus.numbers(), await desk.waiting()) == ([1, 2], [])


async def test_messages_that_failed_are_sent_once_the_bus_is_back(desk: Desk) -> None:
    """The search of the outbox finds them; each failure is reported."""
    publisher = desk.publisher()
    publisher.offer(await desk.commit(2))
    desk.bus.away = True
    running = asyncio.create_task(publisher.run())
    await until(lambda: len(desk.reports) >= 2)
    assert set(desk.reports) == {PublishingReport(published=0, backfilled=0, failed=2)}
    desk.bus.away = False
    await until(lambda: not desk.loop.database.outbox)
    publisher.stop()
    await running
    assert await desk.bus.numbers() == [1, 2]


async def test_the_wait_since_the_commit_is_reported(desk: Desk) -> None:
    """By this process's clock for its own messages, by the store's for those of others; not for those that stay."""
    now = [100.0]
    publisher = desk.publisher(clock=lambda: now[0], poll=timedelta(seconds=10))
    await desk.commit(1, tenant=GLOBEX)
    desk.loop.clock.advance(timedelta(minutes=5))
    running = asyncio.create_task(publisher.run())
    await until(lambda: len(desk.reports) == 1)
    assert desk.reports[0].waits == {(timedelta(minutes=5) + POLL).total_seconds(): 1}
    publisher.offer(await desk.commit(2))
    now[0] += 3
    await until(lambda: len(desk.reports) == 2)
    publisher.stop()
    await running
    assert desk.reports[1].waits == {3: 2}
    desk.bus.cut_off = {ACME}
    await publisher.publish(await desk.commit(1), [90.0])
    assert desk.reports[-1].waits == {}


async def test_messages_of_a_dead_process_are_found(desk: Desk) -> None:
    """It died between commit and publish. Several batches are published without a pause in between."""
    await desk.commit(5)
    desk.loop.clock.advance(timedelta(minutes=5))
    publisher = desk.publisher(batch=2, poll=timedelta(minutes=5))
    running = asyncio.create_task(publisher.run())
    await until(lambda: not desk.loop.database.outbox)
    publisher.stop()
    await running
    assert await desk.bus.numbers() == [1, 2, 3, 4, 5]
    assert [len(events) for events in desk.bus.sent] == [2, 2, 1]


async def test_a_failed_search_pauses_although_more_is_waiting(desk: Desk) -> None:
    """An unavailable bus is tried once per poll interval."""
    await desk.commit(3)
    desk.loop.clock.advance(timedelta(minutes=5))
    desk.bus.away = True
    publisher = desk.publisher(batch=1, poll=timedelta(minutes=5))
    running = asyncio.create_task(publisher.run())
    await until(lambda: bool(desk.reports))
    for _ in range(20):
        await asyncio.sleep(0)
    publisher.stop()
    await running
    assert desk.reports == [PublishingReport(published=0, backfilled=0, failed=1)]


async def test_fresh_messages_are_published_at_once(desk: Desk) -> None:
    """They do not wait for a search, also after a time without any."""
    publisher = desk.publisher(poll=timedelta(minutes=5))
    running = asyncio.create_task(publisher.run())
    for _ in range(2):
        publisher.offer(await desk.commit(1))
        await until(lambda: not desk.loop.database.outbox)
    publisher.stop()
    await running
    assert await desk.bus.numbers() == [1, 2]


async def test_no_message_waits_until_others_have_left_the_outbox(desk: Desk) -> None:
    """All that were sent meanwhile leave it together, before the publisher has stopped."""
    outbox = SlowOutbox(desk.outbox)
    publisher = desk.publisher_of(outbox, gather=timedelta(0))
    running = asyncio.create_task(publisher.run())
    for number in (1, 2, 3):
        publisher.offer(await desk.commit(1))
        await until(lambda count=number: len(desk.bus.sent) == count)
    publisher.stop()
    assert await desk.waiting() == [1, 2, 3]
    outbox.may_remove.set()
    await running
    assert (await desk.waiting(), outbox.removals) == ([], 2)


async def test_what_was_sent_leaves_the_outbox_in_one_transaction(desk: Desk) -> None:
    """One for each message would cost more than to send it. A publisher that stops does not wait for more."""
    outbox = SlowOutbox(desk.outbox)
    outbox.may_remove.set()
    publisher = desk.publisher_of(outbox, gather=timedelta(minutes=5))
    running = asyncio.create_task(publisher.run())
    for number in (1, 2, 3):
        publisher.offer(await desk.commit(1))
        await until(lambda count=number: len(desk.bus.sent) == count)
    assert (await desk.waiting(), outbox.removals) == ([1, 2, 3], 0)
    publisher.stop()
    await running
    assert (await desk.waiting(), outbox.removals) == ([], 1)


async def test_stopping_sends_the_queued_messages(desk: Desk) -> None:
    """All of them, batch by batch."""
    publisher = desk.publisher(batch=2, poll=timedelta(minutes=5))
    publisher.offer(await desk.commit(5))
    publisher.stop()
    await publisher.run()
    assert await desk.bus.numbers() == [1, 2, 3, 4, 5]
    assert await desk.waiting() == []


async def test_memory_is_bounded(desk: Desk) -> None:
    """Messages beyond the limit stay in the outbox, where a search finds them."""
    publisher = desk.publisher(queue_limit=2, poll=timedelta(minutes=5))
    publisher.offer(await desk.commit(3))
    publisher.offer(await desk.commit(1))
    publisher.stop()
    await publisher.run()
    assert await desk.bus.numbers() == [1, 2]
    assert await desk.waiting() == [3, 4]


async def test_the_search_continues_after_the_store_was_unavailable(desk: Desk) -> None:
    """It searches again one poll interval later."""
    await desk.commit(1)
    outbox = FalteringOutbox(desk.outbox)
    publisher = desk.publisher_of(outbox, poll=POLL)
    running = asyncio.create_task(publisher.run())
    await until(lambda: not desk.loop.database.outbox)
    publisher.stop()
    await running
    assert outbox.searched >= 2
