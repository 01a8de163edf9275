"""Translation of payments, refunds, disputes, credit notes, entitlements, schedules, the catalog and test clocks."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest

from billing_core.events import BillingEventType, Notice, ProviderEvent, Translation
from billing_core.model import (
    ChargeSnapshot,
    ClockSnapshot,
    CreditNoteSnapshot,
    CustomerId,
    DisputeSnapshot,
    EntitlementsSnapshot,
    InvoiceId,
    PaymentSnapshot,
    Phase,
    PlannedItem,
    PriceId,
    PriceSnapshot,
    ProductSnapshot,
    RefundSnapshot,
    ScheduleSnapshot,
    SubscriptionId,
)
from billing_stripe.testing import API_VERSIONS, BASIL, accounts, adjustments, builders, catalog, objects
from billing_stripe.testing.samples import AT
from billing_stripe.translate import TRANSLATORS, StripeTranslator, translate_object

pytestmark = pytest.mark.stripe

MakeEvent = Callable[..., ProviderEvent]
Said = Callable[[str, dict[str, Any]], Translation]
OLD, NEW = API_VERSIONS[0], API_VERSIONS[-1]
BEFORE_BASIL = [version for version in API_VERSIONS if version < BASIL]
CUS_1, IN_1, SUB_1 = CustomerId("cus_1"), InvoiceId("in_1"), SubscriptionId("sub_1")

CHARGE = objects.Charge(
    charge_id="ch_1",
    payment_id="pi_1",
    customer_id=CUS_1,
    created_at=AT,
    amount=1900,
    amount_refunded=700,
    invoice_id=IN_1,
)
PAYMENT = PaymentSnapshot(payment_id="pi_1", invoice_id=IN_1, amount_paid=1900, currency="usd", status="paid")
REFUND = objects.Refund(
    refund_id="re_1", payment_id="pi_1", charge_id="ch_1", created_at=AT, amount=700, customer_id=CUS_1
)
GIVEN_BACK = RefundSnapshot(
    refund_id="re_1",
    payment_id="pi_1",
    charge_id="ch_1",
    amount=700,
    currency="usd",
    status="succeeded",
    reason="requested_by_customer",
)
DISPUTE = objects.Dispute(dispute_id="dp_1", payment_id="pi_1", charge_id="ch_1", created_at=AT, amount=1900)


@pytest.fixture
def said(make_event: MakeEvent) -> Said:
    def translate(type: str, object: dict[str, Any]) -> Translation:
        return StripeTranslator().translate(make_event(type, object))

    return translate


class TestPayments:
    """The link between a payment and an invoice."""

    @pytest.mark.parametrize("payment_id", ["pi_1", "ch_1"])
    def test_a_payment_belongs_to_the_owner_of_its_invoice(self, said: Said, payment_id: str) -> None:
        """It names no customer; it belongs to the owner of the invoice."""
        shown = adjustments.invoice_payment(
            objects.InvoicePayment(
                invoice_payment_id="inpay_1",
                invoice_id=IN_1,
                payment_id=payment_id,
                amount_paid=1900,
                created_at=AT,
            ),
            NEW,
        )
        assert said("invoice_payment.paid", shown) == Translation(
            about=("in_1",), snapshots=(attrs.evolve(PAYMENT, payment_id=payment_id),)
        )

    @pytest.mark.parametrize("part", ["payment", "invoice", "status", "currency"])
    def test_a_payment_without_references_is_ignored(self, said: Said, part: str) -> None:
        """The missing field is reported."""
        shown = {
            "object": "invoice_payment",
            "payment": {"type": "payment_intent", "payment_intent": "pi_1"},
            "invoice": "in_1",
            "status": "paid",
            "currency": "usd",
            "amount_paid": 1,
        }
        translation = said("invoice_payment.paid", shown | {part: None})
        assert translation == Translation(ignored="unreadable_object", missing=(f"invoice_payment.{part}",))

    @pytest.mark.parametrize("type", ["invoice.paid", "invoice.payment_succeeded"])
    @pytest.mark.parametrize("version", BEFORE_BASIL)
    def test_an_old_invoice_names_its_payment_itself(
        self, said: Said, invoice: objects.Invoice, type: str, version: str
    ) -> None:
        """Later versions have a separate event for the same link."""
        shown = builders.invoice(invoice, version)
        _, payment = said(type, shown).snapshots
        assert payment == attrs.evolve(PAYMENT, amount_paid=9780)
        _, by_charge = said(type, shown | {"payment_intent": None}).snapshots
        assert by_charge == attrs.evolve(PAYMENT, payment_id="ch_1", amount_paid=9780)

    def test_an_invoice_without_a_payment_names_none(self, said: Said, invoice: objects.Invoice) -> None:
        """For example a cash or credit payment, or none at all."""
        shown = builders.invoice(invoice, OLD)
        assert len(said("invoice.paid", shown | {"payment_intent": None, "charge": None}).snapshots) == 1
        assert len(said("invoice.paid", shown | {"status": "open"}).snapshots) == 1


class TestWhatIsGivenBack:
    """Charges, refunds, disputes and credit notes."""

    @pytest.mark.parametrize("version", API_VERSIONS)
    def test_a_charge_has_the_total_of_its_refunds(self, said: Said, version: str) -> None:
        """The total of all refunds, and in older versions the invoice it paid."""
        charge = ChargeSnapshot(charge_id="ch_1", payment_id="pi_1", amount=1900, amount_refunded=700, currency="usd")
        translation = said("charge.refunded", adjustments.charge(CHARGE, version))
        shown = (PAYMENT, charge) if version < BASIL else (charge,)
        assert translation == Translation(customer_id=CUS_1, snapshots=shown)

    def test_a_guests_charge_is_ignored(self, said: Said) -> None:
        """Tenants are customers."""
        shown = adjustments.charge(attrs.evolve(CHARGE, customer_id=None), NEW)
        assert said("charge.refunded", shown).ignored == "no_customer"

    @pytest.mark.parametrize("type", ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"])
    def test_a_refund_belongs_to_the_payer(self, said: Said, type: str) -> None:
        """Newer versions name the customer, older ones only the payment and the charge."""
        assert said(type, adjustments.refund(REFUND, NEW)) == Translation(customer_id=CUS_1, snapshots=(GIVEN_BACK,))
        assert said(type, adjustments.refund(REFUND, BASIL)) == Translation(
            about=("pi_1", "ch_1"), snapshots=(GIVEN_BACK,)
        )

    def test_a_refund_may_name_only_the_charge(self, said: Said) -> None:
        """A charge may have no payment intent."""
        shown = adjustments.refund(attrs.evolve(REFUND, payment_id=None), OLD)
        assert said("refund.created", shown).about == ("ch_1",)
        assert said("refund.created", shown | {"charge": None}).ignored == "no_customer"

    def test_expanded_references_are_read_as_ids(self, said: Said) -> None:
        """References may be expanded."""
        shown = adjustments.refund(REFUND, BASIL) | {"charge": {"id": "ch_1"}, "payment_intent": {"id": "pi_1"}}
        assert said("refund.created", shown).snapshots == (GIVEN_BACK,)

    @pytest.mark.parametrize("status", ["needs_response", "won", "lost", "prevented", "of_tomorrow"])
    @pytest.mark.parametrize("version", API_VERSIONS)
    def test_a_dispute_belongs_to_the_payer(self, said: Said, version: str, status: str) -> None:
        """Its status is kept verbatim."""
        shown = adjustments.dispute(attrs.evolve(DISPUTE, status=status), version)
        assert said("charge.dispute.updated", shown) == Translation(
            about=("pi_1", "ch_1"),
            snapshots=(
                DisputeSnapshot(
                    dispute_id="dp_1",
                    payment_id="pi_1",
                    charge_id="ch_1",
                    amount=1900,
                    currency="usd",
                    status=status,
                    reason="fraudulent",
                ),
            ),
        )

    @pytest.mark.parametrize("version", API_VERSIONS)
    def test_a_credit_note_names_its_invoice(self, said: Said, version: str) -> None:
        """It names customer and invoice in every version; only the status changes."""
        source = objects.CreditNote(
            credit_note_id="cn_1", invoice_id=IN_1, customer_id=CUS_1, created_at=AT, amount=500
        )
        note = CreditNoteSnapshot(
            credit_note_id="cn_1", invoice_id=IN_1, amount=500, currency="usd", status="issued", reason="order_change"
        )
        shown = adjustments.credit_note(source, version)
        assert said("credit_note.created", shown) == Translation(customer_id=CUS_1, snapshots=(note,))
        assert said("credit_note.created", shown | {"customer": None}) == Translation(
            about=("in_1",), snapshots=(note,)
        )

    @pytest.mark.parametrize(
        ("type", "shown"),
        [
            ("charge.refunded", {"object": "charge", "customer": "cus_1", "currency": "usd"}),
            ("refund.created", {"object": "refund", "id": "re_1", "currency": "usd", "charge": "ch_1"}),
            ("charge.dispute.created", {"object": "dispute", "id": "dp_1", "status": "lost", "charge": "ch_1"}),
            ("credit_note.created", {"object": "credit_note", "id": "cn_1", "status": "issued", "currency": "usd"}),
        ],
    )
    def test_an_object_without_required_fields_is_ignored(self, said: Said, type: str, shown: dict[str, Any]) -> None:
        """Id, status, currency and invoice are required."""
        assert said(type, shown).ignored == "unreadable_object"


class TestBenefits:
    """Entitlements, schedules, alerts and credit."""

    def test_entitlements_are_the_whole_set(self, said: Said) -> None:
        """Sorted, so that equal sets are equal."""
        shown = accounts.entitlement_summary(objects.Entitlements(customer_id=CUS_1, features=("sso", "audit_log")))
        features = EntitlementsSnapshot(customer_id=CUS_1, features=("audit_log", "sso"))
        expected = Translation(customer_id=CUS_1, snapshots=(features,))
        assert said("entitlements.active_entitlement_summary.updated", shown) == expected
        assert translate_object(shown) == expected

    def test_a_page_of_entitlements_is_incomplete(self, said: Said) -> None:
        """So is an absent list, which is also reported as missing."""
        shown = accounts.entitlement_summary(
            objects.Entitlements(customer_id=CUS_1, features=("sso",), more_features=True)
        )
        type_ = "entitlements.active_entitlement_summary.updated"
        page = EntitlementsSnapshot(customer_id=CUS_1, features=("sso",), complete=False)
        assert said(type_, shown).snapshots == (page,)
        without = said(type_, shown | {"entitlements": None})
        assert without.snapshots == (attrs.evolve(page, features=()),)
        assert without.missing == ("entitlements.active_entitlement_summary.entitlements",)
        assert said(type_, shown | {"customer": None}).ignored == "no_customer"

    @pytest.mark.parametrize("status", ["not_started", "active", "released"])
    @pytest.mark.parametrize("version", API_VERSIONS)
    def test_a_schedule_names_its_subscription(self, said: Said, version: str, status: str) -> None:
        """A released schedule names it in another field."""
        source = objects.SubscriptionSchedule(
            schedule_id="sub_sched_1", customer_id=CUS_1, subscription_id=SUB_1, created_at=AT, status=status
        )
        assert said("subscription_schedule.updated", accounts.subscription_schedule(source, version)) == Translation(
            customer_id=CUS_1,
            snapshots=(ScheduleSnapshot(schedule_id="sub_sched_1", subscription_id=SUB_1, status=status),),
        )

    def test_a_schedule_without_required_fields_is_ignored(self, said: Said) -> None:
        """Without them it cannot be assigned."""
        assert said("subscription_schedule.updated", {"customer": "cus_1"}).ignored == "unreadable_object"
        assert said("subscription_schedule.updated", {"id": "x", "status": "active"}).ignored == "no_customer"

    def test_an_alert_is_a_notice(self, said: Said) -> None:
        """It has no id and changes no state."""
        source = objects.AlertTriggered(
            alert_id="alrt_1", customer_id=CUS_1, created_at=AT, meter_id="mtr_1", threshold=10, value=11
        )
        shown = accounts.alert_triggered(source)
        assert said("billing.alert.triggered", shown) == Translation(
            customer_id=CUS_1, notice=Notice.USAGE_THRESHOLD_REACHED
        )
        assert said("billing.alert.triggered", shown | {"customer": None}).ignored == "no_customer"

    @pytest.mark.parametrize("version", API_VERSIONS)
    def test_a_credit_grant_has_an_owner(self, said: Said, version: str) -> None:
        """Only its customer is read."""
        source = objects.CreditGrant(credit_grant_id="credgr_1", customer_id=CUS_1, created_at=AT, amount=100)
        shown = accounts.credit_grant(source, version)
        assert said("billing.credit_grant.created", shown) == Translation(customer_id=CUS_1)


class TestCatalog:
    """Prices, products, plans."""

    PRICE = objects.Price(
        price_id="price_1",
        product_id="prod_1",
        unit_amount=None,
        unit_amount_decimal="0.000381",
        lookup_key="calls",
        metered=True,
        plan_code="team",
    )
    SEEN = PriceSnapshot(
        price_id=PriceId("price_1"),
        product_id="prod_1",
        lookup_key="calls",
        metadata=(("plan_code", "team"),),
        usage_type="metered",
        meter_id="mtr_1",
        currency="usd",
        unit_amount=None,
        unit_amount_decimal="0.000381",
    )

    @pytest.mark.parametrize(("type", "creation"), [("price.created", True), ("price.updated", False)])
    def test_a_price_is_read_to_its_last_digit(self, said: Said, type: str, creation: bool) -> None:
        """Amounts below the minor unit stay text; a price has no owner."""
        expected = Translation(snapshots=(self.SEEN,), creation=creation)
        assert said(type, builders.price(self.PRICE, NEW)) == expected

    def test_deleted_means_deleted(self, said: Said) -> None:
        """By the event type, or by the object's own flag."""
        shown = builders.price(self.PRICE, NEW)
        gone = (attrs.evolve(self.SEEN, deleted=True),)
        assert said("price.deleted", shown).snapshots == gone
        assert said("price.updated", shown | {"deleted": True}).snapshots == gone
        product = catalog.product(objects.Product(product_id="prod_1", name="Team"), NEW)
        seen = ProductSnapshot(product_id="prod_1", name="Team")
        assert said("product.updated", product).snapshots == (seen,)
        assert said("product.deleted", product).snapshots == (attrs.evolve(seen, deleted=True),)
        named = attrs.evolve(seen, metadata=(("plan_code", "pro"), ("team", "a")))
        assert said("product.updated", product | {"metadata": {"team": "a", "plan_code": "pro"}}).snapshots == (named,)

    def test_a_one_off_price_is_licensed(self, said: Said) -> None:
        """It has no `recurring`."""
        (seen,) = said("price.created", builders.price(self.PRICE, NEW) | {"recurring": None}).snapshots
        assert isinstance(seen, PriceSnapshot)
        assert (seen.usage_type, seen.meter_id) == ("licensed", None)

    @pytest.mark.parametrize("type", ["price.created", "product.created"])
    def test_an_object_without_an_id_is_ignored(self, said: Said, type: str) -> None:
        """Without an id it cannot be recorded."""
        assert said(type, {"active": True}).ignored == "unreadable_object"

    @pytest.mark.parametrize("version", API_VERSIONS)
    def test_a_plan_is_ignored_in_favor_of_its_price(self, said: Said, version: str) -> None:
        """Both have events, and the price's has more detail."""
        assert said("plan.updated", builders.plan(self.PRICE, version)).ignored == "price_twin"


@pytest.mark.parametrize("type", ["checkout.session.expired", "checkout.session.async_payment_failed"])
@pytest.mark.parametrize("version", API_VERSIONS)
def test_a_failed_checkout_links_no_customer(said: Said, version: str, type: str) -> None:
    """Even if it names customer and tenant."""
    session = objects.CheckoutSession(
        session_id="cs_1", created_at=AT, customer_id=CUS_1, subscription_id=None, client_reference_id="acme"
    )
    assert said(type, builders.checkout_session(session, version)) == Translation(ignored="unfinished_checkout")


def test_the_table_names_every_message() -> None:
    """The page names only existing messages, and all of those that an event can cause."""
    words = {word for row in TRANSLATORS.values() for word in row.messages.split("`")[1::2]}
    kinds = {word.removesuffix("*") for word in words if word.endswith(".*")}
    named = {word for word in words if not word.endswith(".*")}
    types = {type_.value for type_ in BillingEventType}
    assert named <= types
    without_event = {"grant.added", "grant.revoked", "customer.unlinked", "withdrawn"}
    assert {type_ for type_ in types - named if not type_.startswith(tuple(kinds))} == without_event


class TestPhases:
    """The phases of a schedule that are still to come."""

    MONTHS = tuple(objects.Span(AT + timedelta(days=30 * n), AT + timedelta(days=30 * (n + 1))) for n in range(4))

    def shown(self, *prices: dict[str, int], **fields: Any) -> dict[str, Any]:
        phases = tuple(
            objects.SchedulePhase(period=month, prices=bills) for month, bills in zip(self.MONTHS, prices, strict=False)
        )
        given = {"schedule_id": "sub_sched_1", "customer_id": CUS_1, "subscription_id": SUB_1, "created_at": AT}
        return accounts.subscription_schedule(objects.SubscriptionSchedule(**given, phases=phases, **fields), NEW)

    def seen(self, said: Said, shown: dict[str, Any]) -> ScheduleSnapshot:
        (snapshot,) = said("subscription_schedule.updated", shown).snapshots
        assert isinstance(snapshot, ScheduleSnapshot)
        return snapshot

    def test_only_phases_that_change_something_are_kept(self, said: Said) -> None:
        """The current one is not to come, and one that repeats its predecessor changes nothing."""
        shown = self.shown({"price_a": 1}, {"price_a": 1}, {"price_a": 2}, {"price_b": 2, "price_a": 1})
        a, b = PriceId("price_a"), PriceId("price_b")
        assert self.seen(said, shown).phases == (
            Phase(starts_at=self.MONTHS[2].start, items=(PlannedItem(price_id=a, quantity=2),)),
            Phase(
                starts_at=self.MONTHS[3].start,
                items=(PlannedItem(price_id=a, quantity=1), PlannedItem(price_id=b, quantity=2)),
            ),
        )

    def test_all_phases_of_a_schedule_that_has_not_begun_are_to_come(self, said: Said) -> None:
        """It has no current phase."""
        shown = self.shown({"price_a": 1}, {"price_b": 1}, status="not_started")
        assert [phase.starts_at for phase in self.seen(said, shown).phases] == [
            month.start for month in self.MONTHS[:2]
        ]

    def test_a_schedule_may_end_its_subscription(self, said: Said) -> None:
        """Then its last phase is followed by one that bills nothing."""
        shown = self.shown({"price_a": 1}, end_behavior="cancel")
        assert self.seen(said, shown).phases == (Phase(starts_at=self.MONTHS[0].end),)

    @pytest.mark.parametrize("status", ["released", "canceled", "completed"])
    def test_nothing_is_planned_once_it_is_over(self, said: Said, status: str) -> None:
        """Its phases still stand in the object."""
        seen = self.seen(said, self.shown({"price_a": 1}, {"price_b": 1}, status=status))
        assert (len(seen.phases), seen.planned) == (2, ())

    def test_plans_are_read_in_place_of_prices(self, said: Said) -> None:
        """As API versions before 2020-08 show them."""
        shown = self.shown({"price_a": 1}, {"price_b": 1})
        for phase in shown["phases"]:
            phase["plans"] = [{"plan": item["price"], "quantity": item["quantity"]} for item in phase.pop("items")]
        assert self.seen(said, shown) == self.seen(said, self.shown({"price_a": 1}, {"price_b": 1}))

    def test_an_unreadable_phase_is_reported_and_left_out(self, said: Said) -> None:
        """The others are used."""
        shown = self.shown({"price_a": 1}, {"price_b": 1}, {"price_c": 1})
        shown["phases"][1] |= {"start_date": "soon"}
        translation = said("subscription_schedule.updated", shown)
        assert translation.missing == ("subscription_schedule.phases.start_date",)
        assert [phase.starts_at for phase in self.seen(said, shown).phases] == [self.MONTHS[2].start]


# --- test clocks ----------------------------------------------------------------------------------------------------

CLOCK = objects.Clock(clock_id="clock_1", created_at=AT, frozen_at=AT + timedelta(days=400))


@pytest.mark.parametrize("name", ["created", "advancing", "ready", "internal_failure", "deleted"])
def test_a_test_clock_stands_at_its_frozen_time(said: Said, name: str) -> None:
    """While it advances its objects have not reached the target. It names no customer."""
    shown = accounts.clock(attrs.evolve(CLOCK, status=name, target_at=AT + timedelta(days=900)))
    seen = ClockSnapshot(clock_id="clock_1", frozen_at=CLOCK.frozen_at)
    type_ = f"test_helpers.test_clock.{name}"
    assert said(type_, shown) == Translation(snapshots=(seen,), creation=name == "created")


@pytest.mark.parametrize("field", ["id", "frozen_time"])
def test_a_test_clock_without_its_time_is_unreadable(said: Said, field: str) -> None:
    """The field is counted."""
    translation = said("test_helpers.test_clock.ready", {**accounts.clock(CLOCK), field: None})
    assert (translation.ignored, translation.snapshots) == ("unreadable_object", ())
    assert translation.missing == (f"test_helpers.test_clock.{field}",)
