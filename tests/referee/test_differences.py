"""The list of known differences from Stripe's specification holds no entry that nothing needs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from tests.referee.fixtures import FIXTURES
from tests.stripe_openapi.checker import stripe_checker
from tests.stripe_openapi.differences import DIFFERENCES, Difference
from tests.stripe_openapi.schemas import Finding
from tests.stripe_openapi.traffic import TRAFFIC

from billing_stripe.client.calls import CALLS
from billing_stripe.testing import API_VERSIONS
from billing_stripe.testing.fake_stripe import fake_stripe
from billing_stripe.testing.objects import WebhookEndpoint
from billing_stripe.testing.samples import CHECKOUT, CUSTOMER, SUBSCRIPTION, TEAM
from billing_stripe.testing.thin import ThinEvent

THIN = ThinEvent(
    event_id="evt_1",
    type="v1.customer.created",
    created_at=datetime(2026, 11, 1, tzinfo=UTC),
    related_type="customer",
    related_id="cus_1",
    snapshot_event_id="evt_2",
)
ENDPOINT = WebhookEndpoint(
    webhook_endpoint_id="we_1", url="https://example.com", secret="whsec_1", created_at=THIN.created_at
)
NEWEST = API_VERSIONS[-1]
TOUR: list[tuple[str, str, dict[str, str], str]] = [
    ("POST", "/v1/stripecli/sessions", {"device_name": "referee"}, NEWEST),
    ("GET", f"/v1/payment_pages/{CHECKOUT.session_id}", {}, NEWEST),
    ("GET", "/v2/core/events/evt_1", {}, NEWEST),
    ("POST", f"/v1/subscriptions/{SUBSCRIPTION.subscription_id}/pause", {}, NEWEST),
    (
        "POST",
        f"/v1/subscriptions/{SUBSCRIPTION.subscription_id}/resume",
        {"billing_cycle_anchor[type]": "now", "payment_behavior": "resume_on_payment_attempt"},
        NEWEST,
    ),
    (
        "POST",
        "/v1/webhook_endpoints",
        {
            "url": "https://example.com",
            "enabled_events[0]": "billing.credit_grant.updated",
            "api_version": NEWEST,
        },
        NEWEST,
    ),
    (
        "POST",
        f"/v1/webhook_endpoints/{ENDPOINT.webhook_endpoint_id}",
        {"enabled_events[0]": "billing.credit_grant.updated"},
        NEWEST,
    ),
    (
        "POST",
        "/v1/subscription_schedules",
        {
            "customer": CUSTOMER.customer_id,
            "start_date": "2000000000",
            "phases[0][items][0][price]": TEAM.price_id,
            "phases[0][iterations]": "1",
        },
        "2025-08-27.basil",
    ),
]
"""Requests that the specification describes differently, or whose answers it does, with the version of each."""


@pytest.fixture(scope="module")
async def differences_of_the_tour() -> AsyncIterator[set[tuple[Finding, str]]]:
    """The known differences in the traffic of the tour and of all tests before it."""
    async with fake_stripe() as fake, aiohttp.ClientSession(fake.url) as session:
        fake.put(THIN, ENDPOINT, CHECKOUT, CUSTOMER, SUBSCRIPTION, TEAM)
        for method, path, form, version in TOUR:
            headers = {"Authorization": f"Bearer {fake.secret_key}", "Stripe-Version": version}
            async with session.request(method, path, data=form or None, headers=headers) as response:
                assert response.status == 200, await response.text()
        yield TRAFFIC.explained


@pytest.fixture(scope="module")
def differences_of_fixtures() -> set[tuple[Finding, str]]:
    """Everything that the specification says about the fixtures, with the API version of each."""

    def each() -> Iterator[tuple[Finding, str]]:
        for path in FIXTURES:
            event: dict[str, Any] = json.loads(path.read_bytes())
            for finding in stripe_checker().check_event(event):
                yield finding, path.parent.name

    return set(each())


@pytest.fixture(scope="module")
def differences_of_calls() -> set[tuple[Finding, str]]:
    """The endpoints of our calls that the specification does not know."""
    checker = stripe_checker()
    found = (checker.check_endpoint(call.method.upper(), call.template) for call in CALLS.values())
    return {(finding, NEWEST) for findings in found for finding in findings}


@pytest.mark.parametrize(
    "difference",
    [known.only(field) for known in DIFFERENCES for field in known.fields],
    ids=lambda known: f"{known.subject} {'.'.join(known.fields)} {known.problem}",
)
async def test_known_differences_are_still_needed(
    difference: Difference,
    differences_of_fixtures: set[tuple[Finding, str]],
    differences_of_calls: set[tuple[Finding, str]],
    differences_of_the_tour: set[tuple[Finding, str]],
) -> None:
    """An entry that neither fixtures nor calls nor the tour show any more is deleted from the list."""
    met = differences_of_fixtures | differences_of_calls | differences_of_the_tour
    assert any(difference.covers(finding, version) for finding, version in met)
