"""Test clocks of the fake Stripe, and a year on one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from tests.unit.fake_stripe.conftest import JANUARY, Shop


async def test_advancing_takes_time(shop: Shop) -> None:
    """The answer comes before the work is done."""
    clock = await shop.clock()
    advancing = await shop.api.test_helpers.test_clocks.advance_async(
        clock.id, {"frozen_time": int((JANUARY + timedelta(days=1)).timestamp())}
    )
    assert (advancing.status, advancing.frozen_time) == ("advancing", int(JANUARY.timestamp()))
    await shop.advance(clock.id, JANUARY + timedelta(days=1))
    ready = await shop.api.test_helpers.test_clocks.retrieve_async(clock.id)
    assert (ready.status, ready.frozen_time) == ("ready", int((JANUARY + timedelta(days=1)).timestamp()))
    assert shop.events("test_helpers") == [
        "test_helpers.test_clock.created",
        "test_helpers.test_clock.advancing",
        "test_helpers.test_clock.ready",
    ]


@pytest.mark.parametrize("days", [-1, 0, 70])
async def test_a_step_goes_forward_by_at_most_two_intervals(days: int, shop: Shop) -> None:
    """Of the shortest subscription."""
    clock = await shop.clock()
    await shop.subscribe((await shop.customer(clock=clock.id)).id)
    target = int((JANUARY + timedelta(days=days)).timestamp())
    with pytest.raises(stripe.InvalidRequestError):
        await shop.api.test_helpers.test_clocks.advance_async(clock.id, {"frozen_time": target})


async def test_a_year_of_a_tenant(shop: Shop) -> None:
    """A trial, renewals, a failed payment that recovers, an upgrade, and the end: told by objects and by events."""
    clock = await shop.clock()
    customer = await shop.customer(clock=clock.id)
    subscription = await shop.subscribe(customer.id, trial_period_days=14)
    await shop.advance(clock.id, datetime(2026, 2, 20, tzinfo=UTC))
    assert [invoice.total for invoice in await shop.invoices(subscription.id)] == [2000, 2000, 0]

    await shop.use_card(customer.id, "pm_card_chargeCustomerFail")
    await shop.advance(clock.id, datetime(2026, 3, 16, tzinfo=UTC))
    assert (await shop.subscription(subscription.id)).status == "past_due"
    await shop.use_card(customer.id, "pm_card_visa")
    await shop.advance(clock.id, datetime(2026, 3, 20, tzinfo=UTC))
    assert (await shop.subscription(subscription.id)).status == "active"

    item = (await shop.subscription(subscription.id))["items"].data[0]
    change: Any = {"items": [{"id": item.id, "price": "price_team", "quantity": 4}], "proration_behavior": "none"}
    await shop.api.subscriptions.update_async(subscription.id, change)
    await shop.advance(clock.id, datetime(2026, 12, 20, tzinfo=UTC))
    await shop.api.subscriptions.update_async(subscription.id, {"cancel_at_period_end": True})
    await shop.advance(clock.id, datetime(2027, 1, 20, tzinfo=UTC))

    ended = await shop.subscription(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", int(datetime(2027, 1, 15, 12, tzinfo=UTC).timestamp()))
    invoices = list(reversed(await shop.invoices(subscription.id)))
    assert [invoice.total for invoice in invoices] == [0, 2000, 2000, 2000, *[20000] * 9]
    assert {invoice.status for invoice in invoices} == {"paid"}
    assert [datetime.fromtimestamp(invoice.created, UTC).month for invoice in invoices] == [1, *range(1, 13)]
    assert shop.events("customer.subscription.deleted", "customer.subscription.trial_will_end") == [
        "customer.subscription.trial_will_end",
        "customer.subscription.deleted",
    ]
    assert len(shop.events("invoice.upcoming")) == 11
    assert {entry.created_at for entry in shop.fake.account.journal.entries} == {JANUARY}


async def test_renewals_keep_the_last_day_of_the_month(shop: Shop) -> None:
    """From the 31st of January to the 28th of February and the 31st of March."""
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    clock = await shop.api.test_helpers.test_clocks.create_async({"frozen_time": int(start.timestamp())})
    customer = await shop.customer(clock=clock.id)
    subscription = await shop.subscribe(customer.id)
    await shop.advance(clock.id, datetime(2026, 5, 31, 13, 1, tzinfo=UTC))
    starts = [invoice.lines.data[-1].period.start for invoice in await shop.invoices(subscription.id)]
    assert [(at.month, at.day) for at in (datetime.fromtimestamp(start, UTC) for start in reversed(starts))] == [
        (1, 31),
        (2, 28),
        (3, 31),
        (4, 30),
        (5, 31),
    ]


async def test_a_clock_that_goes_takes_its_customers_along(shop: Shop) -> None:
    """Nothing of it can be used afterwards."""
    clock = await shop.clock()
    customer = await shop.customer(clock=clock.id)
    subscription = await shop.subscribe(customer.id)
    await shop.api.test_helpers.test_clocks.delete_async(clock.id)
    assert (await shop.api.customers.retrieve_async(customer.id)).deleted
    with pytest.raises(stripe.InvalidRequestError):
        await shop.subscription(subscription.id)
