"""Subscription schedules of the fake Stripe."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import stripe
from tests.unit.fake_stripe.conftest import JANUARY, TEAM, YEARLY, Shop

FEBRUARY = JANUARY.replace(month=2)


def at(instant: datetime) -> int:
    return int(instant.timestamp())


def prices_of(subscription: Any) -> dict[str, int]:
    return {item.price.id: item.quantity for item in subscription["items"].data}


async def downgrade(shop: Shop, to: str = "price_pro", quantity: int = 2, **params: Any) -> tuple[Any, Any]:
    """Subscribe to the team price and schedule another one for the end of the period."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id, TEAM)
    schedule = await shop.api.subscription_schedules.create_async({"from_subscription": subscription.id})
    current, *_ = schedule.phases
    phases: Any = [
        {
            "items": [{"price": "price_team", "quantity": 1}],
            "start_date": current.start_date,
            "end_date": current.end_date,
        },
        {"items": [{"price": to, "quantity": quantity}], "proration_behavior": "none", "metadata": {"plan": to}},
    ]
    changed: Any = {"phases": phases, "end_behavior": "release", "proration_behavior": "none", **params}
    return await shop.api.subscription_schedules.update_async(schedule.id, changed), subscription


async def test_a_downgrade_takes_effect_at_the_end_of_the_period(shop: Shop) -> None:
    """The renewal bills the new price, without prorations, and the schedule goes with its last phase."""
    schedule, subscription = await downgrade(shop)
    assert (await shop.subscription(subscription.id)).schedule == schedule.id
    assert prices_of(await shop.subscription(subscription.id)) == {"price_team": 1}
    shop.forget_events()
    shop.fake.advance(timedelta(days=31, hours=1))
    changed = await shop.subscription(subscription.id)
    assert prices_of(changed) == {"price_pro": 2}
    assert changed.metadata.to_dict() == {"plan": "price_pro"}
    assert [invoice.total for invoice in await shop.invoices(subscription.id)] == [4000, 5000]
    assert "subscription_schedule.updated" in shop.events()
    shop.fake.advance(timedelta(days=31))
    released = await shop.api.subscription_schedules.retrieve_async(schedule.id)
    assert (released.status, released.subscription, released.released_subscription) == (
        "released",
        None,
        subscription.id,
    )
    assert (await shop.subscription(subscription.id)).schedule is None
    assert shop.events("subscription_schedule")[-2:] == [
        "subscription_schedule.expiring",
        "subscription_schedule.released",
    ]


async def test_another_interval_begins_with_its_phase(shop: Shop) -> None:
    """And is billed then."""
    _, subscription = await downgrade(shop, to=YEARLY.price_id, quantity=1)
    shop.fake.advance(timedelta(days=32))
    changed = await shop.subscription(subscription.id)
    item = changed["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (
        at(FEBRUARY),
        at(FEBRUARY.replace(year=2027)),
    )
    assert [invoice.total for invoice in await shop.invoices(subscription.id)] == [20000, 5000]


async def test_nothing_else_goes_with_a_schedule_from_a_subscription(shop: Shop) -> None:
    """Phases come with an update; what was removed from the API is unknown."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    phases: Any = [{"items": [{"price": "price_pro"}]}]
    create = shop.api.subscription_schedules.create_async
    with pytest.raises(stripe.InvalidRequestError, match="from_subscription") as raised:
        await create({"from_subscription": subscription.id, "phases": phases})
    assert raised.value.param == "phases"
    schedule = await create({"from_subscription": subscription.id})
    with pytest.raises(stripe.InvalidRequestError) as raised:
        await shop.api.subscription_schedules.update_async(schedule.id, {"phases": [{**phases[0], "iterations": 1}]})
    assert raised.value.code == "parameter_unknown"
    with pytest.raises(stripe.InvalidRequestError, match="already attached"):
        await create({"from_subscription": subscription.id})


async def test_a_released_subscription_goes_on(shop: Shop) -> None:
    """With its items as they are; the schedule cannot be used any more."""
    schedule, subscription = await downgrade(shop)
    await shop.api.subscription_schedules.release_async(schedule.id)
    shop.fake.advance(timedelta(days=32))
    assert prices_of(await shop.subscription(subscription.id)) == {"price_team": 1}
    with pytest.raises(stripe.InvalidRequestError, match="released"):
        await shop.api.subscription_schedules.release_async(schedule.id)


@pytest.mark.parametrize(("keep", "status"), [(True, "canceled"), (False, "active")])
async def test_a_release_may_keep_the_end(keep: bool, status: str, shop: Shop) -> None:
    """That the schedule has set."""
    schedule, subscription = await downgrade(shop, end_behavior="cancel")
    shop.fake.advance(timedelta(days=32))
    assert (await shop.subscription(subscription.id)).cancel_at == schedule.phases[-1].end_date
    await shop.api.subscription_schedules.release_async(schedule.id, {"preserve_cancel_date": keep})
    shop.fake.advance(timedelta(days=32))
    assert (await shop.subscription(subscription.id)).status == status


async def test_a_schedule_may_end_its_subscription(shop: Shop) -> None:
    """At the end of its last phase; it is complete then."""
    schedule, subscription = await downgrade(shop, end_behavior="cancel")
    shop.fake.advance(timedelta(days=62))
    assert (await shop.subscription(subscription.id)).status == "canceled"
    assert (await shop.api.subscription_schedules.retrieve_async(schedule.id)).status == "completed"


async def test_direct_changes_last_until_the_next_phase(shop: Shop) -> None:
    """And a direct cancellation is refused while the schedule lives."""
    schedule, subscription = await downgrade(shop)
    item: Any = {"id": subscription["items"].data[0].id, "quantity": 7}
    await shop.api.subscriptions.update_async(subscription.id, {"items": [item], "proration_behavior": "none"})
    followed = await shop.api.subscription_schedules.retrieve_async(schedule.id)
    assert followed.phases[0]["items"][0].quantity == 7
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        await shop.api.subscriptions.update_async(subscription.id, {"cancel_at_period_end": True})
    shop.fake.advance(timedelta(days=32))
    assert prices_of(await shop.subscription(subscription.id)) == {"price_pro": 2}


async def test_a_schedule_may_start_a_subscription_later(shop: Shop) -> None:
    """Nothing exists before, and its cancellation ends both."""
    customer = await shop.customer()
    params: Any = {
        "customer": customer.id,
        "start_date": at(FEBRUARY),
        "end_behavior": "release",
        "phases": [{"items": [{"price": "price_pro", "quantity": 3}], "duration": {"interval": "month"}}],
    }
    schedule = await shop.api.subscription_schedules.create_async(params)
    assert (schedule.status, schedule.subscription) == ("not_started", None)
    shop.fake.advance(timedelta(days=31, hours=1))
    started = await shop.api.subscription_schedules.retrieve_async(schedule.id, {"expand": ["subscription"]})
    assert (started.status, started.subscription.status) == ("active", "active")
    assert [invoice.status for invoice in await shop.invoices(started.subscription.id)] == ["paid"]
    canceled = await shop.api.subscription_schedules.cancel_async(schedule.id)
    assert canceled.status == "canceled"
    assert (await shop.subscription(started.subscription.id)).status == "canceled"


async def test_the_prices_of_phases_can_be_expanded(shop: Shop) -> None:
    """Within arrays of the schedule itself."""
    schedule, _ = await downgrade(shop)
    expand: Any = {"expand": ["phases.items.price"]}
    expanded = await shop.api.subscription_schedules.retrieve_async(schedule.id, expand)
    assert expanded.phases[1]["items"][0].price.unit_amount == 2000
