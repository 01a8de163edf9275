"""The contract of UnitOfWork and of the BillingTransaction that it opens."""

import asyncio

import attrs
import pytest

from billing_core.errors import TenantConflictError
from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.model import InvoiceId, TenantId, TenantState
from billing_core.state.ports import Changes, TenantReader, UnitOfWork
from billing_core.stream.ports import MessageHistory
from billing_core.testing.arrange import CUSTOMER, applied, claimed, save
from billing_core.testing.builders import (
    ACME,
    AT,
    GLOBEX,
    customer,
    invoice,
    item,
    message,
    messages,
    provider_event,
    subscription,
    usage,
)
from billing_core.testing.state.samples import CHARGE, record
from billing_core.testing.suite import Suite

INVOICE = InvoiceId("in_1")


class UnitOfWorkContract(Suite):
    """All or nothing, gapless numbers, and no object of one tenant overwritten by another.

    A binding provides `unit_of_work`, and `inbox`, `queue`, `tenant_reader` and `history` on the same data, all empty.
    """

    # --- saving -------------------------------------------------------------------------------------------------

    async def test_saving_nothing_is_harmless(self, unit_of_work: UnitOfWork) -> None:
        """So is asking for nothing."""
        async with unit_of_work.transaction() as transaction:
            assert (await transaction.hold([])).claims == []
            assert await transaction.lock_customers([]) == {}
            assert (await transaction.lock_tenants([])).counters == {}
            assert await transaction.customers([]) == {}
            assert await transaction.subscriptions(tenants=[], ids=[]) == []
            assert await transaction.invoices() == []
            await transaction.save(Changes())
            await transaction.settle([])

    async def test_saving_twice_equals_saving_once(self, unit_of_work: UnitOfWork, tenant_reader: TenantReader) -> None:
        """Values are absolute: nothing is added up."""
        changes = Changes(
            customers=[customer()], subscriptions=[subscription()], invoices=[invoice()], usage={INVOICE: [usage()]}
        )
        await save(unit_of_work, changes)
        once = await tenant_reader.state(ACME)
        await save(unit_of_work, changes)
        assert await tenant_reader.state(ACME) == once

    async def test_the_last_value_of_an_object_counts(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Also within one save."""
        await save(unit_of_work, Changes(subscriptions=[subscription(seat_count=1), subscription(seat_count=2)]))
        assert [each.snapshot.seat_count for each in await tenant_reader.subscriptions(ACME)] == [2]

    async def test_the_last_value_of_a_record_counts(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Amounts are replaced, not added; also within one save."""
        later = record(attrs.evolve(CHARGE, amount_refunded=7), at=1)
        await save(unit_of_work, Changes(records=[record(CHARGE)]))
        await save(unit_of_work, Changes(records=[record(attrs.evolve(CHARGE, amount_refunded=3)), later]))
        assert await tenant_reader.records(ACME, limit=10) == [later]

    async def test_items_are_replaced_as_a_whole(self, unit_of_work: UnitOfWork, tenant_reader: TenantReader) -> None:
        """Items that are missing from the new snapshot are gone, and other subscriptions keep theirs."""
        await save(
            unit_of_work,
            Changes(subscriptions=[subscription("sub_1", items=(item("si_1"), item("si_2"))), subscription("sub_2")]),
        )
        changed = subscription("sub_1", items=(item("si_2", quantity=9), item("si_3")))
        await save(unit_of_work, Changes(subscriptions=[changed]))
        found = {each.snapshot.subscription_id: each for each in await tenant_reader.subscriptions(ACME)}
        assert found == {"sub_1": changed, "sub_2": subscription("sub_2")}
        without = subscription("sub_1", items=())
        await save(unit_of_work, Changes(subscriptions=[without]))
        assert without in await tenant_reader.subscriptions(ACME)

    async def test_usage_is_replaced_per_invoice(self, unit_of_work: UnitOfWork, tenant_reader: TenantReader) -> None:
        """An invoice that is voided takes its usage along, and no other invoice's."""
        kept = usage("in_2", "il_1")
        await save(
            unit_of_work,
            Changes(usage={INVOICE: [usage("in_1", "il_1"), usage("in_1", "il_2")], InvoiceId("in_2"): [kept]}),
        )
        changed = usage("in_1", "il_2", quantity=7)
        await save(unit_of_work, Changes(usage={INVOICE: [changed]}))
        assert await tenant_reader.usage(ACME, limit=10) == [kept, changed]
        async with unit_of_work.transaction() as transaction:
            stored = await transaction.usage({INVOICE, InvoiceId("in_9")})
            assert {id_: list(found) for id_, found in stored.items()} == {INVOICE: [changed], "in_9": []}
        await save(unit_of_work, Changes(usage={INVOICE: []}))
        assert await tenant_reader.usage(ACME, limit=10) == [kept]

    async def test_a_link_survives_a_save_without_one(self, unit_of_work: UnitOfWork) -> None:
        """A caller that does not know the tenant cannot take the customer away from it."""
        await save(unit_of_work, Changes(customers=[customer("cus_1", ACME)]))
        await save(unit_of_work, Changes(customers=[customer("cus_1", None, name="Zoë")]))
        async with unit_of_work.transaction() as transaction:
            assert await transaction.customers([CUSTOMER]) == {CUSTOMER: customer("cus_1", ACME, name="Zoë")}

    # --- all or nothing -----------------------------------------------------------------------------------------

    async def test_an_exception_leaves_no_trace(
        self,
        inbox: EventInbox,
        queue: EventQueue,
        unit_of_work: UnitOfWork,
        tenant_reader: TenantReader,
        history: MessageHistory,
    ) -> None:
        """Nothing saved or settled inside a failed unit of work is visible afterwards, and its numbers are free."""
        claim = await claimed(inbox, provider_event("evt_1"))
        with pytest.raises(LookupError):  # noqa: PT012 - the block is what fails
            async with unit_of_work.transaction() as transaction:
                await transaction.hold([claim])
                await transaction.lock_customers([CUSTOMER])
                await transaction.lock_tenants([ACME])
                await transaction.save(
                    Changes(
                        customers=[customer()],
                        subscriptions=[subscription()],
                        invoices=[invoice()],
                        usage={INVOICE: [usage()]},
                        events=[message()],
                    )
                )
                await transaction.settle([applied(claim)])
                raise LookupError
        assert await tenant_reader.state(ACME) == TenantState(
            tenant_id=ACME, as_of=AT, sequence=0, subscriptions=(), invoices=(), usage=()
        )
        assert await history.events(ACME, after=0, limit=10) == []
        assert await queue.bury(claim, reason="unexpected", error="still ours")
        async with unit_of_work.transaction() as transaction:
            assert await transaction.customers([CUSTOMER]) == {}

    async def test_nothing_is_visible_before_the_end(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader, history: MessageHistory
    ) -> None:
        """Readers see the state before or the state after, never one between."""
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(subscriptions=[subscription()], events=[message()]))
            assert (await tenant_reader.state(ACME)).subscriptions == ()
            assert await history.sequence(ACME) == 0
        assert (await tenant_reader.state(ACME)).subscriptions == (subscription(),)
        assert await history.sequence(ACME) == 1

    async def test_a_unit_of_work_sees_what_it_wrote(self, unit_of_work: UnitOfWork) -> None:
        """The next snapshot is applied on top of it."""
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_customers([CUSTOMER])
            assert (await transaction.lock_tenants([ACME])).counters == {ACME: 0}
            await transaction.save(Changes(customers=[customer()], subscriptions=[subscription()], events=[message()]))
            assert await transaction.subscriptions(tenants=[ACME], ids=[]) == [subscription()]
            assert await transaction.customers([CUSTOMER]) == {CUSTOMER: customer()}
            assert (await transaction.lock_tenants([ACME])).counters == {ACME: 1}

    # --- numbers ------------------------------------------------------------------------------------------------

    async def test_numbers_are_gapless_under_concurrency(
        self, unit_of_work: UnitOfWork, history: MessageHistory
    ) -> None:
        """Units of work that fail in between leave no hole, and those that succeed never share a number."""

        async def one(attempt: int) -> None:
            async with unit_of_work.transaction() as transaction:
                last = (await transaction.lock_tenants([ACME])).counters[ACME]
                await transaction.save(Changes(events=messages(ACME, last + 1, last + 2)))
                await asyncio.sleep(0)
                if attempt % 3 == 0:
                    raise LookupError

        results = await asyncio.gather(*(one(attempt) for attempt in range(15)), return_exceptions=True)
        assert [type(result) for result in results if result is not None] == [LookupError] * 5
        assert await history.sequence(ACME) == 20
        assert await history.sequences([ACME, TenantId("unknown")]) == {ACME: 20}
        assert await history.events(ACME, after=0, limit=100) == messages(ACME, 1, 20)

    @pytest.mark.parametrize("first", [1, 3])
    async def test_messages_must_continue_the_counter(
        self, unit_of_work: UnitOfWork, history: MessageHistory, first: int
    ) -> None:
        """A number that is taken or ahead is a bug in the caller, and nothing of that save is kept."""
        await save(unit_of_work, Changes(events=[message(ACME, 1)]))
        with pytest.raises(ValueError, match="continue the counters"):
            await save(unit_of_work, Changes(events=messages(ACME, first, first + 1)))
        assert await history.events(ACME, after=0, limit=10) == [message(ACME, 1)]

    async def test_messages_must_not_leave_a_gap(self, unit_of_work: UnitOfWork, history: MessageHistory) -> None:
        """Not even within one save."""
        with pytest.raises(ValueError, match="follows number 1"):
            await save(unit_of_work, Changes(events=[message(ACME, 1), message(ACME, 3)]))
        assert await history.sequence(ACME) == 0

    # --- ownership ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("what", ["subscription", "invoice", "usage", "customer"])
    async def test_an_object_of_another_tenant_is_never_overwritten(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader, what: str
    ) -> None:
        """The claim of an event does not matter, and nothing else of that unit of work is kept either."""

        def changes(tenant: TenantId, seats: int) -> Changes:
            return {
                "subscription": Changes(subscriptions=[subscription("sub_1", tenant, seat_count=seats)]),
                "invoice": Changes(invoices=[invoice("in_1", tenant, attempt_count=seats)]),
                "usage": Changes(usage={INVOICE: [usage("in_1", "il_1", tenant, quantity=seats)]}),
                "customer": Changes(customers=[customer("cus_1", tenant, name=str(seats))]),
            }[what]

        await save(unit_of_work, changes(GLOBEX, 1), tenants=[GLOBEX])
        before = await tenant_reader.state(GLOBEX)
        with pytest.raises(TenantConflictError):
            await save(unit_of_work, attrs.evolve(changes(ACME, 2), events=[message()]))
        assert await tenant_reader.state(GLOBEX) == before
        assert (await tenant_reader.state(ACME)).sequence == 0
        async with unit_of_work.transaction() as transaction:
            customers = await transaction.customers([CUSTOMER])
        assert all(each.tenant_id == GLOBEX for each in customers.values())

    @pytest.mark.parametrize("other", [GLOBEX, None])
    async def test_a_record_of_another_tenant_is_never_overwritten(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader, other: TenantId | None
    ) -> None:
        """Nor moved to the catalog."""
        await save(unit_of_work, Changes(records=[record(CHARGE)]))
        theirs = Changes(records=[record(attrs.evolve(CHARGE, amount_refunded=7), other)])
        with pytest.raises(TenantConflictError):
            await save(unit_of_work, theirs, tenants=[] if other is None else [other])
        assert await tenant_reader.records(ACME, limit=10) == [record(CHARGE)]
        assert await tenant_reader.records(GLOBEX, limit=10) == []
