"""Erasing a tenant, and the events that come for it afterwards."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import ACME, ALICE, BOB, GLOBEX, Loop, customer, invoice, subscription

from billing_core.errors import ErasureRefusedError, LinkRefusedError
from billing_core.events import Disposition, Translation
from billing_core.model import (
    ChargeSnapshot,
    CustomerId,
    InvoiceId,
    SubscriptionId,
    TenantCustomer,
    TenantId,
    TenantRules,
)
from billing_core.state.ports import BillingTransaction, LockedTenants
from billing_core.testing.operations.operation_log import REQUEST
from billing_memory.operations.log import MemoryOperationLog
from billing_memory.state.repository import MemoryRepository
from billing_memory.state.transaction import MemoryTransaction

WHY: Any = {"actor": "grace", "reason": "request 7"}


async def test_later_events_of_an_erased_customer_are_ignored_and_lose_their_bodies(loop: Loop) -> None:
    """Also if their metadata names a tenant: nothing brings the data back."""
    await loop.arrive(loop.says(subscription()), loop.says(invoice()))
    await loop.service().erase(ACME, **WHY)
    later = [
        loop.says(subscription(status="canceled"), at=9),
        loop.says(customer(email="a@example.com"), tenant=GLOBEX),
    ]
    outcomes = await loop.arrive(*later)
    assert {(each.disposition, each.reason) for each in outcomes} == {(Disposition.IGNORED, "erased")}
    assert [loop.attribution(event) for event in later] == [(None, None)] * 2
    assert [loop.row(event).event.body for event in later] == [b"", b""]
    tables = loop.database.tables
    assert (tables.customers, tables.subscriptions, tables.invoices) == ({}, {}, {})


async def test_an_event_without_a_customer_is_recognized_by_the_objects_that_it_names(loop: Loop) -> None:
    """The refund of an erased tenant's payment."""
    await loop.arrive(loop.says(subscription()), loop.says(invoice()))
    await loop.service().erase(ACME, **WHY)
    event = loop.provider.event("evt_late", Translation(about=("in_1",)), at=loop.clock.now())
    (outcome,) = await loop.arrive(event)
    assert (outcome.disposition, outcome.reason) == (Disposition.IGNORED, "erased")


async def test_events_that_were_waiting_to_be_processed_are_ignored(loop: Loop) -> None:
    """They were stored before the erasure, which could not know whose they are."""
    await loop.arrive(loop.says(subscription()))
    await loop.inbox.record(loop.says(invoice(), at=5))
    await loop.service().erase(ACME, **WHY)
    (outcome,) = await loop.work()
    assert outcome.reason == "erased"


async def test_an_event_whose_customer_was_read_before_the_erasure_starts_over(loop: Loop) -> None:
    """Its batch is offered events of others, too: they are applied."""
    await loop.arrive(loop.says(subscription()))
    await loop.service().erase(ACME, **WHY)
    bobs = loop.says(subscription("sub_2", customer_id=BOB), tenant=GLOBEX)
    outcomes = await loop.arrive(loop.says(invoice(), at=5), bobs)
    assert sorted(each.disposition.value for each in outcomes) == ["applied", "ignored"]
    assert loop.attribution(bobs) == (BOB, GLOBEX)


async def test_a_new_customer_may_name_the_tenant_again(loop: Loop) -> None:
    """It signed up again: its messages continue above the last number, and its history begins there."""
    await loop.arrive(loop.says(subscription()))
    await loop.service().erase(ACME, **WHY)
    await loop.arrive(loop.says(subscription("sub_2", customer_id=BOB)))
    assert [each.sequence for each in await loop.payloads()] == [3]
    assert await loop.history.erased_until(ACME) == 2


async def test_an_erased_customer_cannot_be_linked(loop: Loop) -> None:
    """Its events are ignored, so that a link would promise what it cannot keep."""
    await loop.arrive(loop.says(subscription()))
    await loop.service().erase(ACME, **WHY)
    with pytest.raises(LinkRefusedError, match="cus_alice belonged to a tenant that was erased"):
        await loop.service().link(ALICE, GLOBEX)
    with pytest.raises(LinkRefusedError, match="erased"):
        await loop.service().move(ALICE, GLOBEX)


async def test_a_tenant_with_an_operation_on_its_way_is_not_erased(loop: Loop) -> None:
    """Its outcome would be lost, and the answer would bring data back."""
    await loop.arrive(loop.says(subscription()))
    await MemoryOperationLog(loop.database, loop.clock).begin(REQUEST, lease=timedelta(minutes=1))
    with pytest.raises(ErasureRefusedError, match="billing gateway pending"):
        await loop.service().erase(ACME, **WHY)
    assert SubscriptionId("sub_1") in loop.database.tables.subscriptions


async def test_a_dry_run_counts_and_changes_nothing(loop: Loop) -> None:
    """The real run then erases the same."""
    await loop.arrive(loop.says(subscription()))
    trial = await loop.service().erase(ACME, **WHY, dry_run=True)
    assert trial.rows["subscriptions"] == 1
    assert SubscriptionId("sub_1") in loop.database.tables.subscriptions
    assert (await loop.service().erase(ACME, **WHY)).rows == trial.rows


async def test_what_a_shared_customer_pays_for_others_stays(loop: Loop) -> None:
    """Only the erased tenant's subscription is recognized later."""
    loop.tenants = TenantRules(link="subscription")
    await loop.arrive(
        loop.says(customer(email="payer@example.com")),
        loop.says(subscription("sub_1")),
        loop.says(subscription("sub_2"), tenant=GLOBEX),
    )
    await loop.service().erase(ACME, **WHY)
    kept = loop.database.tables.customers[ALICE]
    assert (kept.tenant_id, kept.snapshot) == (None, None)
    late = [
        loop.says(subscription("sub_1", status="canceled"), at=9),
        loop.says(subscription("sub_2", status="canceled"), at=9, tenant=GLOBEX),
    ]
    outcomes = {each.claim.event.event_id: each for each in await loop.arrive(*late)}
    assert outcomes[late[0].event_id].reason == "erased"
    assert outcomes[late[1].event_id].tenant_id == GLOBEX


async def test_what_a_customer_of_another_tenant_paid_for_is_recognized(loop: Loop) -> None:
    """Its own tenant does not make it known whose subscription it is."""
    loop.tenants = TenantRules(link="subscription")
    await loop.service().link(ALICE, GLOBEX)
    await loop.arrive(loop.says(subscription("sub_1")), loop.says(subscription("sub_2"), tenant=GLOBEX))
    await loop.service().erase(ACME, **WHY)
    assert loop.database.tables.customers[ALICE].tenant_id == GLOBEX
    (late,) = await loop.arrive(loop.says(subscription("sub_1", status="canceled"), at=9))
    assert (late.disposition, late.reason) == (Disposition.IGNORED, "erased")
    assert set(loop.database.tables.subscriptions) == {"sub_2"}


async def test_a_charge_of_a_shared_customers_erased_payment_is_ignored(loop: Loop) -> None:
    """It names the payer, and the invoice by which it is recognized."""
    loop.tenants = TenantRules(link="subscription")
    await loop.arrive(
        loop.says(subscription("sub_1")), loop.says(subscription("sub_2"), tenant=GLOBEX), loop.says(invoice("in_1"))
    )
    await loop.service().erase(ACME, **WHY)
    charge = ChargeSnapshot(
        charge_id="ch_1", invoice_id=InvoiceId("in_1"), amount=1900, amount_refunded=5, currency="usd"
    )
    event = loop.provider.event("evt_late", Translation(customer_id=ALICE, snapshots=(charge,)), at=loop.clock.now())
    (outcome,) = await loop.arrive(event)
    assert outcome.reason == "erased"


@pytest.mark.parametrize("missed", [True, False], ids=["a customer came", "an object left"])
async def test_an_erasure_begins_again_if_something_moved_before_the_tenant_was_locked(
    loop: Loop, missed: bool
) -> None:
    """Else a customer that was just linked would stay, and an object that just left would be deleted."""
    await loop.arrive(loop.says(subscription()))
    store = MovedMeanwhile(loop.repository, missed)
    loop.written_to = store
    erased = await loop.service().erase(ACME, **WHY)
    assert (store.begun, erased.rows["customers"]) == (2, 1)
    assert loop.database.tables.customers == {}


@attrs.define
class MovedMeanwhile:
    """A repository in which another transaction moves something during the first unit of work."""

    repository: MemoryRepository
    missed: bool
    """Whether it links a customer; it takes an object away otherwise."""
    begun: int = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[BillingTransaction]:
        """A unit of work; the first one comes too late."""
        self.begun += 1
        async with self.repository.transaction() as transaction:
            yield MovedTransaction(transaction, self.missed) if self.begun == 1 else transaction

    def __getattr__(self, name: str) -> Any:
        return getattr(self.repository, name)


@attrs.frozen
class MovedTransaction:
    """The first unit of work."""

    transaction: MemoryTransaction
    missed: bool

    async def lock_payers(self, tenant_id: TenantId) -> Mapping[CustomerId, TenantCustomer]:
        """Lock them before the other transaction commits."""
        found = await self.transaction.lock_payers(tenant_id)
        return {} if self.missed else found

    async def lock_tenants(self, ids: Collection[TenantId]) -> LockedTenants:
        """Lock them after it has committed."""
        return attrs.evolve(await self.transaction.lock_tenants(ids), overtaken=not self.missed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transaction, name)
