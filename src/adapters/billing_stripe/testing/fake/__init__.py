"""A fake Stripe that runs inside a test: it serves the objects it was given, and fails on request.

async with fake_stripe() as fake:
    fake.put(objects.Customer(customer_id="cus_1", ...))
    fake.fail("/v1/customers/*", faults.rate_limited(retry_after=1), times=2)
    async with open_client(secret_key=fake.secret_key, api_version=..., base_url=fake.url) as client:
        ...
"""

from billing_stripe.testing.fake import faults
from billing_stripe.testing.fake.server import FakeStripe, Received, fake_stripe
from billing_stripe.testing.fake.state import State, StripeObject

__all__ = ["StripeObject", "FakeStripe", "Received", "State", "fake_stripe", "faults"]
