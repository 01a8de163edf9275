"""The observer of fakes reports what Stripe's specification does not describe, and leaves out what it cannot know."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from tests.stripe_openapi.traffic import TRAFFIC, TrafficChecker

from billing_stripe.testing import API_VERSIONS, builders, event, objects
from billing_stripe.testing.fake_stripe import Exchange, FakeStripe

AT = datetime(2026, 11, 1, tzinfo=UTC)
CUSTOMER = objects.Customer(customer_id="cus_1", created_at=AT)
NEWEST = API_VERSIONS[-1]
FINE = Exchange(
    method="POST",
    path="/v1/customers",
    endpoint="/v1/customers",
    api_version=NEWEST,
    query="",
    headers={},
    body=b"email=a@example.com",
    status=200,
    answer=builders.customer(CUSTOMER, NEWEST),
)
ERROR = {"error": {"type": "invalid_request_error", "message": "Received unknown parameter: mail"}}


@pytest.fixture
def traffic() -> TrafficChecker:
    """An observer of its own: the findings of this file are no failures."""
    return TrafficChecker()


def test_the_fakes_of_all_tests_are_observed() -> None:
    """Without that, nothing of this would be checked."""
    assert TRAFFIC in FakeStripe.observers


def test_what_is_described_is_not_reported(traffic: TrafficChecker) -> None:
    """A good request, its answer and an event."""
    traffic.exchanged(FINE)
    traffic.sent(event("customer.created", FINE.answer or {}, created=AT, api_version=NEWEST, event_id="evt_1"))
    assert traffic.take() == []


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"body": b"mail=a@example.com"}, "POST /v1/customers mail: unknown"),
        ({"query": "mail=a@example.com"}, "POST /v1/customers mail: unknown"),
        ({"path": "/v1/customer"}, "POST /v1/customer : unknown"),
        ({"answer": {"id": "cus_1", "object": "customer", "livemode": False}}, "customer created: missing"),
        ({"status": 402, "answer": {"error": {}}}, "POST /v1/customers error.type: missing"),
        ({"body": b"mail=a@example.com", "answer": None}, "POST /v1/customers mail: unknown"),
    ],
)
def test_what_is_not_described_is_reported(traffic: TrafficChecker, changes: dict[str, Any], reported: str) -> None:
    """Requests and answers each by themselves, also where a fault answered."""
    traffic.exchanged(attrs.evolve(FINE, **changes))
    (found,) = traffic.take()
    assert reported in found
    assert traffic.take() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"body": b"mail=a@example.com", "status": 400, "answer": ERROR},
        {"body": b"mail=a@example.com", "api_version": API_VERSIONS[0]},
    ],
    ids=["refused by the fake", "of an old version"],
)
def test_requests_that_are_not_checked(traffic: TrafficChecker, changes: dict[str, Any]) -> None:
    """A test may send what is wrong to see it refused, and old versions have other parameters."""
    traffic.exchanged(attrs.evolve(FINE, **changes))
    assert traffic.take() == []


def test_events_are_checked_when_they_are_sent(traffic: TrafficChecker) -> None:
    """Only those of versions near the specification's."""
    shown = {**builders.customer(CUSTOMER, NEWEST), "nick": "a"}
    traffic.sent(event("customer.created", shown, created=AT, api_version=NEWEST, event_id="evt_1"))
    traffic.sent(event("customer.created", shown, created=AT, api_version=API_VERSIONS[0], event_id="evt_2"))
    (found,) = traffic.take()
    assert "customer nick: unknown" in found
