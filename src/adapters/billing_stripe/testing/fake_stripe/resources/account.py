"""The account that a key belongs to."""

from typing import Final

from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.errors import Json, StripeError
from billing_stripe.testing.fake_stripe.routing import Call, Resource, Route

_PROFILE: Final = (
    "annual_revenue",
    "estimated_worker_count",
    "mcc",
    "minority_owned_business_designation",
    "product_description",
    "support_address",
    "support_email",
    "support_phone",
    "support_url",
    "url",
)
"""Fields in which a business describes itself."""


def retrieve_current(call: Call) -> Json:
    """GET /v1/account"""
    return _shown(call.account)


def retrieve(call: Call) -> Json:
    """GET /v1/accounts/:id, of the account itself."""
    if call.id != call.account.account_id:
        raise StripeError(
            403,
            f"The provided key does not have access to account '{call.id}' (or that account does not exist). "
            "Application access may have been revoked.",
            code="account_invalid",
            executed=False,
        )
    return _shown(call.account)


def _shown(account: Account) -> Json:
    return {
        "id": account.account_id,
        "object": "account",
        "business_profile": {**dict.fromkeys(_PROFILE), "name": "Fake Stripe"},
        "business_type": None,
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "groups": None,
        "metadata": {},
        "payouts_enabled": True,
        "settings": None,
        "type": "standard",
    }


RESOURCE = Resource(
    routes=[Route("GET", "/v1/account", retrieve_current), Route("GET", "/v1/accounts/{id}", retrieve)],
)
