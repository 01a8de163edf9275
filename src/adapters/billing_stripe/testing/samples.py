"""One event of every handled type, in any API version; the fixtures are generated from them.

All of them concern one customer, so that together they also form a history.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import attrs

from billing_stripe.testing import accounts, adjustments, builders, catalog, objects
from billing_stripe.testing.builders import Json
from billing_stripe.testing.events import event, make_id
from billing_stripe.versions import BASIL

AT: Final = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
_MONTH = objects.Span(AT, AT + timedelta(days=28))
_LAST_MONTH = objects.Span(AT - timedelta(days=31), AT)
_TENANT = {"tenant_id": "acme"}

_CUSTOMER_ID = "cus_ExampleCustomer"
_SUBSCRIPTION_ID = "sub_1ExampleSubscription"
_PAYMENT_ID = "pi_1ExampleInvoice"
_CHARGE_ID = "ch_1ExampleInvoice"
_INVOICE_ID = "in_1ExampleInvoice"
_METER_ID = "mtr_1ExampleMeter"

TEAM = objects.Price(
    price_id="price_1ExampleTeam",
    product_id="prod_ExampleTeam",
    unit_amount=4900,
    lookup_key="team_monthly",
    nickname="Team",
    plan_code="team",
)
SEATS = objects.Price(
    price_id="price_1ExampleSeat", product_id="prod_ExampleTeam", unit_amount=1200, lookup_key="team_seat"
)
CALLS = objects.Price(
    price_id="price_1ExampleCalls",
    product_id="prod_ExampleCalls",
    unit_amount=None,
    unit_amount_decimal="0.000381",
    lookup_key="api_calls",
    metered=True,
)
CUSTOMER = objects.Customer(customer_id=_CUSTOMER_ID, created_at=_LAST_MONTH.start, metadata=_TENANT)
SUBSCRIPTION = objects.Subscription(
    subscription_id=_SUBSCRIPTION_ID,
    customer_id=_CUSTOMER_ID,
    status="active",
    created_at=_LAST_MONTH.start,
    items=(
        objects.Item(item_id="si_ExampleTeam", price=TEAM, period=_MONTH),
        objects.Item(item_id="si_ExampleSeat", price=SEATS, period=_MONTH, quantity=5),
        objects.Item(item_id="si_ExampleCalls", price=CALLS, period=_MONTH),
    ),
    metadata=_TENANT,
    latest_invoice_id=_INVOICE_ID,
    flexible_billing=True,
)


def _line(number: int, amount: int, price: objects.Price, period: objects.Span, **more: Any) -> objects.InvoiceLine:
    return objects.InvoiceLine(
        line_id=f"il_1ExampleLine{number}",
        amount=amount,
        price=price,
        period=period,
        subscription_id=_SUBSCRIPTION_ID,
        metadata=_TENANT,
        **more,
    )


DRAFT = objects.Invoice(
    invoice_id=_INVOICE_ID,
    customer_id=_CUSTOMER_ID,
    status="draft",
    created_at=AT,
    period=_LAST_MONTH,
    subscription_id=_SUBSCRIPTION_ID,
    subscription_metadata=_TENANT,
    lines=(
        _line(1, 4900, TEAM, _MONTH, item_id="si_ExampleTeam", description="1 × Team", tax=490),
        _line(2, 6000, SEATS, _MONTH, item_id="si_ExampleSeat", quantity=5, description="5 × Seat", tax=600),
        _line(3, 381, CALLS, _LAST_MONTH, item_id="si_ExampleCalls", quantity=1_000_000, description="API calls"),
        _line(
            4, -400, SEATS, _LAST_MONTH, invoice_item_id="ii_1ExampleItem", proration=True, description="Unused time"
        ),
    ),
)
OPEN = attrs.evolve(DRAFT, status="open", number="ACME-0007", finalized_at=AT + timedelta(hours=1))
PAID = attrs.evolve(
    OPEN, status="paid", attempt_count=1, amount_paid=OPEN.amount_due, paid_at=AT + timedelta(hours=1, minutes=1)
)
FAILED = attrs.evolve(OPEN, attempt_count=1, next_payment_attempt_at=AT + timedelta(days=3))
BY_MAIL = attrs.evolve(OPEN, collection_method="send_invoice", due_at=AT + timedelta(days=14))
CHECKOUT = objects.CheckoutSession(
    session_id="cs_test_ExampleSession",
    created_at=_LAST_MONTH.start,
    customer_id=_CUSTOMER_ID,
    subscription_id=_SUBSCRIPTION_ID,
    client_reference_id="acme",
    amount_total=4900,
)
CHARGE = objects.Charge(
    charge_id=_CHARGE_ID,
    payment_id=_PAYMENT_ID,
    customer_id=_CUSTOMER_ID,
    created_at=AT,
    amount=PAID.total,
    amount_refunded=1000,
    invoice_id=_INVOICE_ID,
)
REFUND = objects.Refund(
    refund_id="re_1ExampleRefund",
    payment_id=_PAYMENT_ID,
    charge_id=_CHARGE_ID,
    created_at=AT,
    amount=1000,
    customer_id=_CUSTOMER_ID,
)
DISPUTE = objects.Dispute(
    dispute_id="dp_1ExampleDispute", payment_id=_PAYMENT_ID, charge_id=_CHARGE_ID, created_at=AT, amount=PAID.total
)
CREDIT_NOTE = objects.CreditNote(
    credit_note_id="cn_1ExampleNote", invoice_id=_INVOICE_ID, customer_id=_CUSTOMER_ID, created_at=AT, amount=500
)
PAYMENT = objects.InvoicePayment(
    invoice_payment_id="inpay_1ExamplePayment",
    invoice_id=_INVOICE_ID,
    payment_id=_PAYMENT_ID,
    amount_paid=PAID.total,
    created_at=AT,
)
ENTITLEMENTS = objects.Entitlements(customer_id=_CUSTOMER_ID, features=("audit_log", "sso"))
SCHEDULE = objects.SubscriptionSchedule(
    schedule_id="sub_sched_1ExampleSchedule",
    customer_id=_CUSTOMER_ID,
    subscription_id=_SUBSCRIPTION_ID,
    created_at=AT,
    phases=(objects.SchedulePhase(period=_MONTH, prices={TEAM.price_id: 1, SEATS.price_id: 5}),),
)
PAYMENT_METHOD = objects.PaymentMethod(
    payment_method_id="pm_1ExampleCard", customer_id=_CUSTOMER_ID, created_at=_LAST_MONTH.start
)
ALERT = objects.AlertTriggered(
    alert_id="alrt_1ExampleAlert",
    customer_id=_CUSTOMER_ID,
    created_at=AT,
    meter_id=_METER_ID,
    threshold=1_000_000,
    value=1_000_381,
)
CREDIT = objects.CreditGrant(
    credit_grant_id="credgr_ExampleGrant", customer_id=_CUSTOMER_ID, created_at=AT, amount=10_000
)
CLOCK = objects.Clock(clock_id="clock_1ExampleClock", created_at=AT, frozen_at=_MONTH.end)
PRODUCT = objects.Product(product_id="prod_ExampleTeam", name="Team")

Show = Callable[[str], Json]
"""A function that renders the object of an event in an API version."""


@attrs.frozen
class Sample:
    """The object of an event, and for an update the object before it."""

    show: Show
    before: Show | None = None
    since: str = ""
    """The first API version with such objects. Versions start with their date, so they sort as text."""


def _subscription(**changes: Any) -> Show:
    return lambda version: builders.subscription(attrs.evolve(SUBSCRIPTION, **changes), version)


def _invoice(source: objects.Invoice, **changes: Any) -> Show:
    return lambda version: builders.invoice(attrs.evolve(source, **changes), version)


def _customer(**changes: Any) -> Show:
    return lambda version: builders.customer(attrs.evolve(CUSTOMER, **changes), version)


def _checkout(**changes: Any) -> Show:
    return lambda version: builders.checkout_session(attrs.evolve(CHECKOUT, **changes), version)


def _charge(**changes: Any) -> Show:
    return lambda version: adjustments.charge(attrs.evolve(CHARGE, **changes), version)


def _refund(**changes: Any) -> Show:
    return lambda version: adjustments.refund(attrs.evolve(REFUND, **changes), version)


def _dispute(**changes: Any) -> Show:
    return lambda version: adjustments.dispute(attrs.evolve(DISPUTE, **changes), version)


def _credit_note(**changes: Any) -> Show:
    return lambda version: adjustments.credit_note(attrs.evolve(CREDIT_NOTE, **changes), version)


def _schedule(**changes: Any) -> Show:
    return lambda version: accounts.subscription_schedule(attrs.evolve(SCHEDULE, **changes), version)


def _payment_method(**changes: Any) -> Show:
    return lambda version: accounts.payment_method(attrs.evolve(PAYMENT_METHOD, **changes), version)


def _credit(**changes: Any) -> Show:
    return lambda version: accounts.credit_grant(attrs.evolve(CREDIT, **changes), version)


def _clock(**changes: Any) -> Show:
    return lambda _: accounts.clock(attrs.evolve(CLOCK, **changes))


def _price(**changes: Any) -> Show:
    return lambda version: builders.price(attrs.evolve(CALLS, **changes), version)


def _product(**changes: Any) -> Show:
    return lambda version: catalog.product(attrs.evolve(PRODUCT, **changes), version)


def _plan(**changes: Any) -> Show:
    return lambda version: builders.plan(attrs.evolve(TEAM, **changes), version)


_FEWER_SEATS = (SUBSCRIPTION.items[0], attrs.evolve(SUBSCRIPTION.items[1], quantity=4), SUBSCRIPTION.items[2])
_ENDED = {"status": "canceled", "canceled_at": AT, "ended_at": AT}
_NO_PAYMENT = {"status": "paused", "trial": _LAST_MONTH}

SAMPLES: Final[Mapping[str, Sample]] = MappingProxyType(
    {
        "customer.subscription.created": Sample(_subscription(status="incomplete")),
        "customer.subscription.updated": Sample(_subscription(), before=_subscription(items=_FEWER_SEATS)),
        "customer.subscription.deleted": Sample(_subscription(**_ENDED)),
        "customer.subscription.paused": Sample(_subscription(**_NO_PAYMENT)),
        "customer.subscription.resumed": Sample(_subscription(trial=_LAST_MONTH)),
        "customer.subscription.trial_will_end": Sample(_subscription(status="trialing", trial=_MONTH)),
        "customer.subscription.pending_update_applied": Sample(_subscription()),
        "customer.subscription.pending_update_expired": Sample(_subscription(items=_FEWER_SEATS)),
        "invoice.created": Sample(_invoice(DRAFT)),
        "invoice.updated": Sample(_invoice(OPEN), before=_invoice(DRAFT)),
        "invoice.finalized": Sample(_invoice(OPEN)),
        "invoice.finalization_failed": Sample(_invoice(DRAFT)),
        "invoice.sent": Sample(_invoice(BY_MAIL)),
        "invoice.paid": Sample(_invoice(PAID)),
        "invoice.payment_succeeded": Sample(_invoice(PAID)),
        "invoice.payment_failed": Sample(_invoice(FAILED)),
        "invoice.payment_action_required": Sample(_invoice(FAILED)),
        "invoice.payment_attempt_required": Sample(_invoice(OPEN)),
        "invoice.will_be_due": Sample(_invoice(BY_MAIL)),
        "invoice.overdue": Sample(_invoice(BY_MAIL)),
        "invoice.overpaid": Sample(_invoice(PAID)),
        "invoice.marked_uncollectible": Sample(
            _invoice(FAILED, status="uncollectible", marked_uncollectible_at=AT + timedelta(days=9))
        ),
        "invoice.voided": Sample(_invoice(OPEN, status="void", voided_at=AT + timedelta(days=1))),
        "invoice.deleted": Sample(_invoice(DRAFT)),
        "invoice.upcoming": Sample(_invoice(DRAFT, invoice_id=None, billing_reason="upcoming")),
        "customer.created": Sample(_customer()),
        "customer.updated": Sample(_customer(delinquent=True), before=_customer()),
        "customer.deleted": Sample(_customer()),
        "checkout.session.completed": Sample(_checkout()),
        "checkout.session.async_payment_succeeded": Sample(_checkout()),
        "checkout.session.async_payment_failed": Sample(_checkout(payment_status="unpaid")),
        "checkout.session.expired": Sample(
            _checkout(status="expired", payment_status="unpaid", customer_id=None, subscription_id=None)
        ),
        "invoice_payment.paid": Sample(lambda version: adjustments.invoice_payment(PAYMENT, version), since=BASIL),
        "charge.refunded": Sample(_charge()),
        "charge.refund.updated": Sample(_refund(), before=_refund(status="pending")),
        "refund.created": Sample(_refund(status="pending")),
        "refund.updated": Sample(_refund(), before=_refund(status="pending")),
        "refund.failed": Sample(_refund(status="failed")),
        "charge.dispute.created": Sample(_dispute()),
        "charge.dispute.updated": Sample(_dispute(status="under_review"), before=_dispute()),
        "charge.dispute.funds_withdrawn": Sample(_dispute()),
        "charge.dispute.funds_reinstated": Sample(_dispute(status="won")),
        "charge.dispute.closed": Sample(_dispute(status="won")),
        "credit_note.created": Sample(_credit_note()),
        "credit_note.updated": Sample(_credit_note(), before=_credit_note(reason=None)),
        "credit_note.voided": Sample(_credit_note(status="void")),
        "entitlements.active_entitlement_summary.updated": Sample(
            lambda _: accounts.entitlement_summary(ENTITLEMENTS),
            before=lambda _: accounts.entitlement_summary(attrs.evolve(ENTITLEMENTS, features=("sso",))),
        ),
        "subscription_schedule.created": Sample(_schedule(status="not_started")),
        "subscription_schedule.updated": Sample(_schedule(), before=_schedule(status="not_started")),
        "subscription_schedule.expiring": Sample(_schedule()),
        "subscription_schedule.completed": Sample(_schedule(status="completed")),
        "subscription_schedule.canceled": Sample(_schedule(status="canceled")),
        "subscription_schedule.aborted": Sample(_schedule(status="canceled")),
        "subscription_schedule.released": Sample(_schedule(status="released")),
        "payment_method.attached": Sample(_payment_method()),
        "payment_method.updated": Sample(_payment_method(exp_year=2034), before=_payment_method()),
        "payment_method.automatically_updated": Sample(_payment_method(last4="4444"), before=_payment_method()),
        "payment_method.detached": Sample(_payment_method(customer_id=None)),
        "billing.alert.triggered": Sample(lambda _: accounts.alert_triggered(ALERT)),
        "billing.credit_grant.created": Sample(_credit()),
        "billing.credit_grant.updated": Sample(_credit(), before=_credit(amount=5_000)),
        "price.created": Sample(_price()),
        "price.updated": Sample(_price(active=False), before=_price()),
        "price.deleted": Sample(_price(active=False)),
        "product.created": Sample(_product()),
        "product.updated": Sample(_product(), before=_product(name="Crew")),
        "product.deleted": Sample(_product(active=False)),
        "plan.created": Sample(_plan()),
        "plan.updated": Sample(_plan(active=False), before=_plan()),
        "plan.deleted": Sample(_plan(active=False)),
        "test_helpers.test_clock.created": Sample(_clock(frozen_at=AT)),
        "test_helpers.test_clock.advancing": Sample(_clock(frozen_at=AT, status="advancing", target_at=_MONTH.end)),
        "test_helpers.test_clock.ready": Sample(_clock()),
        "test_helpers.test_clock.internal_failure": Sample(_clock(frozen_at=AT, status="internal_failure")),
        "test_helpers.test_clock.deleted": Sample(_clock()),
    }
)


def sample_event(type: str, api_version: str) -> Json | None:
    """Return an event of a type in an API version, or None if the version has no such object."""
    sample = SAMPLES[type]
    if api_version < sample.since:
        return None
    shown = sample.show(api_version)
    previous = None if sample.before is None else builders.previous_attributes(sample.before(api_version), shown)
    return event(
        type,
        shown,
        created=AT,
        api_version=api_version,
        event_id=make_id("evt", type),
        previous_attributes=previous,
    )
