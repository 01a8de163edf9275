"""Invoices and their lines."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import attrs

from billing_stripe.testing.objects.catalog import Price
from billing_stripe.testing.objects.common import NO_METADATA, Span


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
