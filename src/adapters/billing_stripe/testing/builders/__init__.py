"""Objects rendered as Stripe's JSON, in the shape of any API version."""

from billing_stripe.testing.builders.customers import checkout_session, customer
from billing_stripe.testing.builders.invoices import invoice
from billing_stripe.testing.builders.prices import plan, price
from billing_stripe.testing.builders.subscriptions import subscription
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
    "customer",
    "derived",
    "invoice",
    "plan",
    "previous_attributes",
    "price",
    "seconds",
    "subscription",
]
