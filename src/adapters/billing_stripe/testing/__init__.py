"""A test kit for receivers of Stripe's webhooks: it renders objects as bodies of any API version, and signs them.

subscription = objects.Subscription(subscription_id="sub_1", customer_id="cus_1", status="active", ...)
body = encode(event("customer.subscription.created", builders.subscription(subscription, BASIL), ...))
header = sign(body, "whsec_...", datetime.now(UTC))
"""

from billing_stripe.testing import accounts, adjustments, builders, catalog, objects
from billing_stripe.testing.events import encode, event, make_id, sign
from billing_stripe.testing.versions import API_VERSIONS, BASIL

__all__ = [
    "API_VERSIONS",
    "BASIL",
    "accounts",
    "adjustments",
    "builders",
    "catalog",
    "encode",
    "event",
    "objects",
    "make_id",
    "sign",
]
