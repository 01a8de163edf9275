"""Customers, and what they pay with."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from billing_stripe.testing.objects.common import NO_METADATA, derived


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
    default_payment_method_id: str | None = derived("pm", "customer_id")
    balance: int = 0
    """Negative for credit that reduces the next invoice."""
    description: str | None = None
    phone: str | None = None
    address: Mapping[str, str | None] | None = None
    tax_exempt: str = "none"
    next_invoice_sequence: int = 1
    test_clock: str | None = None


@attrs.frozen(kw_only=True)
class TaxId:
    """A tax id of a customer, which invoices show."""

    tax_id: str
    customer_id: str
    created_at: datetime
    type: str
    value: str


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
