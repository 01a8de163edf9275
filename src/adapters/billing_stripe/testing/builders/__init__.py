"""Objects rendered as Stripe's JSON, in the shape of any API version."""

from billing_stripe.testing.builders.customers import checkout_session, customer, session_item
from billing_stripe.testing.builders.discounts import coupon, promotion_code
from billing_stripe.testing.builders.intents import payment_intent, setup_intent
from billing_stripe.testing.builders.invoice_items import invoice_item
from billing_stripe.testing.builders.invoices import invoice
from billing_stripe.testing.builders.portal import portal_configuration, portal_session, switchable_products
from billing_stripe.testing.builders.prices import plan, price, tiers
from billing_stripe.testing.builders.subscriptions import discounts, subscription
from billing_stripe.testing.builders.tax_ids import tax_id
from billing_stripe.testing.builders.values import (
    Json,
    billing_details,
    derived,
    previous_attributes,
    seconds,
)

__all__ = [
    "Json",
    "billing_details",
    "checkout_session",
    "coupon",
    "customer",
    "derived",
    "discounts",
    "invoice",
    "invoice_item",
    "payment_intent",
    "plan",
    "portal_configuration",
    "portal_session",
    "switchable_products",
    "previous_attributes",
    "price",
    "promotion_code",
    "seconds",
    "session_item",
    "setup_intent",
    "subscription",
    "tax_id",
    "tiers",
]
