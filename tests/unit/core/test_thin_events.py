"""Thin events: looked up, applied, and counted once beside their snapshot twins."""

import asyncio
from datetime import timedelta

import attrs
import pytest
from tests.unit.core.conftest import ACME, ALICE, AT, Loop, invoice, subscription, until

from billing_core.errors import GatewayInvalidRequestError, GatewayUnavailableError
from billing_core.events import Disposition, Effect, Notice, ProviderEvent, Translation
from billing_core.inbox.policy import DispatchPolicy
from billing_core.inbox.ports import FetchedEvent
from billing_core.model import EventId, SubscriptionId
from billing_memory.gateway import MemoryGateway

pytestmark = pytest.mark.stripe

ACTIVE, PAST_DUE = subscription(), subscription(status="past_due")
TWIN = EventId("evt_twin")


@attrs.define
class Patient(MemoryGateway):
    """A gateway that holds its answers until a test releases them."""

    answer: asyncio.Event = attrs.field(factory=asyncio.Event)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    async def fetch_event(self, event_id: EventId) -> FetchedEvent | None:
        """See PaymentGateway."""
        found = await super().fetch_event(event_id)
        await self.answer.wait()
        return found


@pytest.fixture
def gateway(loop: Loop) -> MemoryGateway:
    """The loop's gateway, which knows nothing yet."""
    loop.gateway = MemoryGateway()
    return loop.gateway


def thin(loop: Loop, *, at: int = 0, name: str = "evt_thin") -> ProviderEvent:
    """Build an event that shows no object."""
    return loop.provider.event(name, Translation(thin=True), at=AT + timedelta(seconds=at))


def about(gateway: MemoryGateway, event: ProviderEvent, *shown: object, twin: EventId | None = None) -> None:
    """Give the provider the object of an event: the subscription shown, or one that is gone."""
    snapshots = tuple(each for each in shown if isinstance(each, type(ACTIVE)))
    found = Translation(customer_id=ALICE, tenant_hint=ACME, snapshots=snapshots) if shown else None
    gateway.events[event.event_id] = FetchedEvent(snapshot_event_id=twin, translation=found)


class TestLookups:
    """Thin events that the provider answers."""

    async def test_its_object_is_fetched_and_applied(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Under the event's own stamp: an older snapshot is stale, a newer one counts."""
        event = thin(loop, at=5)
        about(gateway, event, PAST_DUE)
        (outcome,) = await loop.arrive(event)
        assert (outcome.disposition, outcome.effect, outcome.tenant_id) == (Disposition.APPLIED, Effect.CHANGED, ACME)
        (older,) = await loop.arrive(loop.says(ACTIVE, at=4))
        assert older.effect is Effect.STALE
        assert (await loop.subscription()).status == "past_due"
        await loop.arrive(loop.says(ACTIVE, at=6))
        assert (await loop.subscription()).status == "active"

    async def test_a_twin_that_is_stored_makes_it_redundant(self, loop: Loop, gateway: MemoryGateway) -> None:
        """The snapshot event counts, whether it has been processed yet or not."""
        event = thin(loop, at=5)
        about(gateway, event, PAST_DUE, twin=TWIN)
        await loop.inbox.record(loop.says(ACTIVE, at=5, event_id=TWIN))
        await loop.arrive(event)
        row = loop.row(event)
        assert (row.disposition, row.reason) == (Disposition.IGNORED, "snapshot_twin")
        assert (await loop.subscription()).status == "active"
        assert await loop.notified() == ["subscription.created"]

    async def test_a_twin_that_comes_later_confirms(self, loop: Loop, gateway: MemoryGateway) -> None:
        """It changes nothing and publishes nothing."""
        event = thin(loop, at=5)
        about(gateway, event, ACTIVE, twin=TWIN)
        await loop.arrive(event)
        (outcome,) = await loop.arrive(loop.says(ACTIVE, at=5, event_id=TWIN))
        assert outcome.effect is Effect.CONFIRMED
        assert await loop.notified() == ["subscription.created"]
        assert loop.uncertainties == []

    async def test_the_notice_of_a_later_twin_is_published(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Only the snapshot event carries it."""
        trialing = subscription(status="trialing")
        event = thin(loop, at=5)
        about(gateway, event, trialing, twin=TWIN)
        await loop.arrive(event)
        await loop.arrive(loop.says(trialing, at=5, event_id=TWIN, notice=Notice.TRIAL_ENDING))
        assert await loop.notified() == ["subscription.created", "subscription.trial_ending"]

    async def test_a_twin_with_another_state_is_settled_by_a_refetch(self, loop: Loop, gateway: MemoryGateway) -> None:
        """The object had changed before it was fetched; its current state wins."""
        event = thin(loop, at=5)
        about(gateway, event, PAST_DUE, twin=TWIN)
        gateway.subscriptions[SubscriptionId("sub_1")] = Translation(customer_id=ALICE, snapshots=(PAST_DUE,))
        await loop.arrive(event)
        await loop.arrive(loop.says(ACTIVE, at=5, event_id=TWIN))
        assert await loop.refetch() == ["overtaken", "refetched"]  # the first one asked about grace
        assert (await loop.subscription()).status == "past_due"

    async def test_a_twin_of_another_mode_is_another_event(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Ids are unique only within an account and a mode."""
        event = thin(loop)
        about(gateway, event, ACTIVE, twin=TWIN)
        await loop.arrive(loop.says(ACTIVE, event_id=TWIN, livemode=False), event)
        assert loop.row(event).disposition is Disposition.APPLIED

    async def test_an_event_unknown_to_the_provider_is_ignored_with_a_reason(
        self, loop: Loop, gateway: MemoryGateway
    ) -> None:
        """Neither an unknown event nor an object that is gone is worth another attempt."""
        unknown, gone = thin(loop, name="evt_1"), thin(loop, name="evt_2")
        about(gateway, gone)
        await loop.arrive(unknown, gone)
        assert [(loop.row(event).disposition, loop.row(event).reason) for event in (unknown, gone)] == [
            (Disposition.IGNORED, "unknown_event"),
            (Disposition.IGNORED, "object_gone"),
        ]

    async def test_events_of_another_mode_are_not_looked_up(self, loop: Loop, gateway: MemoryGateway) -> None:
        """They are ignored for that reason, and cost no call."""
        event = loop.provider.event("evt_thin", Translation(thin=True), at=AT, livemode=False)
        (outcome,) = await loop.arrive(event)
        assert (outcome.reason, gateway.asked) == ("livemode", [])


class TestWithoutAnAnswer:
    """No gateway, or none that answers."""

    async def test_without_a_gateway_it_is_parked_until_it_is_replayed(self, loop: Loop) -> None:
        """Other events are applied; once there is a key, a replay applies this one."""
        event = thin(loop)
        (outcome, _) = sorted(await loop.arrive(event, loop.says(invoice())), key=lambda one: one.claim.dispatch_id)
        assert (outcome.disposition, outcome.reason, outcome.parked_on) == (Disposition.PARKED, "thin", None)
        loop.gateway = MemoryGateway()
        about(loop.gateway, event, ACTIVE)
        await loop.replay(event)
        assert loop.row(event).disposition is Disposition.APPLIED

    async def test_an_unavailable_provider_is_asked_again_later(self, loop: Loop, gateway: MemoryGateway) -> None:
        """The other events of the batch are applied at once, and it waits within the backoff."""
        event, other = thin(loop), loop.says(invoice())
        about(gateway, event, ACTIVE)
        gateway.fail(GatewayUnavailableError("away"))
        await loop.arrive(event, other)
        row = loop.row(event)
        assert loop.row(other).disposition is Disposition.APPLIED
        assert (row.disposition, row.attempt, row.reason) == (Disposition.DUE, 1, "transient")
        assert [(len(report.outcomes), report.retried, report.lost) for report in loop.reports] == [
            (1, 0, 0),
            (0, 1, 0),
        ]
        loop.clock.advance(timedelta(minutes=10))
        await loop.work()
        assert loop.row(event).disposition is Disposition.APPLIED

    async def test_a_batch_of_thin_events_is_reported_by_its_lookups_alone(
        self, loop: Loop, gateway: MemoryGateway
    ) -> None:
        """Nothing was processed before they were answered, and nothing is counted twice."""
        first, second = thin(loop, name="evt_1"), thin(loop, name="evt_2", at=1)
        for event in (first, second):
            about(gateway, event, ACTIVE)
        await loop.arrive(first, second)
        assert [(len(report.outcomes), report.retried, report.lost) for report in loop.reports] == [(1, 0, 0)] * 2

    async def test_a_refusal_is_for_an_operator(self, loop: Loop, gateway: MemoryGateway) -> None:
        """A retry would be refused again; the event is visible and can be replayed."""
        event = thin(loop)
        gateway.fail(GatewayInvalidRequestError("no"))
        (outcome,) = await loop.arrive(event)
        assert (outcome.disposition, outcome.reason) == (Disposition.DEAD, "permanent")

    async def test_a_slow_provider_delays_no_other_event(self, loop: Loop) -> None:
        """During the lookup other events are processed, and the event is not claimed again."""
        patient = Patient()
        loop.gateway = patient
        slow = thin(loop)
        about(patient, slow, PAST_DUE)
        dispatcher = loop.dispatcher()
        running = asyncio.create_task(dispatcher.run())
        await loop.inbox.record(slow)
        await until(lambda: patient.asked == ["evt_thin"])
        later = [loop.says(invoice(f"in_{number}")) for number in range(3)]
        for event in later:
            await loop.inbox.record(event)
        await until(lambda: all(loop.row(event).disposition is Disposition.APPLIED for event in later))
        assert loop.row(slow).disposition is Disposition.LEASED
        patient.answer.set()
        await until(lambda: loop.row(slow).disposition is Disposition.APPLIED)
        dispatcher.stop()
        await running
        assert patient.asked == ["evt_thin"]

    async def test_events_that_wait_for_a_lookup_are_released_at_the_end(self, loop: Loop) -> None:
        """A process that stops begins no lookup, and released events lose no attempt."""
        loop.policy = DispatchPolicy(lookups=1)
        patient = Patient()
        loop.gateway = patient
        first, second = thin(loop, name="evt_1"), thin(loop, name="evt_2")
        for event in (first, second):
            about(patient, event, PAST_DUE)
            await loop.inbox.record(event)
        dispatcher = loop.dispatcher()
        running = asyncio.create_task(dispatcher.run())
        await until(lambda: patient.asked == ["evt_1"])
        dispatcher.stop()
        patient.answer.set()
        await running
        assert loop.row(first).disposition is Disposition.APPLIED
        assert (loop.row(second).disposition, loop.row(second).attempt) == (Disposition.DUE, 0)
        assert patient.asked == ["evt_1"]
