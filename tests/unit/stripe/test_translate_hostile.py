"""No content makes the translation fail, and nothing unsafe for a database or a browser passes."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_core.events import ProviderEvent, Translation
from billing_core.model import SubscriptionSnapshot
from billing_stripe.testing import API_VERSIONS, builders, objects
from billing_stripe.testing.samples import sample_event
from billing_stripe.translate import TRANSLATORS, StripeTranslator

pytestmark = pytest.mark.stripe

MakeEvent = Callable[..., ProviderEvent]

TRANSLATOR = StripeTranslator()
VERSIONS = st.sampled_from(["2020-08-27", "2025-02-24.acacia", API_VERSIONS[-1]])
AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
END_OF_TIME = datetime(3000, 1, 1, tzinfo=UTC)
ODD_INTEGERS = st.sampled_from([-1, 0, 2**31, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**40])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | ODD_INTEGERS | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "data", "object", "price", "metadata", "tenant_id", "x"]), inner)
    ),
    max_leaves=6,
)
with_fixtures = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)


def places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every value within a JSON value, including itself."""
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from places(member, (*path, key))


def damaged(value: Any, path: tuple[Any, ...], other: object) -> Any:
    """Return the JSON value with one value replaced."""
    if not path:
        return other
    step, *rest = path
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[step] = damaged(value[step], tuple(rest), other)
    return copy


def scalars(part: object) -> Iterator[object]:
    """Yield every scalar in nested tuples and lists."""
    if isinstance(part, (tuple, list)):
        for member in part:
            yield from scalars(member)
    else:
        yield part


def assert_fit_for_use(translation: Translation) -> None:
    for value in scalars(attrs.astuple(translation)):
        if isinstance(value, str):
            assert "\x00" not in value
            assert len(value.encode()) <= 20_000
        elif isinstance(value, int):
            assert -(2**63) <= value < 2**63
        elif isinstance(value, datetime):
            assert value < END_OF_TIME
    for name in translation.missing:
        assert name.replace(".", "").replace("_", "").isalnum()
    if translation.ignored is not None:
        assert (translation.snapshots, translation.notice) == ((), None)


def rendered(type: str, version: str) -> dict[str, Any]:
    """Return the object of a sample event, in the newest version if this one has no such object."""
    sample = sample_event(type, version) or sample_event(type, API_VERSIONS[-1])
    assert sample is not None
    shown: dict[str, Any] = sample["data"]["object"]
    return shown


@with_fixtures
@given(data=st.data(), type=st.sampled_from(sorted(TRANSLATORS)), version=VERSIONS, other=ANYTHING)
def test_any_value_in_any_place_is_handled(
    make_event: MakeEvent, data: st.DataObject, type: str, version: str, other: object
) -> None:
    """One field at a time gets arbitrary JSON: the object or anything below."""
    shown = rendered(type, version)
    broken = damaged(shown, data.draw(st.sampled_from(list(places(shown)))), other)
    body = json.dumps({"object": "event", "data": {"object": broken, "previous_attributes": data.draw(ANYTHING)}})
    event = make_event(type, {}, body=body.encode())
    assert_fit_for_use(TRANSLATOR.translate(event))
    previous = TRANSLATOR.translate_previous(event)
    if previous is not None:
        assert_fit_for_use(previous)


@with_fixtures
@given(data=st.data(), version=VERSIONS, other=ANYTHING)
def test_any_previous_value_is_handled(
    make_event: MakeEvent, invoice: objects.Invoice, data: st.DataObject, version: str, other: object
) -> None:
    """Previous attributes can be arbitrary, too."""
    shown = builders.invoice(invoice, version)
    previous = damaged(shown, data.draw(st.sampled_from(list(places(shown))[1:])), other)
    translation = TRANSLATOR.translate_previous(make_event("invoice.updated", shown, previous=previous))
    if translation is not None:
        assert_fit_for_use(translation)


def test_hundreds_of_items_are_read(make_event: MakeEvent, subscription: objects.Subscription) -> None:
    """Far more than Stripe allows, sorted by id."""
    items = tuple(attrs.evolve(subscription.items[0], item_id=f"si_{n:03}") for n in range(300))
    shown = builders.subscription(attrs.evolve(subscription, items=items[::-1]), API_VERSIONS[-1])
    (seen,) = TRANSLATOR.translate(make_event("customer.subscription.updated", shown)).snapshots
    assert isinstance(seen, SubscriptionSnapshot)
    assert [item.item_id for item in seen.items] == [item.item_id for item in items]


@pytest.mark.parametrize("type", ["payout.paid", "account.updated", "", "customer.subscription", "invoice.paid "])
def test_a_type_that_is_not_in_the_table_is_ignored(make_event: MakeEvent, type: str) -> None:
    """Stripe has hundreds of types, and adds more."""
    assert TRANSLATOR.translate(make_event(type, {"object": "payout"})) == Translation(ignored="unhandled_type")


@pytest.mark.parametrize(
    "type", ["v1.billing.meter.no_meter_found", "v1.customer.subscription.updated", "invoice.paid"]
)
def test_a_thin_event_is_recognized_by_its_object(make_event: MakeEvent, type: str) -> None:
    """It has no object to read, whatever its type."""
    body = b'{"object": "v2.core.event", "data": {"object": {"object": "invoice"}}}'
    assert TRANSLATOR.translate(make_event(type, {}, body=body)) == Translation(thin=True)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "unreadable_body"),
        (b"[]", "unreadable_body"),
        (b"{}", "unreadable_object"),
        (b'{"data": 7}', "unreadable_object"),
        (b'{"data": {"object": []}}', "unreadable_object"),
        (b'{"data": {"object": {}}}', "unreadable_object"),
        (b'{"data": {"object": {"object": "subscription"}}}', "unexpected_object"),
    ],
)
def test_a_body_without_an_invoice_is_ignored(make_event: MakeEvent, body: bytes, reason: str) -> None:
    """The type alone does not determine the object."""
    translation = TRANSLATOR.translate(make_event("invoice.paid", {}, body=body))
    assert (translation.ignored, translation.snapshots) == (reason, ())
