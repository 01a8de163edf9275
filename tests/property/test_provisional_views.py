"""An operation's answer and its events, in every order: what is shown is true, told once, and never undone in silence.

One subscription of one tenant. Before the operation others may change it, and that event is still in flight; after the
operation others may change it again. The operation's answer is taken in, or lost; another process may perform it again,
and shows the subscription as it is then. The provider's clock and ours differ by up to ten minutes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime, timedelta
from enum import Enum
from itertools import permutations
from random import Random
from types import SimpleNamespace
from typing import Final

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.containers import container_with
from tests.databases import Databases
from tests.postgres import move_clock
from tests.property.choices import choices, scaled, shrinks_slowly

from billing_app.container import Adapters, memory_adapters, postgres_adapters
from billing_app.settings import Settings
from billing_core.errors import StoreUnavailableError
from billing_core.events import ProviderEvent, Translation
from billing_core.inbox.batch import BatchProcessor
from billing_core.inbox.policy import Scope
from billing_core.model import (
    AccessPolicy,
    BillingRules,
    PlanCatalog,
    SubscriptionSnapshot,
    TenantSubscription,
)
from billing_core.payloads import access_section, loads, subscription_section
from billing_core.state.ports import BillingTransaction, UnitOfWork
from billing_core.state.provisional import ProvisionalBasis
from billing_core.state.refetch import Refetcher
from billing_core.state.rules import RulesBook
from billing_core.state.service import BillingService
from billing_core.testing.builders import ACME, AT, item, subscription
from billing_core.testing.scripted import ScriptedProvider
from billing_core.testing.timing import LONG
from billing_memory.clock import ManualClock
from billing_memory.gateway import MemoryGateway
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database

KEY: Final = "bo_1"
EVERY_STATUS: Final = ("active", "unpaid", "trialing", "paused")
BEFORE, EARLIER, STEP, AFTER, LATER = 1, 3, 4, 5, 7
"""Seats: at first, by the event in flight, between two steps of the operation, by its answer, and by a later change."""
DECIDED: Final = 2
"""Steps of an operation whose events decide in any order which is the last."""


class Fate(Enum):
    """The ways in which an answer may go."""

    TAKEN = "taken"
    LOST = "lost"
    REPEATED = "repeated"
    """Lost; another process performs the operation again, and reads the subscription."""
    CRASHED = "crashed"
    """The process ends while it writes the answer; then as above."""
    TWICE = "twice"
    """Taken in, and performed again all the same."""


@attrs.frozen(kw_only=True)
class Story:
    """The life of the subscription, in the order in which the provider lived it."""

    started: bool = False
    """The operation starts the subscription, instead of changing one whose first event has arrived."""
    steps: int = 1
    in_flight: bool = True
    later: int | None = 0
    """Seconds from the operation to the later change; None if there is none."""
    date: int = 0
    """Seconds from the operation's last event to the `Date` of its answer."""
    statuses: tuple[str, ...] = ("active",)
    """Of the states that follow each other; repeated as needed."""
    clock: timedelta = timedelta(0)
    """How far ours is ahead."""
    fate: Fate = Fate.TAKEN
    ids: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    """The provider's ids of the events, in the order in which they happened: they say nothing about it."""


@attrs.frozen(kw_only=True)
class Delivery:
    """One thing that reaches us."""

    name: str
    event: ProviderEvent | None = None
    shows: SubscriptionSnapshot | None = None
    """The subscription in an answer."""
    at: datetime = AT
    """The `Date` of the answer."""
    crashed: bool = False
    """Another process ended before while it wrote the answer."""


class World:
    """A story with its events and its answer."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.provider = ScriptedProvider()
        self.deliveries: list[Delivery] = []
        self.first: ProviderEvent | None = None
        self.alone: dict[tuple[str, ...], Sequence[Sequence[TenantSubscription]]] = {}
        """The rows of `rows_alone`, by the names of the events."""
        self._states: list[SubscriptionSnapshot] = []
        second = 0
        if not story.started:
            self.first = self._event("first", BEFORE, second)
            if story.in_flight:
                second += 30
                self._deliver("in flight", EARLIER, second)
        second += 30
        for step in range(story.steps):
            seats = AFTER if step == story.steps - 1 else STEP
            self._deliver(f"echo {step}", seats, second, key=KEY if story.steps == 1 else f"{KEY}.{step}")
        self.answer = self._answer("answer", second)
        if story.later is not None:
            second += story.later
            self._deliver("later", LATER, second)
        again = self._answer("again", second)
        match story.fate:
            case Fate.TAKEN:
                self.deliveries += [self.answer]
            case Fate.REPEATED:
                self.deliveries += [again]
            case Fate.CRASHED:
                self.deliveries += [attrs.evolve(again, crashed=True)]
            case Fate.TWICE:
                self.deliveries += [self.answer, again]
            case Fate.LOST:
                pass

    @property
    def truth(self) -> SubscriptionSnapshot:
        """Return the subscription as the provider left it."""
        return self._states[-1]

    def orders(self) -> Iterator[Sequence[Delivery]]:
        """Yield every order of arrival; an operation is performed again only after its answer was given."""
        for order in permutations(self.deliveries):
            if is_possible(order):
                yield order

    def _answer(self, name: str, second: int) -> Delivery:
        """Return the answer to a call, or to a read, that shows the latest state."""
        return Delivery(name=name, shows=self._states[-1], at=AT + timedelta(seconds=second + self.story.date))

    def _deliver(self, name: str, seats: int, second: int, *, key: str | None = None) -> None:
        self.deliveries.append(Delivery(name=name, event=self._event(name, seats, second, key=key)))

    def _event(self, name: str, seats: int, second: int, *, key: str | None = None) -> ProviderEvent:
        before = self._states[-1] if self._states else None
        status = self.story.statuses[len(self._states) % len(self.story.statuses)]
        seen = PlanCatalog().read_subscription(
            subscription("sub_1", status=status, items=(item(quantity=seats),)).snapshot
        )
        self._states.append(seen)
        says = Translation(
            customer_id=seen.customer_id,
            tenant_hint=ACME,
            snapshots=(seen,),
            creation=before is None,
            request_key=key,
        )
        number = self.story.ids[len(self._states) - 1]
        return self.provider.event(f"evt_{number}", says, at=AT + timedelta(seconds=second), before=before)


def is_possible(order: Sequence[Delivery]) -> bool:
    """Tell whether the operation is performed again only after its answer was given."""
    return [each.name for each in order if each.event is None] in ([], ["answer"], ["again"], ["answer", "again"])


# --- the application ----------------------------------------------------------------------------------------------


@attrs.frozen
class Stage:
    """Empty adapters, and a way to let time pass."""

    adapters: Adapters
    elapse: Callable[[timedelta], Awaitable[None]]


OpenStage = Callable[[timedelta], AbstractAsyncContextManager[Stage]]
"""Opens a stage whose clock is ahead by so much."""


@asynccontextmanager
async def in_memory(ahead: timedelta) -> AsyncIterator[Stage]:
    """Open adapters in process."""
    clock = ManualClock(AT + ahead)

    async def elapse(span: timedelta) -> None:
        clock.advance(span)

    yield Stage(memory_adapters(Settings(), clock=clock), elapse)


@attrs.frozen
class Crashing:
    """A unit of work whose process ends before the commit."""

    inner: UnitOfWork

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[BillingTransaction]:
        """See UnitOfWork."""
        async with self.inner.transaction() as transaction:
            yield transaction
            raise StoreUnavailableError("the process ended")


class Application:
    """Takes in what reaches it, and keeps asserting what must hold all the time."""

    def __init__(self, world: World, stage: Stage) -> None:
        self._world = world
        self._stage = stage
        self._adapters = stage.adapters
        self._gateway = MemoryGateway()
        with container_with(
            **self._adapters,
            settings=Settings(),
            translator=world.provider,
            gateway=self._gateway,
            scope=Scope(livemode=True),
            publish=lambda _: None,
            observers=SimpleNamespace(processed=lambda _: None, refetched=lambda _: None),
        ) as container:
            self._service: BillingService = container.service()
            self._batches: BatchProcessor = container.batches()
            self._refetcher: Refetcher | None = container.refetcher()
        self._crashing = BillingService(
            unit_of_work=Crashing(self._adapters["unit_of_work"]),
            translator=world.provider,
            rules=RulesBook(BillingRules()),
        )

    async def take(self, delivery: Delivery) -> None:
        """Take in one thing that reaches us."""
        if delivery.event is not None:
            await self.fold(delivery.event)
            return
        if delivery.crashed:
            with suppress(StoreUnavailableError):
                await self._show(self._crashing, self._world.answer)
        await self._show(self._service, delivery)

    async def fold(self, event: ProviderEvent) -> None:
        """Receive and process one event."""
        receipt = await self._adapters["inbox"].record(event, lease=LONG)
        if receipt.claim is not None:
            await self._batches.process([receipt.claim])

    async def _show(self, service: BillingService, answer: Delivery) -> None:
        assert answer.shows is not None
        basis = ProvisionalBasis(tenant_id=ACME, operation_key=KEY, answered_at=answer.at)
        await service.ingest_subscription_snapshot(answer.shows, basis)

    async def settle(self) -> None:
        """Let ten minutes pass, and ask the provider about everything that is due."""
        await self._stage.elapse(timedelta(minutes=10))
        await self.sweep()

    async def sweep(self) -> None:
        """Ask the provider about everything that is due now."""
        truth = self._world.truth
        self._gateway.subscriptions[truth.subscription_id] = Translation(
            customer_id=truth.customer_id, snapshots=(truth,)
        )
        assert self._refetcher is not None
        for uncertainty in await self._adapters["uncertain_objects"].uncertain(after="", limit=10):
            await self._refetcher.refetch(uncertainty)

    async def rows(self) -> Sequence[TenantSubscription]:
        """Return the stored rows, which no tenant may see."""
        async with self._adapters["unit_of_work"].transaction() as transaction:
            return list(await transaction.subscriptions(tenants=[ACME], ids=[]))

    async def views(self) -> int:
        """Count the views that stand beside rows, and refetches that are due."""
        return len((await self._adapters["tenant_reader"].state(ACME)).views)

    async def announced(self) -> Sequence[tuple[str, int | None]]:
        """Assert that the tenant was told of everything it sees; return the causes of messages about it, with seats."""
        state = await self._adapters["tenant_reader"].state(ACME)
        history = await self._adapters["history"].events(ACME, after=0, limit=100)
        assert [event.sequence for event in history] == list(range(1, state.sequence + 1))
        payloads = [loads(event.payload) for event in history]
        shown = [subscription_section(each.snapshot) for each in state.subscriptions]
        assert [payload.subscription for payload in payloads if payload.subscription][-1:] == shown
        assert [each.snapshot for each in await self._adapters["tenant_reader"].subscriptions(ACME)] == [
            each.snapshot for each in state.subscriptions
        ]
        if payloads:
            verdict = AccessPolicy().evaluate(state.access_facts, state.as_of)
            assert payloads[-1].access == access_section(verdict)
        assert not (await self._service.review_access()).events
        return [
            (each.source.kind, each.subscription.seat_count)
            for each in payloads
            if each.subscription is not None and each.event_type.startswith("subscription.")
        ]


# --- the properties -----------------------------------------------------------------------------------------------


async def play(world: World, order: Sequence[Delivery], open_stage: OpenStage) -> None:
    """Deliver a story in one order beside its events alone, and compare all along."""
    alone = iter(await rows_alone(world, [delivery for delivery in order if delivery.event is not None]))
    async with open_stage(world.story.clock) as stage:
        ours = Application(world, stage)
        if world.first is not None:
            await ours.fold(world.first)
        arrived: list[str] = []
        expected = next(alone)
        for delivery in order:
            await ours.take(delivery)
            if delivery.event is not None:
                expected = next(alone)
            arrived.append(delivery.name)
            assert await ours.rows() == expected
            await ours.announced()
            await stage.elapse(timedelta(seconds=20))
        await ours.settle()
        (row,) = await ours.rows()
        assert [row] == expected
        assert row.snapshot == world.truth
        assert await ours.views() == 0
        assert_told_once(world, arrived, await ours.announced())


async def rows_alone(world: World, events: Sequence[Delivery]) -> Sequence[Sequence[TenantSubscription]]:
    """Return the rows before and after each event, where only events arrive: many orders have them in common."""
    names = tuple(event.name for event in events)
    if names not in world.alone:
        async with in_memory(timedelta(0)) as stage:
            application = Application(world, stage)
            if world.first is not None:
                await application.fold(world.first)
            rows = [await application.rows()]
            for event in events:
                await application.take(event)
                rows.append(await application.rows())
        world.alone[names] = rows
    return world.alone[names]


def assert_told_once(world: World, arrived: Sequence[str], messages: Sequence[tuple[str, int | None]]) -> None:
    """Assert that one message is about the operation's change, and none about a step to it once the answer was shown.

    Unless a later change had overtaken it when it arrived, by its event or because the operation was performed again.
    Without the answer, events of more than two steps that arrive out of order leave open which of them is the last.
    """
    seats = [shown for _, shown in messages]
    assert seats[-1] == world.truth.items[0].quantity
    changed = world.story.later is not None
    known = [arrived.index(name) for name in ("answer", f"echo {world.story.steps - 1}") if name in arrived]
    later = [arrived.index(name) for name in ("later", "again") if name in arrived and changed]
    overtaken = min(later, default=len(arrived)) < min(known)
    taken = "answer" in arrived and known[0] == min(known) and not overtaken
    if taken and (world.story.steps <= DECIDED or world.story.later != 0):
        assert "operation" in {cause for cause, _ in messages}
        assert seats.count(AFTER) == 1
        assert set(seats[seats.index(AFTER) :]) <= {AFTER, LATER}
    elif world.story.steps <= DECIDED:
        assert seats.count(AFTER) == 1 or (overtaken and seats.count(AFTER) == 0)
        assert "operation" not in {cause for cause, _ in messages} or overtaken or "again" in arrived


EVERY_FATE = [
    Story(steps=2, later=5),
    Story(later=1, date=1, clock=timedelta(minutes=10)),
    Story(later=2, clock=timedelta(minutes=-10), statuses=("active", "unpaid")),
    Story(started=True, steps=2, later=0, statuses=("trialing", "active")),
    Story(steps=3, in_flight=False, later=None, statuses=("paused", "active"), ids=(5, 4, 3, 2, 1, 0)),
]


@pytest.mark.parametrize("fate", Fate)
@pytest.mark.parametrize("story", EVERY_FATE)
def test_every_order_of_a_few_stories(story: Story, fate: Fate) -> None:
    """All of them, one by one."""
    world = World(attrs.evolve(story, fate=fate))

    async def play_all() -> None:
        for order in world.orders():
            await play(world, order, in_memory)

    asyncio.run(play_all())


def stories() -> st.SearchStrategy[Story]:
    """Draw a story."""
    return st.builds(
        Story,
        started=st.booleans(),
        steps=st.integers(1, 3),
        in_flight=st.booleans(),
        later=st.none() | st.integers(0, 4),
        date=st.integers(0, 1),
        statuses=st.lists(st.sampled_from(EVERY_STATUS), min_size=1, max_size=4).map(tuple),
        clock=st.integers(-600, 600).map(lambda seconds: timedelta(seconds=seconds)),
        fate=st.sampled_from(Fate),
        ids=st.permutations(range(6)).map(tuple),
    )


def arranged(world: World, random: Random) -> Sequence[Delivery]:
    """Return the deliveries in some order, some events twice."""
    order = [*world.deliveries, *(each for each in world.deliveries if each.event and random.random() < 0.3)]
    random.shuffle(order)
    return order if is_possible(order) else world.deliveries


@shrinks_slowly
@settings(max_examples=scaled(200))
@given(story=stories(), random=choices(16))
def test_any_order_of_any_story(story: Story, random: Random) -> None:
    """With duplicates; whatever the clocks say."""
    world = World(story)
    asyncio.run(play(world, arranged(world, random), in_memory))


@pytest.mark.postgres
@shrinks_slowly
@settings(max_examples=scaled(10))
@given(story=stories(), random=choices(16))
async def test_any_order_on_postgres_too(databases: Databases, story: Story, random: Random) -> None:
    """Rows and views are read and written as in memory."""
    world = World(story)

    @asynccontextmanager
    async def on_postgres(ahead: timedelta) -> AsyncIterator[Stage]:
        async with (
            databases.fresh() as url,
            await (database := Database(url=url)).open_pool(size=3) as pool,
            PostgresEventInbox(database, pool) as inbox,
        ):
            passed = ahead

            async def elapse(span: timedelta) -> None:
                nonlocal passed
                passed += span
                await move_clock(pool, passed)

            await elapse(timedelta(0))
            yield Stage(postgres_adapters(Settings(), database=database, writers=pool, inbox=inbox), elapse)

    await play(world, arranged(world, random), on_postgres)


@shrinks_slowly
@settings(max_examples=scaled(200))
@given(story=stories(), random=choices(16), sweeps=st.lists(st.integers(0, 9), max_size=3))
def test_nothing_changes_in_silence_however_early_the_provider_is_asked(
    story: Story, random: Random, sweeps: Sequence[int]
) -> None:
    """Also where events are delayed for longer than an answer is trusted; then a step back is a message, too."""
    world = World(story)

    async def play_with_sweeps() -> None:
        async with in_memory(story.clock) as stage:
            ours = Application(world, stage)
            if world.first is not None:
                await ours.fold(world.first)
            for number, delivery in enumerate(arranged(world, random)):
                await ours.take(delivery)
                await ours.announced()
                if number in sweeps:
                    await ours.settle()
                    await ours.announced()
            await ours.settle()
            assert await ours.views() == 0
            assert [row.snapshot for row in await ours.rows()] == [world.truth]
            assert (await ours.announced())[-1][1] == world.truth.seat_count

    asyncio.run(play_with_sweeps())
