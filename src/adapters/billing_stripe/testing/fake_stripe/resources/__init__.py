"""The resources of the API, one module each.

A resource is added as a module with a `RESOURCE`, and its name in the list below.
"""

from billing_stripe.testing.fake_stripe.resources import (
    checkout_sessions,
    customers,
    entitlements,
    events,
    invoice_payments,
    invoices,
    stripe_cli,
    subscriptions,
    webhook_endpoints,
)

ALL = (
    checkout_sessions.RESOURCE,
    customers.RESOURCE,
    entitlements.RESOURCE,
    events.RESOURCE,
    invoice_payments.RESOURCE,
    invoices.RESOURCE,
    stripe_cli.RESOURCE,
    subscriptions.RESOURCE,
    webhook_endpoints.RESOURCE,
)
