"""Links that move while batches are on their way to Postgres."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import attrs
import pytest

from billing_core.events import Disposition, Translation
from billing_core.model import CustomerId, CustomerSnapshot, InvoiceId, PaymentSnapshot, SubscriptionId, TenantId
from billing_core.state.ports import LockedTenants
from billing_core.testing.arrange import claimed, service_over
from billing_core.testing.builders import ACME, GLOBEX, invoice, provider_event, subscription
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository

pytestmark = pytest.mark.postgres

CUSTOMER = CustomerId("cus_1")
SUBSCRIBED = attrs.evolve(subscription("sub_1").snapshot, customer_id=CUSTOMER)
BILLED = attrs.evolve(invoice("in_1").snapshot, customer_id=CUSTOMER, subscription_id=SubscriptionId("sub_1"))
BY_CUSTOMER = Translation(customer_id=CUSTOMER, tenant_hint=ACME, snapshots=(attrs.evolve(SUBSCRIBED, seat_count=9),))
PAID = PaymentSnapshot(payment_id="pi_1", invoice_id=InvoiceId("in_1"), amount_paid=1, currency="usd", status="paid")
BY_INVOICE = Translation(about=("in_1",), snapshots=(PAID,))


class SlowLocks:
    """A unit of work that waits between reading links and locking tenants, the first time."""

    def __init__(self, inner: PostgresRepository) -> None:
        self._inner = inner
        self.reached, self.proceed = asyncio.Event(), asyncio.Event()
        self.begun = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Begin a unit of work."""
        self.begun += 1
        async with self._inner.transaction() as transaction:
            locking = transaction.lock_tenants

            async def lock_tenants(ids: Collection[TenantId]) -> LockedTenants:
                self.reached.set()
                await self.proceed.wait()
                return await locking(ids)

            transaction.lock_tenants = lock_tenants  # type: ignore[method-assign]
            yield transaction


@pytest.mark.parametrize("late", [BY_CUSTOMER, BY_INVOICE], ids=["customer", "invoice"])
@pytest.mark.parametrize("to", [GLOBEX, None])
async def test_a_batch_that_read_a_link_before_it_moved_begins_again(
    database_url: str, late: Translation, to: TenantId | None
) -> None:
    """Its event is the new tenant's, or waits; the former tenant gets neither a row nor a message."""
    database = Database(url=database_url)
    async with await database.open_pool(size=5) as pool, PostgresEventInbox(database, pool) as store:
        repository = PostgresRepository(database, pool)
        service, slow = service_over(repository), SlowLocks(repository)
        first = await claimed(store, provider_event("evt_1"))
        shown = (CustomerSnapshot(customer_id=CUSTOMER), SUBSCRIBED, BILLED)
        await service.apply([(first, Translation(customer_id=CUSTOMER, tenant_hint=ACME, snapshots=shown))])
        claim = await claimed(store, provider_event("evt_2"))
        applying = asyncio.create_task(service_over(slow).apply([(claim, late)]))
        await slow.reached.wait()
        if to is None:
            change = await service.unlink(CUSTOMER, ACME)
        else:
            change = await service.move(CUSTOMER, to)
        slow.proceed.set()
        (outcome,) = (await applying).outcomes
        assert slow.begun == 2
        assert (outcome.disposition, outcome.tenant_id) == (
            (Disposition.PARKED, None) if to is None else (Disposition.APPLIED, to)
        )
        state = await repository.state(ACME)
        assert (state.subscriptions, state.sequence) == ((), change.events[0].sequence)


async def test_two_operators_who_move_one_customer_take_turns(database_url: str) -> None:
    """The customer ends where the later decision puts it, with everything it has."""
    database = Database(url=database_url)
    async with await database.open_pool(size=6) as pool, PostgresEventInbox(database, pool) as store:
        repository = PostgresRepository(database, pool)
        service = service_over(repository)
        first = await claimed(store, provider_event("evt_1"))
        shown = (CustomerSnapshot(customer_id=CUSTOMER), SUBSCRIBED, BILLED)
        await service.apply([(first, Translation(customer_id=CUSTOMER, tenant_hint=ACME, snapshots=shown))])
        tenants = [TenantId(name) for name in ("globex", "initech", "acme", "umbrella")]
        await asyncio.gather(*(service.move(CUSTOMER, tenant) for tenant in tenants))
        async with repository.transaction() as transaction:
            decisions = await transaction.decisions([CUSTOMER])
            owner = (await transaction.customers([CUSTOMER]))[CUSTOMER].tenant_id
            owners = await transaction.owners(["sub_1", "in_1"])
        assert len(decisions) == len(tenants)
        assert owner == decisions[-1].to_tenant
        assert set(owners.values()) == {owner}
        for before, after in pairwise(decisions):
            assert after.from_tenant == before.to_tenant
