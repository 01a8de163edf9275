"""The resources of the API, one module each.

A resource is added as a module with a `RESOURCE`, and its name in the list below.
"""

from billing_stripe.testing.fake_stripe.resources import (
    account,
    checkout_sessions,
    coupons,
    customers,
    entitlements,
    events,
    invoice_payments,
    invoices,
    payment_intents,
    payment_methods,
    prices,
    products,
    setup_intents,
    stripe_cli,
    subscription_schedules,
    subscriptions,
    tax_ids,
    test_clocks,
    webhook_endpoints,
)

ALL = (
    account.RESOURCE,
    checkout_sessions.RESOURCE,
    coupons.RESOURCE,
    customers.RESOURCE,
    entitlements.RESOURCE,
    events.RESOURCE,
    invoice_payments.RESOURCE,
    invoices.RESOURCE,
    payment_intents.RESOURCE,
    payment_methods.RESOURCE,
    prices.RESOURCE,
    products.RESOURCE,
    setup_intents.RESOURCE,
    stripe_cli.RESOURCE,
    subscription_schedules.RESOURCE,
    subscriptions.RESOURCE,
    tax_ids.RESOURCE,
    test_clocks.RESOURCE,
    webhook_endpoints.RESOURCE,
)
