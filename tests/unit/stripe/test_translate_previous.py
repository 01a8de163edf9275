"""The object before an update, which decides ties within one second."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from billing_core.events import ProviderEvent
from billing_core.model import SubscriptionSnapshot
from billing_stripe.testing import API_VERSIONS, builders, objects
from billing_stripe.translate import StripeTranslator
from billing_stripe.translate.previous import overlay

pytestmark = pytest.mark.stripe

MakeEvent = Callable[..., ProviderEvent]
Json = dict[str, Any]

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
NEXT_MONTH = objects.Span(AT + timedelta(days=31), AT + timedelta(days=61))
SHAPES = [(version, False) for version in API_VERSIONS] + [("2020-08-27", True), ("2024-06-20", True)]
ENDIVE = API_VERSIONS[-1]
TRANSLATOR = StripeTranslator()


def renewed(before: objects.Subscription) -> objects.Subscription:
    return attrs.evolve(before, items=tuple(attrs.evolve(item, period=NEXT_MONTH) for item in before.items))


def more_seats(before: objects.Subscription) -> objects.Subscription:
    metered, seats = before.items
    return attrs.evolve(before, items=(metered, attrs.evolve(seats, quantity=9)))


def other_plan(before: objects.Subscription) -> objects.Subscription:
    metered, seats = before.items
    price = attrs.evolve(seats.price, price_id="price_pro", lookup_key="pro")
    return attrs.evolve(before, items=(metered, attrs.evolve(seats, price=price)))


def item_removed(before: objects.Subscription) -> objects.Subscription:
    return attrs.evolve(before, items=before.items[1:])


def item_added(before: objects.Subscription) -> objects.Subscription:
    return attrs.evolve(before, items=(*before.items, attrs.evolve(before.items[1], item_id="si_3")))


def items_swapped(before: objects.Subscription) -> objects.Subscription:
    return attrs.evolve(before, items=before.items[::-1], status="past_due")


def cancellation_withdrawn(before: objects.Subscription) -> objects.Subscription:
    return attrs.evolve(before, cancel_at=None, canceled_at=None, pause_collection=None)


def trial_dropped(before: objects.Subscription) -> objects.Subscription:
    return attrs.evolve(before, trial=None, status="past_due", metadata={})


@pytest.mark.parametrize(("version", "transitional"), SHAPES)
@pytest.mark.parametrize(
    "change",
    [
        renewed,
        more_seats,
        other_plan,
        item_removed,
        item_added,
        items_swapped,
        cancellation_withdrawn,
        trial_dropped,
    ],
)
def test_an_update_contains_the_subscription_before_it(
    make_event: MakeEvent,
    subscription: objects.Subscription,
    change: Callable[[objects.Subscription], objects.Subscription],
    version: str,
    transitional: bool,
) -> None:
    """The same snapshot as in the event before, in every shape and both directions."""
    for old, new in ((subscription, change(subscription)), (change(subscription), subscription)):
        before = builders.subscription(old, version, transitional=transitional)
        after = builders.subscription(new, version, transitional=transitional)
        event = make_event("customer.subscription.updated", after, previous=builders.previous_attributes(before, after))
        previous = TRANSLATOR.translate_previous(event)
        assert previous is not None
        assert previous.snapshots == TRANSLATOR.translate(make_event("customer.subscription.created", before)).snapshots
        assert previous.snapshots != TRANSLATOR.translate(event).snapshots


@pytest.mark.parametrize(("version", "transitional"), SHAPES)
def test_an_update_contains_the_invoice_before_it(
    make_event: MakeEvent, invoice: objects.Invoice, version: str, transitional: bool
) -> None:
    """Nested members and whole lists of lines return to their old values."""
    draft = attrs.evolve(
        invoice, status="draft", number=None, amount_paid=0, paid_at=None, finalized_at=None, lines=invoice.lines[:2]
    )
    before, after = (builders.invoice(source, version, transitional=transitional) for source in (draft, invoice))
    event = make_event("invoice.updated", after, previous=builders.previous_attributes(before, after))
    previous = TRANSLATOR.translate_previous(event)
    assert previous is not None
    assert previous.snapshots == TRANSLATOR.translate(make_event("invoice.created", before)).snapshots


@pytest.mark.parametrize("identified", [True, False])
def test_list_members_may_be_partial(
    make_event: MakeEvent, subscription: objects.Subscription, identified: bool
) -> None:
    """Members are matched by id or by index; what is absent did not change."""
    after = builders.subscription(subscription, ENDIVE)
    old_seats: Json = {"id": "si_1", "quantity": 3} if identified else {"quantity": 3}
    members = [old_seats, {"id": "si_2"}] if identified else [{}, old_seats]
    event = make_event("customer.subscription.updated", after, previous={"items": {"data": members}})
    previous, now = TRANSLATOR.translate_previous(event), TRANSLATOR.translate(event)
    assert previous is not None
    (before,), (seen,) = previous.snapshots, now.snapshots
    assert isinstance(before, SubscriptionSnapshot)
    assert isinstance(seen, SubscriptionSnapshot)
    seats, calls = seen.items
    assert before == attrs.evolve(seen, items=(attrs.evolve(seats, quantity=3), calls))


@pytest.mark.parametrize("previous", [None, {}, [], "x", {"id": 7}])
def test_an_update_without_previous_values_has_no_before(
    make_event: MakeEvent, subscription: objects.Subscription, previous: object
) -> None:
    """There is nothing to overlay, or the result is unreadable."""
    shown = builders.subscription(subscription, ENDIVE)
    event = make_event("customer.subscription.updated", shown)
    body = event.body.replace(b'"data": {', b'"data": {"previous_attributes": %s,' % json.dumps(previous).encode(), 1)
    assert TRANSLATOR.translate_previous(attrs.evolve(event, body=body)) is None


@pytest.mark.parametrize("type", ["customer.subscription.created", "invoice.paid", "price.updated"])
def test_other_events_have_no_before(make_event: MakeEvent, subscription: objects.Subscription, type: str) -> None:
    """Only updates have previous values, and only handled types are read."""
    shown = builders.subscription(subscription, ENDIVE)
    assert TRANSLATOR.translate_previous(make_event(type, shown, previous={"status": "trialing"})) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data": []}', b'{"data": {"previous_attributes": {"a": 1}}}'])
def test_a_body_that_is_not_an_event_has_no_before(make_event: MakeEvent, body: bytes) -> None:
    """The stored body may be anything."""
    assert TRANSLATOR.translate_previous(make_event("invoice.updated", {}, body=body)) is None


@pytest.mark.parametrize(
    ("current", "previous", "before"),
    [
        ({"a": 1, "b": 2}, {"a": 0}, {"a": 0, "b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 0}}, {"a": {"b": 0, "c": 2}}),
        ({"a": 1}, {"a": None}, {"a": None}),
        ({}, {"a": 1}, {"a": 1}),
        ({"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": [1, 2, 3]}, {"a": [2]}, {"a": [2]}),
        ({"a": [{"id": "x", "n": 1}, {"id": "y", "n": 2}]}, {"a": [{"id": "y"}]}, {"a": [{"id": "y", "n": 2}]}),
        ({"a": [{"id": "x", "n": 1}]}, {"a": [{"id": "gone", "m": 0}]}, {"a": [{"id": "gone", "m": 0}]}),
        ({"a": [{"n": 1, "m": 1}]}, {"a": [{"n": 0}, {"n": 2}]}, {"a": [{"n": 0, "m": 1}, {"n": 2}]}),
        ({"a": [7, {"id": []}]}, {"a": [{"id": []}, "x"]}, {"a": [{"id": []}, "x"]}),
    ],
)
def test_old_values_replace_the_new(current: Json, previous: Json, before: Json) -> None:
    """Objects merge, lists are replaced, null replaces; a list member keeps its other values."""
    assert overlay(current, previous) == before
