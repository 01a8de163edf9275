"""A test kit for receivers of Stripe's webhooks: it renders objects as bodies of any API version, and signs them.

subscription = objects.Subscription(subscription_id="sub_1", customer_id="cus_1", status="active", ...)
body = encode(event("customer.subscription.created", builders.subscription(subscription, BASIL), ...))
header = sign(body, "whsec_...", datetime.now(UTC))
"""

from typing import TYPE_CHECKING

from billing_stripe.testing import accounts, adjustments, builders, catalog, objects
from billing_stripe.testing.events import encode, event, make_id, sign
from billing_stripe.versions import API_VERSIONS, BASIL

if TYPE_CHECKING:
    from billing_stripe.testing.fake_stripe import FakeStripe

__all__ = [
    "API_VERSIONS",
    "BASIL",
    "FakeStripe",
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


def __getattr__(name: str) -> object:
    """Load the fake Stripe on its first use: a server is more than those need who only render objects."""
    if name != "FakeStripe":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from billing_stripe.testing.fake_stripe import FakeStripe  # noqa: PLC0415

    return FakeStripe
