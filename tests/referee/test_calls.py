"""Every endpoint that we call exists at Stripe, by its specification."""

from __future__ import annotations

import pytest
from tests.stripe_openapi.checker import stripe_checker
from tests.stripe_openapi.differences import unexplained

from billing_stripe.client.calls import CALLS, Endpoint
from billing_stripe.testing import API_VERSIONS


@pytest.mark.parametrize("endpoint", CALLS.values(), ids=CALLS.keys())
def test_endpoints_exist(endpoint: Endpoint) -> None:
    """Path and method of each call are Stripe's."""
    found = stripe_checker().check_endpoint(endpoint.method.upper(), endpoint.template)
    assert unexplained(found, API_VERSIONS[-1]) == []
