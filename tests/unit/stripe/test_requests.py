"""Requests are checked before they are sent: ids, parameters, idempotency keys, accounts."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from billing_stripe.client import CLEAR, StripeRequest, is_id
from billing_stripe.client.calls import CALLS

pytestmark = pytest.mark.stripe


def update(**params: Any) -> StripeRequest:
    """A request that writes."""
    return StripeRequest(operation="update_subscription", ids=("sub_1",), params=params, idempotency_key="k")


# --- ids --------------------------------------------------------------------------------------------------------

WRONG = ["", " ", "sub_", "cus_1", "sub_sched_1", "sub_1/pause", "sub_1?a=b", "../sub_1", "sub_ü", "sub_1 ", "sub_1\n"]


@pytest.mark.parametrize("identifier", WRONG)
def test_an_id_that_is_empty_or_of_another_kind_is_refused_before_the_call(identifier: str) -> None:
    """An empty one would ask for the list of all."""
    assert not is_id("subscription", identifier)
    with pytest.raises(ValueError, match="not the id of a subscription"):
        StripeRequest(operation="fetch_subscription", ids=(identifier,))


def test_the_path_is_built_from_the_operation_and_ids() -> None:
    """In their order; one too many or too few is a mistake."""
    request = StripeRequest(operation="delete_tax_id", ids=("cus_1", "txi_2"), idempotency_key="k")
    assert (request.endpoint.method, request.path) == ("delete", "/v1/customers/cus_1/tax_ids/txi_2")
    for ids in ((), ("sub_1", "sub_2")):
        with pytest.raises(ValueError, match="takes 1 ids"):
            StripeRequest(operation="fetch_subscription", ids=ids)


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"customer": ""}, "customer"),
        ({"customer": "sub_1"}, "customer"),
        ({"from_subscription": "sub_sched_1"}, "from_subscription"),
        (
            {"flow_data": {"cancel": {"subscription": "in_1"}}},
            "flow_data.cancel.subscription",
        ),
        ({"items": [{"id": "", "price": "price_1"}]}, r"items\[0\].id"),
    ],
)
def test_ids_in_parameters_are_checked_as_well(params: dict[str, Any], place: str) -> None:
    """At any depth."""
    with pytest.raises(ValueError, match=rf"update_subscription: {place} "):
        update(**params)


def test_only_what_can_be_cleared_may_be_an_empty_id() -> None:
    """Metadata has keys of its own, which are no parameters."""
    assert update(default_payment_method=CLEAR).params == {"default_payment_method": ""}
    assert update(metadata={"customer": "theirs"}).params == {"metadata": {"customer": "theirs"}}


# --- parameters ---------------------------------------------------------------------------------------------------


class Color(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"pause_collection": None}, "pause_collection"),
        ({"items": [{"id": "si_1", "price": None}]}, r"items\[0\].price"),
        ({"metadata": {"tenant_id": None}}, "metadata.tenant_id"),
        ({"expand": [None]}, r"expand\[0\]"),
        ({"items": []}, "items"),
        ({"metadata": {}}, "metadata"),
        ({"trial_end": datetime(2026, 1, 1)}, "trial_end"),  # noqa: DTZ001 - that is the mistake
        ({"unit_amount_decimal": 0.1}, "unit_amount_decimal"),
        ({"description": Color.RED}, "description"),
        ({"description": b"red"}, "description"),
        ({"stripe_account": "acct_1"}, "stripe_account"),
        ({"headers": {"a": "b"}}, "headers"),
    ],
)
def test_a_parameter_that_would_not_arrive_as_meant_is_refused(params: dict[str, Any], place: str) -> None:
    """`None` and empty collections are left out without a word; the error names the parameter."""
    with pytest.raises(ValueError, match=rf"update_subscription: {place} "):
        update(**params)


def test_parameters_are_sent_in_stripes_form() -> None:
    """Instants in seconds whatever their zone, or as text in the second generation; the rest as it is."""
    at = datetime(2026, 1, 1, 1, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    sent = update(trial_end=at, items=({"id": "si_1", "quantity": 25},), amount=Decimal("1.50"), prorate=True)
    seconds = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    items = [{"id": "si_1", "quantity": 25}]
    assert sent.params == {"trial_end": seconds, "items": items, "amount": Decimal("1.50"), "prorate": True}
    event = StripeRequest(operation="fetch_event", ids=("evt_1",), params={"created": at.replace(microsecond=0)})
    assert event.params == {"created": "2026-01-01T00:00:00Z"}


def test_clearing_is_said_explicitly() -> None:
    """An empty text arrives, and clears."""
    assert update(pause_collection=CLEAR).params == {"pause_collection": ""}


def test_a_request_does_not_follow_changes_of_its_parameters() -> None:
    """Every attempt sends the same."""
    items = [{"id": "si_1"}]
    request = update(items=items)
    items[0]["id"] = "si_2"
    assert request.params == {"items": [{"id": "si_1"}]}


def test_a_request_does_not_print_its_parameters() -> None:
    """They may name people."""
    assert "zoe@example.com" not in repr(update(metadata={"email": "zoe@example.com"}))


# --- keys and scope -----------------------------------------------------------------------------------------------


def test_a_write_needs_an_idempotency_key() -> None:
    """Without one, a retry could do it twice."""
    for operation, endpoint in CALLS.items():
        if endpoint.template.count("{"):
            continue
        if endpoint.reads:
            assert not StripeRequest(operation=operation).writes
        else:
            with pytest.raises(ValueError, match="needs an idempotency key"):
                StripeRequest(operation=operation)


def test_a_read_takes_no_idempotency_key() -> None:
    """It would be without effect."""
    with pytest.raises(ValueError, match="only reads"):
        StripeRequest(operation="fetch_customer", ids=("cus_1",), idempotency_key="k")


@pytest.mark.parametrize("key", ["", " ", "a b", "a\r\nStripe-Account: acct_2", "ü", "k" * 256])
def test_an_idempotency_key_fits_into_a_header(key: str) -> None:
    """At most 255 printable characters."""
    with pytest.raises(ValueError, match="idempotency key"):
        StripeRequest(operation="create_customer", idempotency_key=key)


def test_an_unknown_operation_is_refused() -> None:
    """The set is closed: it is the label of metrics."""
    with pytest.raises(ValueError, match="none of the calls"):
        StripeRequest(operation="delete_everything")


def test_the_account_of_a_request_is_checked() -> None:
    """An account, or a context for the key of an organization, never both."""
    both = {"account": "acct_1", "context": "acct_1"}
    for scope in ({"account": "cus_1"}, {"account": ""}, {"context": "a b"}, both):
        with pytest.raises(ValueError, match="list_prices"):
            StripeRequest(operation="list_prices", **scope)  # type: ignore[arg-type]
    assert StripeRequest(operation="list_prices", context="org_1/acct_1").context == "org_1/acct_1"


def test_every_call_has_an_endpoint_of_its_own_form() -> None:
    """Names are in snake case and no endpoint has two."""
    assert all(name.replace("_", "").isalpha() and name.islower() for name in CALLS)
    assert len({endpoint.name for endpoint in CALLS.values()}) == len(CALLS)


def test_nothing_is_searched() -> None:
    """Search lags behind writes by a minute or more; lists do not: https://docs.stripe.com/search."""
    assert [endpoint.template for endpoint in CALLS.values() if "search" in endpoint.template] == []
