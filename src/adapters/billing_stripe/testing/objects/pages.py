"""Sessions of the pages on which customers pay and change their subscriptions."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from billing_stripe.testing.objects.catalog import Price
from billing_stripe.testing.objects.common import NO_METADATA


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
