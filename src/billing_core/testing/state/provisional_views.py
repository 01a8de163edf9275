"""The contract of provisional views: written with messages, read with state, and found when their refetch is due."""

import asyncio
import contextlib
from datetime import datetime, timedelta
from decimal import Decimal

import attrs
import pytest

from billing_core.errors import TenantConflictError
from billing_core.events import Disposition, Effect
from billing_core.inbox.ports import EventInbox
from billing_core.model import (
    Answer,
    InvoiceId,
    PaymentMethodSnapshot,
    Phase,
    PlannedItem,
    PriceId,
    ProvisionalView,
    SubscriptionId,
    TenantId,
)
from billing_core.state.ports import Changes, TenantReader, Transfer, UncertainObjects, UnitOfWork
from billing_core.testing.arrange import applied, claimed, save
from billing_core.testing.builders import (
    ACME,
    AT,
    GLOBEX,
    invoice,
    item,
    line,
    message,
    month,
    provenance,
    provider_event,
    subscription,
)
from billing_core.testing.state.samples import HOSTILE, LARGEST
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG, TICK, Elapse

SOON = AT + timedelta(days=3650)
LONG_AGO = AT - timedelta(days=3650)
UNSURE = provenance("evt_1", "evt_2", ambiguous=True)


def view(
    snapshot: Answer | None = None,
    tenant_id: TenantId = ACME,
    *,
    kind: str = "subscription",
    object_id: str = "sub_1",
    key: str = "bo_1",
    due_at: datetime = SOON,
) -> ProvisionalView:
    """Return the view of an answer, or with none the mere need to ask."""
    return ProvisionalView(
        tenant_id=tenant_id,
        kind=kind if snapshot is None else snapshot.kind,
        object_id=object_id if snapshot is None else snapshot.object_id,
        operation_key=key,
        snapshot=snapshot,
        answered_at=None if snapshot is None else AT,
        refetch_due_at=due_at,
    )


SHOWN = view(subscription("sub_1", status="past_due", seat_count=9).snapshot)


class ProvisionalViewsContract(Suite):
    """Views stand beside rows: all of a tenant's are written at once, and every reading shows them in place of rows.

    A binding provides `unit_of_work`, and `tenant_reader`, `uncertain_objects`, `inbox` and `elapse` on the same data,
    all empty.
    """

    # --- writing ------------------------------------------------------------------------------------------------

    async def test_a_view_survives_in_every_field(self, unit_of_work: UnitOfWork, tenant_reader: TenantReader) -> None:
        """A view reads back as it was saved, with nothing and with everything filled in."""
        phase = Phase(starts_at=AT, items=(PlannedItem(price_id=PriceId(HOSTILE), quantity=LARGEST),), plan_code="pro")
        full = subscription(
            "sub_2",
            status="some_status_of_2031",
            items=(
                item(
                    "si_1",
                    quantity=LARGEST,
                    unit_amount_decimal=Decimal("0.00000000000000000001"),
                    price_metadata=(("", HOSTILE), (HOSTILE, "")),
                ),
            ),
            cancel_at=AT + timedelta(microseconds=1),
            cancellation_reason=HOSTILE,
            schedule_id="sub_sched_1",
            pending_change=phase,
            planned=(phase, Phase(starts_at=AT)),
            payment_method_id="pm_1",
            payment_method=PaymentMethodSnapshot(payment_method_id="pm_1", brand=HOSTILE, exp_year=LARGEST),
            seat_count=LARGEST,
        )
        bill = invoice("in_1", number=HOSTILE, lines=(line(quantity_decimal=Decimal("0.5")),), total=LARGEST)
        views = [
            view(bill.snapshot),
            view(kind="invoice", object_id="in_2", key="bo_Aa-_9"),
            view(subscription("sub_1", items=(), currency=None, plan_code=None).snapshot),
            view(full.snapshot),
        ]
        await save(unit_of_work, Changes(views={ACME: views}))
        assert list((await tenant_reader.state(ACME)).views) == views
        async with unit_of_work.transaction() as transaction:
            locked = await transaction.lock_tenants([ACME, GLOBEX])
            assert {tenant_id: list(found) for tenant_id, found in locked.views.items()} == {ACME: views}

    async def test_all_views_of_a_tenant_are_written_at_once(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Views that are left out are gone, and other tenants keep theirs."""
        other, bill = view(subscription("sub_9").snapshot, GLOBEX), view(invoice("in_1").snapshot)
        await save(unit_of_work, Changes(views={ACME: [SHOWN], GLOBEX: [other]}), tenants=(ACME, GLOBEX))
        changed = attrs.evolve(SHOWN, operation_key="bo_2", answered_at=AT + timedelta(seconds=1))
        await save(unit_of_work, Changes(views={ACME: [bill, changed]}))
        assert (await tenant_reader.state(ACME)).views == (bill, changed)
        await save(unit_of_work, Changes(views={ACME: [bill]}))
        assert (await tenant_reader.state(ACME)).views == (bill,)
        await save(unit_of_work, Changes(views={ACME: []}))
        assert (await tenant_reader.state(ACME)).views == ()
        assert (await tenant_reader.state(GLOBEX)).views == (other,)
        async with unit_of_work.transaction() as transaction:
            assert (await transaction.lock_tenants([ACME])).views == {}

    async def test_a_view_of_another_tenants_object_is_refused(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Nothing is written then."""
        await save(unit_of_work, Changes(views={ACME: [SHOWN]}))
        with pytest.raises(TenantConflictError):
            await save(
                unit_of_work, Changes(views={GLOBEX: [attrs.evolve(SHOWN, tenant_id=GLOBEX)]}), tenants=(GLOBEX,)
            )
        assert ((await tenant_reader.state(ACME)).views, (await tenant_reader.state(GLOBEX)).views) == ((SHOWN,), ())

    async def test_a_view_is_rolled_back_with_its_message(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """A crash leaves neither."""
        with contextlib.suppress(LookupError):
            async with unit_of_work.transaction() as transaction:
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(views={ACME: [SHOWN]}, events=[message()]))
                raise LookupError
        state = await tenant_reader.state(ACME)
        assert (state.views, state.subscriptions, state.sequence) == ((), (), 0)

    # --- reading ------------------------------------------------------------------------------------------------

    async def test_a_view_is_shown_in_place_of_its_row(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """The row, its provenance and the metered prices that only events show stay as they are."""
        row = attrs.evolve(subscription("sub_1"), metered_prices={PriceId("price_calls"): "api_calls"})
        shown = attrs.evolve(row, snapshot=subscription("sub_1", status="unpaid").snapshot)
        await save(unit_of_work, Changes(subscriptions=[row], views={ACME: [view(shown.snapshot)]}))
        assert list((await tenant_reader.state(ACME)).subscriptions) == [shown]
        assert list(await tenant_reader.subscriptions(ACME)) == [shown]
        async with unit_of_work.transaction() as transaction:
            assert list(await transaction.subscriptions(tenants=[ACME], ids=[])) == [row]

    async def test_a_view_without_a_row_is_in_its_place_among_the_others(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """Newest period first, as ever."""
        rows = [subscription(f"sub_{n}", items=(item(f"si_{n}", period=month(n)),)) for n in (1, 3)]
        new = subscription("sub_2", items=(item("si_2", period=month(2)),)).snapshot
        await save(unit_of_work, Changes(subscriptions=rows, views={ACME: [view(new)]}))
        expected = ["sub_3", "sub_2", "sub_1"]
        assert [each.object_id for each in (await tenant_reader.state(ACME)).subscriptions] == expected
        assert [each.object_id for each in await tenant_reader.subscriptions(ACME)] == expected

    async def test_a_view_that_shows_nothing_leaves_the_row(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """It only makes a refetch due."""
        await save(unit_of_work, Changes(subscriptions=[subscription("sub_1")], views={ACME: [view()]}))
        assert list(await tenant_reader.subscriptions(ACME)) == [subscription("sub_1")]

    async def test_a_view_that_is_out_of_scope_hides_its_object(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """An object of another product is not the tenant's business, whichever says so."""
        hidden = [
            view(subscription("sub_1", out_of_scope=True).snapshot),
            view(invoice("in_9", subscription_id="sub_1").snapshot),
        ]
        rows = [subscription("sub_1"), subscription("sub_2", out_of_scope=True)]
        shown = view(subscription("sub_2").snapshot)
        await save(unit_of_work, Changes(subscriptions=rows, views={ACME: [*hidden[1:], hidden[0], shown]}))
        assert [each.object_id for each in await tenant_reader.subscriptions(ACME)] == ["sub_2"]
        assert (await tenant_reader.state(ACME)).invoices == ()
        assert list(await tenant_reader.invoices(ACME, limit=10)) == []

    async def test_invoices_are_shown_by_their_views(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """The sums that are owed and paid follow; a deleted draft is gone, and limits and order hold."""
        rows = [invoice(f"in_{number}", period=month(number)) for number in (1, 2, 3)]
        paid = view(invoice("in_2", status="paid", amount_paid=1900, amount_remaining=0, period=month(2)).snapshot)
        new = view(invoice("in_4", period=month(4)).snapshot)
        gone = view(invoice("in_3", status="deleted", period=month(3)).snapshot)
        await save(unit_of_work, Changes(invoices=rows, views={ACME: [paid, gone, new]}))
        state = await tenant_reader.state(ACME)
        assert [each.object_id for each in state.invoices] == ["in_1", "in_4"]
        assert state.paying == {"sub_1"}
        listed = await tenant_reader.invoices(ACME, limit=10)
        assert [(each.object_id, each.snapshot.status) for each in listed] == [
            ("in_4", "open"),
            ("in_2", "paid"),
            ("in_1", "open"),
        ]
        assert [each.object_id for each in await tenant_reader.invoices(ACME, limit=2)] == ["in_4", "in_2"]

    async def test_views_and_the_counter_are_read_at_one_instant(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """The state as of message n shows the view that this message is about, and never a later one."""

        async def answer_often() -> None:
            for number in range(1, 40):
                shown = view(subscription("sub_1", seat_count=number).snapshot)
                await save(unit_of_work, Changes(events=[message(ACME, number)], views={ACME: [shown]}))
                await asyncio.sleep(0)

        writing = asyncio.create_task(answer_often())
        while not writing.done():
            state = await tenant_reader.state(ACME)
            assert [each.snapshot.seat_count for each in state.subscriptions] == [state.sequence] * bool(state.sequence)
            await asyncio.sleep(TICK.total_seconds() / 100)
        await writing

    # --- refetches ----------------------------------------------------------------------------------------------

    async def test_a_view_is_found_when_its_refetch_is_due(
        self, unit_of_work: UnitOfWork, uncertain_objects: UncertainObjects, elapse: Elapse
    ) -> None:
        """With the basis of its row; without a row of the same tenant there is none to write under.

        One that is confirmed needs none. An object that is uncertain besides is listed and counted once.
        """
        async with unit_of_work.transaction() as transaction:
            now = (await transaction.lock_tenants([ACME])).now
        bill, whole = invoice("in_1", lines=(line(),), lines_complete=False), invoice("in_2")
        rows = Changes(
            subscriptions=[
                subscription("sub_1"),
                subscription("sub_3", GLOBEX),
                subscription("sub_4"),
                subscription("sub_5", basis=UNSURE),
            ],
            invoices=[bill, whole],
            views={
                ACME: [
                    view(invoice("in_1").snapshot, due_at=LONG_AGO),
                    view(invoice("in_2").snapshot, due_at=LONG_AGO),
                    attrs.evolve(SHOWN, refetch_due_at=now + LONG),
                    view(subscription("sub_2").snapshot, due_at=LONG_AGO),
                    view(subscription("sub_3").snapshot, due_at=LONG_AGO),
                    attrs.evolve(view(subscription("sub_4").snapshot, due_at=LONG_AGO), confirmed=True),
                    view(subscription("sub_5").snapshot, due_at=LONG_AGO),
                ]
            },
        )
        await save(unit_of_work, rows, tenants=(ACME, GLOBEX))
        found = await uncertain_objects.uncertain(after="", limit=10)
        assert [(each.object_id, each.basis, each.view, each.complete) for each in found] == [
            ("in_1", bill.provenance, "bo_1", False),
            ("in_2", whole.provenance, "bo_1", True),
            ("sub_5", UNSURE, "bo_1", True),
        ]
        counts = await uncertain_objects.count_uncertain()
        assert (counts["invoice"], counts["subscription"]) == (2, 1)
        await elapse(LONG + TICK)
        found = await uncertain_objects.uncertain(after="", limit=10)
        assert [(each.kind, each.object_id, each.view, each.complete) for each in found] == [
            ("invoice", "in_1", "bo_1", False),
            ("invoice", "in_2", "bo_1", True),
            ("subscription", "sub_1", "bo_1", True),
            ("subscription", "sub_5", "bo_1", True),
        ]
        after = await uncertain_objects.uncertain(after="in_2", limit=10)
        assert [each.object_id for each in after] == ["sub_1", "sub_5"]
        assert [each.object_id for each in await uncertain_objects.uncertain(after="", limit=1)] == ["in_1"]
        counts = await uncertain_objects.count_uncertain()
        assert (counts["invoice"], counts["subscription"]) == (2, 2)

    # --- the events of an operation -------------------------------------------------------------------------------

    async def test_the_applied_events_of_an_operation_are_found(
        self, unit_of_work: UnitOfWork, inbox: EventInbox
    ) -> None:
        """An event that was not applied confirms nothing."""
        claims = [await claimed(inbox, provider_event(f"evt_{number}")) for number in range(4)]
        async with unit_of_work.transaction() as transaction:
            await transaction.hold(claims)
            await transaction.lock_tenants([ACME])
            keys = dict(zip((claim.dispatch_id for claim in claims), ("bo_1", "bo_2", "bo_1", "bo_1"), strict=True))
            await transaction.save(Changes(echoes=keys, events=[message()]))
            outcomes = [applied(claim, effect=Effect.STALE, sequence=None) for claim in claims[:3]]
            ignored = applied(claims[3], disposition=Disposition.IGNORED, effect=None, reason="x", sequence=None)
            await transaction.settle([*outcomes, ignored])
        async with unit_of_work.transaction() as transaction:
            found = await transaction.echoes("bo_1")
            assert [(event.event_id, event.body) for event in found] == [
                (claims[number].event.event_id, claims[number].event.body) for number in (0, 2)
            ]
            assert list(await transaction.echoes("bo_3")) == []

    # --- moves --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("to", [GLOBEX, None])
    async def test_views_leave_with_their_objects(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader, to: TenantId | None
    ) -> None:
        """With a row or without; the others stay."""
        bill, stays = view(invoice("in_1").snapshot), view(subscription("sub_2").snapshot)
        held = view(subscription("sub_9").snapshot, GLOBEX)
        rows = Changes(subscriptions=[subscription("sub_1")], views={ACME: [bill, SHOWN, stays], GLOBEX: [held]})
        await save(unit_of_work, rows, tenants=(ACME, GLOBEX))
        await _transfer(unit_of_work, to, SubscriptionId("sub_1"), views={"sub_1", "in_1"})
        theirs = () if to is None else [attrs.evolve(each, tenant_id=to) for each in (bill, SHOWN)]
        assert (await tenant_reader.state(ACME)).views == (stays,)
        assert (await tenant_reader.state(GLOBEX)).views == (*theirs, held)
        await _transfer(unit_of_work, to, SubscriptionId("sub_2"), views={"sub_2"})
        async with unit_of_work.transaction() as transaction:
            assert (await transaction.lock_tenants([ACME])).views == {}

    @pytest.mark.parametrize("to", [GLOBEX, None])
    async def test_a_tenant_without_views_shows_those_that_it_gets(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader, to: TenantId | None
    ) -> None:
        """The former one shows those that stay, although no other tenant has any."""
        stays = view(subscription("sub_2").snapshot)
        rows = Changes(subscriptions=[subscription("sub_1")], views={ACME: [SHOWN, stays]})
        await save(unit_of_work, rows)
        await _transfer(unit_of_work, to, SubscriptionId("sub_1"), views={"sub_1"})
        assert (await tenant_reader.state(ACME)).views == (stays,)
        theirs = () if to is None else (attrs.evolve(SHOWN, tenant_id=to),)
        assert (await tenant_reader.state(GLOBEX)).views == theirs

    async def test_views_are_found_beside_the_rows_of_their_tenant_only(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """An invoice that two tenants seem to have is shown to each as its own."""
        await save(
            unit_of_work,
            Changes(invoices=[invoice("in_1", GLOBEX)], subscriptions=[subscription("sub_1", GLOBEX)]),
            tenants=(GLOBEX,),
        )
        await save(unit_of_work, Changes(views={ACME: [SHOWN]}))
        assert list(await tenant_reader.subscriptions(GLOBEX)) == [subscription("sub_1", GLOBEX)]
        assert [each.provenance.event_ids for each in await tenant_reader.subscriptions(ACME)] == [()]


async def _transfer(
    unit_of_work: UnitOfWork, to: TenantId | None, subscription_id: SubscriptionId, *, views: set[str]
) -> None:
    async with unit_of_work.transaction() as transaction:
        await transaction.lock_tenants([ACME] if to is None else [ACME, to])
        invoices = [InvoiceId(id_) for id_ in views if id_.startswith("in_")]
        await transaction.transfer(
            Transfer(from_tenant=ACME, to_tenant=to, subscriptions=[subscription_id], invoices=invoices, views=views)
        )
