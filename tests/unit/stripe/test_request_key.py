"""Events that an operation of ours caused are recognized by the idempotency key of its request."""

import json
from typing import Any

import pytest
from tests.unit.stripe.conftest import AT, MakeEvent

from billing_stripe.testing import API_VERSIONS, builders, event, objects
from billing_stripe.translate import StripeTranslator, request_key

pytestmark = pytest.mark.stripe

KEY = "bo_0123456789abcdef.update"


@pytest.mark.parametrize("api_version", API_VERSIONS)
def test_an_event_of_any_version_says_which_operation_caused_it(
    api_version: str, make_event: MakeEvent, subscription: objects.Subscription
) -> None:
    """Beside everything else that it says."""
    type_ = "customer.subscription.updated"
    sent = event(
        type_,
        builders.subscription(subscription, api_version),
        created=AT,
        api_version=api_version,
        event_id="evt_1",
    )
    plain = StripeTranslator().translate(make_event(type_, {}, body=json.dumps(sent).encode()))
    sent["request"]["idempotency_key"] = KEY
    caused = StripeTranslator().translate(make_event(type_, {}, body=json.dumps(sent).encode()))
    assert (plain.request_key, caused.request_key) == (None, KEY)
    assert caused.snapshots == plain.snapshots != ()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"request": None},
        {"request": "req_1"},
        {"request": {"id": "req_1"}},
        {"request": {"id": "req_1", "idempotency_key": None}},
        {"request": {"id": "req_1", "idempotency_key": "5f3c"}},
        {"request": {"id": "req_1", "idempotency_key": 1}},
        {"request": "bo_1"},
        {"reason": None},
        {"reason": {"type": "request", "request": None}},
        {"reason": "request"},
    ],
)
def test_requests_of_others_are_none_of_ours(body: dict[str, Any]) -> None:
    """Before API version 2017-05-25 `request` was the id alone."""
    assert request_key(body) is None


def test_an_event_of_v2_names_its_request_as_a_reason() -> None:
    """`request` is not among its fields."""
    assert request_key({"reason": {"type": "request", "request": {"id": "req_1", "idempotency_key": KEY}}}) == KEY
