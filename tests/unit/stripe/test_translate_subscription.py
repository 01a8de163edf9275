"""Translation of subscriptions, in every shape."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from billing_core.events import Notice, ProviderEvent, Translation
from billing_core.model import (
    CustomerId,
    ItemId,
    ItemSnapshot,
    Period,
    Phase,
    PlannedItem,
    PriceId,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantId,
    from_timestamp,
)
from billing_stripe.testing import API_VERSIONS, builders, objects
from billing_stripe.translate import StripeTranslator, translate_object

pytestmark = pytest.mark.stripe

MakeEvent = Callable[..., ProviderEvent]
Json = dict[str, Any]

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
BEGAN = AT - timedelta(days=28)
MONTH = Period(start=AT, end=AT + timedelta(days=31))
SHAPES = [(version, False) for version in API_VERSIONS] + [("2020-08-27", True), ("2024-06-20", True)]
ENDIVE = API_VERSIONS[-1]
CUSTOMER, ACME = CustomerId("cus_1"), TenantId("acme")
USAGE_TYPE = ("items", "data", 1, "price", "recurring", "usage_type")

SEEN = SubscriptionSnapshot(
    subscription_id=SubscriptionId("sub_1"),
    customer_id=CUSTOMER,
    status="active",
    items=(
        ItemSnapshot(
            item_id=ItemId("si_1"),
            price_id=PriceId("price_seats"),
            product_id="prod_app",
            lookup_key="team",
            usage_type="licensed",
            quantity=5,
            interval="month",
            interval_count=1,
            unit_amount=1900,
            price_metadata=(("plan_code", "team"),),
            period=MONTH,
        ),
        ItemSnapshot(
            item_id=ItemId("si_2"),
            price_id=PriceId("price_calls"),
            product_id="prod_api",
            usage_type="metered",
            interval="month",
            interval_count=1,
            unit_amount=2,
            period=MONTH,
        ),
    ),
    currency="usd",
    cancel_at_period_end=False,
    cancel_at=MONTH.end,
    canceled_at=AT,
    trial_ends_at=AT,
    collection_paused=True,
    pause_behavior="void",
    collection_method="charge_automatically",
    cancellation_reason="cancellation_requested",
    payment_method_id="pm_1",
)


@pytest.fixture
def said(make_event: MakeEvent) -> Callable[..., Translation]:
    def translate(object: Json, type: str = "customer.subscription.updated") -> Translation:
        return StripeTranslator().translate(make_event(type, object))

    return translate


Said = Callable[..., Translation]


@pytest.fixture
def shown(subscription: objects.Subscription) -> Json:
    """The subscription in the newest version, to be damaged."""
    return builders.subscription(subscription, ENDIVE)


def only(translation: Translation) -> SubscriptionSnapshot:
    (snapshot,) = translation.snapshots
    assert isinstance(snapshot, SubscriptionSnapshot)
    return snapshot


@pytest.mark.parametrize(("version", "transitional"), SHAPES)
def test_all_api_versions_translate_to_the_same(
    said: Said, subscription: objects.Subscription, version: str, transitional: bool
) -> None:
    """Item periods or the subscription's, with or without a currency: the same snapshot, with nothing missing."""
    rendered = builders.subscription(subscription, version, transitional=transitional)
    known = "cancellation_details" in rendered  # older versions do not say why it is canceled
    seen = attrs.evolve(SEEN, cancellation_reason="cancellation_requested" if known else None)
    translation = said(rendered)
    assert translation == Translation(customer_id=CUSTOMER, tenant_hint=ACME, snapshots=(seen,), began_at=BEGAN)


@pytest.mark.parametrize(("version", "transitional"), SHAPES)
def test_the_test_clock_is_read_in_test_mode_alone(
    subscription: objects.Subscription, version: str, transitional: bool
) -> None:
    """In every version, by its id or expanded; live mode has none, whatever an object shows."""
    source = attrs.evolve(subscription, test_clock="clock_1")
    rendered = builders.subscription(source, version, transitional=transitional)
    expanded = {**rendered, "test_clock": {"id": "clock_1", "object": "test_helpers.test_clock"}}
    read = [translate_object(each) for each in (rendered, expanded, {**rendered, "livemode": True})]
    assert [only(each).test_clock for each in read] == ["clock_1", "clock_1", None]
    assert {each.missing for each in read} == {()}


@pytest.mark.parametrize(
    ("type", "creation", "notice"),
    [
        ("customer.subscription.created", True, None),
        ("customer.subscription.updated", False, None),
        ("customer.subscription.paused", False, None),
        ("customer.subscription.resumed", False, None),
        ("customer.subscription.pending_update_applied", False, None),
        ("customer.subscription.pending_update_expired", False, None),
        ("customer.subscription.trial_will_end", False, Notice.TRIAL_ENDING),
    ],
)
def test_every_event_of_a_live_subscription_has_the_subscription(
    said: Said, shown: Json, type: str, creation: bool, notice: Notice | None
) -> None:
    """All events have the same snapshot; some types add a notice."""
    translation = said(shown, type)
    assert translation == Translation(
        customer_id=CUSTOMER,
        tenant_hint=ACME,
        snapshots=(SEEN,),
        began_at=BEGAN,
        creation=creation,
        notice=notice,
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [("canceled", "canceled"), ("incomplete_expired", "incomplete_expired"), ("active", "canceled"), (7, "canceled")],
)
def test_a_deleted_subscription_has_ended_whatever_its_status(
    said: Said, shown: Json, status: object, expected: str
) -> None:
    """The event type is decisive."""
    assert only(said(shown | {"status": status}, "customer.subscription.deleted")).status == expected


@pytest.mark.parametrize("status", ["active", "paused", "past_due", "some_later_invention"])
def test_status_words_are_kept_verbatim(said: Said, shown: Json, status: str) -> None:
    """Known or not."""
    assert only(said(shown | {"status": status})).status == status


@pytest.mark.parametrize(
    ("changed", "field", "expected"),
    [
        ({"cancel_at_period_end": True}, "cancel_at_period_end", True),
        ({"cancel_at": None}, "cancel_at", None),
        ({"canceled_at": None}, "canceled_at", None),
        ({"ended_at": 1772357400}, "ended_at", AT),
        ({"trial_end": None}, "trial_ends_at", None),
        ({"pause_collection": None}, "collection_paused", False),
        ({"pause_collection": {"behavior": "void"}}, "collection_paused", True),
        ({"pause_collection": {"behavior": "void"}}, "pause_behavior", "void"),
        ({"pause_collection": None}, "pause_behavior", None),
        ({"collection_method": "send_invoice"}, "collection_method", "send_invoice"),
        ({"cancellation_details": {"reason": "payment_failed"}}, "cancellation_reason", "payment_failed"),
        ({"cancellation_details": {"feedback": "too_expensive"}}, "cancellation_feedback", "too_expensive"),
        ({"cancellation_details": None}, "cancellation_reason", None),
        ({"default_payment_method": None}, "payment_method_id", None),
        ({"default_payment_method": {"id": "pm_9", "object": "payment_method"}}, "payment_method_id", "pm_9"),
        ({"default_payment_method": None, "default_source": "card_1"}, "payment_method_id", "card_1"),
        ({"default_payment_method": "pm_9", "default_source": "card_1"}, "payment_method_id", "pm_9"),
        ({"schedule": "sub_sched_1"}, "schedule_id", "sub_sched_1"),
        ({"schedule": {"id": "sub_sched_1"}}, "schedule_id", "sub_sched_1"),
        ({"pending_update": {"expires_at": 1, "subscription_items": None}}, "pending_change", None),
        (
            {"pending_update": {"subscription_items": [{"price": {"id": "price_b"}, "quantity": 2}]}},
            "pending_change",
            Phase(items=(PlannedItem(price_id=PriceId("price_b"), quantity=2),)),
        ),
        ({"currency": "jpy"}, "currency", "jpy"),
        ({"customer": {"id": "cus_9", "object": "customer"}}, "customer_id", "cus_9"),
        ({"customer": None, "customer_account": "acct_9"}, "customer_id", "acct_9"),
    ],
)
def test_a_field_is_translated(said: Said, shown: Json, changed: Json, field: str, expected: object) -> None:
    """One field at a time, with nothing missing."""
    translation = said(shown | changed)
    assert getattr(only(translation), field) == expected
    assert translation.missing == ()


def test_items_of_mixed_intervals_keep_their_own_periods(said: Said, shown: Json) -> None:
    """The item's period takes precedence over the subscription's, and each item has its own."""
    yearly = {"current_period_start": 1767225600, "current_period_end": 1798761600}
    shown["items"]["data"][0] |= yearly
    shown |= {"current_period_start": 1, "current_period_end": 2}
    seats, calls = only(said(shown)).items
    assert seats.period == MONTH
    assert calls.period == Period(start=from_timestamp(1767225600), end=from_timestamp(1798761600))


def test_a_plan_is_read_in_place_of_a_price(said: Said, shown: Json) -> None:
    """Before 2020-05 there were no prices; usage type and product are fields of the plan."""
    for item in shown["items"]["data"]:
        del item["price"]
    del shown["currency"]
    expected = tuple(attrs.evolve(item, lookup_key=None) for item in SEEN.items)
    assert only(said(shown)) == attrs.evolve(SEEN, items=expected)


def test_the_price_takes_precedence_over_the_plan(said: Said, shown: Json) -> None:
    """The plan is a legacy twin and may be outdated."""
    shown["items"]["data"][1]["plan"] |= {"id": "price_old", "usage_type": "metered"}
    assert only(said(shown)) == SEEN


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, (1900, None)),
        ({"unit_amount": None, "unit_amount_decimal": "0.05"}, (None, Decimal("0.05"))),
        ({"unit_amount": 1900, "unit_amount_decimal": "1900.0"}, (1900, None)),
        ({"unit_amount": None, "unit_amount_decimal": None}, (None, None)),
    ],
)
def test_the_unit_amount_is_exact(said: Said, shown: Json, changed: Json, expected: object) -> None:
    """A price may be finer than the minor unit; one with tiers has no unit amount."""
    shown["items"]["data"][1]["price"] |= changed
    item = only(said(shown)).items[0]
    assert (item.unit_amount, item.unit_amount_decimal) == expected


def test_a_plan_that_is_read_in_place_of_a_price_has_an_exact_amount(said: Said, shown: Json) -> None:
    """Its fields have other names."""
    item = shown["items"]["data"][1]
    del item["price"]
    item["plan"] |= {"amount": None, "amount_decimal": "0.5", "interval": "week", "interval_count": 2}
    seen = only(said(shown)).items[0]
    assert (seen.unit_amount, seen.unit_amount_decimal) == (None, Decimal("0.5"))
    assert (seen.interval, seen.interval_count) == ("week", 2)


def test_a_metered_item_has_no_quantity(said: Said, shown: Json) -> None:
    """Even if the payload has one: usage is not a setting."""
    shown["items"]["data"][0]["quantity"] = 3
    assert only(said(shown)) == SEEN


def test_an_expanded_product_is_its_id(said: Said, shown: Json) -> None:
    """Webhooks do not expand references, fetched objects may."""
    shown["items"]["data"][1]["price"]["product"] = {"id": "prod_app", "object": "product"}
    assert only(said(shown)) == SEEN


@pytest.mark.parametrize("has_more", [True, False])
def test_a_subscription_is_complete_unless_stripe_has_more_items(said: Said, shown: Json, has_more: bool) -> None:
    """Events show the first ten items; the rest has to be fetched, and the plan may be among them."""
    shown["items"]["has_more"] = has_more
    translation = said(shown)
    seen = only(translation)
    assert (seen.items_complete, seen.partial, translation.missing) == (not has_more, has_more, ())


def test_missing_items_of_an_ended_subscription_need_no_refetch(said: Said, shown: Json) -> None:
    """They grant and bill nothing any more."""
    shown["items"]["has_more"] = True
    shown["status"] = "canceled"
    seen = only(said(shown))
    assert (seen.items_complete, seen.partial) == (False, False)


@pytest.mark.parametrize(
    ("metadata", "expected", "missing"),
    [
        ({"b": "2", "a": ""}, (("a", ""), ("b", "2")), ()),
        ({"b": 2, "a": "1"}, (("a", "1"),), ("subscription.items.data.price.metadata",)),
        ({"\ud800": "1", "a": "\x00"}, (), ("subscription.items.data.price.metadata",)),
        (["a"], (), ("subscription.items.data.price.metadata",)),
        (None, (), ()),
    ],
)
def test_the_metadata_of_a_price_is_kept(
    said: Said, shown: Json, metadata: object, expected: object, missing: object
) -> None:
    """By key; what cannot be stored is left out, and no key of the merchant's becomes a metric label."""
    shown["items"]["data"][1]["price"]["metadata"] = metadata
    translation = said(shown)
    assert (only(translation).items[0].price_metadata, translation.missing) == (expected, missing)


@pytest.mark.parametrize(
    ("path", "damage", "missing"),
    [
        (("items",), None, "subscription.items"),
        (("items", "data"), "none", "subscription.items.data"),
        (("items", "data", 0, "id"), 7, "subscription.items.data.id"),
        (("items", "data", 0, "price"), {}, "subscription.items.data.price"),
        (("items", "data", 0, "quantity"), 2**63, None),
        (("items", "data", 1, "quantity"), 2**63, "subscription.items.data.quantity"),
        (("items", "data", 1, "quantity"), True, "subscription.items.data.quantity"),
        (("items", "data", 1, "quantity"), 5.0, "subscription.items.data.quantity"),
        (("items", "data", 1, "current_period_end"), None, "subscription.current_period"),
        (("items", "data", 1, "current_period_end"), 1, "subscription.items.data.current_period_end"),
        (USAGE_TYPE, "new", "subscription.items.data.price.recurring.usage_type"),
        (("items", "data", 1), "junk", "subscription.items.data"),
        (("cancel_at",), "tomorrow", "subscription.cancel_at"),
        (("cancel_at",), -1, "subscription.cancel_at"),
        (("cancel_at",), 10**12, "subscription.cancel_at"),
        (("cancel_at_period_end",), None, "subscription.cancel_at_period_end"),
        (("cancel_at_period_end",), "no", "subscription.cancel_at_period_end"),
        (("collection_method",), "x\x00", "subscription.collection_method"),
        (("currency",), "USD", "subscription.currency"),
        (("metadata",), [], "subscription.metadata"),
        (("metadata", "tenant_id"), 7, "subscription.metadata.tenant_id"),
    ],
)
def test_an_unreadable_field_is_absent_and_reported(
    said: Said, shown: Json, path: tuple[str | int, ...], damage: object, missing: str | None
) -> None:
    """By its path in the schema, never by its content; the rest of the object is used."""
    *way, last = path
    place: Any = shown
    for step in way:
        place = place[step]
    place[last] = damage
    translation = said(shown)
    assert only(translation).status == "active"
    assert (missing in translation.missing) if missing else translation.missing == ()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"id": None}, "unreadable_object"),
        ({"id": "x" * 256}, "unreadable_object"),
        ({"status": None}, "unreadable_object"),
        ({"customer": None}, "no_customer"),
        ({"customer": {"object": "customer"}}, "no_customer"),
        ({"object": "invoice"}, "unexpected_object"),
        ({"object": 7}, "unexpected_object"),
    ],
)
def test_a_subscription_without_required_fields_is_ignored(said: Said, shown: Json, damage: Json, reason: str) -> None:
    """With a reason for the metrics."""
    translation = said(shown | damage)
    assert (translation.ignored, translation.snapshots) == (reason, ())


@pytest.mark.parametrize("tenant", ["acme", "Acme & Söhne", "t" * 200, "00000000-0000-0000-0000-000000000000"])
def test_a_tenant_in_metadata_is_a_hint(said: Said, shown: Json, tenant: str) -> None:
    """As it is written there; whether it can be a tenant id is decided by the rules."""
    translation = said(shown | {"metadata": {"tenant_id": tenant}})
    assert (translation.tenant_hint, translation.missing) == (tenant, ())


@pytest.mark.parametrize("tenant", ["", 7, ["acme"]])
def test_an_unreadable_tenant_is_not_a_hint(said: Said, shown: Json, tenant: object) -> None:
    """It is reported as unreadable instead."""
    translation = said(shown | {"metadata": {"tenant_id": tenant}})
    assert translation.tenant_hint is None
    assert translation.missing == ("subscription.metadata.tenant_id",)


@pytest.mark.parametrize("metadata", [{}, {"tenant": "acme"}, None])
def test_metadata_without_a_tenant_is_ignored(said: Said, shown: Json, metadata: object) -> None:
    """Most objects have none; that is not a fault."""
    translation = said(shown | {"metadata": metadata})
    assert (translation.tenant_hint, translation.missing) == (None, ())
