"""Stripe's own command line as a client of the fake: it forwards events, and triggers them by calls of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from tests.integration.processes import environment_of, running, state_at
from tests.stripe_cli import StripeCli, install_stripe_cli

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import Attempt, FakeStripe, fake_stripe

SECRET_KEY = "sk_test_fake0123456789"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stripe's command line."""
    return install_stripe_cli(tmp_path_factory.mktemp("stripe-cli"))


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    """A Stripe without objects."""
    async with fake_stripe(secret_key=SECRET_KEY) as running_fake:
        yield running_fake


@pytest.fixture
def cli(program: Path, fake: FakeStripe, tmp_path: Path) -> StripeCli:
    """The command line, with a key of the fake."""
    return StripeCli(program, home=tmp_path, api_base=fake.url, secret_key=SECRET_KEY)


async def attempts_of(fake: FakeStripe, count: int) -> list[Attempt]:
    """Wait for so many deliveries."""
    async with asyncio.timeout(20):
        while True:
            if len(fake.webhooks.attempts) >= count:
                return fake.webhooks.attempts
            await asyncio.sleep(0.02)


def create_subscription(fake: FakeStripe) -> None:
    """Create a customer of tenant acme who is subscribed to something."""
    account, now = fake.account, fake.account.now
    price = objects.Price(price_id="price_1", product_id="prod_1", unit_amount=4900)
    item = objects.Item(item_id="si_1", price=price, period=objects.Span(now, now + timedelta(days=30)))
    with account.transaction():
        account.create(objects.Customer(customer_id="cus_1", created_at=now, metadata={"tenant_id": "acme"}))
        account.create(
            objects.Subscription(
                subscription_id="sub_1", customer_id="cus_1", status="active", created_at=now, items=(item,)
            )
        )


async def test_the_signing_secret_is_the_same_in_all_sessions_of_a_device(fake: FakeStripe, cli: StripeCli) -> None:
    """`stripe listen --print-secret` prints the secret that the next `stripe listen` signs with."""
    printed = (await cli.run("listen", "--print-secret")).strip()
    async with cli.listening(f"{fake.url}/nowhere") as secret:
        assert secret == printed


@pytest.mark.postgres
@pytest.mark.redis
async def test_listen_brings_events_to_the_server(
    fake: FakeStripe, cli: StripeCli, database_url: str, redis_url: str
) -> None:
    """Events of the fake reach the server through Stripe's own program: they are signed, accepted and applied."""
    secret = (await cli.run("listen", "--print-secret")).strip()
    environment = environment_of(database_url, redis_url) | {"STRIPE_WEBHOOK_SECRET": secret}
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with (
        running("serve", environment=environment, ready=f"{base}/readyz"),
        cli.listening(f"{base}/webhooks/stripe"),
        aiohttp.ClientSession() as session,
    ):
        create_subscription(fake)
        attempts = await attempts_of(fake, 2)
        state = await state_at(session, base, 2)
    assert {(each.event_type, each.status) for each in attempts} == {
        ("customer.created", 202),
        ("customer.subscription.created", 202),
    }
    assert [each["subscription_id"] for each in state["subscriptions"]] == ["sub_1"]
