"""Meters, their events, and the usage that renewals bill, through Stripe's SDK."""

from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
import stripe
from tests.unit.fake_stripe.conftest import JANUARY, PRO, Shop

from billing_stripe.testing import API_VERSIONS


async def meter(shop: Shop, formula: str = "sum", **params: Any) -> Any:
    """Count API calls."""
    given: Any = {
        "display_name": "API calls",
        "event_name": "api_calls",
        "default_aggregation": {"formula": formula},
        **params,
    }
    return await shop.api.billing.meters.create_async(given)


async def price(shop: Shop, meter_id: str, **params: Any) -> Any:
    """Bill what a meter counts, 5 cents each."""
    given: Any = {
        "product": "prod_app",
        "currency": "usd",
        "unit_amount": 5,
        "recurring": {"interval": "month", "usage_type": "metered", "meter": meter_id},
        **params,
    }
    return await shop.api.prices.create_async(given)


async def report(shop: Shop, customer_id: str, value: str = "1", at: datetime | None = None, **params: Any) -> Any:
    """Report usage."""
    given: Any = {"event_name": "api_calls", "payload": {"stripe_customer_id": customer_id, "value": value}, **params}
    if at is not None:
        given["timestamp"] = int(at.timestamp())
    return await shop.api.billing.meter_events.create_async(given)


async def used(shop: Shop, meter_id: str, customer_id: str, days: int, **params: Any) -> list[tuple[int, float]]:
    """Return start and value of the summaries of the first days of the year, newest first."""
    midnight = JANUARY.replace(hour=0)
    given: Any = {
        "customer": customer_id,
        "start_time": int(midnight.timestamp()),
        "end_time": int((midnight + timedelta(days=days)).timestamp()),
        **params,
    }
    found = await shop.api.billing.meters.event_summaries.list_async(meter_id, given)
    return [(summary.start_time, summary.aggregated_value) for summary in found.data]


# --- meters ---------------------------------------------------------------------------------------------------------


async def test_a_meter_lives_from_creation_to_reactivation(shop: Shop) -> None:
    """Each step has its event; while it is inactive another may count the same events."""
    created = await meter(shop)
    assert (created.status, created.customer_mapping.event_payload_key) == ("active", "stripe_customer_id")
    renamed = await shop.api.billing.meters.update_async(created.id, {"display_name": "Calls"})
    assert renamed.display_name == "Calls"
    inactive = await shop.api.billing.meters.deactivate_async(created.id)
    assert (inactive.status, inactive.status_transitions.deactivated_at) == ("inactive", int(JANUARY.timestamp()))
    with pytest.raises(stripe.InvalidRequestError, match="already inactive"):
        await shop.api.billing.meters.deactivate_async(created.id)
    second = await meter(shop)
    with pytest.raises(stripe.InvalidRequestError, match="already an active meter"):
        await shop.api.billing.meters.reactivate_async(created.id)
    await shop.api.billing.meters.deactivate_async(second.id)
    assert (await shop.api.billing.meters.reactivate_async(created.id)).status == "active"
    with pytest.raises(stripe.InvalidRequestError, match="already active"):
        await shop.api.billing.meters.reactivate_async(created.id)
    assert shop.events("billing.meter") == [
        "billing.meter.created",
        "billing.meter.updated",
        "billing.meter.deactivated",
        "billing.meter.created",
        "billing.meter.deactivated",
        "billing.meter.reactivated",
    ]
    listed = await shop.api.billing.meters.list_async({"status": "inactive"})
    assert [each.id for each in listed.data] == [second.id]
    assert (await shop.api.billing.meters.retrieve_async(created.id)).status == "active"


async def test_two_active_meters_cannot_count_the_same_events(shop: Shop) -> None:
    """Which of them would a report be for?"""
    await meter(shop)
    with pytest.raises(stripe.InvalidRequestError, match="already an active meter"):
        await meter(shop)


async def test_a_price_names_an_active_meter(shop: Shop) -> None:
    """And is metered itself."""
    counted = await meter(shop)
    assert (await price(shop, counted.id)).recurring.meter == counted.id
    for recurring in (
        {"interval": "month", "usage_type": "metered", "meter": "mtr_unknown"},
        {"interval": "month", "meter": counted.id},
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await price(shop, counted.id, recurring=recurring)
        assert refused.value.param == "recurring[meter]"
    await shop.api.billing.meters.deactivate_async(counted.id)
    with pytest.raises(stripe.InvalidRequestError, match="inactive meter"):
        await price(shop, counted.id)


# --- events ---------------------------------------------------------------------------------------------------------


async def test_an_event_counts_once(shop: Shop) -> None:
    """A second one of the same identifier is refused, and the client is told not to repeat it."""
    counted, customer = await meter(shop), await shop.customer()
    event = await report(shop, customer.id, "25", identifier="job-1")
    assert (event.identifier, event.payload["value"], event.timestamp) == ("job-1", "25", int(JANUARY.timestamp()))
    with pytest.raises(stripe.InvalidRequestError, match="event already exists with identifier job-1") as found:
        await report(shop, customer.id, "25", identifier="job-1")
    assert found.value.headers is not None
    assert (found.value.http_status, found.value.headers["Stripe-Should-Retry"]) == (400, "false")
    assert [value for _, value in await used(shop, counted.id, customer.id, 1)] == [25]


async def test_events_without_identifier_are_given_one(shop: Shop) -> None:
    """Each its own."""
    counted, customer = await meter(shop), await shop.customer()
    first, second = await report(shop, customer.id), await report(shop, customer.id)
    assert first.identifier != second.identifier
    assert [value for _, value in await used(shop, counted.id, customer.id, 1)] == [2]


@pytest.mark.parametrize(
    ("at", "accepted"),
    [
        (JANUARY - timedelta(days=35), True),
        (JANUARY - timedelta(days=35, seconds=1), False),
        (JANUARY + timedelta(minutes=5), True),
        (JANUARY + timedelta(minutes=5, seconds=1), False),
    ],
)
async def test_usage_is_reported_in_time(shop: Shop, at: datetime, accepted: bool) -> None:
    """For the last 35 days, and for clocks that are up to five minutes ahead."""
    await meter(shop)
    customer = await shop.customer()
    if accepted:
        assert (await report(shop, customer.id, at=at)).timestamp == int(at.timestamp())
        return
    with pytest.raises(stripe.InvalidRequestError, match="The event timestamp cannot be more than") as refused:
        await report(shop, customer.id, at=at)
    assert refused.value.param == "timestamp"


@pytest.mark.parametrize(
    ("payload", "param"),
    [
        ({"value": "1"}, "payload[stripe_customer_id]"),
        ({"value": "1", "stripe_customer_id": "cus_unknown"}, "payload[stripe_customer_id]"),
        ({"stripe_customer_id": "CUSTOMER"}, "payload[value]"),
        ({"stripe_customer_id": "CUSTOMER", "value": "many"}, "payload[value]"),
        ({"stripe_customer_id": "CUSTOMER", "value": "NaN"}, "payload[value]"),
        ({"stripe_customer_id": "CUSTOMER", "value": ""}, "payload[value]"),
    ],
)
async def test_a_payload_names_a_customer_and_a_number(shop: Shop, payload: dict[str, str], param: str) -> None:
    """The error names the key at fault."""
    await meter(shop)
    customer = await shop.customer()
    given: Any = {key: text.replace("CUSTOMER", customer.id) for key, text in payload.items()}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.api.billing.meter_events.create_async({"event_name": "api_calls", "payload": given})
    assert refused.value.param == param


async def test_an_inactive_meter_takes_no_events(shop: Shop) -> None:
    """Nor does an unknown one."""
    counted, customer = await meter(shop), await shop.customer()
    await shop.api.billing.meters.deactivate_async(counted.id)
    with pytest.raises(stripe.InvalidRequestError, match='No active meter found for event name "api_calls"') as refused:
        await report(shop, customer.id)
    assert (refused.value.http_status, refused.value.param) == (400, "event_name")


async def test_an_event_can_be_withdrawn_for_a_day(shop: Shop) -> None:
    """It no longer counts; its identifier stays taken."""
    counted, customer = await meter(shop), await shop.customer()
    for identifier in ("job-1", "job-2"):
        await report(shop, customer.id, identifier=identifier)
    given: Any = {"event_name": "api_calls", "type": "cancel", "cancel": {"identifier": "job-1"}}
    adjustment = await shop.api.billing.meter_event_adjustments.create_async(given)
    assert (adjustment.status, adjustment.cancel.identifier) == ("pending", "job-1")
    assert [value for _, value in await used(shop, counted.id, customer.id, 1)] == [1]
    with pytest.raises(stripe.InvalidRequestError, match="already exists"):
        await report(shop, customer.id, identifier="job-1")
    shop.fake.advance(timedelta(hours=25))
    for identifier, message in (("job-2", "within 24 hours"), ("job-3", "No such meter event")):
        given["cancel"] = {"identifier": identifier}
        with pytest.raises(stripe.InvalidRequestError, match=message):
            await shop.api.billing.meter_event_adjustments.create_async(given)


# --- sums -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("formula", "value"), [("sum", 7), ("count", 3), ("last", 1)])
async def test_a_meter_adds_up_by_its_formula(shop: Shop, formula: str, value: int) -> None:
    """`last` is that of the latest time, whenever it was reported."""
    counted, customer = await meter(shop, formula), await shop.customer()
    for hours, amount in ((-2, "4"), (0, "1"), (-1, "2")):
        await report(shop, customer.id, amount, JANUARY + timedelta(hours=hours))
    other = await shop.customer()
    await report(shop, other.id, "100")
    assert [summed for _, summed in await used(shop, counted.id, customer.id, 1)] == [value]


async def test_summaries_are_parted_by_windows(shop: Shop) -> None:
    """In UTC, newest first, without those in which nothing was used; both ends are ends of windows."""
    counted, customer = await meter(shop), await shop.customer()
    await report(shop, customer.id, "0.25")
    shop.fake.advance(timedelta(days=2))
    await report(shop, customer.id, "3")
    midnight = int(JANUARY.replace(hour=0).timestamp())
    assert await used(shop, counted.id, customer.id, 3) == [(midnight, 3.25)]
    by_day = await used(shop, counted.id, customer.id, 3, value_grouping_window="day")
    assert by_day == [(midnight + 2 * 86400, 3), (midnight, 0.25)]
    by_hour = await used(shop, counted.id, customer.id, 1, value_grouping_window="hour")
    assert by_hour == [(midnight + 12 * 3600, 0.25)]
    for wrong in (
        {"start_time": midnight + 1},
        {"start_time": midnight + 60, "value_grouping_window": "hour"},
        {"start_time": midnight + 3600, "value_grouping_window": "day"},
        {"start_time": midnight + 3 * 86400},
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await used(shop, counted.id, customer.id, 3, **wrong)
        assert refused.value.param == "start_time"


# --- billing --------------------------------------------------------------------------------------------------------


async def test_renewals_bill_what_the_meter_counted(shop: Shop) -> None:
    """Usage of the period that ends, up to its last second; the next invoice begins with its first."""
    metered = await price(shop, (await meter(shop)).id)
    customer = await shop.customer()
    params: Any = {"customer": customer.id, "items": [{"price": PRO.price_id}, {"price": metered.id}]}
    subscription = await shop.api.subscriptions.create_async(params)
    shop.fake.advance(timedelta(days=30, hours=23, minutes=55))
    february = JANUARY + timedelta(days=31)
    await report(shop, customer.id, "10", JANUARY)
    await report(shop, customer.id, "2.5", february - timedelta(seconds=1))
    preview = await shop.api.invoices.create_preview_async({"subscription": subscription.id})
    assert preview.total == 2000 + 63
    shop.fake.advance(timedelta(minutes=5))
    await report(shop, customer.id, "7", february)
    shop.fake.advance(timedelta(hours=2))
    renewal = (await shop.invoices(subscription.id))[0]
    usage = renewal.lines.data[0]
    assert (renewal.status, renewal.total) == ("paid", 2000 + 63)
    assert (usage.amount, usage.quantity, str(usage.quantity_decimal)) == (63, 2 + 10, "12.5")
    shop.fake.advance(timedelta(days=28))
    assert (await shop.invoices(subscription.id))[0].total == 2000 + 35


async def test_usage_on_a_test_clock_is_dated_by_that_clock(shop: Shop) -> None:
    """It may be far from the time of the account."""
    counted = await meter(shop)
    metered = await price(shop, counted.id)
    clock = await shop.clock()
    customer = await shop.customer(clock=clock.id)
    params: Any = {"customer": customer.id, "items": [{"price": metered.id}]}
    subscription = await shop.api.subscriptions.create_async(params)
    await shop.advance(clock.id, JANUARY + timedelta(days=50))
    await report(shop, customer.id, "3")
    with pytest.raises(stripe.InvalidRequestError, match="35 days"):
        await report(shop, customer.id, at=JANUARY)
    await shop.advance(clock.id, JANUARY + timedelta(days=60))
    assert (await shop.invoices(subscription.id))[0].total == 15


async def test_corrections_below_zero_bill_nothing(shop: Shop) -> None:
    """Usage may be taken back by a negative value; an invoice never pays for it."""
    metered = await price(shop, (await meter(shop)).id)
    customer = await shop.customer()
    params: Any = {"customer": customer.id, "items": [{"price": metered.id}]}
    subscription = await shop.api.subscriptions.create_async(params)
    await report(shop, customer.id, "-3")
    shop.fake.advance(timedelta(days=32))
    assert (await shop.invoices(subscription.id))[0].total == 0


async def stream(shop: Shop, token: str, *events: Any, path: str = "v2/billing/meter_event_stream") -> tuple[int, Any]:
    """Send many events at once, and return status and answer."""
    headers = {"Authorization": f"Bearer {token}", "Stripe-Version": API_VERSIONS[-1]}
    async with (
        aiohttp.ClientSession(f"{shop.fake.url}/") as session,
        session.post(path, json={"events": events}, headers=headers) as response,
    ):
        return response.status, await response.json()


async def session_token(shop: Shop) -> str:
    """Begin a session and return its token."""
    session: Any = await shop.client.v2.billing.meter_event_session.create_async()
    token: str = session.authentication_token
    return token


async def test_a_session_takes_many_events_at_once(shop: Shop) -> None:
    """They count like those that are sent one by one, in either generation of the API."""
    counted, customer = await meter(shop), await shop.customer()
    event = {"event_name": "api_calls", "payload": {"stripe_customer_id": customer.id, "value": "3"}}
    assert await stream(shop, await session_token(shop), event, {**event, "identifier": "a"}) == (200, {})
    one: Any = await shop.client.v2.billing.meter_events.create_async({**event, "identifier": "b"})
    assert (one.object, one.identifier) == ("v2.billing.meter_event", "b")
    start = int(JANUARY.timestamp())
    span: Any = {"customer": customer.id, "start_time": start - 3600, "end_time": start + 3600}
    found = await shop.api.billing.meters.event_summaries.list_async(counted.id, span)
    assert [summary.aggregated_value for summary in found.data] == [9]


async def test_the_stream_takes_all_events_or_none(shop: Shop) -> None:
    """So that the test that sent a bad one notices."""
    await meter(shop)
    customer, token = await shop.customer(), await session_token(shop)
    payload = {"stripe_customer_id": customer.id, "value": "3"}
    event = {"event_name": "api_calls", "payload": payload, "identifier": "a"}
    status, answer = await stream(shop, token, event, event)
    assert (status, "identifier a" in answer["error"]["message"]) == (400, True)
    assert await stream(shop, token, event) == (200, {})


async def test_only_the_token_of_a_session_opens_the_stream_and_for_a_while(shop: Shop) -> None:
    """Neither the API key, nor the token after a quarter of an hour; and it opens nothing else."""
    token = await session_token(shop)
    assert (await stream(shop, shop.fake.secret_key))[0] == 401
    assert (await stream(shop, token, path="v2/billing/meter_events"))[0] == 401
    shop.fake.advance(timedelta(minutes=15))
    status, answer = await stream(shop, token)
    assert (status, answer["error"]["type"]) == (401, "temporary_session_expired")
