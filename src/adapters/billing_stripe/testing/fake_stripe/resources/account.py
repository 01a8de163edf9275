"""The account itself."""

from billing_stripe.testing.fake_stripe.errors import Json
from billing_stripe.testing.fake_stripe.routing import Call, Resource, Route


def retrieve(call: Call) -> Json:
    """GET /v1/account"""
    return {
        "id": call.account.account_id,
        "object": "account",
        "business_type": None,
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "email": "owner@example.com",
        "metadata": {},
        "payouts_enabled": True,
        "type": "standard",
    }


RESOURCE = Resource(routes=[Route("GET", "/v1/account", retrieve)])
