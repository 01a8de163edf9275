"""A real Prometheus scrapes real servers, each with a fault of its own: its alerts fire, and no others."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import aiohttp
import attrs
import pytest
from scripts.dashboard_panels import expressions
from scripts.ops_tools import find_tool
from tests.databases import Databases
from tests.integration.processes import (
    START,
    VERSION,
    WEBHOOK_SECRET,
    bearer,
    ended,
    environment_of,
    running,
    token,
)
from tests.ops.prometheus import scraping
from tests.postgres import connected
from tests.valkey import Valkey

from billing_embedded.loopback import free_port
from billing_stripe.testing import builders, encode, event, objects, sign
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.faults]

KEY_EXPIRED: Final = faults.Answer(status=401, body=b'{"error": {"type": "invalid_request_error"}}')
SUBSCRIPTION: Final = objects.Subscription(
    subscription_id="sub_1",
    customer_id="cus_1",
    status="active",
    created_at=START,
    items=(
        objects.Item(
            item_id="si_1",
            price=objects.Price(price_id="price_pro", product_id="prod_pro", unit_amount=1900),
            period=objects.Span(START, START + timedelta(days=31)),
        ),
    ),
    metadata={"tenant_id": "acme"},
)
OWING: Final = attrs.evolve(SUBSCRIPTION, status="past_due")
"""No invoice says since when, so that Stripe is asked."""


@attrs.frozen(kw_only=True)
class Deployment:
    """A server with a database, as its faults see it."""

    base: str
    environment: dict[str, str]
    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    fake: FakeStripe
    valkey: Valkey

    async def post(
        self, number: int, subscription: objects.Subscription = SUBSCRIPTION, secret: str = WEBHOOK_SECRET
    ) -> int:
        """Send the n-th event of a subscription, and return the status of the answer."""
        body = encode(
            event(
                "customer.subscription.updated",
                builders.subscription(subscription, VERSION),
                created=START + timedelta(minutes=number),
                api_version=VERSION,
                event_id=f"evt_{number}",
            )
        )
        headers = {"Stripe-Signature": sign(body, secret, datetime.now(UTC))}
        async with self.session.post(f"{self.base}/webhooks/stripe", data=body, headers=headers) as response:
            return response.status

    async def keep_posting(self, *, secret: str = WEBHOOK_SECRET, every: float = 1) -> None:
        """Send an event every second, or at another interval."""
        number = 100
        while True:
            number += 1
            await self.post(number, secret=secret)
            await asyncio.sleep(every)


async def used(deployment: Deployment) -> None:
    """Leave nothing out that a deployment does: a stream, a consumer, calls to Stripe and events."""
    url = f"{deployment.base}/api/v1/billing/stream"
    for _ in range(2):
        async with deployment.session.get(url, headers=bearer(token("acme"))) as stream:
            assert (await stream.content.readline()).strip()
    receiver = ("crm", "--url", "https://receiver.example.com/hooks")
    added = await ended("consumers", "add", *receiver, environment=deployment.environment)
    assert added.status == 0, added.errors
    await deployment.post(2, OWING)
    async with deployment.session.get(url, headers=bearer(token("acme"))):
        await deployment.keep_posting()


async def nothing(_deployment: Deployment) -> None:
    """Leave it as it began."""


async def wrong_secret(deployment: Deployment) -> None:
    await deployment.keep_posting(secret="whsec_of_another_endpoint")


async def too_large(deployment: Deployment) -> None:
    """Send more than the server reads before it closes the connection."""
    with suppress(aiohttp.ClientError):
        await deployment.session.post(f"{deployment.base}/webhooks/stripe", data=io.BytesIO(bytes(3 << 20)))


async def postgres_refuses_writes(deployment: Deployment) -> None:
    async with connected(deployment.environment["DATABASE_URL"]) as connection:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    await deployment.keep_posting(every=0.1)


async def redis_dies(deployment: Deployment) -> None:
    deployment.valkey.kill()


async def key_expires(deployment: Deployment) -> None:
    deployment.fake.fail("/v1/*", KEY_EXPIRED, times=1000)
    await deployment.post(2, OWING)


async def tenants_conflict(deployment: Deployment) -> None:
    await deployment.post(2, attrs.evolve(SUBSCRIPTION, metadata={"tenant_id": "globex"}))


async def killed(deployment: Deployment) -> None:
    deployment.process.kill()


@attrs.frozen(kw_only=True)
class Case:
    """A fault of a deployment, and the alerts that it leads to."""

    fault: Callable[[Deployment], Awaitable[None]]
    alerts: set[str]
    options: tuple[str, ...] = ()


CASES: Final = {
    "healthy": Case(fault=used, alerts=set()),
    "wrong-secret": Case(fault=wrong_secret, alerts={"BillingWebhookSignaturesFail"}),
    "too-large": Case(fault=too_large, alerts={"BillingWebhooksTooLarge"}),
    "read-only": Case(
        fault=postgres_refuses_writes,
        alerts={
            "BillingDatabaseUnavailable",
            "BillingNoServer",
            "BillingWebhookErrorBudgetBurn",
            "BillingWebhooksNotStored",
        },
    ),
    "redis": Case(fault=redis_dies, alerts={"BillingBusUnavailable"}),
    "key": Case(fault=key_expires, alerts={"BillingGatewayKeyRefused", "BillingGatewayCircuitOpen"}),
    "conflict": Case(fault=tenants_conflict, alerts={"BillingEventsDead"}),
    "no-worker": Case(fault=nothing, options=("--no-worker",), alerts={"BillingNoWorker", "BillingMonitorStalled"}),
    "killed": Case(fault=killed, alerts={"BillingDown", "BillingTargetDown"}),
}
"""By the job that stands for the deployment."""


@asynccontextmanager
async def deployed(case: Case, database_url: str, folder: Path) -> AsyncIterator[Deployment]:
    """Run a server that has a subscription, with a Redis and a Stripe of its own."""
    async with AsyncExitStack() as stack:
        valkey = Valkey(folder)
        stack.callback(valkey.kill)
        await valkey.start()
        fake = await stack.enter_async_context(fake_stripe())
        fake.put(OWING)
        environment = environment_of(database_url, valkey.url) | {
            "BILLING_METRICS_PORT": str(free_port()),
            "BILLING_DB_POOL_SIZE": "3",
            "STRIPE_SECRET_KEY": fake.secret_key,
            "STRIPE_API_BASE": fake.url,
            "STRIPE_FETCH": "true",
            "STRIPE_PRODUCT_PRICE_MAP": "pro=price_pro",
        }
        base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
        serving = running("serve", *case.options, environment=environment, ready=f"{base}/readyz", folder=folder)
        process = await stack.enter_async_context(serving)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        deployment = Deployment(
            base=base, environment=environment, process=process, session=session, fake=fake, valkey=valkey
        )
        assert await deployment.post(1) == 202
        yield deployment


@asynccontextmanager
async def all_deployed(databases: Databases, folder: Path) -> AsyncIterator[dict[str, Deployment]]:
    """Run the deployments of all cases, starting two at a time."""
    few = asyncio.Semaphore(2)
    async with AsyncExitStack() as stack:

        async def start(name: str, database_url: str) -> Deployment:
            async with few:
                return await stack.enter_async_context(deployed(CASES[name], database_url, folder))

        urls = [await stack.enter_async_context(databases.fresh()) for _ in CASES]
        started = await asyncio.gather(*map(start, CASES, urls))
        yield dict(zip(CASES, started, strict=True))


@pytest.mark.timeout(900)
async def test_each_fault_fires_its_alerts(databases: Databases, tmp_path: Path) -> None:
    """And no others, while a deployment without a fault is quiet and fills every panel of the dashboard."""
    async with all_deployed(databases, tmp_path) as deployments:
        ports = {name: int(each.environment["BILLING_METRICS_PORT"]) for name, each in deployments.items()}
        async with scraping(find_tool("prometheus"), tmp_path, ports) as prometheus:
            await prometheus.scraped(deployments)
            async with asyncio.TaskGroup() as happening:
                injected = [happening.create_task(case.fault(deployments[name])) for name, case in CASES.items()]
                await prometheus.fired({name: case.alerts for name, case in CASES.items()})
                for expression in expressions(job="healthy"):
                    assert await prometheus.query(expression), expression
                for each in injected:
                    each.cancel()
