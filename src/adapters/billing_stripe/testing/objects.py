"""Stripe's objects, independent of the API version.

A test describes an object once and renders it in every version. Times are aware datetimes, amounts integers in the
currency's minor unit, periods half-open.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import attrs

NO_METADATA: Mapping[str, str] = {}
LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""Creation time of what a test does not date."""


def _same_as(prefix: str, identifier: str) -> str:
    return f"{prefix}_{identifier.rpartition('_')[2]}"


def _derived(prefix: str, owner: str) -> Any:
    """Return a default that is derived from the id in another field."""

    def derive(source: object) -> str:
        return _same_as(prefix, getattr(source, owner))

    return attrs.Factory(derive, takes_self=True)


@attrs.frozen
class Span:
    """A period, `[start, end)`."""

    start: datetime
    end: datetime


@attrs.frozen(kw_only=True)
class Price:
    """One price of a product. A metered one bills usage in arrears and has no quantity on its item."""

    price_id: str
    product_id: str
    unit_amount: int | None
    """None if the price is finer than the minor unit; see `unit_amount_decimal`."""
    unit_amount_decimal: str | None = None
    currency: str = "usd"
    interval: str = "month"
    lookup_key: str | None = None
    nickname: str | None = None
    metered: bool = False
    plan_code: str | None = None
    """In the price's metadata."""
    active: bool = True
    interval_count: int = 1
    recurring: bool = True
    """False for a price that is charged once."""
    metadata: Mapping[str, str] = NO_METADATA
    """Beside the plan code."""
    meter_id: str | None = _derived("mtr", "price_id")
    """Of a metered price."""
    tax_behavior: str = "exclusive"
    created_at: datetime = LONG_AGO


@attrs.frozen(kw_only=True)
class Item:
    """One item of a subscription."""

    item_id: str
    price: Price
    period: Span
    quantity: int | None = 1
    """Not rendered for a metered price."""
    metadata: Mapping[str, str] = NO_METADATA
    created_at: datetime = attrs.Factory(lambda item: item.period.start, takes_self=True)


@attrs.frozen(kw_only=True)
class Customer:
    """A customer; a deleted one is rendered with id and flag only, as Stripe sends it."""

    customer_id: str
    created_at: datetime
    email: str | None = "billing@example.com"
    name: str | None = "Example Ltd"
    currency: str | None = "usd"
    """None until the first invoice."""
    delinquent: bool = False
    deleted: bool = False
    metadata: Mapping[str, str] = NO_METADATA
    default_payment_method_id: str | None = _derived("pm", "customer_id")
    balance: int = 0
    """Negative for credit that reduces the next invoice."""
    description: str | None = None
    phone: str | None = None
    address: Mapping[str, str | None] | None = None
    tax_exempt: str = "none"
    next_invoice_sequence: int = 1
    test_clock: str | None = None


@attrs.frozen(kw_only=True)
class PendingUpdate:
    """A change that waits for its payment."""

    items: tuple[Item, ...]
    """All items from then on."""
    expires_at: datetime
    invoice_id: str
    """The invoice that has to be paid; not rendered."""
    billing_cycle_anchor: datetime | None = None
    trial_end: datetime | None = None
    metadata: Mapping[str, str] | None = None


@attrs.frozen(kw_only=True)
class Subscription:
    """A subscription and its items."""

    subscription_id: str
    customer_id: str
    status: str
    created_at: datetime
    items: tuple[Item, ...]
    metadata: Mapping[str, str] = NO_METADATA
    trial: Span | None = None
    """Stays set after the trial."""
    cancel_at_period_end: bool = False
    cancel_at: datetime | None = None
    canceled_at: datetime | None = None
    """The time of the request to cancel, not of the end."""
    ended_at: datetime | None = None
    pause_collection: str | None = None
    """`keep_as_draft`, `mark_uncollectible` or `void`; None while payments are collected."""
    paused_at: datetime | None = None
    """Start of the status `paused`; in the newest versions only."""
    collection_method: str = "charge_automatically"
    days_until_due: int | None = None
    latest_invoice_id: str | None = None
    flexible_billing: bool | None = None
    """None for the default of the API version."""
    coupon_id: str | None = None
    promotion_code_id: str | None = None
    """The code by which the coupon was applied."""
    discounted_at: datetime | None = None
    """Start of the discount; None for the subscription's own. Not rendered."""
    schedule_id: str | None = None
    billing_cycle_anchor: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)
    started_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)
    default_payment_method_id: str | None = _derived("pm", "customer_id")
    save_default_payment_method: bool = False
    """Whether the payment method of the first payment becomes its default."""
    description: str | None = None
    cancellation_reason: str | None = None
    """None for the usual one, once it is canceled."""
    cancellation_comment: str | None = None
    cancellation_feedback: str | None = None
    missing_payment_method: str = "pause"
    """The end of a trial without a payment method: `cancel`, `create_invoice` or `pause`."""
    pause_resumes_at: datetime | None = None
    """End of `pause_collection`."""
    pending_setup_intent_id: str | None = None
    pending_update: PendingUpdate | None = None
    test_clock: str | None = None
    announced_until: datetime | None = None
    """The end of a period or trial that was announced to webhooks; not rendered."""
    resuming_invoice_id: str | None = None
    """The invoice whose payment ends a pause; not rendered."""

    @property
    def currency(self) -> str:
        """A subscription has one currency: that of its prices."""
        return self.items[0].price.currency if self.items else "usd"

    @property
    def span(self) -> Span:
        """The subscription's period by Stripe's definition: the latest start and earliest end of its items."""
        return Span(max(item.period.start for item in self.items), min(item.period.end for item in self.items))


@attrs.frozen(kw_only=True)
class InvoiceLine:
    """One line of an invoice; `amount` is without tax and negative for a credit."""

    line_id: str
    amount: int
    price: Price
    period: Span
    quantity: int | Decimal | None = 1
    """Usage may be a fraction: `quantity` shows its integer part, `quantity_decimal` all of it."""
    subscription_id: str | None = None
    item_id: str | None = None
    invoice_item_id: str | None = None
    """Set if the line comes from an invoice item, as prorations do."""
    proration: bool = False
    description: str = "1 × Example"
    tax: int = 0
    metadata: Mapping[str, str] = NO_METADATA
    """That of the subscription at the time."""


@attrs.frozen(kw_only=True)
class Invoice:
    """An invoice. Its amounts follow from its lines, the payments and the customer's balance."""

    invoice_id: str | None
    """None for a preview (`invoice.upcoming`)."""
    customer_id: str
    status: str
    created_at: datetime
    lines: tuple[InvoiceLine, ...]
    period: Span
    currency: str = "usd"
    subscription_id: str | None = None
    subscription_metadata: Mapping[str, str] = NO_METADATA
    number: str | None = None
    billing_reason: str = "subscription_cycle"
    collection_method: str = "charge_automatically"
    amount_paid: int = 0
    credited: int = 0
    """The part of the total covered by the customer's balance."""
    starting_balance: int | None = None
    """The customer's balance before it; None for just what is credited."""
    ending_balance: int | None = None
    """The customer's balance after it; None for zero, once it is finalized."""
    due_at: datetime | None = None
    attempt_count: int = 0
    next_payment_attempt_at: datetime | None = None
    finalized_at: datetime | None = None
    paid_at: datetime | None = None
    voided_at: datetime | None = None
    marked_uncollectible_at: datetime | None = None
    customer_email: str | None = "billing@example.com"
    customer_name: str | None = "Example Ltd"
    more_lines: bool = False
    """Whether Stripe has more lines than the event shows."""
    metadata: Mapping[str, str] = NO_METADATA
    description: str | None = None
    default_payment_method_id: str | None = None
    payment_id: str | None = None
    """The payment intent, once it is finalized; rendered in old versions only, which derive one if it is None."""
    auto_advance: bool | None = None
    """Whether Stripe finalizes and collects it; None for the default of its status."""
    finalizes_at: datetime | None = None
    """When a draft is finalized."""
    discount: int = 0
    """The part of the subtotal that a coupon takes off."""
    discount_id: str | None = None
    paid_out_of_band: bool = False
    credited_before_payment: int = 0
    """By credit notes, while it was open: less is due."""
    credited_after_payment: int = 0
    """By credit notes, once it was paid."""
    overdue: bool = False
    """Whether webhooks were notified that it is past its due date; not rendered."""
    test_clock: str | None = None

    @property
    def subtotal(self) -> int:
        """The sum of the lines, without tax."""
        return sum(line.amount for line in self.lines)

    @property
    def tax(self) -> int:
        """The sum of the lines' tax."""
        return sum(line.tax for line in self.lines)

    @property
    def total(self) -> int:
        """The total, including tax; negative if it credits more than it charges."""
        return self.subtotal - self.discount + self.tax

    @property
    def amount_due(self) -> int:
        """The amount to pay."""
        return max(0, self.total - self.credited - self.credited_before_payment)

    @property
    def amount_remaining(self) -> int:
        """The amount that is still unpaid."""
        return self.amount_due - self.amount_paid


@attrs.frozen(kw_only=True)
class CheckoutSession:
    """A Checkout session, by default one that starts a subscription."""

    session_id: str
    created_at: datetime
    customer_id: str | None
    subscription_id: str | None
    client_reference_id: str | None = None
    mode: str = "subscription"
    status: str = "complete"
    payment_status: str = "paid"
    amount_total: int = 0
    currency: str = "usd"
    customer_email: str | None = "billing@example.com"
    invoice_id: str | None = None
    metadata: Mapping[str, str] = NO_METADATA
    expires_at: datetime = attrs.Factory(lambda source: source.created_at + timedelta(days=1), takes_self=True)
    url: str | None = None
    """Address of its page while it is open; an embedded one has a secret instead."""
    success_url: str | None = "https://app.example.com/billing?done"
    cancel_url: str | None = "https://app.example.com/billing"
    return_url: str | None = None
    """Of an embedded page; not rendered without one."""
    ui_mode: str = "hosted_page"
    payment_id: str | None = None
    setup_intent_id: str | None = None
    payment_method_collection: str | None = None
    payment_method_types: tuple[str, ...] = ("card",)
    allow_promotion_codes: bool | None = None
    coupon_id: str | None = None
    discount: int = 0
    items: tuple["SessionItem", ...] = ()
    """Shown only when they are asked for."""
    subscription: Mapping[str, Any] = NO_METADATA
    """The parameters of the subscription that it will start; not rendered."""
    settles_at: datetime | None = None
    """When the bank confirms or refuses a debit; not rendered."""

    @property
    def is_open(self) -> bool:
        """Whether the customer can complete it."""
        return self.status == "open"


@attrs.frozen(kw_only=True)
class SessionItem:
    """One line of a Checkout session."""

    item_id: str
    price: Price
    quantity: int | None = 1
    """None for a metered price."""
    description: str = "Example"

    @property
    def amount(self) -> int:
        """The price of all pieces; usage costs nothing at first."""
        return 0 if self.price.metered else (self.price.unit_amount or 0) * (self.quantity or 1)


@attrs.frozen(kw_only=True)
class Product:
    """A product."""

    product_id: str
    name: str
    active: bool = True
    description: str | None = None
    metadata: Mapping[str, str] = NO_METADATA
    default_price_id: str | None = None
    unit_label: str | None = None
    created_at: datetime = LONG_AGO
    updated_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)


@attrs.frozen(kw_only=True)
class InvoicePayment:
    """A payment of an invoice; a separate object since 2025-03-31."""

    invoice_payment_id: str
    invoice_id: str
    payment_id: str
    """A payment intent (`pi_…`), or a charge (`ch_…`) without one."""
    amount_paid: int
    created_at: datetime
    currency: str = "usd"
    status: str = "paid"
    amount_requested: int = attrs.Factory(lambda source: source.amount_paid, takes_self=True)
    paid_at: datetime | None = None
    """None for the time of its creation, once it is paid."""
    canceled_at: datetime | None = None


@attrs.frozen(kw_only=True)
class PaymentMethod:
    """A card of a customer, or a bank account that is debited."""

    payment_method_id: str
    customer_id: str | None
    """None once it is detached."""
    created_at: datetime
    brand: str = "visa"
    last4: str = "4242"
    exp_month: int = 12
    exp_year: int = 2031
    metadata: Mapping[str, str] = NO_METADATA
    type: str = "card"
    """`card` or `sepa_debit`."""
    test_card: str = "visa"
    """The behavior of the card in tests, as in `pm_card_visa`; not rendered."""
    set_up: bool = False
    """Whether its owner has authenticated it for later payments; not rendered."""


@attrs.frozen(kw_only=True)
class Charge:
    """A charge of a payment. `amount_refunded` is the total of all refunds."""

    charge_id: str
    payment_id: str | None
    customer_id: str | None
    created_at: datetime
    amount: int
    amount_refunded: int = 0
    currency: str = "usd"
    disputed: bool = False
    invoice_id: str | None = None
    """Rendered in versions before 2025-03-31 only."""
    payment_method_id: str | None = None
    status: str = "succeeded"
    failure_code: str | None = None
    failure_message: str | None = None


@attrs.frozen(kw_only=True)
class Refund:
    """One refund of a charge."""

    refund_id: str
    payment_id: str | None
    charge_id: str | None
    created_at: datetime
    amount: int
    currency: str = "usd"
    status: str = "succeeded"
    reason: str | None = "requested_by_customer"
    customer_id: str | None = None
    """Rendered in versions since mid-2026 only."""
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class Dispute:
    """A dispute of a charge."""

    dispute_id: str
    payment_id: str | None
    charge_id: str
    created_at: datetime
    amount: int
    currency: str = "usd"
    status: str = "needs_response"
    reason: str = "fraudulent"
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class CreditNote:
    """A credit note for a finalized invoice, without tax."""

    credit_note_id: str
    invoice_id: str
    customer_id: str
    created_at: datetime
    amount: int
    currency: str = "usd"
    status: str = "issued"
    reason: str | None = "order_change"
    memo: str | None = None
    before_payment: int = 0
    """The part that reduced what was due; the rest was given back."""
    lines: tuple["CreditNoteLine", ...] = attrs.Factory(
        lambda source: (CreditNoteLine(line_id=_same_as("cnli", source.credit_note_id), amount=source.amount),),
        takes_self=True,
    )
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class CreditNoteLine:
    """One line of a credit note."""

    line_id: str
    amount: int
    description: str = "Credit"
    quantity: int = 1
    invoice_line_id: str | None = None
    """None for a line of its own."""


@attrs.frozen(kw_only=True)
class Entitlements:
    """The current features of a customer."""

    customer_id: str
    features: tuple[str, ...]
    """Lookup keys."""
    more_features: bool = False
    """Whether Stripe has more than the event shows."""
    feature_ids: Mapping[str, str] = attrs.field(factory=dict)
    """By lookup key; derived from it where it is missing."""
    basis: frozenset[tuple[str, str, datetime]] = frozenset()
    """Subscriptions that entitle, their products and the starts of their periods; not rendered."""


@attrs.frozen(kw_only=True)
class Feature:
    """Something that products let customers use."""

    feature_id: str
    lookup_key: str
    name: str
    active: bool = True
    """False once it is archived: products that have it keep it."""
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class ProductFeature:
    """A feature of a product."""

    product_feature_id: str
    product_id: str
    feature: Feature


@attrs.frozen(kw_only=True)
class SchedulePhase:
    """One phase of a schedule: the quantity of each price."""

    period: Span
    prices: Mapping[str, int | None]
    """None for a metered price."""
    currency: str = "usd"
    proration_behavior: str = "create_prorations"
    metadata: Mapping[str, str] = NO_METADATA
    """Merged into the subscription's when the phase begins."""
    trial_end: datetime | None = None


@attrs.frozen(kw_only=True)
class SubscriptionSchedule:
    """A schedule for the phases of a subscription."""

    schedule_id: str
    customer_id: str
    subscription_id: str | None
    """None before its first phase."""
    created_at: datetime
    status: str = "active"
    """A `released` one names its subscription in `released_subscription`."""
    phases: tuple[SchedulePhase, ...] = ()
    current_phase: int = 0
    """Position of the phase that is current while the schedule is active."""
    end_behavior: str = "release"
    metadata: Mapping[str, str] = NO_METADATA
    ended_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)
    """Time of its release, cancellation or completion."""
    expiring: bool = False
    """Whether webhooks were notified that it ends soon; not rendered."""
    flexible_billing: bool | None = None
    """None for the default of the API version."""
    test_clock: str | None = None


@attrs.frozen(kw_only=True)
class Meter:
    """Adds up the usage that events report, for the prices that name it."""

    meter_id: str
    display_name: str
    event_name: str
    created_at: datetime
    formula: str = "sum"
    """`sum`, `count`, or `last`."""
    customer_key: str = "stripe_customer_id"
    """The key of an event's payload that holds the customer."""
    value_key: str = "value"
    """The key of an event's payload that holds the usage."""
    event_time_window: str | None = None
    """`day`, `hour`, or None."""
    deactivated_at: datetime | None = None
    """None while it is active."""
    updated_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)


@attrs.frozen(kw_only=True)
class MeterEvent:
    """Usage of one customer at one time."""

    identifier: str
    meter_id: str
    event_name: str
    customer_id: str
    value: Decimal
    payload: Mapping[str, str]
    used_at: datetime
    created_at: datetime
    canceled: bool = False
    """Whether an adjustment withdrew it; not rendered."""


@attrs.frozen(kw_only=True)
class AlertTriggered:
    """A customer's usage reached the threshold of an alert."""

    alert_id: str
    customer_id: str
    created_at: datetime
    meter_id: str
    threshold: int
    value: int


@attrs.frozen(kw_only=True)
class CreditGrant:
    """Prepaid credit of a customer, for metered usage."""

    credit_grant_id: str
    customer_id: str
    created_at: datetime
    amount: int
    currency: str = "usd"
    category: str = "paid"
    """`paid` or `promotional`."""
    name: str | None = "Prepaid credit"
    priority: int | None = None
    """From 0, which is used first, to 100; not rendered where it is not set."""
    effective_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)
    expires_at: datetime | None = None
    voided_at: datetime | None = None
    updated_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)
    metadata: Mapping[str, str] = NO_METADATA
    test_clock: str | None = None


@attrs.frozen(kw_only=True)
class PortalConfiguration:
    """A configuration of the customer portal."""

    configuration_id: str
    created_at: datetime
    active: bool = True
    is_default: bool = False
    default_return_url: str | None = None
    name: str | None = None
    headline: str | None = None
    features: Mapping[str, Any] = NO_METADATA
    """The parameters by which it was made."""
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class PortalSession:
    """One visit of a customer to the portal."""

    portal_session_id: str
    customer_id: str
    configuration_id: str
    created_at: datetime
    url: str
    return_url: str | None = None
    flow: Mapping[str, Any] | None = None
    """Its `type`, and the details of that name."""


@attrs.frozen(kw_only=True)
class WebhookEndpoint:
    """A receiver of events."""

    webhook_endpoint_id: str
    url: str
    secret: str = attrs.field(repr=False)
    """Shown only in the answer that creates it."""
    created_at: datetime
    api_version: str | None = None
    """None for the account's default."""
    enabled_events: tuple[str, ...] = ("*",)
    enabled: bool = True
    connect: bool = False
    """Whether it receives the events of connected accounts; its own account's otherwise."""
    description: str | None = None
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class EventDestination:
    """A receiver of events, by the second generation of the API."""

    destination_id: str
    name: str
    url: str
    secret: str = attrs.field(repr=False)
    """Shown only in the answer that creates it, on request."""
    created_at: datetime
    payload: str
    """`thin` or `snapshot`."""
    enabled_events: tuple[str, ...]
    api_version: str | None = None
    """Of snapshots; None for the account's default."""
    description: str = ""
    enabled: bool = True
    metadata: Mapping[str, str] = NO_METADATA
    updated_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)


@attrs.frozen(kw_only=True)
class Clock:
    """A test clock. Its objects are created by its time, its events in real time."""

    clock_id: str
    created_at: datetime
    frozen_at: datetime
    """While it advances: still the time that all of its objects have reached."""
    status: str = "ready"
    target_at: datetime | None = None
    """The time that it is advancing to."""
    name: str | None = None


@attrs.frozen(kw_only=True)
class PaymentIntent:
    """A payment and its attempts."""

    payment_id: str
    customer_id: str | None
    created_at: datetime
    amount: int
    currency: str = "usd"
    status: str = "requires_payment_method"
    amount_received: int = 0
    payment_method_id: str | None = None
    latest_charge_id: str | None = None
    error: Mapping[str, Any] | None = None
    """Of the last attempt."""
    invoice_id: str | None = None
    """Rendered in versions before 2025-03-31 only."""
    description: str | None = None
    canceled_at: datetime | None = None
    setup_future_usage: str | None = None
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class SetupIntent:
    """The setup of a payment method for later payments."""

    setup_intent_id: str
    customer_id: str | None
    created_at: datetime
    status: str = "requires_payment_method"
    usage: str = "off_session"
    payment_method_id: str | None = None
    description: str | None = None
    error: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class InvoiceItem:
    """An amount that the next invoice will contain, such as a proration."""

    invoice_item_id: str
    customer_id: str
    created_at: datetime
    amount: int
    period: Span
    currency: str = "usd"
    description: str | None = None
    price: Price | None = None
    quantity: int = 1
    proration: bool = False
    subscription_id: str | None = None
    item_id: str | None = None
    """The subscription's item that a proration is about."""
    invoice_id: str | None = None
    """None while it is pending."""
    metadata: Mapping[str, str] = NO_METADATA
    test_clock: str | None = None


@attrs.frozen(kw_only=True)
class Coupon:
    """A reduction of invoices, by a share or by an amount."""

    coupon_id: str
    created_at: datetime
    percent_off: float | None = None
    amount_off: int | None = None
    currency: str | None = None
    duration: str = "forever"
    duration_in_months: int | None = None
    name: str | None = None
    valid: bool = True
    times_redeemed: int = 0
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class PromotionCode:
    """A code that customers enter for a coupon."""

    promotion_code_id: str
    code: str
    coupon: Coupon
    created_at: datetime
    active: bool = True
    customer_id: str | None = None
    times_redeemed: int = 0
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class TaxId:
    """A tax id of a customer, which invoices show."""

    tax_id: str
    customer_id: str
    created_at: datetime
    type: str
    value: str
