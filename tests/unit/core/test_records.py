"""Events of payments, refunds, disputes, credit notes, entitlements and the catalog."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations

import attrs
import pytest
from tests.unit.core.conftest import ACME, ALICE, AT, BOB, GLOBEX, Loop, customer, invoice, subscription, until

from billing_core.converters import record_from_json, record_to_json
from billing_core.events import Disposition, Effect, Outcome, ProviderEvent, Translation
from billing_core.inbox.policy import DispatchPolicy
from billing_core.model import (
    ChargeSnapshot,
    CreditNoteSnapshot,
    CustomerId,
    DisputeSnapshot,
    EntitlementsSnapshot,
    InvoiceId,
    PaymentSnapshot,
    PriceId,
    PriceSnapshot,
    ProductSnapshot,
    Provenance,
    RecordSnapshot,
    RefundSnapshot,
    SubscriptionInvoice,
    TenantId,
    TenantRecord,
    invoice_of,
)

IN_1 = InvoiceId("in_1")
PAID = invoice(status="paid", amount_paid=1900)
PAYMENT = PaymentSnapshot(payment_id="pi_1", invoice_id=IN_1, amount_paid=1900, currency="usd", status="paid")
CHARGE = ChargeSnapshot(charge_id="ch_1", payment_id="pi_1", amount=1900, amount_refunded=500, currency="usd")
REFUND = RefundSnapshot(refund_id="re_1", charge_id="ch_1", amount=500, currency="usd", status="succeeded")
DISPUTE = DisputeSnapshot(
    dispute_id="dp_1", payment_id="pi_1", charge_id="ch_1", amount=1900, currency="usd", status="needs_response"
)
CREDIT_NOTE = CreditNoteSnapshot(credit_note_id="cn_1", invoice_id=IN_1, amount=700, currency="usd", status="issued")
PRICE = PriceSnapshot(price_id=PriceId("price_pro"), lookup_key="pro", unit_amount_decimal="0.05")


def notify(
    loop: Loop,
    *shown: RecordSnapshot,
    about: Sequence[str] = (),
    customer_id: CustomerId | None = None,
    at: int = 0,
    before: RecordSnapshot | None = None,
) -> ProviderEvent:
    """Build an event `at` seconds after the start that names a customer, or the objects it is about."""
    names = "-".join([*(seen.object_id for seen in shown), *about, customer_id or "no_customer", str(at)])
    status = "-".join(getattr(seen, "status", "") for seen in shown)
    says = Translation(customer_id=customer_id, about=tuple(about), snapshots=shown)
    return loop.provider.event(f"evt_{names}_{status}", says, at=AT + timedelta(seconds=at), before=before)


def known(loop: Loop, object_id: str) -> RecordSnapshot:
    """Return a stored record."""
    return loop.database.tables.records[object_id].snapshot


class TestAdjustments:
    """Recorded beside the invoice, which stays as it is."""

    async def test_a_refund_is_published_with_the_invoice_it_concerns(self, loop: Loop) -> None:
        """From charge to payment to invoice; a paid invoice stays paid."""
        await loop.arrive(loop.says(PAID))
        await loop.arrive(notify(loop, PAYMENT, about=["in_1"], at=1))
        (outcome,) = await loop.arrive(notify(loop, CHARGE, customer_id=ALICE, at=2))
        assert (outcome.disposition, outcome.effect) == (Disposition.APPLIED, Effect.CHANGED)
        notified = (await loop.payloads())[-1]
        assert (notified.event_type, notified.summary) == (
            "invoice.refunded",
            "5.00 USD of the 19.00 USD payment was refunded.",
        )
        assert notified.invoice is not None
        assert (notified.invoice.invoice_id, notified.invoice.status, notified.status) == ("in_1", "paid", "paid")
        assert await loop.invoice() == PAID

    async def test_a_refund_of_several_events_is_published_once(self, loop: Loop) -> None:
        """The refund's own events repeat those of the charge."""
        await loop.arrive(loop.says(PAID), notify(loop, PAYMENT, about=["in_1"], at=1))
        await loop.arrive(notify(loop, CHARGE, customer_id=ALICE, at=2), notify(loop, REFUND, about=["ch_1"], at=2))
        assert await loop.notified() == ["invoice.paid", "invoice.refunded"]
        assert known(loop, "re_1") == REFUND

    async def test_a_refund_that_falls_through_is_published(self, loop: Loop) -> None:
        """Also when it had succeeded; a late event of its success does not bring it back."""
        failed = attrs.evolve(REFUND, status="failed")
        await loop.arrive(loop.says(PAID), notify(loop, CHARGE, customer_id=ALICE, at=1))
        await loop.arrive(notify(loop, REFUND, about=["ch_1"], at=1), notify(loop, failed, about=["ch_1"], at=2))
        (stale,) = await loop.arrive(notify(loop, REFUND, about=["ch_1"], at=9))
        assert stale.effect is Effect.STALE
        assert known(loop, "re_1") == failed
        assert (await loop.notified())[-1] == "invoice.refunded"
        assert (await loop.payloads())[-1].summary == "The 5.00 USD refund did not go through."

    async def test_refunded_amounts_are_not_added_up(self, loop: Loop) -> None:
        """Each event shows the total; a late one changes nothing."""
        more = attrs.evolve(CHARGE, amount_refunded=1200)
        await loop.arrive(loop.says(PAID), notify(loop, more, customer_id=ALICE, at=5))
        (late,) = await loop.arrive(notify(loop, CHARGE, customer_id=ALICE, at=2))
        assert late.effect is Effect.STALE
        assert known(loop, "ch_1") == more

    async def test_a_dispute_is_published_when_it_begins_and_when_it_ends(self, loop: Loop) -> None:
        """Changes in between are kept; a closed dispute is not reopened."""
        await loop.arrive(loop.says(PAID), notify(loop, PAYMENT, about=["in_1"], at=1))
        for at, status in enumerate(("needs_response", "under_review", "won", "under_review"), start=2):
            await loop.arrive(notify(loop, attrs.evolve(DISPUTE, status=status), about=["pi_1"], at=at))
        assert await loop.notified() == ["invoice.paid", "invoice.disputed", "invoice.dispute_closed"]
        closed = (await loop.payloads())[-1]
        assert closed.summary == "The 19.00 USD dispute was closed (won)."
        assert closed.invoice is not None
        assert closed.invoice.status == "paid"

    async def test_an_appeal_follows_the_first_end(self, loop: Loop) -> None:
        """And may end differently."""
        await loop.arrive(loop.says(PAID), notify(loop, PAYMENT, about=["in_1"], at=1))
        for at, status in enumerate(("lost", "appeal_under_review", "won"), start=2):
            await loop.arrive(notify(loop, attrs.evolve(DISPUTE, status=status), about=["pi_1"], at=at))
        assert known(loop, "dp_1") == attrs.evolve(DISPUTE, status="won")

    async def test_a_credit_note_is_published_and_so_is_its_end(self, loop: Loop) -> None:
        """It names its invoice itself."""
        void = attrs.evolve(CREDIT_NOTE, status="void")
        await loop.arrive(loop.says(PAID), notify(loop, CREDIT_NOTE, customer_id=ALICE, at=1))
        await loop.arrive(notify(loop, void, customer_id=ALICE, at=2))
        assert await loop.notified() == ["invoice.paid", "invoice.credited", "invoice.credited"]
        assert all(payload.invoice is not None for payload in await loop.payloads())
        assert known(loop, "cn_1") == void

    async def test_the_updates_of_one_second_are_followed_to_their_end(self, loop: Loop) -> None:
        """Their edges show which came last, in whatever order they arrive."""
        first, second, third = (attrs.evolve(DISPUTE, status=status) for status in ("a", "b", "c"))
        await loop.arrive(loop.says(PAID), notify(loop, PAYMENT, about=["in_1"]))
        await loop.arrive(notify(loop, third, about=["pi_1"], at=1, before=second))
        await loop.arrive(notify(loop, second, about=["pi_1"], at=1, before=first))
        assert known(loop, "dp_1") == third
        assert not loop.database.tables.records["dp_1"].provenance.ambiguous

    async def test_an_invoice_of_another_tenant_is_not_shown(self, loop: Loop) -> None:
        """A payment that claims one is kept without it."""
        await loop.arrive(loop.says(invoice(customer_id=BOB), tenant=GLOBEX), loop.says(customer_id=ALICE, tenant=ACME))
        foreign = attrs.evolve(CHARGE, invoice_id=IN_1)
        await loop.arrive(notify(loop, foreign, customer_id=ALICE, at=1))
        notified = (await loop.payloads())[-1]
        assert (notified.event_type, notified.invoice) == ("invoice.refunded", None)


class TestOwners:
    """An event that names no customer belongs to the tenant of the objects it names."""

    async def test_an_event_about_unknown_objects_waits(self, loop: Loop) -> None:
        """Parked on all of the objects, without a trace."""
        (outcome,) = await loop.arrive(notify(loop, DISPUTE, about=["pi_1", "ch_1"]))
        assert (outcome.disposition, outcome.reason) == (Disposition.PARKED, "unmapped_object")
        assert (outcome.parked_on, outcome.waits_for) == ("pi_1", ("pi_1", "ch_1"))
        assert loop.database.tables.records == {}

    @pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
    @pytest.mark.parametrize("batches", ["one by one", "together"])
    async def test_what_waited_is_applied_when_its_object_comes(
        self, loop: Loop, order: tuple[int, ...], batches: str
    ) -> None:
        """Link, invoice, payment and dispute in whatever order, inside one batch or over several."""
        story = [
            loop.says(customer_id=ALICE),
            loop.says(PAID, tenant=None, at=1),
            notify(loop, PAYMENT, about=["in_1"], at=1),
            notify(loop, DISPUTE, about=["ch_1", "pi_1"], at=2),
        ]
        events = [story[index] for index in order]
        await loop.arrive_all(events, together=batches == "together")
        assert {loop.row(event).disposition for event in events} == {Disposition.APPLIED}
        records = await loop.repository.records(ACME, limit=10)
        assert [each.snapshot for each in records] == [DISPUTE, PAYMENT]

    async def test_the_refund_of_a_guest_does_not_wait_without_an_end(self, loop: Loop) -> None:
        """A worker ignores it once it has waited long enough; the charge would still take it up."""
        loop.policy = DispatchPolicy(parked_for=timedelta(days=30), waiting_poll=timedelta(milliseconds=1))
        refund = notify(loop, REFUND, about=["ch_1"], at=1)
        await loop.arrive(refund)
        dispatcher = loop.dispatcher()
        running = asyncio.create_task(dispatcher.run())
        await asyncio.sleep(0.02)
        assert loop.row(refund).disposition is Disposition.PARKED
        loop.clock.advance(timedelta(days=30))
        await until(lambda: loop.row(refund).disposition is Disposition.IGNORED)
        dispatcher.stop()
        await running
        assert loop.row(refund).reason == "no_tenant"
        await loop.arrive(loop.says(PAID), notify(loop, CHARGE, customer_id=ALICE, at=2))
        (outcome,) = await loop.work()
        assert (outcome.disposition, outcome.tenant_id) == (Disposition.APPLIED, ACME)

    async def test_a_draft_is_deleted_by_its_id_alone(self, loop: Loop) -> None:
        """The event names the invoice and nothing else."""
        await loop.arrive(loop.says(invoice(status="draft")))
        says = Translation(about=("in_1",), snapshots=(invoice(status="deleted", customer_id=None),))
        (outcome,) = await loop.arrive(loop.provider.event("evt_deleted", says, at=AT + timedelta(seconds=9)))
        assert (outcome.disposition, outcome.tenant_id) == (Disposition.APPLIED, ACME)
        assert (await loop.notified())[-1] == "invoice.deleted"

    async def test_objects_of_two_tenants_make_a_conflict(self, loop: Loop) -> None:
        """An operator has to look at it; no state changes."""
        await loop.arrive(loop.says(PAID), loop.says(subscription(customer_id=BOB), tenant=GLOBEX, customer_id=BOB))
        (outcome,) = await loop.arrive(notify(loop, DISPUTE, about=["in_1", "sub_1"], at=1))
        assert (outcome.disposition, outcome.reason) == (Disposition.DEAD, "tenant_conflict")
        assert loop.database.tables.records == {}

    async def test_a_record_never_changes_its_tenant(self, loop: Loop) -> None:
        """Even if another event names another customer with it."""
        await loop.arrive(loop.says(customer(ALICE)), loop.says(customer(BOB), tenant=GLOBEX))
        await loop.arrive(notify(loop, CHARGE, customer_id=ALICE))
        (outcome,) = await loop.arrive(notify(loop, attrs.evolve(CHARGE, disputed=True), customer_id=BOB, at=5))
        assert outcome.reason == "tenant_conflict"
        assert known(loop, "ch_1") == CHARGE

    async def test_an_event_without_customer_and_objects_is_ignored(self, loop: Loop) -> None:
        """It cannot wait for anything."""
        (outcome,) = await loop.arrive(notify(loop, DISPUTE))
        assert (outcome.disposition, outcome.reason) == (Disposition.IGNORED, "no_customer")

    async def test_the_dispatcher_looks_for_events_that_parked_meanwhile(self, loop: Loop) -> None:
        """An object that was saved while its event was being parked makes the event due all the same."""
        event = notify(loop, PAYMENT, about=["in_1"])
        await loop.arrive(event)
        loop.database.tables.counters[ACME] = 0
        loop.database.tables.invoices[IN_1] = SubscriptionInvoice(
            tenant_id=ACME, snapshot=PAID, provenance=Provenance(observed_at=AT, event_ids=())
        )
        loop.policy = DispatchPolicy(poll=timedelta(milliseconds=10), waiting_poll=timedelta(milliseconds=10))
        dispatcher = loop.dispatcher()
        running = asyncio.create_task(dispatcher.run())
        await until(lambda: loop.row(event).disposition is Disposition.APPLIED)
        dispatcher.stop()
        await running


class TestCatalog:
    """Prices and products belong to no tenant."""

    async def test_prices_and_products_are_kept_without_a_message(self, loop: Loop) -> None:
        """For all tenants alike; the outcome names none."""
        product = ProductSnapshot(product_id="prod_1", name="Pro")
        outcomes: Sequence[Outcome] = await loop.arrive(notify(loop, PRICE), notify(loop, product))
        assert [(end.disposition, end.effect, end.tenant_id, end.sequence) for end in outcomes] == [
            (Disposition.APPLIED, Effect.CHANGED, None, None)
        ] * 2
        assert [each.snapshot for each in await loop.repository.catalog()] == [PRICE, product]
        assert loop.messages == []

    async def test_a_deleted_price_stays_deleted(self, loop: Loop) -> None:
        """An update that arrives after the end is stale."""
        deleted = attrs.evolve(PRICE, active=False, deleted=True)
        await loop.arrive(notify(loop, deleted, at=1))
        (late,) = await loop.arrive(notify(loop, PRICE, at=5))
        assert late.effect is Effect.STALE
        assert known(loop, "price:price_pro") == deleted


class TestEntitlements:
    """The whole list each time."""

    async def test_the_list_is_replaced(self, loop: Loop) -> None:
        """In any order of its features; the same list again is not published."""
        await loop.arrive(loop.says(customer_id=ALICE))
        for at, features in enumerate((("sso", "api"), ("api", "sso"), ("api",)), start=1):
            await loop.arrive(
                notify(loop, EntitlementsSnapshot(customer_id=ALICE, features=features), customer_id=ALICE, at=at)
            )
        assert [each.summary for each in await loop.payloads()][1:] == [
            "The billing account includes these features: api, sso.",
            "The billing account includes these features: api.",
        ]


class TestValues:
    """Records as values."""

    def test_a_record_of_a_later_version_can_be_read(self) -> None:
        """Unknown fields are ignored, missing ones take their defaults."""
        text = record_to_json(PRICE)[:-1] + ',"invented":{"a":1}}'
        assert record_from_json("price", text) == PRICE
        assert record_from_json("product", '{"product_id":"prod_1"}') == ProductSnapshot(product_id="prod_1")
        with pytest.raises(KeyError):
            record_from_json("invented", text)

    def test_circular_references_lead_nowhere(self) -> None:
        """A payload may contain any ids."""
        one = attrs.evolve(CHARGE, charge_id="ch_1", payment_id="ch_2")
        other = attrs.evolve(CHARGE, charge_id="ch_2", payment_id="ch_1")
        found: dict[str, RecordSnapshot] = {"ch_1": one, "ch_2": other}
        assert invoice_of(one, found.get) is None
        assert invoice_of(attrs.evolve(REFUND, charge_id="ch_1"), found.get) is None

    def test_a_payment_is_named_by_the_provider_s_id(self) -> None:
        """Other records by the id they are stored under."""
        basis = Provenance(observed_at=AT, event_ids=())
        named = [
            TenantRecord(tenant_id=TenantId("acme"), snapshot=seen, provenance=basis).named_as
            for seen in (PAYMENT, CHARGE)
        ]
        assert named == ["pi_1", "ch_1"]
