"""A year of a tenant at the fake Stripe: requests of the application, the passing of time, and the messages."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import stripe
from tests.integration.test_operation_echoes import Site
from tests.integration.test_operation_kills import stock

from billing_core.model import AccessState, SubscriptionId
from billing_core.operations.call_limits import UNLIMITED
from billing_core.operations.decisions.changing import PlanChange
from billing_core.operations.decisions.starting import NewSubscription
from billing_core.testing.builders import ACME
from billing_stripe.client import open_client
from billing_stripe.client.local_limiter import LocalCallLimiter
from billing_stripe.gateway import StripeGateway
from billing_stripe.testing.fake_stripe import Clock, fake_stripe

MONTH = timedelta(days=31)


class Year:
    """A tenant whose webhooks arrive late, twice and out of order, at the end of each step."""

    def __init__(self, site: Site, gateway: StripeGateway, sdk: stripe.StripeClient, seed: int) -> None:
        self.site = site
        self._gateway = gateway
        self._sdk = sdk
        self._order = random.Random(seed)

    async def start(self) -> SubscriptionId:
        """Start a trial with five seats, and save a card."""
        wanted = NewSubscription(plan_code="team", seats=5)
        started = await self.site.operations.subscriptions.start(self.site.caller, wanted)
        self.subscription_id = SubscriptionId(started.result.object_id or "")
        await self.use_card("pm_card_visa")
        return self.subscription_id

    async def use_card(self, name: str) -> None:
        """Add a card in the browser, as the customer does, and make it the default."""
        seen = await self.site.shown()
        card = await self._sdk.v1.payment_methods.attach_async(name, {"customer": seen.customer_id})
        await self.site.operations.payment_methods.set_default(self.site.caller, card.id)

    async def pass_time(self, by: timedelta) -> None:
        """Let time pass at Stripe, deliver everything, and compare."""
        self.site.fake.advance(by)
        await self.settle()

    async def settle(self) -> None:
        """Deliver everything that was not delivered yet; then the tenant sees what Stripe has."""
        await self.site.deliver(order=self._order)
        found = await self._gateway.fetch_subscription(self.subscription_id)
        assert found is not None
        there, here = found.find(self.subscription_id), await self.site.shown()
        catalog = self.site.container.rules().current.catalog
        assert there is not None
        expected = catalog.read(there)
        same = ("status", "items", "plan_code", "seat_count", "cancel_at", "cancel_at_period_end", "trial_ends_at")
        assert {name: getattr(here, name) for name in same} == {name: getattr(expected, name) for name in same}

    async def access(self) -> AccessState:
        """Return what the tenant may do."""
        state = await self.site.container.tenant_reader().state(ACME)
        return self.site.container.rules().current.policy.evaluate(state.access_facts, self.site.fake.account.now).state

    async def announced(self) -> Counter[str]:
        """Count the messages by type."""
        history = await self.site.container.history().events(ACME, after=0, limit=1000)
        assert [message.sequence for message in history] == list(range(1, len(history) + 1))
        return Counter(message.event_type for message in history)


@pytest.fixture(params=[1, 2])
async def year(request: pytest.FixtureRequest) -> AsyncIterator[Year]:
    begin = (datetime.now(UTC) - timedelta(days=450)).replace(microsecond=0)  # no event is from the future
    async with (
        fake_stripe(clock=Clock(begin)) as fake,
        open_client(
            secret_key=fake.secret_key,
            api_version="2026-10-28.endive",
            base_url=fake.url,
            limiter=LocalCallLimiter(UNLIMITED),
        ) as client,
    ):
        stock(fake)
        gateway = StripeGateway(client)
        sdk = stripe.StripeClient(
            fake.secret_key, base_addresses={"api": fake.url}, http_client=stripe.AIOHTTPClient(), max_network_retries=0
        )
        yield Year(Site(fake, gateway), gateway, sdk, request.param)
        await sdk._requestor._client.close_async()  # type: ignore[union-attr]


async def test_a_year_is_the_same_here_and_at_stripe(year: Year) -> None:
    """A trial, renewals, seats, a failed card, an upgrade, a scheduled downgrade, an end that is withdrawn, and one."""
    site, subscriptions = year.site, year.site.operations.subscriptions
    subscription_id = await year.start()
    await year.settle()
    await year.pass_time(timedelta(days=15))  # the trial ends, the first month is paid
    assert (await site.shown()).status == "active"
    assert await year.access() is AccessState.FULL

    await subscriptions.set_seats(site.caller, subscription_id, 9)
    await year.pass_time(MONTH)
    assert (await site.shown()).seat_count == 9

    await year.use_card("pm_card_chargeCustomerFail")
    await year.pass_time(MONTH)
    assert (await site.shown()).status == "past_due"
    assert await year.access() is AccessState.GRACE
    await year.use_card("pm_card_visa")
    await year.pass_time(timedelta(days=8))  # Stripe tries again
    assert (await site.shown()).status == "active"

    wanted = PlanChange(subscription_id=subscription_id, plan_code="pro", when="now")
    preview = await subscriptions.preview_change(ACME, wanted)
    await subscriptions.change(site.caller, wanted, preview=preview.preview_id)
    await year.settle()
    assert (await site.shown()).plan_code == "pro"

    later = PlanChange(subscription_id=subscription_id, plan_code="basic", when="period_end")
    await subscriptions.change(site.caller, later)
    await year.settle()
    assert (await site.shown()).plan_code == "pro"
    await year.pass_time(MONTH)
    assert (await site.shown()).plan_code == "basic"

    await subscriptions.cancel_at_period_end(site.caller, subscription_id)
    await subscriptions.undo(site.caller, subscription_id)
    for _ in range(6):
        await year.pass_time(MONTH)
    assert (await site.shown()).status == "active"

    await subscriptions.cancel_at_period_end(site.caller, subscription_id)
    await year.pass_time(MONTH)
    assert (await site.shown()).ended
    assert await year.access() is AccessState.BLOCKED

    messages = await year.announced()
    assert messages["subscription.created"] == 1
    assert messages["subscription.seats_changed"] == 1
    assert messages["subscription.past_due"] == 1
    assert messages["subscription.recovered"] == 1
    assert messages["subscription.plan_changed"] == 2
    assert messages["subscription.plan_change_scheduled"] == 1
    assert messages["subscription.cancellation_scheduled"] == 2
    assert messages["subscription.cancellation_withdrawn"] == 1
    assert messages["subscription.canceled"] == 1
    assert messages["invoice.payment_failed"] == 1
    assert messages["subscription.renewed"] == 9
    assert messages["invoice.paid"] == 11  # the trial's end, the upgrade, and each renewal
