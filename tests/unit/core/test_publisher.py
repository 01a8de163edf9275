"""From the outbox to the bus: in order, without a hole, whatever went away meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import ACME, BOB, GLOBEX, Loop, subscription, until

from billing_core.errors import EventBusUnavailableError, StoreUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.stream.ports import OutboxEntry
from billing_core.stream.publisher import Publisher, PublishingReport, PublishPolicy
from billing_memory.stream.bus import MemoryEventBus
from billing_memory.stream.outbox import MemoryOutbox

POLL = timedelta(milliseconds=5)


@attrs.define
class Bus:
    """A bus that can be away, and remembers what it was sent."""

    log: MemoryEventBus = attrs.field(factory=MemoryEventBus)
    away: bool = False
    cut_off: set[TenantId] = attrs.field(factory=set)
    """Tenants whose part of it is away."""
    sent: list[Sequence[BillingEvent]] = attrs.field(factory=list)

    async def append(self, events: Sequence[BillingEvent], *, announced: bool = True) -> Mapping[TenantId, int]:
        """Append, unless it is away."""
        if self.away:
            raise EventBusUnavailableError("append")
        self.sent.append(events)
        return await self.log.append(
            [event for event in events if event.tenant_id not in self.cut_off], announced=announced
        )

    async def read(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """See EventBus."""
        return await self.log.read(tenant_id, after=after, limit=limit)

    def follow(self) -> AsyncIterator[Sequence[BillingEvent]]:
        """See EventBus."""
        return self.log.follow()

    async def numbers(self, tenant_id: TenantId = ACME) -> list[int]:
        """The numbers in a tenant's log."""
        return [event.sequence for event in await self.log.read(tenant_id, after=0, limit=1000)]


@attrs.define
class FalteringOutbox:
    """An outbox whose store is away when it is first searched."""

    outbox: MemoryOutbox
    searched: int = 0

    async def unpublished(self, *, older_than: timedelta, limit: int) -> Sequence[OutboxEntry]:
        """Search, if the store is back."""
        self.searched += 1
        if self.searched == 1:
            raise StoreUnavailableError("unpublished")
        return await self.outbox.unpublished(older_than=older_than, limit=limit)

    async def published(self, events: Collection[BillingEvent]) -> None:
        """See Outbox."""
        await self.outbox.published(events)


@attrs.define
class Desk:
    """A publisher and what surrounds it."""

    loop: Loop
    bus: Bus = attrs.field(factory=Bus)
    reports: list[PublishingReport] = attrs.field(factory=list)

    def publisher(self, **policy: Any) -> Publisher:
        """A publisher that polls often."""
        return Publisher(
            history=self.loop.history,
            outbox=self.outbox,
            bus=self.bus,
            policy=PublishPolicy(**{"poll": POLL, **policy}),
            observe=self.reports.append,
        )

    @property
    def outbox(self) -> MemoryOutbox:
        """The outbox of the database."""
        return MemoryOutbox(self.loop.database, self.loop.clock)

    async def waiting(self) -> list[int]:
        """The numbers of messages that the outbox still holds."""
        return [entry.event.sequence for entry in await self.outbox.unpublished(older_than=timedelta(0), limit=1000)]

    async def commit(self, count: int, *, tenant: TenantId = ACME) -> list[BillingEvent]:
        """Commit messages of a tenant, long enough ago for a search to find them."""
        before = len(self.loop.messages)
        fields = {} if tenant == ACME else {"customer_id": BOB}
        for number in range(count):
            shown = subscription(f"sub_{tenant}_{before + number}", **fields)
            await self.loop.arrive(self.loop.says(shown, tenant=tenant))
        self.loop.clock.advance(POLL)
        return self.loop.messages[before:]


@pytest.fixture
def desk(loop: Loop) -> Desk:
    """A desk without any messages."""
    return Desk(loop)


async def test_messages_reach_the_bus_and_leave_the_outbox(desk: Desk) -> None:
    """Tenants do not mind each other, nor the order the messages are given in."""
    events = [*await desk.commit(2), *await desk.commit(1, tenant=GLOBEX), *await desk.commit(1)]
    await desk.publisher().publish(events[::-1])
    assert (await desk.bus.numbers(), await desk.bus.numbers(GLOBEX)) == ([1, 2, 3], [1])
    assert await desk.waiting() == []
    assert desk.reports == [PublishingReport(published=4, backfilled=0, failed=0)]


async def test_publishing_again_changes_nothing(desk: Desk) -> None:
    """Twice in one call, or in two calls of two processes."""
    events = await desk.commit(2)
    await desk.publisher().publish([*events, *events])
    await desk.publisher().publish(events)
    assert await desk.bus.numbers() == [1, 2]


@pytest.mark.parametrize("batch", [1, 2, 500])
async def test_what_the_bus_misses_is_filled_from_the_history(desk: Desk, batch: int) -> None:
    """However much it is, and however small the steps."""
    events = await desk.commit(7)
    await desk.bus.append(events[:1])
    await desk.publisher(batch=batch).publish(events[5:])
    assert await desk.bus.numbers() == [1, 2, 3, 4, 5, 6, 7]
    assert desk.reports[0].published == 2
    assert desk.reports[0].backfilled >= 4


async def test_a_tenant_s_hole_does_not_hold_up_another(desk: Desk) -> None:
    """Only what is missing is sent again."""
    acme, globex = await desk.commit(3), await desk.commit(2, tenant=GLOBEX)
    await desk.bus.append(acme[:1])
    await desk.publisher().publish([acme[2], *globex])
    assert (await desk.bus.numbers(), await desk.bus.numbers(GLOBEX)) == ([1, 2, 3], [1, 2])


async def test_a_bus_that_lost_everything_goes_on_where_we_are(desk: Desk) -> None:
    """Copying all history would help nobody: readers find it in the repository."""
    events = await desk.commit(3)
    await desk.publisher().publish(events[:2])
    desk.bus.log.clear()
    await desk.publisher().publish(events[2:])
    assert await desk.bus.numbers() == [3]


async def test_a_bus_that_is_away_leaves_messages_in_the_outbox(desk: Desk) -> None:
    """The call says so."""
    events = await desk.commit(2)
    desk.bus.away = True
    with pytest.raises(EventBusUnavailableError):
        await desk.publisher().publish(events)
    assert await desk.waiting() == [1, 2]


async def test_a_part_of_the_bus_that_is_away_keeps_its_own_messages_waiting(desk: Desk) -> None:
    """The other tenants' messages are published; of these nothing is refilled from a beginning nobody knows."""
    events = [*await desk.commit(2), *await desk.commit(1, tenant=GLOBEX)]
    desk.bus.cut_off = {ACME}
    assert not await desk.publisher().publish(events)
    assert (await desk.bus.numbers(), await desk.bus.numbers(GLOBEX)) == ([], [1])
    assert await desk.waiting() == [1, 2]
    assert desk.reports == [PublishingReport(published=1, backfilled=0, failed=2)]
    desk.bus.cut_off = set()
    assert await desk.publisher().publish(events)
    assert (await desk.bus.numbers(), await desk.waiting()) == ([1, 2], [])


async def test_what_failed_is_sent_when_the_bus_is_back(desk: Desk) -> None:
    """By the search of the outbox, without anybody's help; the failure is reported."""
    publisher = desk.publisher()
    publisher.offer(await desk.commit(2))
    desk.bus.away = True
    running = asyncio.create_task(publisher.run())
    await until(lambda: len(desk.reports) >= 2)
    assert {(report.published, report.failed) for report in desk.reports} == {(0, 2)}
    desk.bus.away = False
    await until(lambda: not desk.loop.database.outbox)
    publisher.stop()
    await running
    assert await desk.bus.numbers() == [1, 2]


async def test_messages_nobody_offered_are_found(desk: Desk) -> None:
    """Their process died between commit and publish. More than one batch of them are found without a pause."""
    await desk.commit(5)
    desk.loop.clock.advance(timedelta(minutes=5))
    publisher = desk.publisher(batch=2, poll=timedelta(minutes=5))
    running = asyncio.create_task(publisher.run())
    await until(lambda: not desk.loop.database.outbox)
    publisher.stop()
    await running
    assert await desk.bus.numbers() == [1, 2, 3, 4, 5]
    assert [len(events) for events in desk.bus.sent] == [2, 2, 1]


async def test_fresh_messages_leave_at_once(desk: Desk) -> None:
    """Without waiting for a search."""
    publisher = desk.publisher(poll=timedelta(minutes=5))
    running = asyncio.create_task(publisher.run())
    await asyncio.sleep(0)
    publisher.offer(await desk.commit(1))
    await until(lambda: not desk.loop.database.outbox)
    publisher.stop()
    await running
    assert await desk.bus.numbers() == [1]


async def test_stopping_sends_what_is_fresh(desk: Desk) -> None:
    """All of it, batch by batch."""
    publisher = desk.publisher(batch=2, poll=timedelta(minutes=5))
    publisher.offer(await desk.commit(5))
    publisher.stop()
    await publisher.run()
    assert await desk.bus.numbers() == [1, 2, 3, 4, 5]
    assert await desk.waiting() == []


async def test_memory_is_bounded(desk: Desk) -> None:
    """What does not fit stays in the outbox, for the search to find."""
    publisher = desk.publisher(queue_limit=2, poll=timedelta(minutes=5))
    publisher.offer(await desk.commit(3))
    publisher.offer(await desk.commit(1))
    publisher.stop()
    await publisher.run()
    assert await desk.bus.numbers() == [1, 2]
    assert await desk.waiting() == [3, 4]


async def test_the_search_outlives_a_store_that_is_away(desk: Desk) -> None:
    """It searches again a poll later."""
    await desk.commit(1)
    outbox = FalteringOutbox(desk.outbox)
    publisher = Publisher(
        history=desk.loop.history,
        outbox=outbox,
        bus=desk.bus,
        policy=PublishPolicy(poll=POLL),
        observe=desk.reports.append,
    )
    running = asyncio.create_task(publisher.run())
    await until(lambda: not desk.loop.database.outbox)
    publisher.stop()
    await running
    assert outbox.searched >= 2
