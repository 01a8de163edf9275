"""Test clocks: advancing one renews, retries and finalizes what lives on it."""

import asyncio
from datetime import datetime, timedelta

import attrs

from billing_stripe.testing import accounts, objects
from billing_stripe.testing.fake_stripe.account import Account, Deleted
from billing_stripe.testing.fake_stripe.billing.times import later
from billing_stripe.testing.fake_stripe.due import pass_time
from billing_stripe.testing.fake_stripe.errors import refused
from billing_stripe.testing.fake_stripe.forms import MOMENT, TEXT, Form, Required, listing
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.Clock,
    noun="test_helpers.test_clock",
    key=lambda source: source.clock_id,
    render=lambda source, api_version: accounts.clock(source),
)
_FAR = timedelta(days=2 * 366)
"""Limit of one step without a subscription."""


def create(call: Call) -> objects.Clock:
    """POST /v1/test_helpers/test_clocks"""
    return call.account.create(
        objects.Clock(
            clock_id=call.account.new_id("clock"),
            created_at=call.now,
            frozen_at=call.params["frozen_time"],
            name=call.params.get("name"),
        )
    )


def retrieve(call: Call) -> objects.Clock:
    """GET /v1/test_helpers/test_clocks/:id"""
    return call.account.get(objects.Clock, call.id)


def clocks(call: Call) -> Listing:
    """GET /v1/test_helpers/test_clocks"""
    return Listing(list(call.account.all(objects.Clock)), KIND.noun)


def advance(call: Call) -> objects.Clock:
    """POST /v1/test_helpers/test_clocks/:id/advance: answers at once, and advances afterwards."""
    clock, target = retrieve(call), call.params["frozen_time"]
    if clock.target_at is not None:
        raise refused("Test clock advancement underway - cannot perform modifications.")
    if target <= clock.frozen_at:
        raise refused("Test clocks can only be advanced to a time in the future.", param="frozen_time")
    if target > _farthest(call.account, clock):
        raise refused(
            "Test clocks can be advanced by at most two intervals of the shortest subscription on them.",
            param="frozen_time",
        )
    advancing = attrs.evolve(clock, target_at=target, status="advancing")
    call.account.put(advancing)
    call.account.emit("test_helpers.test_clock.advancing", advancing)
    asyncio.get_running_loop().call_soon(_finish, call.account, clock.clock_id)
    return advancing


def delete(call: Call) -> Deleted:
    """DELETE /v1/test_helpers/test_clocks/:id, with the customers on it and all that is theirs."""
    clock = retrieve(call)
    account = call.account
    for customer in account.all(objects.Customer):
        if customer.test_clock == clock.clock_id:
            gone = attrs.evolve(customer, deleted=True)
            account.put(gone)
            account.emit("customer.deleted", gone)
    for subscription in account.all(objects.Subscription):
        if subscription.test_clock == clock.clock_id:
            account.remove(subscription.subscription_id)
    account.remove(clock.clock_id)
    account.emit("test_helpers.test_clock.deleted", clock)
    return Deleted(identifier=clock.clock_id, noun=KIND.noun)


def _finish(account: Account, test_clock_id: str) -> None:
    clock = account.find(objects.Clock, test_clock_id)
    if clock is None or clock.target_at is None:
        return

    def set_time(instant: datetime) -> None:
        current = account.get(objects.Clock, test_clock_id)
        account.put(attrs.evolve(current, frozen_at=instant))

    status = "internal_failure"
    try:
        pass_time([account], test_clock_id=test_clock_id, until=clock.target_at, set_time=set_time)
        status = "ready"
    finally:
        done = attrs.evolve(account.get(objects.Clock, test_clock_id), target_at=None, status=status)
        account.put(done)
        account.emit(f"test_helpers.test_clock.{status}", done)


def _farthest(account: Account, clock: objects.Clock) -> datetime:
    prices = [
        item.price
        for subscription in account.all(objects.Subscription)
        if subscription.test_clock == clock.clock_id and subscription.ended_at is None
        for item in subscription.items
    ]
    ends = [later(clock.frozen_at, price.interval, 2 * price.interval_count) for price in prices]
    return min(ends, default=clock.frozen_at + _FAR)


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/test_helpers/test_clocks", create, Form(frozen_time=Required(MOMENT), name=TEXT)),
        Route("GET", "/v1/test_helpers/test_clocks", clocks, listing()),
        Route("GET", "/v1/test_helpers/test_clocks/{id}", retrieve),
        Route("DELETE", "/v1/test_helpers/test_clocks/{id}", delete),
        Route("POST", "/v1/test_helpers/test_clocks/{id}/advance", advance, Form(frozen_time=Required(MOMENT))),
    ],
)
