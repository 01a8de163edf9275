"""The event type and the sentence that announce each change of state."""

from datetime import timedelta
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import AT, MONTH, customer, invoice, item, subscription

from billing_core.events import BillingEventType, Notice
from billing_core.model import (
    DELETED,
    NO_SUBSCRIPTION,
    ChargeSnapshot,
    CreditNoteSnapshot,
    CustomerId,
    DisputeSnapshot,
    EntitlementsSnapshot,
    InvoiceId,
    InvoiceSnapshot,
    PaymentMethodSnapshot,
    PaymentSnapshot,
    Period,
    Phase,
    PlannedItem,
    PriceId,
    PriceSnapshot,
    RecordSnapshot,
    RefundSnapshot,
    ScheduleSnapshot,
    SubscriptionSnapshot,
)
from billing_core.state.announcements import (
    LINKED,
    SUBSCRIPTION_UNLINKED,
    UNLINKED,
    WITHDRAWN,
    Announcement,
    access_announcement,
    customer_announcement,
    grant_announcement,
    invoice_announcement,
    notice_announcement,
    payment_failure,
    rated_announcement,
    record_announcement,
    renewal,
    subscription_announcement,
    subscription_linked,
)
from billing_core.testing.builders import grant

NEXT_MONTH = Period(start=MONTH.end, end=MONTH.end + timedelta(days=30))


def plan(status: str = "active", **fields: Any) -> Any:
    """A subscription to plan `pro` with the values that the catalog fills in."""
    return subscription(status=status, **{"plan_code": "pro", "price_id": "price_pro", "seat_count": 3, **fields})


def phase(starts_at: Any = MONTH.end, **fields: Any) -> Phase:
    """A phase with the values that the catalog fills in; None for a change that has to be paid."""
    items = (PlannedItem(price_id=PriceId("price_planned")),)
    return Phase(starts_at=starts_at, items=items, **fields)


def billed(
    interval: str, *, count: int = 1, amount: int | None = None, price_id: str = "price_pro", **fields: Any
) -> Any:
    """The same with an item that is billed in an interval."""
    base = item(price_id=price_id, quantity=3, interval=interval, interval_count=count, unit_amount=amount)
    return plan(items=(base,), price_id=price_id, **fields)


@pytest.mark.parametrize(
    ("before", "after", "event_type", "summary"),
    [
        (None, plan("trialing"), "subscription.created", "Plan pro started (trialing)."),
        (None, plan(plan_code=None), "subscription.created", "The subscription started (active)."),
        (None, plan("canceled"), "subscription.canceled", "Plan pro ended."),
        (plan("incomplete"), plan(), "subscription.activated", "Plan pro is active."),
        (plan("trialing"), plan(), "subscription.activated", "Plan pro is active."),
        (plan(), plan("past_due"), "subscription.past_due", "Payment for plan pro is past due."),
        (plan("past_due"), plan("unpaid"), "subscription.unpaid", "Plan pro is unpaid: every payment attempt failed."),
        (plan("past_due"), plan(), "subscription.recovered", "Payments for plan pro are up to date again."),
        (plan("unpaid"), plan(), "subscription.recovered", "Payments for plan pro are up to date again."),
        (plan(), plan("paused"), "subscription.paused", "Plan pro is paused."),
        (plan("paused"), plan(), "subscription.resumed", "Plan pro was resumed."),
        (plan(), plan("canceled"), "subscription.canceled", "Plan pro ended."),
        (
            plan("incomplete"),
            plan("incomplete_expired"),
            "subscription.expired",
            "Plan pro expired because its first payment was not made.",
        ),
        (plan(), plan("new_word"), "subscription.updated", "The status of plan pro changed to new_word."),
        (plan(plan_code="starter"), plan(), "subscription.plan_changed", "The plan changed from starter to pro."),
        (plan(plan_code=None), plan(), "subscription.plan_changed", "The plan changed to pro."),
        (
            plan(),
            plan(plan_code=None),
            "subscription.plan_changed",
            "The plan changed from pro to one that is not in the catalog.",
        ),
        (plan(), plan(price_id="price_pro_yearly"), "subscription.plan_changed", "The price of plan pro changed."),
        (
            plan(),
            plan(seat_count=None),
            "subscription.seats_changed",
            "The seat count of plan pro changed from 3 to none.",
        ),
        (plan(), plan(seat_count=5), "subscription.seats_changed", "The seat count of plan pro changed from 3 to 5."),
        (
            plan(),
            plan(cancel_at_period_end=True),
            "subscription.cancellation_scheduled",
            "Plan pro will end on 2026-04-01.",
        ),
        (
            plan(),
            plan(cancel_at=AT + timedelta(days=9)),
            "subscription.cancellation_scheduled",
            "Plan pro will end on 2026-03-10.",
        ),
        (
            plan(items=()),
            plan(items=(), cancel_at_period_end=True),
            "subscription.cancellation_scheduled",
            "Plan pro will end.",
        ),
        (plan(cancel_at_period_end=True), plan(), "subscription.cancellation_withdrawn", "Plan pro will continue."),
        (plan(), plan(collection_paused=True), "subscription.paused", "Payment collection for plan pro is paused."),
        (plan(collection_paused=True), plan(), "subscription.resumed", "Payment collection for plan pro was resumed."),
        (
            plan(),
            plan(items=(item(quantity=1, period=NEXT_MONTH),)),
            "subscription.updated",
            "The current period of plan pro ends on 2026-05-01.",
        ),
        (plan(), plan(currency="eur"), "subscription.updated", "Plan pro was updated."),
        (plan(), plan(collection_method="send_invoice"), "subscription.updated", "Plan pro is now paid by invoice."),
        (
            plan(collection_method="send_invoice"),
            plan(collection_method="charge_automatically"),
            "subscription.updated",
            "Plan pro is now charged automatically.",
        ),
        (
            plan(),
            plan(planned=(phase(plan_code="max", price_id="price_max", seat_count=3),)),
            "subscription.plan_change_scheduled",
            "Plan pro will change to max on 2026-04-01.",
        ),
        (
            plan(),
            plan(planned=(phase(plan_code="pro", price_id="price_pro", seat_count=9),)),
            "subscription.plan_change_scheduled",
            "The seat count of plan pro will change to 9 on 2026-04-01.",
        ),
        (
            plan(),
            plan(planned=(phase(plan_code=None, price_id="price_other", seat_count=3),)),
            "subscription.plan_change_scheduled",
            "The price of plan pro will change on 2026-04-01.",
        ),
        (
            plan(),
            plan(pending_change=phase(None, plan_code="max", price_id="price_max")),
            "subscription.plan_change_scheduled",
            "Plan pro will change to max once the change is paid.",
        ),
        (
            plan(planned=(phase(plan_code="max"), phase(MONTH.end + timedelta(days=31), plan_code="pro"))),
            plan(planned=(phase(MONTH.end + timedelta(days=31), plan_code="pro"),)),
            "subscription.updated",
            "A scheduled change of plan pro was withdrawn.",
        ),
        (plan(), plan(planned=(Phase(starts_at=MONTH.end),)), "subscription.updated", "Plan pro was updated."),
        (
            plan(),
            plan(
                payment_method=PaymentMethodSnapshot(payment_method_id="pm_1", type="card", brand="visa", last4="4242")
            ),
            "subscription.updated",
            "Plan pro is charged to the visa ending in 4242.",
        ),
        (
            plan(
                payment_method=PaymentMethodSnapshot(payment_method_id="pm_1", type="card", brand="visa", last4="4242")
            ),
            plan(
                payment_method=PaymentMethodSnapshot(
                    payment_method_id="pm_2", type="sepa_debit", last4="3000", exp_month=1, exp_year=2030
                )
            ),
            "subscription.updated",
            "Plan pro is charged to the sepa_debit ending in 3000, which expires in 01/2030.",
        ),
        (
            plan(payment_method=PaymentMethodSnapshot(payment_method_id="pm_1", last4="4242")),
            plan(),
            "subscription.updated",
            "Plan pro was updated.",
        ),
        (None, billed("month"), "subscription.created", "Plan pro started (active, monthly)."),
        (
            None,
            billed("year", count=2, collection_method="send_invoice"),
            "subscription.created",
            "Plan pro started (active, every 2 years, paid by invoice).",
        ),
        (
            billed("month"),
            billed("year", price_id="price_pro_yearly"),
            "subscription.plan_changed",
            "The plan changed from pro (monthly) to pro (yearly).",
        ),
        (
            billed("month"),
            billed("month", count=3, price_id="price_pro_quarterly"),
            "subscription.plan_changed",
            "The plan changed from pro (monthly) to pro (every 3 months).",
        ),
        (
            billed("month", plan_code="starter"),
            billed("month"),
            "subscription.plan_changed",
            "The plan changed from starter to pro.",
        ),
        (
            plan(plan_code="starter"),
            billed("year"),
            "subscription.plan_changed",
            "The plan changed from starter to pro (yearly).",
        ),
        (
            billed("month", amount=1900),
            billed("month", amount=2900, price_id="price_pro_2027"),
            "subscription.plan_changed",
            "The price of plan pro changed from 19.00 USD to 29.00 USD.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value and " " not in value else "",
)
def test_a_subscription_s_change_has_a_name_and_a_sentence(
    before: Any, after: Any, event_type: str, summary: str
) -> None:
    """The most important difference wins; an unknown status is passed on verbatim."""
    announcement = subscription_announcement(before, after)
    assert announcement is not None
    assert (announcement.event_type.value, announcement.summary) == (event_type, summary)


@pytest.mark.parametrize(
    ("before", "after", "event_type", "summary"),
    [
        (None, invoice(status="draft"), "invoice.created", "An invoice is being prepared."),
        (
            invoice(status="draft"),
            invoice(number="A-1", amount_due=1500),
            "invoice.finalized",
            "Invoice A-1 for 15.00 USD is due.",
        ),
        (
            invoice(status="draft"),
            invoice(number="A-1", amount_due=1900, due_at=AT),
            "invoice.finalized",
            "Invoice A-1 for 19.00 USD is due on 2026-03-01.",
        ),
        (
            invoice(status="draft"),
            invoice(number="A-1", amount_due=1500, collection_method="charge_automatically"),
            "invoice.finalized",
            "Invoice A-1 for 15.00 USD will be charged automatically.",
        ),
        (
            invoice(status="draft"),
            invoice(number="A-1", amount_remaining=0),
            "invoice.finalized",
            "Invoice A-1 was issued; nothing is due.",
        ),
        (
            invoice(),
            invoice(status="paid", number="A-1", amount_due=1500, amount_paid=1500),
            "invoice.paid",
            "Invoice A-1 for 15.00 USD was paid.",
        ),
        (
            invoice(),
            invoice(status="paid", number="A-1", amount_due=1500),
            "invoice.paid",
            "Invoice A-1 for 15.00 USD was paid.",
        ),
        (
            invoice(),
            invoice(status="paid", number="A-1"),
            "invoice.paid",
            "Invoice A-1 was settled without a payment.",
        ),
        (
            invoice(),
            invoice(status="void", amount_due=1500),
            "invoice.voided",
            "An invoice for 15.00 USD was voided and no longer needs to be paid.",
        ),
        (
            invoice(),
            invoice(status="void", amount_remaining=0),
            "invoice.voided",
            "An invoice was voided; nothing was due.",
        ),
        (
            invoice(),
            invoice(status="uncollectible", amount_due=1900, amount_remaining=1400),
            "invoice.uncollectible",
            "An invoice was written off; 14.00 USD remains unpaid.",
        ),
        (
            invoice(amount_paid=100),
            invoice(number="A-1", amount_paid=600, amount_remaining=1300),
            "invoice.updated",
            "5.00 USD of invoice A-1 was paid; 13.00 USD remains to be paid.",
        ),
        (
            invoice(status="draft"),
            invoice(status=DELETED),
            "invoice.deleted",
            "An invoice was deleted before it was sent.",
        ),
        (invoice(), invoice(status="new_word"), "invoice.updated", "The status of an invoice changed to new_word."),
        (invoice(), invoice(due_at=AT), "invoice.updated", "An invoice was updated."),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value and " " not in value else "",
)
def test_an_invoice_s_change_has_a_name_and_a_sentence(before: Any, after: Any, event_type: str, summary: str) -> None:
    """Amounts are written with their currency: what is due, paid or still owed, never the total."""
    announcement = invoice_announcement(before, after)
    assert announcement is not None
    assert (announcement.event_type.value, announcement.summary) == (event_type, summary)


@pytest.mark.parametrize(
    ("seen", "summary"),
    [
        (invoice(number="A-1", amount_remaining=500), "The 5.00 USD payment for invoice A-1 failed."),
        (
            invoice(number="A-1", next_payment_attempt_at=AT),
            "The 19.00 USD payment for invoice A-1 failed. The next attempt is on 2026-03-01.",
        ),
        (invoice(), "The 19.00 USD payment for an invoice failed."),
    ],
)
def test_a_failed_payment_names_what_remains_to_be_paid(seen: InvoiceSnapshot, summary: str) -> None:
    """With the next attempt, if there is one."""
    assert payment_failure(seen) == Announcement(BillingEventType.INVOICE_PAYMENT_FAILED, summary)


def test_a_count_of_attempts_is_no_failure() -> None:
    """Partial payments, debits under way and the successful attempt are counted too."""
    announcement = invoice_announcement(invoice(), invoice(attempt_count=1))
    assert announcement is not None
    assert announcement.event_type is BillingEventType.INVOICE_UPDATED


def test_equal_snapshots_announce_nothing() -> None:
    """An event that repeats what is known is no news."""
    assert subscription_announcement(plan(), plan()) is None
    assert invoice_announcement(invoice(), invoice()) is None


def test_a_fact_that_no_message_shows_is_no_news() -> None:
    """An update that shows nothing new would only puzzle its readers."""
    tagged = plan(items=(item(quantity=1, price_metadata=(("plan", "pro"),)),))
    assert subscription_announcement(plan(), tagged) is None


def test_a_card_that_is_entered_again_is_no_news() -> None:
    """It is another payment method with an id of its own, which no message shows; another change is told beside it."""
    card = PaymentMethodSnapshot(payment_method_id="pm_1", type="card", brand="visa", last4="4242", exp_year=2030)
    known, again = plan(payment_method=card), attrs.evolve(card, payment_method_id="pm_2")
    assert subscription_announcement(known, plan(payment_method=again)) is None
    announced = subscription_announcement(
        known, plan(payment_method=again, items=(item(quantity=1, period=NEXT_MONTH),))
    )
    assert announced is not None
    assert announced.summary == f"The current period of plan pro ends on {NEXT_MONTH.end:%Y-%m-%d}."
    assert subscription_announcement(known, plan(payment_method=attrs.evolve(again, exp_year=2031))) is not None


def test_only_the_deletion_of_a_customer_is_announced() -> None:
    """It is announced once; a changed name is not."""
    assert customer_announcement(None, customer(name="Alice")) is None
    assert customer_announcement(customer(), customer(name="Alice")) is None
    assert customer_announcement(customer(deleted=True), customer(deleted=True)) is None
    for before in (None, customer()):
        announcement = customer_announcement(before, customer(deleted=True))
        assert announcement is not None
        assert announcement.event_type is BillingEventType.CUSTOMER_DELETED


def charge(amount_refunded: int = 0) -> ChargeSnapshot:
    """A charge of $19.00, refunded in part unless the amount is 0."""
    return ChargeSnapshot(charge_id="ch_1", amount=1900, amount_refunded=amount_refunded, currency="usd")


def refund(status: str) -> RefundSnapshot:
    """A refund of $5.00."""
    return RefundSnapshot(refund_id="re_1", amount=500, currency="usd", status=status)


def dispute(status: str) -> DisputeSnapshot:
    """A $19.00 dispute."""
    return DisputeSnapshot(dispute_id="dp_1", amount=1900, currency="usd", status=status)


def credit_note(status: str = "issued", amount: int = 700) -> CreditNoteSnapshot:
    """A credit note for $7.00 unless the amount is given."""
    return CreditNoteSnapshot(
        credit_note_id="cn_1", invoice_id=InvoiceId("in_1"), amount=amount, currency="usd", status=status
    )


def entitlements(*features: str) -> EntitlementsSnapshot:
    """The features that Alice is entitled to."""
    return EntitlementsSnapshot(customer_id=CustomerId("cus_alice"), features=features)


@pytest.mark.parametrize(
    ("before", "after", "event_type", "summary"),
    [
        (None, charge(500), "invoice.refunded", "5.00 USD of the 19.00 USD payment was refunded."),
        (charge(500), charge(1900), "invoice.refunded", "19.00 USD of the 19.00 USD payment was refunded."),
        (refund("pending"), refund("failed"), "invoice.refunded", "The 5.00 USD refund did not go through."),
        (None, dispute("needs_response"), "invoice.disputed", "A 19.00 USD payment was disputed."),
        (None, dispute("won"), "invoice.dispute_closed", "The 19.00 USD dispute was closed (won)."),
        (
            dispute("under_review"),
            dispute("lost"),
            "invoice.dispute_closed",
            "The 19.00 USD dispute was closed (lost).",
        ),
        (None, credit_note(), "invoice.credited", "7.00 USD was credited."),
        (credit_note(), credit_note(amount=900), "invoice.credited", "9.00 USD was credited."),
        (credit_note(), credit_note("void"), "invoice.credited", "The credit note for 7.00 USD was voided."),
        (
            None,
            entitlements("sso", "api"),
            "entitlements.updated",
            "The billing account includes these features: api, sso.",
        ),
        (
            entitlements("sso"),
            entitlements(),
            "entitlements.updated",
            "The billing account no longer includes any features.",
        ),
    ],
)
def test_a_record_s_change_has_one_name(
    before: RecordSnapshot | None, after: RecordSnapshot, event_type: str, summary: str
) -> None:
    """Amounts are those of the record itself, whatever was known before."""
    announcement = record_announcement(before, after)
    assert announcement is not None
    assert (announcement.event_type.value, announcement.summary) == (event_type, summary)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, charge()),
        (charge(500), charge(400)),
        (None, refund("succeeded")),
        (refund("failed"), refund("canceled")),
        (dispute("needs_response"), dispute("under_review")),
        (credit_note("void"), credit_note("void", amount=900)),
        (None, entitlements()),
        (
            None,
            PaymentSnapshot(
                payment_id="pi_1", invoice_id=InvoiceId("in_1"), amount_paid=1900, currency="usd", status="paid"
            ),
        ),
        (None, ScheduleSnapshot(schedule_id="sub_sched_1", status="active")),
        (None, PriceSnapshot(price_id=PriceId("price_pro"))),
    ],
)
def test_a_change_that_is_no_news_is_not_announced(before: RecordSnapshot | None, after: RecordSnapshot) -> None:
    """A refund is announced by its charge, a payment by its invoice, a scheduled change by its subscription."""
    assert record_announcement(before, after) is None


@pytest.mark.parametrize("notice", list(Notice))
def test_every_notice_has_a_sentence(notice: Notice) -> None:
    """Its event type is the notice's own."""
    announcement = notice_announcement(notice)
    assert announcement.event_type is notice.value
    assert announcement.summary.endswith(".")


@pytest.mark.parametrize(
    ("notice", "seen", "summary"),
    [
        (Notice.TRIAL_ENDING, plan("trialing", trial_ends_at=AT), "The trial of plan pro ends on 2026-03-01."),
        (
            Notice.ACTION_REQUIRED,
            invoice(number="A-1"),
            "The 19.00 USD payment for invoice A-1 requires the customer's confirmation.",
        ),
        (
            Notice.OVERDUE,
            invoice(number="A-1", due_at=AT, amount_remaining=700),
            "Invoice A-1 is overdue since 2026-03-01; 7.00 USD is still owed.",
        ),
        (Notice.OVERDUE, invoice(), "An invoice is overdue; 19.00 USD is still owed."),
    ],
)
def test_a_notice_names_its_object_its_day_and_what_is_owed(
    notice: Notice, seen: SubscriptionSnapshot | InvoiceSnapshot, summary: str
) -> None:
    """As the event shows them."""
    assert notice_announcement(notice, seen).summary == summary


def test_braces_in_names_are_only_braces() -> None:
    """Names, numbers and status words come from the provider and are never used as templates."""
    announcement = subscription_announcement(None, plan(plan_code="{total} {name}"))
    assert announcement is not None
    assert announcement.summary == "Plan {total} {name} started (active)."
    announcement = invoice_announcement(None, invoice(status="new {total}", number="{name}"))
    assert announcement is not None
    assert announcement.event_type is BillingEventType.INVOICE_UPDATED


def test_every_event_type_is_announced_by_something() -> None:
    """The closed set of types holds none that cannot occur."""
    announced = {
        announcement.event_type
        for announcement in (
            *(LINKED, UNLINKED, SUBSCRIPTION_UNLINKED, WITHDRAWN),
            subscription_linked(plan()),
            *(notice_announcement(notice) for notice in Notice),
            rated_announcement(plan()),
            renewal(plan(), MONTH.start, MONTH.end),
        )
    }
    statuses = ("incomplete", "active", "past_due", "unpaid", "paused", "canceled", "incomplete_expired")
    changes: tuple[dict[str, Any], ...] = (
        {"plan_code": "max"},
        {"planned": (phase(plan_code="max"),)},
        {"seat_count": 9},
        {"cancel_at_period_end": True},
        {"collection_paused": True},
        {"items": (item(quantity=1, period=NEXT_MONTH),)},
        {"collection_method": "send_invoice"},
    )
    seen = [None, *(plan(status) for status in statuses), *(plan(**change) for change in changes)]
    announced |= {
        announcement.event_type
        for a in seen
        for b in seen[1:]
        if (announcement := subscription_announcement(a, b)) is not None
    }
    stages = [invoice(status=status) for status in ("draft", "open", "paid", "void", "uncollectible", DELETED)]
    stages += [invoice(attempt_count=1), invoice(due_at=AT)]
    announced |= {
        announcement.event_type
        for a in [None, *stages]
        for b in stages
        if (announcement := invoice_announcement(a, b)) is not None
    }
    announced.add(access_announcement(NO_SUBSCRIPTION).event_type)
    announced |= {grant_announcement(each).event_type for each in (grant(), grant(revoked_at=AT))}
    announced |= {BillingEventType.CUSTOMER_DELETED, payment_failure(invoice()).event_type}
    records = (charge(500), dispute("needs_response"), dispute("lost"), credit_note(), entitlements("sso"))
    announced |= {
        announcement.event_type for record in records if (announcement := record_announcement(None, record)) is not None
    }
    assert announced == set(BillingEventType)
