"""The contract of StateReader."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import attrs

from billing_core.model import (
    DELETED,
    CustomerId,
    DisputeSnapshot,
    InvoiceId,
    SubscriptionId,
    SubscriptionInvoice,
    TenantId,
)
from billing_core.state.ports import BillingTransaction, Changes, UnitOfWork
from billing_core.testing.arrange import save
from billing_core.testing.builders import ACME, AT, GLOBEX, customer, invoice, item, month, subscription
from billing_core.testing.state.samples import CHARGE, CLOCK, HOSTILE, OF_THE_CATALOG, PAYMENT, UNOWNED, record
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG

BOTH = (ACME, GLOBEX)


class StateReaderContract(Suite):
    """Stored objects of any tenant, inside a unit of work. A binding provides `unit_of_work`, empty."""

    async def test_a_customer_survives_in_every_field(self, unit_of_work: UnitOfWork) -> None:
        """With and without a snapshot of its own, linked or not."""
        known = [
            customer(
                "cus_1",
                ACME,
                email="a@b.example",
                name=HOSTILE,
                delinquent=True,
                payment_method_id=HOSTILE,
                deleted=True,
            ),
            customer("cus_2", None, email=None),
            customer("cus_3", ACME),
        ]
        await save(unit_of_work, Changes(customers=known))
        async with unit_of_work.transaction() as transaction:
            ids = [each.customer_id for each in known]
            assert await transaction.customers([*ids, CustomerId("cus_unknown")]) == dict(zip(ids, known, strict=True))

    async def test_subscriptions_are_found_by_tenant_and_by_id(self, unit_of_work: UnitOfWork) -> None:
        """An id is found whichever tenant owns it: that is how an object of another tenant is noticed."""
        mine, ended = subscription("sub_1"), subscription("sub_2", status="canceled")
        foreign = subscription("sub_3", GLOBEX)
        await save(unit_of_work, Changes(subscriptions=[mine, ended, foreign]), tenants=BOTH)

        async def find(transaction: BillingTransaction, tenants: list[TenantId], ids: list[str]) -> set[str]:
            found = await transaction.subscriptions(tenants=tenants, ids=list(map(SubscriptionId, ids)))
            assert len({each.snapshot.subscription_id for each in found}) == len(found)
            return {each.snapshot.subscription_id for each in found}

        async with unit_of_work.transaction() as transaction:
            assert await find(transaction, [ACME], []) == {"sub_1", "sub_2"}
            assert await find(transaction, [ACME], ["sub_1", "sub_3", "sub_9"]) == {"sub_1", "sub_2", "sub_3"}
            assert await find(transaction, [], ["sub_2"]) == {"sub_2"}

    async def test_one_subscription_of_each_standing_decides(self, unit_of_work: UnitOfWork) -> None:
        """The latest one, by id if two are; each difference that access depends on makes another standing."""
        ended: dict[str, Any] = {"status": "canceled", "ended_at": AT}
        standings: list[dict[str, Any]] = [
            {},
            {"status": "unpaid"},
            {"plan_code": "team"},
            {"plan_code": HOSTILE},
            {"plan_code": ""},
            {"plan_code": None},
            {"plan_code": "NULL"},
            {"collection_method": "send_invoice"},
            {"collection_method": None},
            {"collection_paused": True},
            {"collection_paused": True, "pause_behavior": "void"},
            {"out_of_scope": True},
            ended,
            {**ended, "status": "incomplete_expired"},
            {**ended, "plan_code": None},
        ]
        stored, expected = [], set()
        for number, fields in enumerate(standings):
            later: dict[str, Any] = {"items": (item(period=month(2)),)}
            if fields.get("ended_at"):
                later = {"ended_at": AT + LONG}
            early, first, last = (f"sub_{number}_{place}" for place in range(3))
            stored += [subscription(id_, **fields | later) for id_ in (last, first)]
            stored += [subscription(early, **fields), subscription(early + "_globex", GLOBEX, **fields)]
            expected.add(first)
        await save(unit_of_work, Changes(subscriptions=stored), tenants=BOTH)
        async with unit_of_work.transaction() as transaction:
            found = await transaction.deciding_subscriptions(tenants=[ACME])
            assert {each.object_id for each in found} == expected
            assert len(found) == len(expected)
            found = await transaction.deciding_subscriptions(tenants=BOTH)
            theirs = {each.object_id for each in found if each.tenant_id == GLOBEX}
            assert theirs == {f"sub_{number}_0_globex" for number in range(len(standings))}
            assert list(await transaction.deciding_subscriptions(tenants=[])) == []

    async def test_subscriptions_without_a_period_come_after_their_equals(self, unit_of_work: UnitOfWork) -> None:
        """So do ended ones without a time at which they ended."""
        bare = (item(period=None),)
        ended: dict[str, Any] = {"status": "canceled", "items": bare}
        stored = [
            subscription("sub_1", items=bare),
            subscription("sub_2"),
            subscription("sub_3", **ended),
            subscription("sub_4", **ended, ended_at=AT),
        ]
        await save(unit_of_work, Changes(subscriptions=stored))
        async with unit_of_work.transaction() as transaction:
            found = await transaction.deciding_subscriptions(tenants=[ACME])
        assert {each.object_id for each in found} == {"sub_2", "sub_4"}

    async def test_each_subscription_that_the_clock_may_end_decides(self, unit_of_work: UnitOfWork) -> None:
        """An ended one does not change by the clock, whatever it was going to do."""
        fields: list[dict[str, Any]] = [
            {"status": "trialing"},
            {"status": "incomplete"},
            {"cancel_at_period_end": True},
            {"cancel_at": AT},
            {"test_clock": "clock_1"},
        ]
        stored = []
        for number, passing in enumerate(fields):
            stored += [subscription(f"sub_{number}_{each}", **passing) for each in range(2)]
            over = {**passing, "status": "canceled", "ended_at": AT + timedelta(days=number)}
            stored.append(subscription(f"sub_{number}_over", **over))
        await save(unit_of_work, Changes(subscriptions=stored))
        async with unit_of_work.transaction() as transaction:
            found = {each.object_id for each in await transaction.deciding_subscriptions(tenants=[ACME])}
        alone = {each.object_id for each in stored if not each.snapshot.ended}
        assert found == {*alone, f"sub_{len(fields) - 1}_over"}

    async def test_named_subscriptions_are_found_beside_those_that_decide(self, unit_of_work: UnitOfWork) -> None:
        """They do not stand for others; those that only an invoice names do."""
        ended: dict[str, Any] = {"status": "canceled", "ended_at": AT}
        stored = [
            subscription("sub_1"),
            subscription("sub_2"),
            subscription("sub_3"),
            subscription("sub_4", status="past_due"),
            subscription("sub_5", status="past_due"),
            subscription("sub_6", **ended),
            subscription("sub_7", **ended),
            subscription("sub_8", GLOBEX),
            subscription("sub_9", GLOBEX),
        ]
        billed = [
            invoice(f"in_{number}", each.tenant_id, subscription_id=each.snapshot.subscription_id)
            for number, each in enumerate(stored, start=1)
        ]
        await save(unit_of_work, Changes(subscriptions=stored, invoices=billed), tenants=BOTH)

        async with unit_of_work.transaction() as transaction:

            async def find(tenants: list[TenantId], **others: Any) -> str:
                found = await transaction.deciding_subscriptions(tenants=tenants, **others)
                assert len({each.object_id for each in found}) == len(found)
                return "".join(sorted(each.object_id.removeprefix("sub_") for each in found))

            assert await find([ACME]) == "146"
            assert await find([ACME], ids=["sub_1", "sub_6", "in_1", "sub_0"]) == "12467"
            assert await find([ACME], ids=["sub_1", "sub_2", "sub_3", "sub_8"]) == "123468"
            assert await find([ACME], billed_by=[InvoiceId("in_1"), InvoiceId("in_3"), InvoiceId("in_9")]) == "13469"
            assert await find([ACME], each_of=["past_due"]) == "1456"
            assert await find([ACME], each_of=["canceled"]) == "1467"
            assert await find(list(BOTH), live_of=[ACME]) == "1234568"
            assert await find([], ids=["sub_2"], billed_by=[InvoiceId("in_7")]) == "27"

    async def test_invoices_are_found_by_id_and_by_subscription(self, unit_of_work: UnitOfWork) -> None:
        """Tombstones too: they keep a late snapshot from bringing a draft back."""
        stored = [
            invoice("in_1", status=DELETED),
            invoice("in_2", GLOBEX, subscription_id=SubscriptionId("sub_2")),
            invoice("in_3", subscription_id=None),
            invoice("in_4"),
        ]
        await save(unit_of_work, Changes(invoices=stored), tenants=BOTH)

        def by_id(found: Sequence[SubscriptionInvoice]) -> list[SubscriptionInvoice]:
            return sorted(found, key=lambda each: each.snapshot.invoice_id)

        subscriptions = [SubscriptionId("sub_1")]
        async with unit_of_work.transaction() as transaction:
            assert by_id(await transaction.invoices(subscriptions=subscriptions)) == [stored[0], stored[3]]
            ids = [InvoiceId("in_1"), InvoiceId("in_3")]
            assert by_id(await transaction.invoices(ids=ids, subscriptions=subscriptions)) == [stored[0], *stored[2:]]

    async def test_records_are_found_by_object_id(self, unit_of_work: UnitOfWork) -> None:
        """Records of every tenant are found, and records of the catalog."""
        stored = [record(CHARGE, GLOBEX), record(PAYMENT), record(OF_THE_CATALOG[0], None)]
        await save(unit_of_work, Changes(records=stored), tenants=BOTH)
        async with unit_of_work.transaction() as transaction:
            found = await transaction.records(["ch_1", "payment:pi_1", "price:gold", "pi_1", "re_9"])
            assert sorted(found, key=lambda each: each.snapshot.kind) == stored
            assert await transaction.records([]) == []

    async def test_disputes_are_found_by_tenant(self, unit_of_work: UnitOfWork) -> None:
        """Decided ones too; no other record, and none of another tenant."""
        one = DisputeSnapshot(dispute_id="dp_1", amount=1, currency="usd", status="needs_response")
        won, theirs = (attrs.evolve(one, dispute_id=id_, status="won") for id_ in ("dp_2", "dp_3"))
        stored = [record(won), record(one), record(CHARGE), record(theirs, GLOBEX)]
        await save(unit_of_work, Changes(records=stored), tenants=BOTH)
        async with unit_of_work.transaction() as transaction:
            assert await transaction.disputes([ACME]) == [record(one), record(won)]
            assert len(await transaction.disputes(BOTH)) == 3
            assert list(await transaction.disputes([])) == []

    async def test_owners_are_found_by_the_ids_that_events_use(self, unit_of_work: UnitOfWork) -> None:
        """Subscriptions, invoices and records of all tenants; a payment by the provider's id."""
        changes = Changes(
            subscriptions=[subscription()],
            invoices=[invoice("in_1", GLOBEX)],
            records=[record(PAYMENT), record(CHARGE, GLOBEX)],
        )
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_tenants(BOTH)
            await transaction.save(changes)
            expected = {"sub_1": ACME, "in_1": GLOBEX, "pi_1": ACME, "ch_1": GLOBEX}
            assert await transaction.owners([*expected, "sub_9", "cus_1"]) == expected
        async with unit_of_work.transaction() as transaction:
            assert await transaction.owners(["pi_1"]) == {"pi_1": ACME}
            assert await transaction.owners([]) == {}

    async def test_the_tenants_that_a_customer_pays_for_are_those_of_its_subscriptions(
        self, unit_of_work: UnitOfWork
    ) -> None:
        """Ended ones included; its own link does not count."""
        ended = subscription("sub_2", GLOBEX, status="canceled")
        await save(
            unit_of_work, Changes(customers=[customer("cus_2")], subscriptions=[subscription(), ended]), tenants=BOTH
        )
        payer = ended.snapshot.customer_id
        async with unit_of_work.transaction() as transaction:
            found = await transaction.tenants_under([payer, CustomerId("cus_2")])
            assert {customer_id: set(tenants) for customer_id, tenants in found.items()} == {payer: set(BOTH)}
            assert not await transaction.tenants_under([CustomerId("cus_2")])
            assert not await transaction.tenants_under([])

    async def test_the_tenants_on_a_test_clock_are_those_of_its_subscriptions(self, unit_of_work: UnitOfWork) -> None:
        """Ended ones included; without a clock, and on other clocks, there are none."""
        stored = [
            subscription("sub_1", test_clock="clock_1"),
            subscription("sub_2", GLOBEX, status="canceled", test_clock="clock_1"),
            subscription("sub_3", GLOBEX, test_clock="clock_2"),
            subscription("sub_4", TenantId("initech")),
        ]
        await save(unit_of_work, Changes(subscriptions=stored), tenants=[*BOTH, TenantId("initech")])
        async with unit_of_work.transaction() as transaction:
            assert set(await transaction.tenants_on(["clock_1"])) == set(BOTH)
            assert set(await transaction.tenants_on(["clock_2", "clock_9"])) == {GLOBEX}
            assert not await transaction.tenants_on([])

    async def test_some_records_have_no_owner(self, unit_of_work: UnitOfWork) -> None:
        """A price, a product and a test clock name no tenant."""
        await save(unit_of_work, Changes(records=[record(snapshot, None) for snapshot in UNOWNED]))
        async with unit_of_work.transaction() as transaction:
            assert await transaction.owners(["gold", "price:gold", "price_1", CLOCK.clock_id]) == {}
            assert await transaction.records([CLOCK.clock_id]) == [record(CLOCK, None)]
