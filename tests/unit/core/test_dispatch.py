"""Processing claimed events: failures, retries, the end of attempts, lost leases, an absent store, and stopping."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import ACME, ALICE, AT, Loop, subscription, until

from billing_core.errors import (
    BillingError,
    FoldingError,
    GatewayInvalidRequestError,
    StoreUnavailableError,
    TenantConflictError,
)
from billing_core.events import Claim, Disposition, ProviderEvent, Translation
from billing_core.inbox.batch import BatchProcessor
from billing_core.inbox.dispatch import Dispatcher
from billing_core.inbox.policy import DispatchPolicy, Scope
from billing_core.inbox.ports import FetchedEvent
from billing_core.state.ports import EventTranslator
from billing_memory.gateway import MemoryGateway
from billing_memory.inbox.event_inbox import MemoryEventInbox
from billing_memory.state.repository import MemoryRepository
from billing_memory.state.transaction import MemoryTransaction

pytestmark = pytest.mark.stripe

MINUTE = timedelta(seconds=60)
ACTIVE, PAST_DUE = subscription(), subscription(status="past_due")


class GatewayDownError(BillingError):
    """An error that a retry may fix."""

    code, retryable = "gateway_down", True


@attrs.define
class Poisoned:
    """A translator that raises for some events and records all that it was called for."""

    provider: EventTranslator
    poison: dict[str, Exception] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)

    def translate(self, event: ProviderEvent) -> Translation:
        """Raise for poison."""
        self.asked.append(event.event_id)
        if event.event_id in self.poison:
            raise self.poison[event.event_id]
        return self.provider.translate(event)

    def translate_previous(self, event: ProviderEvent) -> Translation | None:
        """See EventTranslator."""
        return self.provider.translate_previous(event)


@attrs.define
class Faltering:
    """A repository whose n-th transaction fails if `fails(n)` is true."""

    repository: MemoryRepository
    fails: Callable[[int], bool]
    error: Exception = attrs.field(factory=lambda: StoreUnavailableError("transaction"))
    begun: int = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        """Begin a unit of work, or fail."""
        self.begun += 1
        if self.fails(self.begun):
            raise self.error
        async with self.repository.transaction() as transaction:
            yield transaction

    def __getattr__(self, name: str) -> Any:
        return getattr(self.repository, name)


@pytest.fixture
def poisoned(loop: Loop) -> Poisoned:
    """The loop's translator, so far without poison."""
    translator = Poisoned(loop.provider)
    loop.translator = translator
    return translator


async def run_until(dispatcher: Dispatcher, done: Callable[[], bool]) -> None:
    """Run a dispatcher until a condition holds, then stop it."""
    async with running(dispatcher):
        await until(done)


@asynccontextmanager
async def running(dispatcher: Dispatcher) -> AsyncIterator[None]:
    """Run a dispatcher for the length of the block."""
    task = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0)  # until it has begun
    yield
    dispatcher.stop()
    await task


async def claimed(loop: Loop, *events: ProviderEvent) -> Sequence[Claim]:
    """Store events and claim them all."""
    for event in events:
        await loop.inbox.record(event)
    return await loop.inbox.claim(limit=1000, lease=MINUTE)


def attempted(loop: Loop, event: ProviderEvent, attempts: int) -> None:
    """Pretend that a stored event was claimed that often and never finished."""
    row = loop.row(event)
    loop.database.tables.dispatch[row.dispatch_id] = attrs.evolve(row, attempt=attempts)


async def test_fields_that_could_not_be_read_are_reported(loop: Loop) -> None:
    """Once for each event that lacked them, whatever its outcome; the event is applied without them."""
    odd = loop.says(ACTIVE, missing=("a.b", "a.c"))
    await loop.arrive(odd, loop.says(missing=("a.b",), tenant=None, ignored="no_customer"))
    (report,) = loop.reports
    assert sorted(report.unreadable) == ["a.b", "a.b", "a.c"]
    assert loop.row(odd).disposition is Disposition.APPLIED


async def test_a_batch_is_reported_with_the_time_that_it_took(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first statement to its commit."""
    seconds = itertools.count(1000, 3)
    monkeypatch.setattr("billing_core.inbox.batch.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    await loop.arrive(loop.says(ACTIVE))
    assert [report.seconds for report in loop.reports] == [3]


class TestFailures:
    """Events that cannot be applied."""

    @pytest.mark.parametrize("place", range(7))
    async def test_a_poison_event_harms_no_other_event_of_its_batch(
        self, loop: Loop, poisoned: Poisoned, place: int
    ) -> None:
        """It is found by halving, at any place in the batch, and retried later."""
        events = [loop.says(subscription(f"sub_{number}"), at=number) for number in range(7)]
        poisoned.poison[events[place].event_id] = RuntimeError("poison")
        outcomes = await loop.arrive(*events)
        assert len(outcomes) == 6
        assert {loop.row(event).disposition for event in events if event is not events[place]} == {Disposition.APPLIED}
        row = loop.row(events[place])
        assert (row.disposition, row.reason, row.error) == (Disposition.DUE, "bug", "RuntimeError: poison")
        (report,) = loop.reports
        assert (len(report.outcomes), report.retried, report.lost) == (6, 1, 0)
        assert sorted(message.sequence for message in loop.messages) == [1, 2, 3, 4, 5, 6]

    async def test_all_events_may_be_poison(self, loop: Loop, poisoned: Poisoned) -> None:
        """Nothing is applied, everything is retried, nothing is raised."""
        events = [loop.says(subscription(f"sub_{number}")) for number in range(5)]
        poisoned.poison.update({event.event_id: GatewayDownError("later") for event in events})
        assert not await loop.arrive(*events)
        assert {loop.row(event).reason for event in events} == {"transient"}
        assert loop.reports[0].retried == 5

    async def test_an_event_without_attempts_left_is_dead_and_visible(self, loop: Loop, poisoned: Poisoned) -> None:
        """With the last error and the code as the reason; before that, each failure waits within the backoff."""
        loop.policy = DispatchPolicy(max_attempts=3, backoff_base=timedelta(seconds=30), backoff_cap=MINUTE)
        event = loop.says(ACTIVE)
        poisoned.poison[event.event_id] = GatewayDownError("still down")
        await loop.arrive(event)
        for attempt in (1, 2):
            row = loop.row(event)
            assert (row.disposition, row.attempt) == (Disposition.DUE, attempt)
            assert loop.clock.now() <= row.due_at <= loop.clock.now() + timedelta(seconds=30) * attempt
            loop.clock.advance(MINUTE)
            outcomes = await loop.work()
        row = loop.row(event)
        assert (row.disposition, row.attempt, row.reason) == (Disposition.DEAD, 3, "transient")
        assert row.error == "GatewayDownError: still down"
        assert [(outcome.disposition, outcome.reason) for outcome in outcomes] == [(Disposition.DEAD, "transient")]
        loop.clock.advance(MINUTE)
        assert not await loop.work()

    async def test_a_dead_event_keeps_what_was_read_of_it(self, loop: Loop) -> None:
        """Its customer and that customer's tenant, whatever failed after it was translated."""
        await loop.arrive(loop.says(ACTIVE))
        loop.written_to = Faltering(loop.repository, lambda _: True, error=GatewayInvalidRequestError("refused"))
        named, about = loop.says(PAST_DUE, at=1), loop.says(tenant=None, at=2, about=("sub_1",))
        outcomes = await loop.arrive(named, about)
        assert [(outcome.disposition, outcome.customer_id) for outcome in outcomes] == [
            (Disposition.DEAD, ALICE),
            (Disposition.DEAD, None),
        ]
        assert [loop.attribution(event) for event in (named, about)] == [(ALICE, ACME), (None, ACME)]

    async def test_a_conflict_about_objects_leaves_an_event_to_no_tenant(self, loop: Loop) -> None:
        """The event belongs to one of two tenants, and a timeline shows no event of another."""
        await loop.arrive(loop.says(ACTIVE))
        loop.written_to = Faltering(loop.repository, lambda _: True, error=TenantConflictError("of another tenant"))
        event = loop.says(tenant=None, at=1, about=("sub_1",))
        (outcome,) = await loop.arrive(event)
        assert (outcome.reason, loop.attribution(event)) == ("tenant_conflict", (None, None))

    async def test_an_event_that_recovers_is_applied(self, loop: Loop, poisoned: Poisoned) -> None:
        """A later attempt succeeds: nothing of the failures remains but their number."""
        event = loop.says(ACTIVE)
        poisoned.poison[event.event_id] = GatewayDownError("down")
        await loop.arrive(event)
        poisoned.poison.clear()
        loop.clock.advance(MINUTE)
        await loop.work()
        row = loop.row(event)
        assert (row.disposition, row.attempt, row.reason, row.error) == (Disposition.APPLIED, 2, None, None)

    async def test_an_error_that_no_retry_can_fix_buries_the_event_at_once(
        self, loop: Loop, poisoned: Poisoned
    ) -> None:
        """Errors say themselves whether a retry can help."""
        event = loop.says(ACTIVE)
        poisoned.poison[event.event_id] = FoldingError("never")
        (outcome,) = await loop.arrive(event)
        assert (outcome.disposition, outcome.reason) == (Disposition.DEAD, "permanent")
        assert loop.row(event).attempt == 1

    async def test_an_event_that_never_finished_is_buried_untried(self, loop: Loop, poisoned: Poisoned) -> None:
        """Attempts are counted in the claim: an event that kills its process runs out of them too."""
        event = loop.says(ACTIVE)
        await loop.inbox.record(event)
        attempted(loop, event, loop.policy.max_attempts)
        (outcome,) = await loop.work()
        assert (outcome.disposition, outcome.reason) == (Disposition.DEAD, "bug")
        assert poisoned.asked == []


class TestPolicy:
    """Limits on attempts and batches."""

    def test_companions_grow_fewer_until_an_event_is_alone(self) -> None:
        """A batch that died with its process is not risked again and again."""
        policy = DispatchPolicy()
        assert [*map(policy.companions, (1, 2, 3, 4, 5, 6, 7, 500))] == [2048, 512, 128, 32, 8, 2, 1, 1]

    @pytest.mark.parametrize(("attempt", "ceiling"), [(1, 30), (2, 60), (3, 120), (6, 600), (12, 600), (100_000, 600)])
    def test_backoff_doubles_up_to_its_cap(self, attempt: int, ceiling: int) -> None:
        """With full jitter: anything from nothing to the ceiling."""
        waits = [DispatchPolicy().backoff(attempt) for _ in range(200)]
        assert timedelta(0) <= min(waits) < max(waits) <= timedelta(seconds=ceiling)
        assert max(waits) > timedelta(seconds=ceiling) / 2


class TestScope:
    """The mode and account that a deployment acts on."""

    @pytest.mark.parametrize(
        ("foreign", "reason"), [({"livemode": False}, "livemode"), ({"account": "acct_2"}, "account")]
    )
    async def test_events_of_another_deployment_are_ignored_unread(
        self, loop: Loop, poisoned: Poisoned, foreign: dict[str, Any], reason: str
    ) -> None:
        """Stored, with the reason, and without an effect."""
        (outcome,) = await loop.arrive(loop.says(ACTIVE, **foreign))
        assert (outcome.disposition, outcome.reason) == (Disposition.IGNORED, reason)
        assert poisoned.asked == []
        assert loop.messages == []

    @pytest.mark.parametrize(
        ("scope", "event"),
        [
            (Scope(livemode=False), {"livemode": False}),
            (Scope(livemode=True, account="acct_1"), {"account": "acct_1"}),
            (Scope(livemode=True, account="acct_1"), {"account": ""}),
        ],
        ids=["test mode", "own account", "account not named"],
    )
    async def test_events_of_this_deployment_are_applied(self, loop: Loop, scope: Scope, event: dict[str, Any]) -> None:
        """In its own mode, and of its own account whether named or not."""
        loop.scope = scope
        (outcome,) = await loop.arrive(loop.says(ACTIVE, **event))
        assert outcome.disposition is Disposition.APPLIED


class TestLeases:
    """Claims that another worker took over."""

    async def test_a_lost_claim_is_left_to_its_new_holder(self, loop: Loop) -> None:
        """It changes nothing and counts as lost; the new holder applies it once."""
        event = loop.says(ACTIVE)
        (slow,) = await claimed(loop, event)
        loop.clock.advance(2 * MINUTE)
        (quick,) = await claimed(loop)
        assert not await loop.batches().process([slow])
        assert (loop.reports[0].lost, loop.messages) == (1, [])
        await loop.batches().process([quick])
        assert not await loop.batches().process([slow])
        assert len(loop.messages) == 1

    async def test_a_lost_claim_that_fails_changes_nothing_either(self, loop: Loop, poisoned: Poisoned) -> None:
        """Its retry or burial is fenced as well."""
        event = loop.says(ACTIVE)
        (slow,) = await claimed(loop, event)
        loop.clock.advance(2 * MINUTE)
        await claimed(loop)
        for error in (RuntimeError("retry"), FoldingError("bury")):
            poisoned.poison[event.event_id] = error
            assert not await loop.batches().process([slow])
            assert (loop.row(event).disposition, loop.row(event).attempt) == (Disposition.LEASED, 2)
        assert [report.lost for report in loop.reports] == [1, 1]

    async def test_the_others_of_a_batch_are_applied(self, loop: Loop) -> None:
        """Only the lost one is left out."""
        lost, kept = loop.says(ACTIVE), loop.says(subscription("sub_2"))
        claims = await claimed(loop, lost, kept)
        attempted(loop, lost, 2)
        (outcome,) = await loop.batches().process(claims)
        assert outcome.claim.event == kept
        assert loop.reports[0].lost == 1


class TestUnavailableStore:
    """A database that does not answer."""

    def batches(self, loop: Loop, fails: Callable[[int], bool]) -> BatchProcessor:
        """Build the loop's processor over a repository that fails."""
        loop.written_to = Faltering(loop.repository, fails)
        return loop.batches()

    async def test_a_batch_waits_for_the_store_to_come_back(self, loop: Loop) -> None:
        """Its events cost no attempt."""
        event = loop.says(ACTIVE)
        claims = await claimed(loop, event)
        (outcome,) = await self.batches(loop, lambda nth: nth <= 2).process(claims)
        assert outcome.disposition is Disposition.APPLIED
        assert loop.row(event).attempt == 1

    async def test_a_batch_asks_an_unavailable_store_at_intervals(self, loop: Loop) -> None:
        """So that many workers do not keep it from coming back."""
        claims = await claimed(loop, loop.says(ACTIVE))
        loop.written_to = store = Faltering(loop.repository, lambda _: True)
        batches = loop.batches()
        working = asyncio.create_task(batches.process(claims))
        for _ in range(100):
            await asyncio.sleep(0)
        assert 1 <= store.begun < 10  # a pause is at least a hundred times as long as a turn of this loop
        batches.stop()
        assert not await working

    async def test_work_that_was_done_before_the_store_went_away_counts(self, loop: Loop, poisoned: Poisoned) -> None:
        """A batch is halved, the store goes away between the halves: the first one is not forgotten."""
        events = [loop.says(subscription(f"sub_{number}"), at=number) for number in range(4)]
        poisoned.poison[events[3].event_id] = RuntimeError("poison")
        claims = await claimed(loop, *events)
        outcomes = await self.batches(loop, lambda nth: nth == 2).process(claims)
        assert [outcome.claim.event for outcome in outcomes] == events[:3]
        (report,) = loop.reports
        assert (report.retried, report.lost) == (1, 0)
        assert [message.sequence for message in loop.messages] == [1, 2, 3]

    @pytest.mark.parametrize("ended_by", ["stop", "lease"])
    async def test_a_batch_is_given_up_in_the_end(self, loop: Loop, ended_by: str) -> None:
        """When the process stops or the lease is over, another worker claims it."""
        loop.policy = DispatchPolicy(lease=timedelta(0) if ended_by == "lease" else MINUTE)
        event = loop.says(ACTIVE)
        claims = await claimed(loop, event)
        batches = self.batches(loop, lambda _: True)
        if ended_by == "stop":
            batches.stop()
        assert not await batches.process(claims)
        assert (loop.reports[0].lost, loop.row(event).disposition) == (1, Disposition.LEASED)

    async def test_the_loop_outlives_a_store_that_is_away(self, loop: Loop) -> None:
        """It asks again once per poll interval."""
        loop.policy = DispatchPolicy(poll=timedelta(milliseconds=1))
        loop.store = store = AwayAtFirst(loop, times=3)
        await loop.inbox.record(loop.says(ACTIVE))
        await run_until(loop.dispatcher(), lambda: len(loop.messages) == 1)
        assert store.asked > 3

    async def test_an_unavailable_store_is_not_asked_in_haste(self, loop: Loop) -> None:
        """Nothing but `stop` wakes the loop before the poll interval is over."""
        loop.policy = DispatchPolicy(poll=timedelta(minutes=5))
        loop.store = store = AwayAtFirst(loop, times=1_000_000)
        dispatcher = loop.dispatcher()
        running = asyncio.create_task(dispatcher.run())
        for _ in range(100):
            await asyncio.sleep(0)
        assert store.asked == 1
        dispatcher.stop()
        await running


class AwayAtFirst(MemoryEventInbox):
    """A store that is unavailable for the first few calls."""

    def __init__(self, loop: Loop, *, times: int) -> None:
        super().__init__(loop.database, loop.clock)
        self.times = times
        self.asked = 0

    async def claim(self, *, limit: int, lease: timedelta) -> Sequence[Claim]:
        """Claim, if it is back."""
        self.asked += 1
        if self.asked <= self.times:
            raise StoreUnavailableError("claim")
        return await super().claim(limit=limit, lease=lease)

    async def wait(self, *, at_most: timedelta) -> None:
        """Wait, if it is back."""
        if self.asked <= self.times:
            raise StoreUnavailableError("wait")
        await super().wait(at_most=at_most)


class Unaware(MemoryEventInbox):
    """A store that notices no new events: it waits for as long as it may. Counts how often due events are searched."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop.database, loop.clock)
        self.searches = 0

    async def claim(self, *, limit: int, lease: timedelta) -> Sequence[Claim]:
        """See EventQueue."""
        self.searches += 1
        return await super().claim(limit=limit, lease=lease)

    async def wait(self, *, at_most: timedelta) -> None:
        """See EventQueue."""
        await asyncio.sleep(at_most.total_seconds())


class TestLoops:
    """`run`: handed over, due, and stopped."""

    async def test_due_events_are_found_and_new_ones_noticed(self, loop: Loop) -> None:
        """Whether they were stored before or arrive while it waits."""
        loop.policy = DispatchPolicy(poll=timedelta(minutes=5))
        await loop.inbox.record(loop.says(ACTIVE))
        dispatcher = loop.dispatcher()
        running = asyncio.create_task(dispatcher.run(concurrency=2))
        await until(lambda: len(loop.messages) == 1)
        await loop.inbox.record(loop.says(PAST_DUE, at=1))
        await until(lambda: len(loop.messages) == 2)
        dispatcher.stop()
        await running
        assert await loop.notified() == ["subscription.created", "subscription.past_due"]

    async def test_what_waited_for_a_link_is_applied_right_after_it(self, loop: Loop) -> None:
        """The link itself wakes the loop, also when it was handed over and the store gives no hint."""
        loop.policy = DispatchPolicy(poll=timedelta(minutes=5))
        await loop.arrive(loop.says(ACTIVE, tenant=None))
        loop.store = Unaware(loop)
        dispatcher = loop.dispatcher()
        running = asyncio.create_task(dispatcher.run())
        await asyncio.sleep(0.01)  # until the dispatcher waits
        receipt = await loop.inbox.record(loop.says(customer_id=ALICE), lease=MINUTE)
        assert receipt.claim is not None
        dispatcher.offer(receipt.claim)
        await until(lambda: len(loop.messages) == 2)
        dispatcher.stop()
        await running
        assert await loop.notified() == ["customer.linked", "subscription.created"]

    async def test_a_link_for_which_nothing_waited_is_followed_by_no_search(self, loop: Loop) -> None:
        """Most new customers have no events that waited for them, and a search costs a round trip."""
        loop.policy = DispatchPolicy(poll=timedelta(minutes=5))
        store = loop.store = Unaware(loop)
        dispatcher = loop.dispatcher()
        running = asyncio.create_task(dispatcher.run())
        await until(lambda: store.searches == 1)
        receipt = await loop.inbox.record(loop.says(customer_id=ALICE), lease=MINUTE)
        assert receipt.claim is not None
        dispatcher.offer(receipt.claim)
        await until(lambda: len(loop.messages) == 1)
        await asyncio.sleep(0.01)  # in which the loop would search
        dispatcher.stop()
        await running
        assert store.searches == 1

    async def test_what_waited_for_a_link_is_applied_right_after_a_lookup_that_found_it(self, loop: Loop) -> None:
        """A thin event names its customer only once the provider was asked, beside the loop."""
        loop.policy = DispatchPolicy(poll=timedelta(minutes=5))
        await loop.arrive(loop.says(ACTIVE, tenant=None))
        loop.store, loop.gateway = Unaware(loop), MemoryGateway()
        thin = loop.provider.event("evt_thin", Translation(thin=True), at=AT)
        found = Translation(customer_id=ALICE, tenant_hint=ACME)
        loop.gateway.events[thin.event_id] = FetchedEvent(snapshot_event_id=None, translation=found)
        await loop.inbox.record(thin)
        await run_until(loop.dispatcher(), lambda: len(loop.messages) == 2)
        assert await loop.notified() == ["customer.linked", "subscription.created"]

    async def test_what_has_waited_for_a_link_for_too_long_is_ended(self, loop: Loop) -> None:
        """By the loop itself; until then it waits on."""
        loop.policy = DispatchPolicy(parked_for=timedelta(days=30), waiting_poll=timedelta(milliseconds=1))
        old, young = loop.says(ACTIVE, tenant=None), loop.says(PAST_DUE, tenant=None, at=1)
        await loop.arrive(old)
        loop.clock.advance(timedelta(days=29))
        await loop.arrive(young)
        loop.clock.advance(timedelta(days=1))
        await run_until(loop.dispatcher(), lambda: loop.row(old).disposition is not Disposition.PARKED)
        assert (loop.row(old).disposition, loop.row(old).reason) == (Disposition.IGNORED, "no_tenant")
        assert loop.row(young).disposition is Disposition.PARKED

    async def test_events_handed_over_are_processed_without_asking_the_store(self, loop: Loop) -> None:
        """Intake stores them as claimed."""
        dispatcher = loop.dispatcher()
        async with running(dispatcher):
            lease = dispatcher.lease()
            assert lease == loop.policy.lease
            receipt = await loop.inbox.record(loop.says(ACTIVE), lease=lease)
            assert receipt.claim is not None
            dispatcher.offer(receipt.claim)
            await until(lambda: len(loop.messages) == 1)

    async def test_nothing_is_handed_to_a_dispatcher_that_does_not_run(self, loop: Loop) -> None:
        """Any other process may then claim the event at once, in place of waiting for the end of a lease."""
        dispatcher = loop.dispatcher()
        assert dispatcher.lease() is None
        async with running(dispatcher):
            assert dispatcher.lease() == loop.policy.lease
        assert dispatcher.lease() is None

    async def test_no_more_is_taken_over_than_the_limit(self, loop: Loop) -> None:
        """The rest is left to any worker."""
        loop.policy = DispatchPolicy(handoff_limit=1)
        dispatcher = loop.dispatcher()
        (claim,) = await claimed(loop, loop.says(ACTIVE))
        async with running(dispatcher):
            assert dispatcher.lease() == loop.policy.lease
            dispatcher.offer(claim)
            assert dispatcher.lease() is None
            dispatcher.offer(claim)  # of a request that asked before the first one had its answer
            assert dispatcher.lease() is None

    async def test_a_stopped_dispatcher_releases_events_it_has_not_begun(self, loop: Loop) -> None:
        """At once and uncounted; it takes nothing more."""
        event = loop.says(ACTIVE)
        receipt = await loop.inbox.record(event, lease=MINUTE)
        assert receipt.claim is not None
        dispatcher = loop.dispatcher()
        dispatcher.offer(receipt.claim)
        dispatcher.stop()
        assert dispatcher.lease() is None
        await dispatcher.run()
        row = loop.row(event)
        assert (row.disposition, row.attempt, row.due_at) == (Disposition.DUE, 0, AT)

    async def test_an_event_that_keeps_coming_back_is_tried_alone(self, loop: Loop) -> None:
        """It has been due longest, so new ones do not push it aside; they are released uncounted and come next."""
        suspect, fresh = loop.says(ACTIVE), [loop.says(subscription(f"sub_{n}"), at=1) for n in range(2, 6)]
        await loop.inbox.record(suspect)
        attempted(loop, suspect, 6)
        loop.clock.advance(timedelta(seconds=1))
        for event in fresh:
            await loop.inbox.record(event)
        await run_until(loop.dispatcher(), lambda: len(loop.messages) == 5)
        batches = [[outcome.claim.event for outcome in report.outcomes] for report in loop.reports]
        assert batches == [[suspect], fresh]
        assert {loop.row(event).attempt for event in fresh} == {1}

    async def test_an_event_that_keeps_coming_back_waits_its_turn(self, loop: Loop) -> None:
        """Events that have been due for longer go first, together and without it."""
        fresh, suspect = [loop.says(subscription(f"sub_{n}"), at=1) for n in range(2, 6)], loop.says(ACTIVE)
        for event in fresh:
            await loop.inbox.record(event)
        loop.clock.advance(timedelta(seconds=1))
        await loop.inbox.record(suspect)
        attempted(loop, suspect, 6)
        await run_until(loop.dispatcher(), lambda: len(loop.messages) == 5)
        batches = [[outcome.claim.event for outcome in report.outcomes] for report in loop.reports]
        assert batches == [fresh, [suspect]]
        assert (await loop.repository.state(ACME)).sequence == 5
