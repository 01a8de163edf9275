"""The contract of EventSelector."""

from collections.abc import Mapping
from datetime import timedelta

from billing_core.events import Disposition, Effect
from billing_core.inbox.ports import EventInbox, EventQueue, EventSelector, HeldPlan, ReplayQueue
from billing_core.inbox.selection import EventFilter
from billing_core.model import CustomerId, EventId, TenantId
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.arrange import applied, claimed, parked, save, settle
from billing_core.testing.builders import ACME, AT, GLOBEX, customer, provider_event, subscription
from billing_core.testing.suite import Suite
from billing_core.testing.timing import Elapse

ALICE, BOB = CustomerId("cus_alice"), CustomerId("cus_bob")
CAROL, DAVE = CustomerId("cus_carol"), CustomerId("cus_dave")
HOSTILE = "%_\\' OR 1=1; -- \ud800\x00"

EXPECTED: Mapping[EventFilter, set[str]] = {
    EventFilter(ids=(EventId("evt_2"), EventId("evt_3"))): {"evt_2", "evt_3"},
    EventFilter(tenant_id=ACME): {"evt_1"},
    EventFilter(customer_id=BOB): {"evt_2"},
    EventFilter(statuses=(Disposition.DEAD, Disposition.DUE)): {"evt_3"},
    EventFilter(reasons=("bug", "transient")): {"evt_3"},
    EventFilter(reasons=("transient",)): set(),
    EventFilter(since=AT + timedelta(days=1)): {"evt_3"},
    EventFilter(until=AT + timedelta(days=1)): {"evt_1", "evt_2"},
    EventFilter(types=("a",), statuses=(Disposition.APPLIED,)): {"evt_1"},
    EventFilter(tenant_id=ACME, customer_id=BOB): set(),
    EventFilter(ids=(EventId(HOSTILE),)): set(),
    EventFilter(tenant_id=TenantId(HOSTILE), customer_id=CustomerId(HOSTILE), reasons=(HOSTILE,)): set(),
}
"""The events that each filter selects after `store_three`."""


async def store_three(inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork) -> Mapping[int, str]:
    """Store an applied event of each of two tenants and a dead one; return their ids by number."""
    numbers: dict[int, str] = {}
    for event_id, event_type, customer_id, tenant_id in (("evt_1", "a", ALICE, ACME), ("evt_2", "b", BOB, GLOBEX)):
        linked = Changes(customers=[customer(customer_id, tenant_id)])
        await save(unit_of_work, linked, tenants=[tenant_id])
        claim = await claimed(inbox, provider_event(event_id, type=event_type))
        confirmed = applied(claim, effect=Effect.CONFIRMED, tenant_id=tenant_id, customer_id=customer_id, sequence=None)
        await settle(unit_of_work, confirmed)
        numbers[claim.dispatch_id] = event_id
    dead = await claimed(inbox, provider_event("evt_3", type="a", received_at=AT + timedelta(days=2)))
    await queue.bury(dead, reason="bug", error="boom")
    return numbers | {dead.dispatch_id: "evt_3"}


class EventSelectorContract(Suite):
    """Numbers of the events that a filter selects, in the order in which things happened.

    A binding provides `selector`, and `inbox`, `queue`, `replay_queue` and `unit_of_work` on the same data, all empty,
    and `elapse`, which lets time pass.
    """

    async def test_a_fingerprint_stands_for_events_and_their_ends(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, selector: EventSelector
    ) -> None:
        """However they are ordered; not for others, nor for the same ones once one of them has come to another end."""
        first, second, dead = await store_three(inbox, queue, unit_of_work)
        seen = await selector.fingerprint([first, second, dead])
        assert await selector.fingerprint([dead, second, first]) == seen
        assert len({seen, await selector.fingerprint([first, dead]), await selector.fingerprint([])}) == 3
        waiting = await claimed(inbox, provider_event("evt_4"))
        due = await selector.fingerprint([first, waiting.dispatch_id])
        assert await queue.retry(waiting, after=timedelta(0), reason="transient", error="boom")
        assert await selector.fingerprint([first, waiting.dispatch_id]) == due
        (again,) = await queue.claim(limit=1, lease=timedelta(minutes=1))
        await queue.bury(again, reason="bug", error="boom")
        assert await selector.fingerprint([first, waiting.dispatch_id]) != due

    async def test_a_fingerprint_is_of_one_end_of_an_event(
        self, inbox: EventInbox, queue: EventQueue, replay_queue: ReplayQueue, selector: EventSelector, elapse: Elapse
    ) -> None:
        """Not of a later one of the same kind: what was shown is not what would be replayed."""
        claim, fingerprints = await claimed(inbox, provider_event("evt_1")), set()
        for _ in range(2):
            await queue.bury(claim, reason="bug", error="boom")
            fingerprints.add(await selector.fingerprint([claim.dispatch_id]))
            await elapse(timedelta(seconds=1))
            (claim,) = await replay_queue.reclaim([claim.dispatch_id], lease=timedelta(minutes=1))
        assert len(fingerprints) == 2

    async def test_the_selection_is_in_the_order_in_which_things_happened(
        self, inbox: EventInbox, selector: EventSelector
    ) -> None:
        """The provider's clock decides, not the arrival."""
        events = [provider_event(f"evt_{number}", created_at=AT + timedelta(seconds=number)) for number in (2, 0, 1)]
        stored = {(await claimed(inbox, event)).dispatch_id: event.event_id for event in events}
        assert [stored[number] for number in await selector.select(EventFilter())] == ["evt_0", "evt_1", "evt_2"]
        assert len(await selector.select(EventFilter(), limit=2)) == 2

    async def test_the_selection_meets_every_condition(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, selector: EventSelector
    ) -> None:
        """Each condition alone selects its events, two of them only what both mean, and hostile ones nothing."""
        stored = await store_three(inbox, queue, unit_of_work)
        for wanted, ids in EXPECTED.items():
            assert {stored[number] for number in await selector.select(wanted)} == ids, wanted

    async def test_a_customers_events_are_its_own(
        self, inbox: EventInbox, unit_of_work: UnitOfWork, selector: EventSelector
    ) -> None:
        """Neither another customer's of the same tenant, nor those that wait for another customer."""
        await save(unit_of_work, Changes(customers=[customer(ALICE), customer(BOB)]))
        for customer_id in (ALICE, BOB):
            claim = await claimed(inbox, provider_event(f"evt_{customer_id}"))
            await settle(unit_of_work, applied(claim, customer_id=customer_id, sequence=None))
        for customer_id in (CAROL, DAVE):
            claim = await claimed(inbox, provider_event(f"evt_{customer_id}"))
            await settle(unit_of_work, parked(claim, customer_id, customer_id=customer_id))
        everything = await selector.select(EventFilter())
        for customer_id, number in zip((ALICE, BOB, CAROL, DAVE), everything, strict=True):
            assert list(await selector.select(EventFilter(customer_id=customer_id))) == [number]

    async def test_plans_are_those_of_live_subscriptions_of_the_events_tenants(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, selector: EventSelector
    ) -> None:
        """Each with how many are on it and the first tenant; no other tenant's plan, and none of what has ended."""
        numbers = {event_id: number for number, event_id in (await store_three(inbox, queue, unit_of_work)).items()}
        held = [
            subscription("sub_1", ACME, plan_code="pro"),
            subscription("sub_2", ACME, plan_code="pro"),
            subscription("sub_3", ACME, plan_code="old", status="canceled"),
            subscription("sub_4", GLOBEX, plan_code="basic"),
            subscription("sub_5", GLOBEX, plan_code="pro"),
            subscription("sub_6", GLOBEX, plan_code="trial", status="incomplete"),
            subscription("sub_7", GLOBEX, plan_code=None),
        ]
        await save(unit_of_work, Changes(subscriptions=held), tenants=[ACME, GLOBEX])
        one = await selector.plans([numbers["evt_1"], numbers["evt_3"]])
        assert one == [HeldPlan(plan_code="pro", subscriptions=2, tenant_id=ACME)]
        both = await selector.plans(list(numbers.values()))
        assert both == [
            HeldPlan(plan_code="basic", subscriptions=1, tenant_id=GLOBEX),
            HeldPlan(plan_code="pro", subscriptions=3, tenant_id=ACME),
        ]
        assert await selector.plans([]) == []
