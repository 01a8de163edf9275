"""Replays of any events, in any order and number: correct state is unchanged, damaged state is corrected."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from random import Random

import attrs
from hypothesis import given, settings
from tests.containers import container_with
from tests.property.choices import choices, scaled, shrinks_slowly
from tests.property.test_convergence import START, Delivery, Rows, World, worlds

from billing_app.container import memory_adapters
from billing_app.settings import Settings
from billing_core.events import BillingEvent, Disposition, Effect, Outcome
from billing_core.inbox.policy import Scope
from billing_core.inbox.selection import EventFilter
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase

LEASE = timedelta(minutes=1)
SETTINGS = Settings()


class Replays:
    """A world with all its events delivered, and a way to replay them."""

    def __init__(self, world: World) -> None:
        self.database = MemoryDatabase()
        self.world = world
        self.notified: list[BillingEvent] = []
        self._adapters = memory_adapters(SETTINGS, database=self.database, clock=ManualClock(START))
        with container_with(
            **self._adapters,
            settings=SETTINGS,
            translator=self.world.provider,
            scope=Scope(livemode=True),
            publish=self.notified.extend,
        ) as container:
            self._batches = container.batches()

    async def deliver(self, random: Random) -> None:
        """Deliver everything, in some order."""
        await Delivery(self.world, self._adapters, random).run()

    async def applied(self) -> list[int]:
        """Return the numbers of the applied events."""
        return list(await self._adapters["event_log"].select(EventFilter(statuses=(Disposition.APPLIED,))))

    async def replay(self, numbers: Sequence[int]) -> Sequence[Outcome]:
        """Replay these events as one batch."""
        outcomes = await self._batches.process(await self._adapters["replay_queue"].reclaim(numbers, lease=LEASE))
        # Events that waited for an object that is back are due now.
        while claims := await self._adapters["queue"].claim(limit=100, lease=LEASE):
            await self._batches.process(claims)
        return outcomes

    async def rows(self) -> Rows:
        """Read all rows of all tenants."""
        return await Rows.read(self._adapters, self.world)


@shrinks_slowly
@settings(max_examples=scaled(150))
@given(world=worlds(), delivery=choices(), replays=choices())
def test_replaying_applied_events_changes_nothing(world: World, delivery: Random, replays: Random) -> None:
    """Any events, in any batches and any order, any number of times."""

    async def check() -> None:
        it = Replays(world)
        await it.deliver(delivery)
        before, done = await it.rows(), effects(it)
        applied = await it.applied()
        for _ in range(4):
            outcomes = await it.replay(replays.sample(applied, replays.randint(0, len(applied))))
            assert {outcome.disposition for outcome in outcomes} <= {Disposition.APPLIED}
            assert Effect.CHANGED not in {outcome.effect for outcome in outcomes}
        assert (await it.rows(), effects(it), it.notified) == (before, done, [])

    asyncio.run(check())


@shrinks_slowly
@settings(max_examples=scaled(150))
@given(world=worlds(), delivery=choices(), damages=choices())
def test_a_replay_of_the_history_corrects_damaged_state(world: World, delivery: Random, damages: Random) -> None:
    """Missing rows come back, and the messages about them are numbered without a gap."""

    async def check() -> None:
        it = Replays(world)
        await it.deliver(delivery)
        before, last = await it.rows(), dict(it.database.tables.counters)
        gone = damage(it.database, damages)
        await it.replay(await it.applied())
        assert await it.rows() == before
        assert gone or not it.notified
        for tenant_id, count in it.database.tables.counters.items():
            mine = [event.sequence for event in it.notified if event.tenant_id == tenant_id]
            assert mine == list(range(last.get(tenant_id, 0) + 1, count + 1))
        notified = len(it.notified)
        await it.replay(await it.applied())
        assert len(it.notified) == notified

    asyncio.run(check())


def effects(it: Replays) -> Sequence[object]:
    """Return the recorded effect of every event."""
    rows = it.database.tables.dispatch.values()
    return [
        (row.dispatch_id, row.disposition, row.outcome and (row.outcome.effect, row.outcome.sequence)) for row in rows
    ]


def damage(database: MemoryDatabase, random: Random) -> int:
    """Delete some rows and write nonsense into others. Returns how many."""
    tables = database.tables
    count = 0
    for subscription_id, subscription in list(tables.subscriptions.items()):
        if random.random() < 0.4:
            del tables.subscriptions[subscription_id]
        elif random.random() < 0.5:
            nonsense = attrs.evolve(subscription.snapshot, status=random.choice(["canceled", "paused", "?"]), items=())
            tables.subscriptions[subscription_id] = attrs.evolve(subscription, snapshot=nonsense)
        else:
            continue
        count += 1
    for invoice_id, invoice in list(tables.invoices.items()):
        if random.random() < 0.4:
            del tables.invoices[invoice_id]
            tables.usage.pop(invoice_id, None)
        elif random.random() < 0.2:
            tables.usage.pop(invoice_id, None)
        elif random.random() < 0.5:
            nonsense = attrs.evolve(invoice.snapshot, status=random.choice(["draft", "void", "?"]), total=-1)
            tables.invoices[invoice_id] = attrs.evolve(invoice, snapshot=nonsense)
        else:
            continue
        count += 1
    for object_id in list(tables.records):
        if random.random() < 0.3:
            del tables.records[object_id]
            count += 1
    return count
