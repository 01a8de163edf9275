"""A test clock of the fake Stripe, over HTTP in both directions, from a trial to dunning."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import aiohttp
import attrs
import pytest
import stripe
from tests.histories.deployment import WEBHOOK_SECRET, Deployment, Tenant, deployed
from tests.histories.stripe import VERSION, day
from tests.unit.fake_stripe.conftest import JANUARY, PRO, Shop

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import Clock, FakeStripe, fake_stripe


@attrs.frozen
class Sandbox:
    """A seller at the fake Stripe, and the deployment that receives its webhooks."""

    shop: Shop
    deployment: Deployment

    async def advance(self, clock_id: str, to: datetime) -> Tenant:
        """Advance the test clock and return the tenant as the API shows it then."""
        await self.shop.advance(clock_id, to)
        return await self.tenant()

    async def tenant(self) -> Tenant:
        """Let all webhooks arrive, do the worker's work, and return the tenant as the API shows it."""
        await self.shop.fake.delivered()
        await self.deployment.work()
        await self.deployment.review()
        return await self.deployment.tenant()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Both. The clock is in the past; webhooks are signed in real time."""
    async with AsyncExitStack() as stack:
        fake: FakeStripe = await stack.enter_async_context(fake_stripe(clock=Clock(JANUARY), seed="clocks"))
        fake.put(objects.Product(product_id="prod_app", name="App"), PRO)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        client = stripe.StripeClient(
            fake.secret_key,
            stripe_version=VERSION,
            base_addresses={"api": fake.url},
            max_network_retries=0,
            http_client=stripe.AIOHTTPClient(session=session),
        )
        deployment = await stack.enter_async_context(deployed(now=datetime.now(UTC), plans="pro=price_pro"))
        fake.add_webhook_endpoint(deployment.webhook_url, secret=WEBHOOK_SECRET, api_version=VERSION)
        yield Sandbox(Shop(fake, client), deployment)


async def test_access_follows_the_clock_through_trial_dunning_and_recovery(sandbox: Sandbox) -> None:
    """Each end comes when the clock is past it; each change of access by the clock alone is one message."""
    shop = sandbox.shop
    clock = await shop.clock()
    customer = await shop.customer(clock=clock.id)
    await shop.subscribe(customer.id, trial_period_days=14)
    acme = await sandbox.tenant()
    assert acme.access == {"state": "full", "reason": "trialing", "until": "2026-01-16T12:00:00Z"}

    await shop.use_card(customer.id, "pm_card_chargeCustomerFail")
    acme = await sandbox.advance(clock.id, day("2026-01-16 18:00"))
    assert (acme.access["state"], acme.access["reason"]) == ("grace", "past_due")
    assert day("2026-01-22") < datetime.fromisoformat(acme.access["until"]) < day("2026-01-23")
    assert "access.changed" not in acme.message_types

    acme = await sandbox.advance(clock.id, day("2026-01-24"))
    assert acme.access == {"state": "read_only", "reason": "past_due_grace_over", "until": None}
    assert acme.message_types.count("access.changed") == 1
    assert (await sandbox.tenant()).messages == acme.messages

    await shop.use_card(customer.id, "pm_card_visa")
    acme = await sandbox.advance(clock.id, day("2026-02-10"))
    assert acme.access == {"state": "full", "reason": "active", "until": None}
    assert acme.message_types.count("access.changed") == 1
