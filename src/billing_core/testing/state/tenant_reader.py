"""The contract of TenantReader."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import attrs

from billing_core.model import (
    DELETED,
    RECORD_KINDS,
    CustomerId,
    DisputeSnapshot,
    EntitlementsSnapshot,
    GrantId,
    InvoiceId,
    ItemId,
    PaymentMethodSnapshot,
    Phase,
    PlannedItem,
    PriceId,
    RefundSnapshot,
    SubscriptionId,
    TenantId,
    TenantState,
)
from billing_core.state.ports import Changes, TenantReader, UnitOfWork
from billing_core.testing.arrange import save
from billing_core.testing.builders import (
    ACME,
    AT,
    GLOBEX,
    customer,
    grant,
    invoice,
    item,
    line,
    message,
    month,
    provenance,
    subscription,
    usage,
)
from billing_core.testing.state.samples import (
    CHARGE,
    CLOCK,
    HOSTILE,
    LARGEST,
    OF_TENANTS,
    OF_THE_CATALOG,
    PAYMENT,
    record,
)
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG, TICK


class TenantReaderContract(Suite):
    """Everything that was saved of one tenant, in a stable order, and nothing of another's.

    A binding provides `tenant_reader`, and `unit_of_work` on the same data, empty.
    """

    async def test_an_unknown_tenant_is_empty(self, tenant_reader: TenantReader) -> None:
        """Reading creates nothing and finds nothing."""
        assert await tenant_reader.state(ACME) == TenantState(
            tenant_id=ACME, as_of=AT, sequence=0, subscriptions=(), invoices=(), usage=()
        )

    async def test_customers_are_those_that_are_linked(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """By id, with all that is known of them; another tenant's and unlinked ones are left out."""
        mine = [customer("cus_1"), customer("cus_2", email="ada@example.com", deleted=True)]
        others = [customer("cus_3", GLOBEX), customer("cus_4", None)]
        changes = Changes(customers=[*reversed(mine), *others])
        await save(unit_of_work, changes, tenants=(ACME, GLOBEX))
        assert list(await tenant_reader.customers(ACME)) == mine
        assert await tenant_reader.customers(TenantId("unknown")) == []

    # --- every field --------------------------------------------------------------------------------------------

    async def test_a_subscription_survives_in_every_field(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """A subscription reads back as it was saved, with nothing and with everything filled in."""
        full = subscription(
            "sub_full",
            customer_id=CustomerId(HOSTILE),
            status="some_status_of_2031",
            items=(
                item(
                    "si_1",
                    product_id="prod_1",
                    lookup_key=HOSTILE,
                    usage_type="metered",
                    quantity=None,
                    feature_key="api_calls",
                    interval="month",
                    interval_count=LARGEST,
                    unit_amount=LARGEST,
                    unit_amount_decimal=Decimal("0.00000000000000000001"),
                    price_metadata=(("", HOSTILE), (HOSTILE, ""), ("plan", "pro")),
                ),
                item("si_2", quantity=LARGEST, period=None),
            ),
            items_complete=False,
            cancel_at_period_end=True,
            cancel_at=AT,
            canceled_at=AT + timedelta(microseconds=1),
            ended_at=AT,
            trial_ends_at=AT,
            collection_paused=True,
            pause_behavior="mark_uncollectible",
            cancellation_reason=HOSTILE,
            cancellation_feedback="too_expensive",
            schedule_id="sub_sched_1",
            test_clock="clock_1",
            pending_change=Phase(items=(PlannedItem(price_id=PriceId(HOSTILE)),), plan_code="pro", seat_count=LARGEST),
            payment_method_id="pm_1",
            payment_method=PaymentMethodSnapshot(payment_method_id="pm_1", type="card", brand=HOSTILE, last4="4242"),
            planned=(
                Phase(starts_at=AT, items=(PlannedItem(price_id=PriceId("price_1"), quantity=1),)),
                Phase(starts_at=AT + timedelta(microseconds=1)),
            ),
            seat_count=LARGEST,
            plan_code=HOSTILE,
            basis=provenance("evt_2", "evt_1", ambiguous=True),
        )
        bare = subscription(
            "sub_bare",
            items=(),
            currency=None,
            plan_code=None,
            price_id=None,
            seat_count=None,
            collection_method=None,
        )
        full = attrs.evolve(full, metered_prices={PriceId("price_gone"): HOSTILE, PriceId(HOSTILE): "api_calls"})
        await save(unit_of_work, Changes(subscriptions=[full, bare]))
        assert await tenant_reader.subscriptions(ACME) == [full, bare]

    async def test_an_invoice_survives_in_every_field(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Amounts up to 64 bits, credits below zero, lines in their order, text as it is."""
        full = invoice(
            "in_full",
            number=HOSTILE,
            amount_due=LARGEST,
            amount_paid=-LARGEST,
            amount_remaining=1,
            subtotal=-LARGEST,
            total=LARGEST,
            tax=-1,
            billing_reason="subscription_cycle",
            collection_method="send_invoice",
            hosted_invoice_url="https://invoice.example/i?a=1&b='2'",
            invoice_pdf="https://invoice.example/i.pdf?a=1&b='2'",
            created_at=AT - timedelta(microseconds=1),
            finalized_at=AT,
            due_at=AT,
            paid_at=AT + timedelta(microseconds=1),
            attempt_count=4,
            next_payment_attempt_at=AT,
            lines=(
                line(
                    "il_1",
                    -LARGEST,
                    quantity=LARGEST,
                    quantity_decimal=Decimal("0.000001"),
                    price_id=PriceId("price_1"),
                    product_id="prod_1",
                    subscription_item_id=ItemId("si_1"),
                    usage_type="metered",
                    feature_key="api_calls",
                    proration=True,
                    description=HOSTILE,
                ),
                line("il_2", 0, period=None),
            ),
            lines_complete=False,
            basis=provenance("evt_2", "evt_1", ambiguous=True),
            failed_at=(AT, AT + timedelta(microseconds=1)),
        )
        bare = invoice("in_bare", customer_id=None, subscription_id=None, period=None, lines=())
        await save(unit_of_work, Changes(invoices=[full, bare]))
        assert await tenant_reader.invoices(ACME, limit=10) == [full, bare]

    async def test_usage_survives_in_every_field(self, unit_of_work: UnitOfWork, tenant_reader: TenantReader) -> None:
        """So do records without a subscription or a period."""
        full = usage("in_1", "il_1", feature_key=HOSTILE, quantity=LARGEST - Decimal("0.4"), amount=-LARGEST)
        bare = usage("in_1", "il_2", subscription_id=None, period=None)
        await save(unit_of_work, Changes(usage={InvoiceId("in_1"): [full, bare]}))
        assert await tenant_reader.usage(ACME, limit=10) == [full, bare]

    async def test_records_survive_in_every_field(self, unit_of_work: UnitOfWork, tenant_reader: TenantReader) -> None:
        """Records of every kind, with nothing and with everything filled in."""
        stored = [record(snapshot) for snapshot in OF_TENANTS]
        assert {each.snapshot.kind for each in stored} == RECORD_KINDS.keys() - {"price", "product", "test_clock"}
        await save(unit_of_work, Changes(records=stored))
        stored.sort(key=lambda each: each.snapshot.object_id, reverse=True)
        assert await tenant_reader.records(ACME, limit=100) == stored

    async def test_the_catalog_belongs_to_no_tenant(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Prices and products come by id; a price and a product of the same name are kept apart. Clocks are no part."""
        stored = [record(snapshot, None) for snapshot in OF_THE_CATALOG]
        await save(unit_of_work, Changes(records=[record(CLOCK, None), *stored[::-1]]))
        assert await tenant_reader.catalog() == stored
        assert await tenant_reader.records(ACME, limit=100) == []

    # --- order and limits ---------------------------------------------------------------------------------------

    async def test_state_holds_unpaid_invoices_oldest_first(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Drafts, paid, void and deleted invoices are not owed; unknown statuses are, while something remains."""
        owed = [
            invoice("in_3", period=month(1)),
            invoice("in_2", period=month(2), status="uncollectible"),
            invoice("in_1", period=month(3), status="some_status_of_2031"),
        ]
        others = [invoice(f"in_{status}", status=status) for status in ("draft", "paid", "void", DELETED)]
        everything = [*others, *reversed(owed), invoice("in_zero", amount_remaining=0)]
        await save(unit_of_work, Changes(invoices=everything))
        assert list((await tenant_reader.state(ACME)).invoices) == owed

    async def test_state_names_the_subscriptions_that_were_ever_paid_for(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """In part counts, whatever became of the invoice; a free invoice, and one without a subscription, do not."""
        stored = [
            invoice("in_1", amount_paid=1),
            invoice("in_2", amount_paid=0, status="paid", subscription_id=SubscriptionId("sub_free")),
            invoice("in_3", amount_paid=5, status="void", subscription_id=SubscriptionId("sub_2")),
            invoice("in_4", amount_paid=5, status="paid", subscription_id=None),
        ]
        await save(unit_of_work, Changes(invoices=stored))
        await save(unit_of_work, Changes(invoices=[invoice("in_5", GLOBEX, amount_paid=1)]), tenants=[GLOBEX])
        assert (await tenant_reader.state(ACME)).paying == {"sub_1", "sub_2"}

    async def test_state_says_whether_a_dispute_is_open(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """A decided one is not, and another tenant's does not count."""
        dispute = DisputeSnapshot(dispute_id="dp_1", amount=1, currency="usd", status="needs_response")
        await save(unit_of_work, Changes(records=[record(dispute, GLOBEX)]), tenants=[GLOBEX])
        assert not (await tenant_reader.state(ACME)).disputed
        assert (await tenant_reader.state(GLOBEX)).disputed
        lost = attrs.evolve(dispute, status="lost")
        await save(unit_of_work, Changes(records=[record(lost, GLOBEX)]), tenants=[GLOBEX])
        assert not (await tenant_reader.state(GLOBEX)).disputed

    async def test_state_says_where_the_test_clocks_of_subscriptions_stand(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """As far as they were seen; other tenants' clocks are left out."""
        held = [
            subscription("sub_1", test_clock=CLOCK.clock_id),
            subscription("sub_2", test_clock="clock_unseen"),
            subscription("sub_3"),
            subscription("sub_4", GLOBEX, test_clock="clock_2"),
        ]
        other = attrs.evolve(CLOCK, clock_id="clock_2", frozen_at=AT)
        records = [record(clock, None) for clock in (CLOCK, other, attrs.evolve(CLOCK, clock_id="clock_3"))]
        await save(unit_of_work, Changes(subscriptions=held, records=records), tenants=[ACME, GLOBEX])
        assert (await tenant_reader.state(ACME)).clocks == {CLOCK.clock_id: CLOCK.frozen_at}
        assert (await tenant_reader.state(GLOBEX)).clocks == {"clock_2": AT}

    async def test_state_holds_the_grants_that_hold(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Neither revoked nor ended ones, by the store's time; the list has all, the last made first, then by id."""
        async with unit_of_work.transaction() as transaction:
            now = (await transaction.lock_tenants([ACME])).now
        held = [grant("grant_1", until=now + LONG), grant("grant_2", granted_at=AT + TICK)]
        ended = grant("grant_3", until=now - TICK, granted_at=AT + 2 * TICK)
        revoked = grant("grant_4", revoked_at=AT, revoked_by="o", revoked_reason="x", granted_at=AT + 3 * TICK)
        twin = attrs.evolve(revoked, grant_id=GrantId("grant_0"))
        theirs = grant("grant_5", GLOBEX, granted_at=AT + 4 * TICK)
        await save(unit_of_work, Changes(grants=[twin, revoked, *held, ended, theirs]), tenants=[ACME, GLOBEX])
        assert list((await tenant_reader.state(ACME)).grants) == held
        mine = [revoked, twin, ended, *reversed(held)]
        assert await tenant_reader.grants(ACME, limit=10) == mine
        assert await tenant_reader.grants(limit=10) == [theirs, *mine]
        assert await tenant_reader.grants(ACME, limit=2) == mine[:2]

    async def test_state_names_the_instant_to_decide_for(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """The store's time, as in a unit of work: no process's clock decides on access."""
        async with unit_of_work.transaction() as transaction:
            before = (await transaction.lock_tenants([ACME])).now
        during = (await tenant_reader.state(ACME)).as_of
        async with unit_of_work.transaction() as transaction:
            after = (await transaction.lock_tenants([ACME])).now
        assert before <= during <= after

    async def test_invoices_come_newest_first_without_deleted_drafts(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Invoices without a period come last; equal ones by id, so that pages are stable."""
        stored = [
            invoice("in_1", period=month(3)),
            invoice("in_3", period=month(2), status="draft"),
            invoice("in_2", period=month(2)),
            invoice("in_0", period=None),
        ]
        await save(unit_of_work, Changes(invoices=[*stored[::-1], invoice("in_9", status=DELETED)]))
        assert await tenant_reader.invoices(ACME, limit=10) == stored
        assert await tenant_reader.invoices(ACME, limit=3) == stored[:3]

    async def test_subscriptions_come_newest_period_first(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Ended ones too, in the state as in the list."""
        stored = [
            subscription("sub_1", items=(item(period=month(3)),)),
            subscription("sub_3", items=(item(period=month(2)),), status="canceled"),
            subscription("sub_2", items=(item(period=month(2)),)),
            subscription("sub_0", items=()),
        ]
        await save(unit_of_work, Changes(subscriptions=stored[::-1]))
        assert await tenant_reader.subscriptions(ACME) == stored
        assert list((await tenant_reader.state(ACME)).subscriptions) == stored

    async def test_state_holds_the_two_newest_periods_of_usage(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Counted for each feature of each subscription, so that slow ones are not crowded out by fast ones."""
        calls = [usage(f"in_{number}", "il_1", period=month(number)) for number in (1, 2, 3)]
        second_line = usage("in_2", "il_2", period=month(2))
        yearly = usage("in_1", "il_9", feature_key="storage", period=month(1))
        elsewhere = usage("in_1", "il_8", subscription_id=SubscriptionId("sub_2"), period=month(1))
        late = usage("in_3", "il_7", feature_key="seats", period=month(1))
        everything = [*calls, second_line, yearly, elsewhere, late]
        by_invoice = {
            InvoiceId(f"in_{number}"): [each for each in everything if each.invoice_id == f"in_{number}"]
            for number in (1, 2, 3)
        }
        await save(unit_of_work, Changes(usage=by_invoice))
        newest = [calls[2], second_line, calls[1], late, yearly, elsewhere]
        assert list((await tenant_reader.state(ACME)).usage) == newest
        assert await tenant_reader.usage(ACME, limit=4) == newest[:4]

    async def test_other_products_are_not_shown(self, unit_of_work: UnitOfWork, tenant_reader: TenantReader) -> None:
        """Neither subscriptions, nor invoices by their lines or else by their subscription, nor usage of these."""
        ours, theirs = SubscriptionId("sub_ours"), SubscriptionId("sub_theirs")
        shown = [
            invoice("in_1", subscription_id=ours),
            invoice("in_2", subscription_id=theirs, out_of_scope=False),
            invoice("in_3", subscription_id=SubscriptionId("sub_unknown")),
            invoice("in_4", subscription_id=None),
        ]
        hidden = [invoice("in_5", subscription_id=theirs), invoice("in_6", subscription_id=ours, out_of_scope=True)]
        billed = {InvoiceId(id_): [usage(id_, feature_key=id_)] for id_ in ("in_1", "in_5", "in_6")}
        await save(
            unit_of_work,
            Changes(
                subscriptions=[subscription(ours), subscription(theirs, out_of_scope=True)],
                invoices=[*shown, *hidden],
                usage=billed,
            ),
        )
        state = await tenant_reader.state(ACME)
        assert [each.object_id for each in state.subscriptions] == [ours]
        assert [each.object_id for each in await tenant_reader.subscriptions(ACME)] == [ours]
        ids = ["in_1", "in_2", "in_3", "in_4"]
        assert sorted(each.object_id for each in state.invoices) == ids
        assert sorted(each.object_id for each in await tenant_reader.invoices(ACME, limit=10)) == ids
        assert [each.feature_key for each in state.usage] == ["in_1"]
        assert [each.feature_key for each in await tenant_reader.usage(ACME, limit=10)] == ["in_1"]

    async def test_state_holds_the_features_of_all_customers(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Each once, sorted by code point in every locale; none of another tenant, and none that were lost."""
        seen = EntitlementsSnapshot(customer_id=CustomerId("cus_1"), features=("gone",))
        other = attrs.evolve(seen, customer_id=CustomerId("cus_2"), features=("a", "é", "Z"))
        theirs = attrs.evolve(seen, customer_id=CustomerId("cus_3"), features=("x",))
        await save(unit_of_work, Changes(records=[record(seen), record(other), record(PAYMENT)]))
        await save(unit_of_work, Changes(records=[record(attrs.evolve(seen, features=("a", "B")), at=1)]))
        await save(unit_of_work, Changes(records=[record(theirs, GLOBEX)]), tenants=[GLOBEX])
        assert (await tenant_reader.state(ACME)).features == ("B", "Z", "a", "é")
        assert (await tenant_reader.state(TenantId("initech"))).features == ()

    async def test_records_come_latest_first(self, unit_of_work: UnitOfWork, tenant_reader: TenantReader) -> None:
        """Records of the requested kinds, within the limit; equal ones by id, so that pages are stable."""
        refunds = [
            record(RefundSnapshot(refund_id=f"re_{number}", amount=1, currency="usd", status="pending"), at=at)
            for number, at in ((1, 9), (3, 5), (2, 5))
        ]
        others = [record(CHARGE, at=7), record(PAYMENT, at=99)]
        await save(unit_of_work, Changes(records=[*refunds[::-1], *others]))
        assert await tenant_reader.records(ACME, kinds=["refund"], limit=10) == refunds
        assert await tenant_reader.records(ACME, kinds=["refund", "charge"], limit=2) == [refunds[0], others[0]]

    # --- one instant, one tenant --------------------------------------------------------------------------------

    async def test_state_is_read_at_one_instant(self, unit_of_work: UnitOfWork, tenant_reader: TenantReader) -> None:
        """During concurrent writes, the number that is read always belongs to the state that is read."""

        async def write() -> None:
            for number in range(1, 41):
                await save(
                    unit_of_work,
                    Changes(
                        subscriptions=[subscription(seat_count=number)],
                        invoices=[invoice(amount_remaining=number)],
                        events=[message(ACME, number)],
                    ),
                )

        writer = asyncio.create_task(write())
        while not writer.done():
            state = await tenant_reader.state(ACME)
            if state.sequence:
                assert [each.snapshot.seat_count for each in state.subscriptions] == [state.sequence]
                assert [each.snapshot.amount_remaining for each in state.invoices] == [state.sequence]
            await asyncio.sleep(0)
        await writer

    async def test_tenants_never_see_each_other(self, unit_of_work: UnitOfWork, tenant_reader: TenantReader) -> None:
        """Every read answers for one tenant."""
        for tenant, suffix in ((ACME, "a"), (GLOBEX, "g")):
            await save(
                unit_of_work,
                Changes(
                    customers=[customer(f"cus_{suffix}", tenant)],
                    subscriptions=[subscription(f"sub_{suffix}", tenant)],
                    invoices=[invoice(f"in_{suffix}", tenant)],
                    usage={InvoiceId(f"in_{suffix}"): [usage(f"in_{suffix}", "il_1", tenant)]},
                    events=[message(tenant, 1)],
                ),
                tenants=[tenant],
            )
        assert await tenant_reader.state(ACME) == TenantState(
            tenant_id=ACME,
            as_of=AT,
            sequence=1,
            subscriptions=(subscription("sub_a"),),
            invoices=(invoice("in_a"),),
            usage=(usage("in_a", "il_1"),),
        )
        assert await tenant_reader.subscriptions(ACME) == [subscription("sub_a")]
        assert await tenant_reader.invoices(ACME, limit=10) == [invoice("in_a")]
        assert await tenant_reader.usage(ACME, limit=10) == [usage("in_a", "il_1")]
