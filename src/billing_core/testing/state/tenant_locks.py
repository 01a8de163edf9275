"""The contract of TenantLocks."""

import asyncio

import attrs

from billing_core.inbox.ports import EventInbox
from billing_core.model import CustomerId, GrantId, TenantId
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.stream.ports import MessageHistory
from billing_core.testing.arrange import CUSTOMER, claimed, save
from billing_core.testing.builders import ACME, AT, GLOBEX, customer, grant, message, provider_event
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG, TICK


class TenantLocksContract(Suite):
    """Rows that are created on demand and locked in one order.

    A binding provides `unit_of_work`, and `inbox` and `history` on the same data, all empty.
    """

    async def test_locking_creates_unknown_rows(self, unit_of_work: UnitOfWork) -> None:
        """A customer starts without a tenant, a tenant with number 0; known rows stay as they are."""
        await save(unit_of_work, Changes(customers=[customer("cus_2")], events=[message()]))
        async with unit_of_work.transaction() as transaction:
            assert await transaction.lock_customers([CustomerId("cus_2"), CUSTOMER, CUSTOMER]) == {
                "cus_1": customer("cus_1", None),
                "cus_2": customer("cus_2"),
            }
            locked = await transaction.lock_tenants([GLOBEX, ACME, GLOBEX])
            assert locked.counters == {ACME: 1, GLOBEX: 0}

    async def test_locked_tenants_come_with_the_grants_that_were_not_revoked(self, unit_of_work: UnitOfWork) -> None:
        """In the order in which they were made, ended ones too; a tenant without any is left out."""
        later, ended = grant("grant_1", granted_at=AT + TICK), grant("grant_2", until=AT)
        gone = grant("grant_3", revoked_at=AT, revoked_by="ops", revoked_reason="over")
        theirs = grant("grant_4", GLOBEX, revoked_at=AT, revoked_by="ops", revoked_reason="over")
        await save(unit_of_work, Changes(grants=[later, ended, gone, theirs]), tenants=[ACME, GLOBEX])
        async with unit_of_work.transaction() as transaction:
            assert (await transaction.lock_tenants([ACME, GLOBEX])).grants == {ACME: [ended, later]}
            assert (await transaction.lock_tenants([])).grants == {}

    async def test_a_grant_is_found_by_its_id_and_can_be_revoked(self, unit_of_work: UnitOfWork) -> None:
        """Every field survives, with nothing and with everything filled in."""
        made = grant(until=AT + LONG)
        await save(unit_of_work, Changes(grants=[made]))
        revoked = attrs.evolve(made, revoked_at=AT + TICK, revoked_by="ops", revoked_reason="a mistake")
        async with unit_of_work.transaction() as transaction:
            assert await transaction.grant(made.grant_id) == made
            assert await transaction.grant(GrantId("grant_9")) is None
            assert (await transaction.lock_tenants([ACME])).grants == {ACME: [made]}
            await transaction.save(Changes(grants=[revoked]))
        async with unit_of_work.transaction() as transaction:
            assert await transaction.grant(made.grant_id) == revoked
            assert (await transaction.lock_tenants([ACME])).grants == {}

    async def test_overlapping_units_of_work_do_not_deadlock(
        self, inbox: EventInbox, unit_of_work: UnitOfWork, history: MessageHistory
    ) -> None:
        """Each names the same claims, customers and tenants in an order of its own."""
        names = [f"{number}" for number in range(6)]
        claims = [await claimed(inbox, provider_event(f"evt_{name}")) for name in names]

        async def work(shift: int) -> None:
            order = names[shift:] + names[:shift]
            async with unit_of_work.transaction() as transaction:
                await transaction.hold([claims[names.index(name)] for name in order])
                await transaction.lock_customers([CustomerId(f"cus_{name}") for name in order])
                counters = (await transaction.lock_tenants([TenantId(name) for name in order])).counters
                await asyncio.sleep(0)
                await transaction.save(Changes(events=[message(TenantId(n), counters[TenantId(n)] + 1) for n in order]))

        await asyncio.gather(*(work(shift) for shift in [*range(6), *range(6)]))
        assert [await history.sequence(TenantId(name)) for name in names] == [12] * 6

    async def test_customers_and_tenants_can_be_created_concurrently(self, unit_of_work: UnitOfWork) -> None:
        """All units of work get the same rows."""

        async def lock(shift: int) -> int:
            async with unit_of_work.transaction() as transaction:
                ids = [CustomerId(f"cus_{(number + 20 * shift) % 200}") for number in range(200)]
                found = await transaction.lock_customers(ids)
                counters = (await transaction.lock_tenants([TenantId(each) for each in ids])).counters
                assert set(found) == set(ids)
                assert set(counters.values()) == {0}
                return len(found)

        assert await asyncio.gather(*(lock(shift) for shift in range(10))) == [200] * 10
