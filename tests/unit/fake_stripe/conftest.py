"""A fake Stripe with a catalog, and the official SDK as its client."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
import stripe

from billing_stripe.testing import API_VERSIONS, objects
from billing_stripe.testing.fake_stripe import Clock, FakeStripe, fake_stripe

JANUARY = datetime(2026, 1, 1, 12, tzinfo=UTC)
PRO = objects.Price(price_id="price_pro", product_id="prod_app", unit_amount=2000, lookup_key="pro_monthly")
TEAM = objects.Price(price_id="price_team", product_id="prod_app", unit_amount=5000)
YEARLY = objects.Price(price_id="price_yearly", product_id="prod_app", unit_amount=20000, interval="year")
SEAT = objects.Price(price_id="price_seat", product_id="prod_app", unit_amount=1000)
CALLS = objects.Price(price_id="price_calls", product_id="prod_app", unit_amount=5, metered=True)
CATALOG = (PRO, TEAM, YEARLY, SEAT, CALLS)


class Shop:
    """A seller: its fake Stripe, and the SDK."""

    def __init__(self, fake: FakeStripe, client: stripe.StripeClient) -> None:
        self.fake = fake
        self.api = client.v1
        self.client = client

    async def clock(self) -> Any:
        """Create a test clock that shows the beginning of the year."""
        return await self.api.test_helpers.test_clocks.create_async({"frozen_time": int(JANUARY.timestamp())})

    async def customer(self, card: str | None = "pm_card_visa", clock: str | None = None) -> Any:
        """Create a customer with a default payment method."""
        params: Any = {"name": "Acme", "email": "billing@acme.test", "metadata": {"tenant_id": "acme"}}
        if clock is not None:
            params["test_clock"] = clock
        customer = await self.api.customers.create_async(params)
        if card is not None:
            await self.use_card(customer.id, card)
        return customer

    async def use_card(self, customer_id: str, card: str) -> str:
        """Attach a card for tests and make it the default."""
        method = await self.api.payment_methods.attach_async(card, {"customer": customer_id})
        settings: Any = {"invoice_settings": {"default_payment_method": method.id}}
        await self.api.customers.update_async(customer_id, settings)
        return method.id

    async def subscribe(self, customer_id: str, *prices: objects.Price, **params: Any) -> Any:
        """Start a subscription."""
        items = [{"price": price.price_id} for price in prices or (PRO,)]
        given: Any = {"customer": customer_id, "items": items, **params}
        return await self.api.subscriptions.create_async(given)

    async def subscription(self, subscription_id: str) -> Any:
        """Return a subscription as it is now."""
        return await self.api.subscriptions.retrieve_async(subscription_id)

    async def invoices(self, subscription_id: str) -> Sequence[Any]:
        """Return the invoices of a subscription, newest first."""
        return (await self.api.invoices.list_async({"subscription": subscription_id, "limit": 100})).data

    async def advance(self, clock_id: str, to: datetime) -> None:
        """Advance a test clock, in steps that Stripe allows, and wait until it is ready."""
        while True:
            clock = await self.api.test_helpers.test_clocks.retrieve_async(clock_id)
            frozen = datetime.fromtimestamp(clock.frozen_time, UTC)
            if frozen >= to:
                return
            step = min(to, frozen + timedelta(days=28))
            await self.api.test_helpers.test_clocks.advance_async(clock_id, {"frozen_time": int(step.timestamp())})
            while (  # noqa: ASYNC110 - it polls, as users have to
                await self.api.test_helpers.test_clocks.retrieve_async(clock_id)
            ).status == "advancing":
                await asyncio.sleep(0)

    def events(self, *prefixes: str) -> list[str]:
        """Return the types of the events, oldest first; those that begin with a prefix."""
        return [
            entry.type for entry in self.fake.account.journal.entries if not prefixes or entry.type.startswith(prefixes)
        ]

    def forget_events(self) -> None:
        """Leave the events so far out of `events`."""
        self.fake.account.journal.entries.clear()


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    """A fake whose clock stands still, with a catalog."""
    async with fake_stripe(clock=Clock(JANUARY), seed="shop") as running:
        running.put(objects.Product(product_id="prod_app", name="App"), *CATALOG)
        yield running


@pytest.fixture
async def shop(fake: FakeStripe) -> AsyncIterator[Shop]:
    """The seller."""
    async with aiohttp.ClientSession() as session:
        client = stripe.StripeClient(
            fake.secret_key,
            stripe_version=API_VERSIONS[-1],
            base_addresses={"api": fake.url},
            max_network_retries=0,
            http_client=stripe.AIOHTTPClient(session=session),
        )
        yield Shop(fake, client)
