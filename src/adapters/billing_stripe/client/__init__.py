"""The one place that talks to Stripe.

async with open_client(secret_key=..., api_version=...) as client:
    request = StripeRequest(
        operation="update_subscription",
        ids=("sub_1",),
        params={"items": [{"id": "si_1", "price": "price_pro", "quantity": 25}]},
        idempotency_key=key,
    )
    answer = await client.call(request)
"""

from billing_core.operations.call_limits import Priority
from billing_core.operations.call_reports import GatewayCall
from billing_stripe.client.breaker import CircuitPolicy
from billing_stripe.client.ids import is_id
from billing_stripe.client.limits import FallbackCallLimiter
from billing_stripe.client.local_limiter import LocalCallLimiter
from billing_stripe.client.policy import Backoff, CallPolicy
from billing_stripe.client.requests import CLEAR, Json, StripeAnswer, StripeRequest
from billing_stripe.client.stripe_client import StripeClient, open_client

__all__ = [
    "StripeClient",
    "StripeRequest",
    "StripeAnswer",
    "CLEAR",
    "Json",
    "Priority",
    "is_id",
    "open_client",
    "CallPolicy",
    "Backoff",
    "CircuitPolicy",
    "FallbackCallLimiter",
    "LocalCallLimiter",
    "GatewayCall",
]
