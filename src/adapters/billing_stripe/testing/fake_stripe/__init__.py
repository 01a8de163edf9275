"""A stateful fake of Stripe for tests: it keeps objects, sends webhooks, and fails on request.

async with fake_stripe() as fake:
    fake.add_webhook_endpoint("http://127.0.0.1:8000/webhooks/stripe", secret="whsec_...")
    client = stripe.StripeClient(fake.secret_key, base_addresses={"api": fake.url})
    fake.fail("/v1/customers/*", faults.rate_limited(), times=2)
    ...
    fake.advance(timedelta(days=31))
    await fake.delivered()
"""

from billing_stripe.testing.fake_stripe import faults
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing.settings import BillingSettings
from billing_stripe.testing.fake_stripe.clock import Clock
from billing_stripe.testing.fake_stripe.limits import LIVE, SANDBOX, Limits
from billing_stripe.testing.fake_stripe.observing import Exchange, Observer, Received
from billing_stripe.testing.fake_stripe.server import FakeStripe, fake_stripe
from billing_stripe.testing.fake_stripe.threaded import ThreadedFakeStripe, fake_stripe_in_thread
from billing_stripe.testing.fake_stripe.webhooks import Attempt, DeliveryPolicy

__all__ = [
    "LIVE",
    "SANDBOX",
    "Account",
    "Attempt",
    "BillingSettings",
    "Clock",
    "DeliveryPolicy",
    "Exchange",
    "FakeStripe",
    "Limits",
    "Observer",
    "Received",
    "ThreadedFakeStripe",
    "fake_stripe",
    "fake_stripe_in_thread",
    "faults",
]
