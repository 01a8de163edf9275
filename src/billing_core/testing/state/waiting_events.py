"""The contract of parking: `ClaimFence.settle`, `BillingTransaction.save` and `EventQueue.unpark` taken together."""

import asyncio
from datetime import timedelta

import attrs
import pytest

from billing_core.events import Disposition
from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.model import CustomerId
from billing_core.state.ports import Changes, TenantReader, UnitOfWork
from billing_core.testing.arrange import (
    CUSTOMER,
    applied,
    claimed,
    due,
    park,
    park_on_objects,
    parked,
    parked_on_objects,
    save,
    settle,
)
from billing_core.testing.builders import ACME, customer, invoice, provider_event, subscription
from billing_core.testing.state.samples import CHARGE, CLOCK, PAYMENT, UNOWNED, record
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG


class WaitingEventsContract(Suite):
    """Parked events become due with the link or the object they wait for, and no event is left behind.

    A binding provides `inbox`, `queue`, `unit_of_work` and `tenant_reader`, empty and on the same data.
    """

    # --- for a link ---------------------------------------------------------------------------------------------

    async def test_parked_events_wait_for_their_customers_tenant(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """The first link makes them due, and only those of that customer."""
        await park(inbox, unit_of_work, "evt_1")
        await park(inbox, unit_of_work, "evt_2")
        await park(inbox, unit_of_work, "evt_3", on=CustomerId("cus_2"))
        assert await due(queue) == []
        await save(unit_of_work, Changes(customers=[customer("cus_1", None, name="Zoë")]))
        assert await queue.unpark() == 0
        assert await due(queue) == []
        await save(unit_of_work, Changes(customers=[customer("cus_1", ACME)]))
        assert await due(queue) == ["evt_1", "evt_2"]

    async def test_a_claim_says_whether_its_event_was_parked(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Its first processing ended then, whenever the link comes."""
        await park(inbox, unit_of_work, "evt_1")
        await save(unit_of_work, Changes(customers=[customer("cus_1", ACME)]))
        await inbox.record(provider_event("evt_2"))
        claims = await queue.claim(limit=10, lease=LONG)
        assert {claim.event.event_id: claim.parked for claim in claims} == {"evt_1": True, "evt_2": False}

    async def test_events_that_waited_too_long_end_and_a_later_link_takes_them_up(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Only those of the linked customer; the longest waiting events end first."""
        await park(inbox, unit_of_work, "evt_1")
        await park(inbox, unit_of_work, "evt_2", on=CustomerId("cus_2"))
        assert await queue.lapse(after=LONG, limit=10) == 0
        assert await queue.lapse(after=timedelta(0), limit=1) == 1
        assert await queue.lapse(after=timedelta(0), limit=10) == 1
        assert await queue.lapse(after=timedelta(0), limit=10) == 0
        assert await queue.unpark() == 0
        await save(unit_of_work, Changes(customers=[customer("cus_1", None, name="Zoë")]))
        assert await due(queue) == []
        await save(unit_of_work, Changes(customers=[customer("cus_1", ACME)]))
        assert await due(queue) == ["evt_1"]

    @pytest.mark.parametrize("taken_up", ["shared_customer", "out_of_scope"])
    async def test_an_event_that_was_ignored_before_the_link_is_taken_up_by_it(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, taken_up: str
    ) -> None:
        """It was ignored because the customer had no tenant; what was ignored otherwise stays ignored."""
        for event_id, reason in (("evt_1", taken_up), ("evt_2", "by_operator")):
            claim = await claimed(inbox, provider_event(event_id))
            await settle(unit_of_work, attrs.evolve(parked(claim), disposition=Disposition.IGNORED, reason=reason))
        assert await due(queue) == []
        await save(unit_of_work, Changes(customers=[customer("cus_1", ACME)]))
        assert await due(queue) == ["evt_1"]

    async def test_an_event_may_wait_for_a_customer_and_for_an_object(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """The first of them to get a tenant makes it due."""
        for event_id, customer_id, object_id in (("evt_1", "cus_1", "sub_1"), ("evt_2", "cus_2", "sub_2")):
            claim = await claimed(inbox, provider_event(event_id))
            waiting = attrs.evolve(parked(claim, CustomerId(customer_id)), waits_for=(object_id,))
            async with unit_of_work.transaction() as transaction:
                await transaction.hold([claim])
                await transaction.lock_customers([CustomerId(customer_id)])
                await transaction.settle([waiting])
        assert await due(queue) == []
        await save(unit_of_work, Changes(customers=[customer("cus_1", ACME)], subscriptions=[subscription("sub_2")]))
        assert await due(queue) == ["evt_1", "evt_2"]

    async def test_events_that_waited_too_long_for_an_object_are_taken_up_with_it(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Any of the objects they name."""
        await park_on_objects(inbox, unit_of_work, "evt_1", "in_1", "sub_1")
        await park_on_objects(inbox, unit_of_work, "evt_2", "in_2")
        assert await queue.lapse(after=timedelta(0), limit=10) == 2
        await save(unit_of_work, Changes(subscriptions=[subscription("sub_1")]))
        assert await due(queue) == ["evt_1"]

    async def test_an_event_that_waits_for_nothing_nameable_stays_parked(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """A thin event waits for a key."""
        claim = await claimed(inbox, provider_event("evt_1"))
        await settle(unit_of_work, attrs.evolve(parked(claim), parked_on=None, reason="thin"))
        assert await queue.lapse(after=timedelta(0), limit=10) == 0

    async def test_a_link_that_fails_unparks_nothing(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Unparking is part of the unit of work."""
        await park(inbox, unit_of_work, "evt_1")
        with pytest.raises(LookupError):  # noqa: PT012 - the block is what fails
            async with unit_of_work.transaction() as transaction:
                await transaction.lock_customers([CUSTOMER])
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(customers=[customer()]))
                raise LookupError
        assert await due(queue) == []

    async def test_settling_tells_whether_events_that_waited_became_due(
        self, inbox: EventInbox, unit_of_work: UnitOfWork
    ) -> None:
        """A customer for which nothing waits gives a dispatcher nothing to look for."""
        claim = await claimed(inbox, provider_event("evt_1"))
        async with unit_of_work.transaction() as transaction:
            await transaction.hold([claim])
            await transaction.lock_customers([CUSTOMER])
            assert not await transaction.settle([parked(claim)])
        for is_due in (True, False):
            async with unit_of_work.transaction() as transaction:
                await transaction.lock_customers([CUSTOMER])
                await transaction.lock_tenants([ACME])
                assert await transaction.settle([], Changes(customers=[customer()])) is is_due

    async def test_an_event_does_not_park_on_a_linked_customer(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """A batch may contain both the event that waits and the event that it waits for."""
        claim = await claimed(inbox, provider_event("evt_1"))
        async with unit_of_work.transaction() as transaction:
            await transaction.hold([claim])
            await transaction.lock_customers([CUSTOMER])
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(customers=[customer()]))
            await transaction.settle([parked(claim)])
        assert await due(queue) == ["evt_1"]

    @pytest.mark.parametrize("first", ["park", "link"])
    async def test_no_event_is_left_behind_by_a_concurrent_link(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, first: str
    ) -> None:
        """Either of the two may lock the customer first; the event ends up due."""
        claim = await claimed(inbox, provider_event("evt_1"))
        begun = asyncio.Event()

        async def park_it() -> None:
            async with unit_of_work.transaction() as transaction:
                await transaction.hold([claim])
                known = await transaction.lock_customers([CUSTOMER])
                begun.set()
                await asyncio.sleep(0.05)
                if known[CUSTOMER].tenant_id is None:
                    await transaction.settle([parked(claim)])
                else:
                    await transaction.settle([attrs.evolve(applied(claim), disposition=Disposition.DUE)])

        async def link_it() -> None:
            async with unit_of_work.transaction() as transaction:
                await transaction.lock_customers([CUSTOMER])
                begun.set()
                await transaction.lock_tenants([ACME])
                await asyncio.sleep(0.05)
                await transaction.save(Changes(customers=[customer()]))

        steps = [park_it, link_it] if first == "park" else [link_it, park_it]
        leading = asyncio.create_task(steps[0]())
        await begun.wait()
        await asyncio.gather(leading, steps[1]())
        assert await due(queue) == ["evt_1"]

    async def test_unparking_finds_linked_customers(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """An event that slipped past its link does not wait forever; the count is of events."""
        claims = [await claimed(inbox, provider_event(f"evt_{number}")) for number in range(2)]
        linked = asyncio.Event()

        async def link_it() -> None:
            async with unit_of_work.transaction() as transaction:
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(customers=[customer()]))
                linked.set()
                await asyncio.sleep(0.05)

        async def park_them() -> None:
            async with unit_of_work.transaction() as transaction:
                await transaction.hold(claims)
                await transaction.settle([parked(claim) for claim in claims])

        linking = asyncio.create_task(link_it())
        await linked.wait()
        await asyncio.gather(linking, park_them())
        assert await queue.unpark() in (0, 2)
        assert await due(queue) == ["evt_0", "evt_1"]

    # --- for an object ------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("name", "arrival"),
        [
            ("sub_1", Changes(subscriptions=[subscription()])),
            ("in_1", Changes(invoices=[invoice()])),
            ("pi_1", Changes(records=[record(PAYMENT)])),
            ("ch_1", Changes(records=[record(CHARGE)])),
        ],
        ids=["subscription", "invoice", "payment", "charge"],
    )
    async def test_an_object_makes_due_what_waits_for_it(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, name: str, arrival: Changes
    ) -> None:
        """The first of the objects that an event names is enough; other events stay parked."""
        await park_on_objects(inbox, unit_of_work, "evt_first", name, "x_1")
        await park_on_objects(inbox, unit_of_work, "evt_second", "x_1", name)
        await park_on_objects(inbox, unit_of_work, "evt_other", "x_1", "x_2")
        assert await due(queue) == []
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_tenants([ACME])
            await transaction.save(arrival)
        assert await due(queue) == ["evt_first", "evt_second"]

    async def test_a_record_without_a_tenant_makes_nothing_due(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """A price or product names no tenant, nor does a test clock."""
        await park_on_objects(inbox, unit_of_work, "evt_1", "price:gold", "gold", CLOCK.clock_id)
        await save(unit_of_work, Changes(records=[record(snapshot, None) for snapshot in UNOWNED]))
        await park_on_objects(inbox, unit_of_work, "evt_2", CLOCK.clock_id)
        assert await queue.unpark() == 0
        assert await due(queue) == []

    async def test_an_object_that_is_rolled_back_unparks_nothing(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Nothing of a failed unit of work is kept."""
        await park_on_objects(inbox, unit_of_work, "evt_1", "pi_1")
        with pytest.raises(LookupError):  # noqa: PT012 - the block is what fails
            async with unit_of_work.transaction() as transaction:
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(records=[record(PAYMENT)]))
                raise LookupError
        assert await tenant_reader.records(ACME, limit=10) == []
        assert await queue.unpark() == 0
        assert await due(queue) == []

    async def test_an_event_does_not_park_on_a_known_object(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """A batch may contain both the event that waits and the event that it waits for."""
        await park_on_objects(inbox, unit_of_work, "evt_1", "x_1", "in_1", saving=Changes(invoices=[invoice()]))
        await park_on_objects(inbox, unit_of_work, "evt_2", "in_1", "x_1")
        assert await due(queue) == ["evt_1", "evt_2"]

    async def test_an_unparked_event_can_be_parked_again(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """It may turn out to wait for something else."""
        await park_on_objects(inbox, unit_of_work, "evt_1", "in_1")
        await save(unit_of_work, Changes(invoices=[invoice()]))
        (claim,) = await queue.claim(limit=10, lease=LONG)
        await settle(unit_of_work, parked_on_objects(claim, "pi_1"))
        assert await due(queue) == []
        await save(unit_of_work, Changes(records=[record(PAYMENT)]))
        assert await due(queue) == ["evt_1"]

    async def test_unparking_leaves_alone_what_has_to_wait(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """And everything that is not parked."""
        await park_on_objects(inbox, unit_of_work, "evt_1", "in_9")
        await claimed(inbox, provider_event("evt_2"))
        await save(unit_of_work, Changes(customers=[customer("cus_1", None)], invoices=[invoice()]))
        assert await queue.unpark() == 0
        assert await due(queue) == []

    async def test_an_event_that_parks_while_its_object_is_saved_is_found(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """Two concurrent units of work do not see each other; unparking afterwards sees both."""
        saved = asyncio.Event()

        async def save_it() -> None:
            async with unit_of_work.transaction() as transaction:
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(invoices=[invoice()]))
                saved.set()
                await asyncio.sleep(0.05)

        saving = asyncio.create_task(save_it())
        await saved.wait()
        await asyncio.gather(saving, park_on_objects(inbox, unit_of_work, "evt_1", "in_1", "x_1"))
        await queue.unpark()
        assert await queue.unpark() == 0
        assert await due(queue) == ["evt_1"]
