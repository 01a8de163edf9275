"""Payments of invoices, and what is given back of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from billing_stripe.testing.objects.common import NO_METADATA, same_as


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
        lambda source: (CreditNoteLine(line_id=same_as("cnli", source.credit_note_id), amount=source.amount),),
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
