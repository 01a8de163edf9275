"""The checker of Stripe's specification reports what is wrong, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.stripe_openapi.checker import SpecificationChecker, stripe_checker
from tests.stripe_openapi.differences import unexplained

from billing_stripe.testing import builders, event, objects

DAHLIA = "2026-05-27.dahlia"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
MONTH = objects.Span(NOW, NOW + timedelta(days=30))
PRICE = objects.Price(price_id="price_1", product_id="prod_1", unit_amount=4900)
SUBSCRIPTION = objects.Subscription(
    subscription_id="sub_1",
    customer_id="cus_1",
    status="active",
    created_at=NOW,
    items=(objects.Item(item_id="si_1", price=PRICE, period=MONTH),),
)


@pytest.fixture
def checker() -> SpecificationChecker:
    """The checker for the specification that is installed."""
    return stripe_checker()


def said(findings: list[Any]) -> list[str]:
    """Findings without their details."""
    return [f"{each.subject} {each.field}: {each.problem}" for each in findings]


def subscription(**changes: Any) -> dict[str, Any]:
    """A subscription as the specification's own version has it."""
    return builders.subscription(SUBSCRIPTION, DAHLIA) | changes


@pytest.mark.parametrize(
    ("method", "path", "parameters"),
    [
        ("POST", "/v1/customers", {"email": "a@example.com", "metadata[tenant_id]": "acme"}),
        ("POST", "/v1/customers/cus_1", {"invoice_settings[default_payment_method]": "pm_1", "name": ""}),
        (
            "POST",
            "/v1/subscriptions",
            {
                "customer": "cus_1",
                "items[0][price]": "price_1",
                "items[0][quantity]": "3",
                "trial_end": "now",
                "cancel_at": "1780000000",
                "off_session": "true",
                "expand[]": "latest_invoice.confirmation_secret",
            },
        ),
        (
            "POST",
            "/v1/subscriptions/sub_1",
            {"pause_collection": "", "items[0][id]": "si_1", "items[0][deleted]": "true"},
        ),
        ("POST", "/v1/invoices/create_preview", {"subscription": "sub_1"}),
        ("POST", "/v1/invoices/in_1/pay", {"off_session": "false"}),
        ("DELETE", "/v1/subscriptions/sub_1", {"cancellation_details[feedback]": "unused", "prorate": "false"}),
    ],
)
def test_requests_that_stripe_understands(
    checker: SpecificationChecker, method: str, path: str, parameters: dict[str, str]
) -> None:
    """Text becomes a number, a boolean, a list or one of several alternatives, where the parameter takes that."""
    assert checker.check_request(method, path, body=urlencode(parameters)) == []


def test_queries_are_checked_like_forms(checker: SpecificationChecker) -> None:
    """Lists are asked with a query, whose parameters have types too."""
    assert checker.check_request("GET", "/v1/subscriptions", query="status=all&limit=100&created[gte]=5") == []
    assert said(checker.check_request("GET", "/v1/subscriptions", query="limit=all&state=all")) == [
        "GET /v1/subscriptions limit: value",
        "GET /v1/subscriptions state: unknown",
    ]


@pytest.mark.parametrize(
    ("method", "path", "parameters", "expected"),
    [
        (
            "POST",
            "/v1/subscriptions",
            "customer=cus_1&proration_date=1",
            "POST /v1/subscriptions proration_date: unknown",
        ),
        ("POST", "/v1/subscriptions", "items[0][prize]=price_1", "POST /v1/subscriptions items.prize: unknown"),
        ("POST", "/v1/subscriptions", "payment_behavior=maybe", "POST /v1/subscriptions payment_behavior: value"),
        ("POST", "/v1/subscriptions", "items=price_1", "POST /v1/subscriptions items: value"),
        ("POST", "/v1/subscriptions", "trial_end=tomorrow", "POST /v1/subscriptions trial_end: value"),
        (
            "POST",
            "/v1/subscriptions/sub_1",
            "items[0][deleted]=1",
            "POST /v1/subscriptions/{subscription_exposed_id} items.deleted: value",
        ),
        ("POST", "/v1/products", "active=true", "POST /v1/products name: missing"),
        ("GET", "/v1/customers/", "", "GET /v1/customers/ : unknown"),
        ("PUT", "/v1/customers/cus_1", "", "PUT /v1/customers/cus_1 : unknown"),
        ("POST", "/v1/subscription", "", "POST /v1/subscription : unknown"),
    ],
)
def test_requests_that_stripe_would_refuse(
    checker: SpecificationChecker, method: str, path: str, parameters: str, expected: str
) -> None:
    """Unknown, missing and mistyped parameters are found, and addresses that do not exist."""
    assert said(checker.check_request(method, path, body=parameters)) == [expected]


def test_the_newer_api_takes_json(checker: SpecificationChecker) -> None:
    """Bodies under /v2/ are JSON with types of their own."""
    usage = {"event_name": "api_calls", "payload": {"stripe_customer_id": "cus_1", "value": "3"}}
    assert checker.check_request("POST", "/v2/billing/meter_events", body=json.dumps(usage)) == []
    assert said(checker.check_request("POST", "/v2/billing/meter_events", body=json.dumps({"event_name": 3}))) == [
        "POST /v2/billing/meter_events event_name: value",
        "POST /v2/billing/meter_events payload: missing",
    ]


def test_objects_are_described_completely(checker: SpecificationChecker) -> None:
    """A missing, unknown or mistyped field is found wherever it is, and named by the object that has it."""
    assert unexplained(checker.check_object(subscription()), DAHLIA) == []
    broken = subscription(status="lapsed", seats=3)
    del broken["items"]["data"][0]["created"]
    broken["items"]["data"][0]["price"]["unit_amount"] = "4900"
    assert said(unexplained(checker.check_object(broken), DAHLIA)) == [
        "price unit_amount: value",
        "subscription seats: unknown",
        "subscription status: value",
        "subscription_item created: missing",
    ]


def test_expanded_objects_are_checked_as_such(checker: SpecificationChecker) -> None:
    """A field that may hold an id or an object is checked as the one that it holds."""
    expanded = subscription(customer={"id": "cus_1", "object": "customer", "livemode": False, "nick": "a"})
    assert said(unexplained(checker.check_object(expanded), DAHLIA)) == [
        "customer created: missing",
        "customer nick: unknown",
    ]
    gone = subscription(customer={"id": "cus_1", "object": "customer", "deleted": True})
    assert unexplained(checker.check_object(gone), DAHLIA) == []


def test_answers_are_checked_by_operation_and_status(checker: SpecificationChecker) -> None:
    """A list is no subscription, and an error has a form of its own."""
    page = {"object": "list", "data": [subscription()], "has_more": False, "url": "/v1/subscriptions"}
    assert unexplained(checker.check_answer("GET", "/v1/subscriptions", 200, page), DAHLIA) == []
    assert checker.check_answer("GET", "/v1/subscriptions/sub_1", 200, page) != []
    error = {"error": {"type": "card_error", "code": "card_declined", "message": "Declined."}}
    assert checker.check_answer("POST", "/v1/subscriptions", 402, error) == []
    assert said(checker.check_answer("POST", "/v1/subscriptions", 402, {"error": {"kind": "card_error"}})) == [
        "POST /v1/subscriptions error.kind: unknown",
        "POST /v1/subscriptions error.type: missing",
    ]


def test_events_are_checked_with_their_object(checker: SpecificationChecker) -> None:
    """Envelope and object both have to be right."""
    body = event("customer.subscription.updated", subscription(), created=NOW, api_version=DAHLIA, event_id="evt_1")
    assert unexplained(checker.check_event(body), DAHLIA) == []
    del body["pending_webhooks"], body["data"]["object"]["customer"]
    assert said(unexplained(checker.check_event(body), DAHLIA)) == [
        "event pending_webhooks: missing",
        "subscription customer: missing",
    ]
