"""The simulation of the demo: realistic, repeatable, and with an expected state that does not use the domain."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice, pairwise
from random import Random
from typing import Any

import attrs
import pytest
from scripts.memory_loop import MemoryLoop

from billing_core.converters import dumps
from billing_core.events import Outcome
from billing_core.model import AccessFacts, AccessPolicy, Plan, TenantId
from billing_core.payloads import invoice_section, state_payload, usage_section
from billing_core.payloads import subscription_section as wire_subscription
from billing_demo.account import month_later
from billing_demo.catalog import PLANS
from billing_demo.comparison import ActualTenant, differences
from billing_demo.delivery import DeliveryOptions, plan_deliveries
from billing_demo.expected_state import ExpectedState, subscription_section
from billing_demo.scenario import GENERATION, NEW_VERSION, OLD_VERSION, DemoEvent, Scenario
from billing_memory.clock import SystemClock
from billing_memory.database import MemoryDatabase
from billing_stripe.testing import objects

TODAY = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)


def demo_events(count: int, *, seed: str = "1", tenants: int = 36) -> list[DemoEvent]:
    """The first events of a scenario."""
    return list(islice(Scenario(seed=seed, tenants=tenants, today=TODAY).events(), count))


def as_sent(value: Any) -> Any:
    """The JSON that the read API answers for a value."""
    return json.loads(dumps(value))


def expected_after(events: list[DemoEvent]) -> ExpectedState:
    """The expected state after these events."""
    expected = ExpectedState()
    for event in events:
        expected.record(event.account_event)
    return expected


class Loop(MemoryLoop):
    """The loop with the demo's plans, and the data that the HTTP API would show."""

    def __init__(self) -> None:
        plans = tuple(
            Plan.of_prices(
                plan.code,
                base=[price.price_id for price in plan.base.values()],
                seat=[] if plan.seat is None else [plan.seat.price_id],
                metered={feature: [price.price_id] for feature, price in plan.metered.items()},
            )
            for plan in PLANS
        )
        self.clock = SystemClock()
        self.dispositions: Counter[str] = Counter()
        super().__init__(MemoryDatabase(), self.clock, plans=plans)

    async def process(self) -> Sequence[Outcome]:
        """Process the due events, and count how they ended."""
        outcomes = await super().process()
        self.dispositions.update(outcome.disposition.value for outcome in outcomes)
        return outcomes

    async def tenant(self, tenant_id: str) -> ActualTenant:
        """Return the data that the HTTP API would show."""
        tenant = TenantId(tenant_id)
        verdict = AccessPolicy().evaluate(AccessFacts(), self.clock.now())
        return ActualTenant(
            state=as_sent(state_payload(await self.reader.state(tenant), verdict)),
            subscriptions=[
                as_sent(wire_subscription(each.snapshot)) for each in await self.reader.subscriptions(tenant)
            ],
            invoices=[
                as_sent(invoice_section(each.snapshot)) for each in await self.reader.invoices(tenant, limit=500)
            ],
            usage=[as_sent(usage_section(each)) for each in await self.reader.usage(tenant, limit=500)],
        )


@pytest.mark.parametrize("window", [0, 40, float("inf")])
@pytest.mark.parametrize("seed", ["1", "2"])
async def test_the_loop_converges_whatever_the_order(seed: str, window: float) -> None:
    """Every tenant ends in the expected state, with duplicates in both API versions, in any order of arrival."""
    events = demo_events(1200, seed=seed)
    expected = expected_after(events)
    loop = Loop()
    options = DeliveryOptions(duplicates=0.3, window=window)
    for number, delivery in enumerate(plan_deliveries(events, options, Random(seed))):
        await loop.receive(delivery.event.body(delivery.api_version))
        if number % 17 == 0:
            await loop.process()
    await loop.process()
    found = [
        line
        for tenant_id in expected.tenants
        for line in differences(tenant_id, expected.tenant(tenant_id), await loop.tenant(tenant_id))
    ]
    assert found == []
    assert loop.dispositions.keys() <= {"applied", "parked"}
    assert loop.dispositions["applied"] >= 1200


async def test_a_lost_event_is_reported() -> None:
    """The comparison can fail: without one payment it names the fields that differ."""
    events = demo_events(400)
    last_paid = max(number for number, event in enumerate(events) if event.account_event.type == "invoice.paid")
    paid = events[last_paid].account_event.subject
    expected = expected_after(events)
    loop = Loop()
    for event in events:
        if event.account_event.subject != paid:
            await loop.receive(event.body(event.api_version))
    await loop.process()
    tenant_id = events[last_paid].account_event.tenant_id
    found = differences(tenant_id, expected.tenant(tenant_id), await loop.tenant(tenant_id))
    assert isinstance(paid, objects.Invoice)
    assert any(f"{paid.invoice_id}: status is 'open', expected 'paid'" in line for line in found)


def test_the_same_seed_gives_the_same_events() -> None:
    """Seed and day determine everything, bodies included; another seed gives other events."""
    first, again, other = demo_events(300), demo_events(300), demo_events(300, seed="2")
    bodies = [event.body(event.api_version) for event in first]
    assert bodies == [event.body(event.api_version) for event in again]
    assert bodies != [event.body(event.api_version) for event in other]


def test_two_thousand_events_cover_everything_that_can_happen_to_a_tenant() -> None:
    """Trial, payment, renewal, seats, upgrade, failure, recovery, pause, cancellation and usage all occur."""
    events = demo_events(2000)
    types = Counter(event.account_event.type for event in events)
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
    subjects = [event.account_event.subject for event in events]
    statuses = {subject.status for subject in subjects if isinstance(subject, objects.Subscription)}
    assert statuses >= {"trialing", "incomplete", "active", "past_due", "paused", "canceled"}
    lines = [line for subject in subjects if isinstance(subject, objects.Invoice) for line in subject.lines]
    assert any(line.price.metered and line.amount > 0 for line in lines)
    assert any(line.proration and line.amount < 0 for line in lines)
    assert {event.api_version for event in events} == {OLD_VERSION, NEW_VERSION}
    assert len({event.account_event.tenant_id for event in events}) == 36


def test_time_only_moves_forward_and_never_into_the_future() -> None:
    """Events are chronological and lie in the year before today; then new tenants replace the old ones."""
    events = demo_events(2500, tenants=5)
    times = [event.account_event.at for event in events]
    restarts = [number for number, (a, b) in enumerate(pairwise(times), start=1) if b < a]
    midnight = TODAY.replace(hour=0, minute=0)
    assert midnight - GENERATION <= min(times) <= max(times) < midnight
    assert len(restarts) > 0
    generations = [events[start:end] for start, end in zip([0, *restarts], [*restarts, len(events)], strict=True)]
    tenants = [{event.account_event.tenant_id for event in generation} for generation in generations]
    assert sum(len(names) for names in tenants) == len(set().union(*tenants))


def test_every_event_has_its_own_id() -> None:
    """Two events never share an id."""
    events = demo_events(3000)
    assert len({event.event_id for event in events}) == 3000


def test_a_tenant_is_expected_only_after_an_event_named_it() -> None:
    """A customer from Checkout has no tenant until the session names it."""
    events = demo_events(2000)
    session = next(n for n, event in enumerate(events) if event.account_event.type == "checkout.session.completed")
    tenant_id = events[session].account_event.tenant_id
    assert tenant_id not in expected_after(events[:session]).tenants
    assert tenant_id in expected_after(events[: session + 1]).tenants


def test_the_expected_state_is_that_of_the_last_event() -> None:
    """Status and flags follow the last event of the subscription."""
    events = demo_events(1500)
    subscriptions = [
        event.account_event for event in events if isinstance(event.account_event.subject, objects.Subscription)
    ]
    last = subscriptions[-1]
    assert isinstance(last.subject, objects.Subscription)
    section = expected_after(events).tenant(last.tenant_id).subscriptions[last.subject.subscription_id]
    assert section == subscription_section(last.subject)
    canceling = attrs.evolve(last.subject, status="active", cancel_at_period_end=True)
    assert subscription_section(canceling)["auto_renew"] is False


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
