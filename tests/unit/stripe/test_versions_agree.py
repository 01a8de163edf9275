"""One history in every API version through the whole loop: the tenant's messages are equal, byte for byte."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import AT, Loop

from billing_core.events import BillingEvent, Disposition
from billing_core.model import TenantId
from billing_stripe.signature import StripeWebhookVerifier
from billing_stripe.testing import (
    API_VERSIONS,
    BASIL,
    accounts,
    adjustments,
    builders,
    catalog,
    encode,
    event,
    objects,
    sign,
)
from billing_stripe.translate import StripeTranslator

pytestmark = pytest.mark.stripe

ACME = TenantId("acme")
SECRET = "whsec_versions"
SHAPES = [(version, False) for version in API_VERSIONS] + [("2020-08-27", True), ("2024-06-20", True)]
Json = dict[str, Any]

TEAM = objects.Price(price_id="price_team", product_id="prod_team", unit_amount=4900, lookup_key="team")
CALLS = objects.Price(
    price_id="price_calls",
    product_id="prod_calls",
    unit_amount=None,
    unit_amount_decimal="0.000381",
    lookup_key="api_calls",
    metered=True,
)
FIRST = objects.Span(AT, AT + timedelta(days=31))
SECOND = objects.Span(FIRST.end, FIRST.end + timedelta(days=28))
CUSTOMER = objects.Customer(customer_id="cus_1", created_at=AT)
CHECKOUT = objects.CheckoutSession(
    session_id="cs_1", created_at=AT, customer_id="cus_1", subscription_id="sub_1", client_reference_id="acme"
)


def subscription(period: objects.Span, *, seats: int = 1, status: str = "active", **more: Any) -> objects.Subscription:
    """Return the subscription in one of its periods."""
    return objects.Subscription(
        subscription_id="sub_1",
        customer_id="cus_1",
        status=status,
        created_at=AT,
        items=(
            objects.Item(item_id="si_team", price=TEAM, period=period, quantity=seats),
            objects.Item(item_id="si_calls", price=CALLS, period=period),
        ),
        metadata={"tenant_id": "acme"},
        flexible_billing=True,
        **more,
    )


def renewal(at: datetime, **more: Any) -> objects.Invoice:
    """The second period's invoice: the plan in advance with tax, calls in arrears, a credit for a removed seat."""
    own: Json = {"subscription_id": "sub_1", "metadata": {"tenant_id": "acme"}}
    return objects.Invoice(
        invoice_id="in_2",
        customer_id="cus_1",
        created_at=at,
        period=FIRST,
        subscription_id="sub_1",
        subscription_metadata={"tenant_id": "acme"},
        lines=(
            objects.InvoiceLine(
                line_id="il_1", amount=9800, tax=980, price=TEAM, period=SECOND, item_id="si_team", **own
            ),
            objects.InvoiceLine(
                line_id="il_2", amount=381, price=CALLS, period=FIRST, quantity=1_000_000, item_id="si_calls", **own
            ),
            objects.InvoiceLine(
                line_id="il_3", amount=-120, price=TEAM, period=FIRST, invoice_item_id="ii_1", proration=True, **own
            ),
        ),
        **more,
    )


@attrs.frozen
class HistoryEvent:
    """One event of the history, to be rendered."""

    type: str
    at: datetime
    show: Callable[..., Json]
    source: Any
    before: Any = None


def history() -> Iterator[HistoryEvent]:
    """Yield the events from checkout to the end, with every kind of payment event."""
    renewed, paid = FIRST.end, FIRST.end + timedelta(hours=1)
    trial, active = subscription(FIRST, status="trialing"), subscription(FIRST)
    more_seats, second = subscription(FIRST, seats=2), subscription(SECOND, seats=2)
    leaving = attrs.evolve(second, cancel_at=SECOND.end, canceled_at=paid)
    draft = renewal(renewed, status="draft")
    settled = renewal(
        renewed,
        status="paid",
        number="ACME-0002",
        amount_paid=draft.amount_due,
        attempt_count=1,
        finalized_at=paid,
        paid_at=paid,
    )
    charge = objects.Charge(
        charge_id="ch_2",
        payment_id="pi_2",
        customer_id="cus_1",
        created_at=paid,
        amount=draft.amount_due,
        invoice_id="in_2",
    )
    refund = objects.Refund(
        refund_id="re_1", payment_id="pi_2", charge_id="ch_2", created_at=paid, amount=500, customer_id="cus_1"
    )
    dispute = objects.Dispute(dispute_id="dp_1", payment_id="pi_2", charge_id="ch_2", created_at=paid, amount=500)
    note = objects.CreditNote(
        credit_note_id="cn_1", invoice_id="in_2", customer_id="cus_1", created_at=paid, amount=100
    )
    schedule = objects.SubscriptionSchedule(
        schedule_id="sub_sched_1", customer_id="cus_1", subscription_id="sub_1", created_at=paid
    )
    alert = objects.AlertTriggered(
        alert_id="alrt_1", customer_id="cus_1", created_at=paid, meter_id="mtr_1", threshold=10, value=11
    )
    payment = objects.InvoicePayment(
        invoice_payment_id="inpay_1",
        invoice_id="in_2",
        payment_id="pi_2",
        amount_paid=draft.amount_due,
        created_at=paid,
    )
    steps: list[tuple[str, Callable[..., Json], Any, Any]] = [
        ("product.created", _same(catalog.product), objects.Product(product_id="prod_team", name="Team"), None),
        ("price.created", builders.price, CALLS, None),
        ("customer.created", builders.customer, CUSTOMER, None),
        ("checkout.session.completed", builders.checkout_session, CHECKOUT, None),
        ("customer.subscription.created", builders.subscription, trial, None),
        ("customer.subscription.trial_will_end", builders.subscription, trial, None),
        ("customer.subscription.updated", builders.subscription, active, trial),
        ("customer.subscription.updated", builders.subscription, more_seats, active),
        ("entitlements.active_entitlement_summary.updated", _same(accounts.entitlement_summary), ENTITLED, None),
        ("billing.alert.triggered", _same(accounts.alert_triggered), alert, None),
        ("invoice.upcoming", builders.invoice, attrs.evolve(draft, invoice_id=None), None),
        ("customer.subscription.updated", builders.subscription, second, more_seats),
        ("invoice.created", builders.invoice, draft, None),
        ("invoice.paid", builders.invoice, settled, None),
        ("invoice_payment.paid", _same(adjustments.invoice_payment), payment, None),
        ("charge.refunded", adjustments.charge, attrs.evolve(charge, amount_refunded=500), None),
        ("refund.created", adjustments.refund, refund, None),
        ("refund.failed", adjustments.refund, attrs.evolve(refund, status="failed"), None),
        ("charge.dispute.created", adjustments.dispute, dispute, None),
        ("charge.dispute.closed", adjustments.dispute, attrs.evolve(dispute, status="lost"), None),
        ("credit_note.created", adjustments.credit_note, note, None),
        ("subscription_schedule.created", accounts.subscription_schedule, schedule, None),
        ("customer.subscription.updated", builders.subscription, leaving, second),
        (
            "customer.subscription.deleted",
            builders.subscription,
            subscription(SECOND, status="canceled", seats=2),
            None,
        ),
        ("customer.deleted", builders.customer, CUSTOMER, None),
    ]
    for number, (type_, show, source, before) in enumerate(steps):
        yield HistoryEvent(type_, AT + timedelta(minutes=number), show, source, before)


ENTITLED = objects.Entitlements(customer_id="cus_1", features=("sso", "audit_log"))


def _same(show: Callable[..., Json]) -> Callable[..., Json]:
    """Render objects whose shape never had a transition."""

    def render(source: Any, version: str, *, transitional: bool) -> Json:
        return show(source) if show.__module__.endswith("accounts") else show(source, version)

    return render


def bodies(version: str, transitional: bool) -> Iterator[bytes]:
    for number, notified in enumerate(history()):
        if notified.type == "invoice_payment.paid" and version < BASIL:
            continue
        shown = notified.show(notified.source, version, transitional=transitional)
        before = None if notified.before is None else notified.show(notified.before, version, transitional=transitional)
        yield encode(
            event(
                notified.type,
                shown,
                created=notified.at,
                api_version=version,
                event_id=f"evt_{number:02}",
                livemode=True,
                previous_attributes=None if before is None else builders.previous_attributes(before, shown),
            )
        )


async def heard(version: str, transitional: bool) -> tuple[Sequence[BillingEvent], set[Disposition]]:
    """Return the tenant's messages and the dispositions of the events."""
    loop = Loop(translator=StripeTranslator())
    verifier = StripeWebhookVerifier((SECRET,), tolerance=timedelta(minutes=5), clock=loop.clock)
    for body in bodies(version, transitional):
        await loop.arrive(verifier.verify(body, sign(body, SECRET, AT)))
    dispositions = {row.disposition for row in loop.database.tables.dispatch.values()}
    return await loop.history.events(ACME, after=0, limit=1000), dispositions


def _comparable(message: BillingEvent) -> str:
    """Return the payload without the reason of a cancellation, which older versions do not know."""
    return message.payload.replace('"cancellation_reason":"cancellation_requested"', '"cancellation_reason":null')


@pytest.mark.parametrize(("version", "transitional"), SHAPES)
async def test_every_version_produces_the_same_messages(version: str, transitional: bool) -> None:
    """Equal numbers, types and payloads, byte for byte, and no event is left unprocessed."""
    messages, dispositions = await heard(version, transitional)
    reference, _ = await heard(API_VERSIONS[-1], False)
    assert [_comparable(message) for message in messages] == [_comparable(message) for message in reference]
    assert dispositions == {Disposition.APPLIED}


async def test_the_history_covers_every_message() -> None:
    """Without this, an event type without effect would make the versions agree trivially."""
    messages, _ = await heard(API_VERSIONS[-1], False)
    assert {message.event_type for message in messages} >= {
        "subscription.created",
        "subscription.trial_ending",
        "subscription.activated",
        "subscription.seats_changed",
        "subscription.renewed",
        "subscription.cancellation_scheduled",
        "subscription.canceled",
        "invoice.upcoming",
        "invoice.created",
        "invoice.paid",
        "invoice.refunded",
        "invoice.disputed",
        "invoice.dispute_closed",
        "invoice.credited",
        "entitlements.updated",
        "usage.threshold_reached",
        "customer.deleted",
    }
    assert any('"feature_key":"api_calls"' in message.payload for message in messages)
