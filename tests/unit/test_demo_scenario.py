"""The lives that the demo plays: believable, repeatable, and known in the end without folding anything."""

import json
from collections import Counter
from datetime import UTC, datetime
from itertools import islice, pairwise
from random import Random
from typing import Any

import attrs
import pytest
from scripts.memory_loop import MemoryLoop

from billing_core.converters import dumps
from billing_core.inbox.batch import ProcessingReport
from billing_core.model import AccessPolicy, Plan, PlanCatalog, TenantId
from billing_core.payloads import invoice_section, state_payload, usage_section
from billing_core.payloads import subscription_section as wire_subscription
from billing_demo.account import month_later
from billing_demo.catalog import PLANS
from billing_demo.comparison import Observation, differences
from billing_demo.delivery import Manners, parcels
from billing_demo.scenario import GENERATION, NEW_VERSION, OLD_VERSION, PlayedEvent, Scenario
from billing_demo.truth import Truth, subscription_section
from billing_memory.clock import SystemClock
from billing_memory.database import MemoryDatabase
from billing_stripe.testing import objects

TODAY = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)


def play(count: int, *, seed: str = "1", tenants: int = 36) -> list[PlayedEvent]:
    """The first events of a scenario."""
    return list(islice(Scenario(seed=seed, tenants=tenants, today=TODAY).events(), count))


def as_sent(value: Any) -> Any:
    """The JSON that the read API answers for a value."""
    return json.loads(dumps(value))


def truth_of(events: list[PlayedEvent]) -> Truth:
    """What is true after these events."""
    truth = Truth()
    for event in events:
        truth.observe(event.happening)
    return truth


class Loop(MemoryLoop):
    """The loop with the demo's plans, and what the read API would show of it."""

    def __init__(self) -> None:
        plans = tuple(
            Plan(
                plan_code=plan.code,
                base_prices=tuple(price.price_id for price in plan.base.values()),  # type: ignore[misc]
                seat_prices=() if plan.seat is None else (plan.seat.price_id,),  # type: ignore[arg-type]
                metered_prices={feature: price.price_id for feature, price in plan.metered.items()},  # type: ignore[misc]
            )
            for plan in PLANS
        )
        self.clock = SystemClock()
        self.dispositions: Counter[str] = Counter()
        super().__init__(MemoryDatabase(), self.clock, plans=PlanCatalog(plans), observe=self._count)

    def _count(self, report: ProcessingReport) -> None:
        self.dispositions.update(outcome.disposition.value for outcome in report.outcomes)

    async def observe(self, tenant_id: str) -> Observation:
        """What the read API would show."""
        tenant = TenantId(tenant_id)
        verdict = AccessPolicy().evaluate((), self.clock.now())
        return Observation(
            state=as_sent(state_payload(await self.repository.state(tenant), verdict)),
            subscriptions=[
                as_sent(wire_subscription(each.snapshot)) for each in await self.repository.subscriptions(tenant)
            ],
            invoices=[
                as_sent(invoice_section(each.snapshot)) for each in await self.repository.invoices(tenant, limit=500)
            ],
            usage=[as_sent(usage_section(each)) for each in await self.repository.usage(tenant, limit=500)],
        )


@pytest.mark.parametrize("window", [0, 40, float("inf")])
@pytest.mark.parametrize("seed", ["1", "2"])
async def test_the_loop_ends_in_the_truth_whatever_the_order(seed: str, window: float) -> None:
    """Every tenant's state is the truth, with duplicates in both shapes, in any order of arrival."""
    events = play(1200, seed=seed)
    truth = truth_of(events)
    loop = Loop()
    manners = Manners(duplicates=0.3, window=window)
    for number, parcel in enumerate(parcels(events, manners, Random(seed))):
        await loop.receive(parcel.event.body(parcel.api_version))
        if number % 17 == 0:
            await loop.process()
    await loop.process()
    found = [
        line
        for tenant_id in truth.tenants
        for line in differences(tenant_id, truth.expect(tenant_id), await loop.observe(tenant_id))
    ]
    assert found == []
    assert loop.dispositions.keys() <= {"applied", "parked"}
    assert loop.dispositions["applied"] >= 1200


async def test_a_lost_event_is_noticed() -> None:
    """The comparison can fail: leave one payment out and it says which fields are wrong."""
    events = play(400)
    last_paid = max(number for number, event in enumerate(events) if event.happening.type == "invoice.paid")
    paid = events[last_paid].happening.subject
    truth = truth_of(events)
    loop = Loop()
    for event in events:
        if event.happening.subject != paid:
            await loop.receive(event.body(event.api_version))
    await loop.process()
    tenant_id = events[last_paid].happening.tenant_id
    found = differences(tenant_id, truth.expect(tenant_id), await loop.observe(tenant_id))
    assert isinstance(paid, objects.Invoice)
    assert any(f"{paid.invoice_id}: status is 'open', not 'paid'" in line for line in found)


def test_the_same_seed_plays_the_same_lives() -> None:
    """Seed and day decide everything, bodies included; another seed plays others."""
    first, again, other = play(300), play(300), play(300, seed="2")
    bodies = [event.body(event.api_version) for event in first]
    assert bodies == [event.body(event.api_version) for event in again]
    assert bodies != [event.body(event.api_version) for event in other]


def test_two_thousand_events_show_everything_that_happens_to_a_tenant() -> None:
    """Trial, payment, renewal, seats, upgrade, failure, recovery, pause, cancellation, usage: all of it occurs."""
    events = play(2000)
    types = Counter(event.happening.type for event in events)
    assert types.keys() >= {
        "customer.created",
        "customer.updated",
        "checkout.session.completed",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.trial_will_end",
        "invoice.created",
        "invoice.finalized",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice.payment_failed",
        "invoice.voided",
        "invoice.upcoming",
    }
    subjects = [event.happening.subject for event in events]
    statuses = {subject.status for subject in subjects if isinstance(subject, objects.Subscription)}
    assert statuses >= {"trialing", "incomplete", "active", "past_due", "paused", "canceled"}
    lines = [line for subject in subjects if isinstance(subject, objects.Invoice) for line in subject.lines]
    assert any(line.price.metered and line.amount > 0 for line in lines)
    assert any(line.proration and line.amount < 0 for line in lines)
    assert {event.api_version for event in events} == {OLD_VERSION, NEW_VERSION}
    assert len({event.happening.tenant_id for event in events}) == 36


def test_time_only_moves_forward_and_never_into_the_future() -> None:
    """Events come in the order of their times, all of them in the year before today; then new tenants take over."""
    events = play(2500, tenants=5)
    times = [event.happening.at for event in events]
    turns = [number for number, (a, b) in enumerate(pairwise(times), start=1) if b < a]
    midnight = TODAY.replace(hour=0, minute=0)
    assert midnight - GENERATION <= min(times) <= max(times) < midnight
    assert len(turns) > 0
    generations = [events[start:end] for start, end in zip([0, *turns], [*turns, len(events)], strict=True)]
    tenants = [{event.happening.tenant_id for event in generation} for generation in generations]
    assert sum(len(names) for names in tenants) == len(set().union(*tenants))


def test_every_event_has_an_id_of_its_own() -> None:
    """Two events never share an id."""
    events = play(3000)
    assert len({event.event_id for event in events}) == 3000


def test_a_tenant_is_expected_only_once_something_names_it() -> None:
    """A customer that came through Checkout belongs to nobody until the session says whose it is."""
    events = play(2000)
    session = next(n for n, event in enumerate(events) if event.happening.type == "checkout.session.completed")
    tenant_id = events[session].happening.tenant_id
    assert tenant_id not in truth_of(events[:session]).tenants
    assert tenant_id in truth_of(events[: session + 1]).tenants


def test_the_truth_is_the_last_that_happened() -> None:
    """Status and flags of the expectation follow the last happening of the subscription."""
    events = play(1500)
    subscriptions = [event.happening for event in events if isinstance(event.happening.subject, objects.Subscription)]
    last = subscriptions[-1]
    assert isinstance(last.subject, objects.Subscription)
    expected = truth_of(events).expect(last.tenant_id).subscriptions[last.subject.subscription_id]
    assert expected == subscription_section(last.subject)
    leaving = attrs.evolve(last.subject, status="active", cancel_at_period_end=True)
    assert subscription_section(leaving)["auto_renew"] is False


@pytest.mark.parametrize(
    ("instant", "anchor", "expected"),
    [
        ("2026-01-31", "2026-01-31", "2026-02-28"),
        ("2026-02-28", "2026-01-31", "2026-03-31"),
        ("2026-12-15", "2026-12-15", "2027-01-15"),
        ("2028-01-30", "2028-01-30", "2028-02-29"),
    ],
)
def test_a_billing_month_keeps_its_day(instant: str, anchor: str, expected: str) -> None:
    """A cycle that starts on the 31st falls on the last day of short months and comes back to the 31st."""
    day = {text: datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (instant, anchor, expected)}
    assert month_later(day[instant], day[anchor]) == day[expected]
