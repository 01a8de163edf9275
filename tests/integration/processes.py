"""Commands as real processes with settings from the environment."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import asyncpg
import attrs
from tests.commands import Command, started
from tests.patience import PATIENCE

from billing_app.http.tokens import issue_token
from billing_app.secret import Secret
from billing_app.settings import TokenSettings
from billing_core.model import TenantId
from billing_embedded.loopback import free_port
from billing_stripe.testing import builders, encode, event, objects, sign

VERSION = "2026-10-28.endive"
WEBHOOK_SECRET = "whsec_integration_0123456789"
JWT_SECRET = "integration-tests-only-0123456789abcdef"
START = datetime(2026, 1, 1, tzinfo=UTC)
_Process = TypeVar("_Process", Command, asyncio.subprocess.Process)


def environment_of(database_url: str, redis_url: str) -> dict[str, str]:
    """Return the settings of a small deployment, without billing settings from the tester's environment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BILLING_", "STRIPE_"))}
    return inherited | {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "ENABLE_BILLING": "true",
        "STRIPE_SECRET_KEY": "sk_test_integration",
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "STRIPE_FETCH": "false",
        "BILLING_JWT_SECRET": JWT_SECRET,
        "BILLING_PORT": str(free_port()),
        "BILLING_DISPATCH_POLL_SECONDS": "0.2",
        "BILLING_DISPATCH_LEASE_SECONDS": "1",
    }


@asynccontextmanager
async def running(
    *arguments: str,
    environment: Mapping[str, str],
    ready: str,
    folder: Path | None = None,
) -> AsyncIterator[Command]:
    """Run the command as a process until it responds at `ready`; kill it at the end if it is still running."""
    async with until_ended(await started(*arguments, environment=environment, folder=folder), ready) as process:
        yield process


@asynccontextmanager
async def python(
    *arguments: str, environment: Mapping[str, str], ready: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Python as a process that imports the program itself; see `running`."""
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment)
    async with until_ended(process, ready):
        yield process


@asynccontextmanager
async def until_ended(process: _Process, ready: str) -> AsyncIterator[_Process]:
    """Wait until a process responds at `ready`; kill it at the end if it is still running."""
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE):
            while not await answers(session, ready):
                assert process.returncode is None, "the process ended instead of starting"
                await asyncio.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


@attrs.frozen
class Ended:
    """The exit status and the output of a command."""

    status: int
    output: str
    errors: str


async def ended(*arguments: str, environment: Mapping[str, str], given: str = "", folder: Path | None = None) -> Ended:
    """Run a command to its end, with `given` as its standard input."""
    process = await started(*arguments, environment=environment, folder=folder, given=given.encode(), captured=(1, 2))
    async with asyncio.timeout(PATIENCE):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode())


def subscription_event(number: int, *, status: str = "active", trial: objects.Span | None = None) -> bytes:
    """Build the n-th event of one subscription of tenant acme."""
    price = objects.Price(price_id="price_pro", product_id="prod_pro", unit_amount=1900, lookup_key="pro")
    item = objects.Item(
        item_id="si_1", price=price, period=objects.Span(START, START + timedelta(days=31)), quantity=number
    )
    subscription = objects.Subscription(
        subscription_id="sub_1",
        customer_id="cus_1",
        status=status,
        trial=trial,
        created_at=START,
        items=(item,),
        metadata={"tenant_id": "acme"},
    )
    return encode(
        event(
            "customer.subscription.updated",
            builders.subscription(subscription, VERSION),
            created=START + timedelta(minutes=number),
            api_version=VERSION,
            event_id=f"evt_{number}",
        )
    )


async def post(session: aiohttp.ClientSession, base: str, body: bytes) -> tuple[int, Any]:
    headers = {"Stripe-Signature": sign(body, WEBHOOK_SECRET, datetime.now(UTC))}
    async with session.post(f"{base}/webhooks/stripe", data=body, headers=headers) as response:
        return response.status, await response.json()


def token(tenant_id: str) -> str:
    """Issue a token for a tenant, valid for some minutes."""
    return issue_token(
        secret=Secret(JWT_SECRET),
        policy=TokenSettings(),
        tenant_id=TenantId(tenant_id),
        role="viewer",
        now=datetime.now(UTC),
        ttl=timedelta(minutes=5),
    )


def bearer(proof: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"Authorization": f"Bearer {proof}"}


async def state_at(session: aiohttp.ClientSession, base: str, sequence: int) -> Any:
    """Wait until tenant acme has that many messages, and return its state."""
    url, headers = f"{base}/api/v1/billing/tenants/acme/state", bearer(token("acme"))
    async with asyncio.timeout(PATIENCE):
        while True:
            async with session.get(url, headers=headers) as response:
                state = await response.json()
            if state["sequence"] >= sequence:
                return state
            await asyncio.sleep(0.05)


async def nothing_waits(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Wait until every stored event is applied."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if not await connection.fetchval("SELECT count(*) FROM stripe_event_dispatch WHERE status <> 'applied'"):
                return
            await asyncio.sleep(0.1)
