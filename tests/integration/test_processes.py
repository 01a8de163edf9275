"""`billing serve` and `billing worker` as an operator runs them: real processes, settings from the environment."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest

from billing_app.free_port import free_port
from billing_app.http.auth import issue_token
from billing_app.secret import Secret
from billing_core.model import TenantId
from billing_stripe.testing import builders, encode, event, facts, sign

VERSION = "2026-10-28.endive"
WEBHOOK_SECRET = "whsec_integration_0123456789"
JWT_SECRET = "integration-tests-only-0123456789abcdef"
START = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


@pytest.fixture
def environment(database_url: str, redis_url: str) -> dict[str, str]:
    """Settings of a small deployment; nothing else of the tester's environment that is ours."""
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
    *arguments: str, environment: Mapping[str, str], ready: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command as a process that answers at `ready`; killed at the end if the test has not ended it."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "billing_app", *arguments, env=environment)
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(30):
            while not await answers(session, ready):
                assert process.returncode is None, "it ended instead of starting"
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


async def ended(*arguments: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """Exit status and standard error of a command that ends by itself."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "billing_app", *arguments, env=environment, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        _, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, errors.decode()


def subscription_event(number: int, *, status: str = "active") -> bytes:
    """The n-th event of one subscription of tenant acme."""
    price = facts.Price(price_id="price_pro", product_id="prod_pro", unit_amount=1900, lookup_key="pro")
    item = facts.Item(
        item_id="si_1", price=price, period=facts.Span(START, START + timedelta(days=31)), quantity=number
    )
    subscription = facts.Subscription(
        subscription_id="sub_1",
        customer_id="cus_1",
        status=status,
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


async def state_at(session: aiohttp.ClientSession, base: str, sequence: int) -> Any:
    """The state of tenant acme once it has that many messages."""
    token = issue_token(
        secret=Secret(JWT_SECRET),
        tenant_id=TenantId("acme"),
        role="viewer",
        audience="billing",
        issuer="billing-core",
        now=datetime.now(UTC),
        ttl=timedelta(minutes=5),
    )
    url = f"{base}/api/v1/billing/tenants/acme/state"
    async with asyncio.timeout(20):
        while True:
            async with session.get(url, headers={"Authorization": f"Bearer {token}"}) as response:
                state = await response.json()
            if state["sequence"] >= sequence:
                return state
            await asyncio.sleep(0.05)


async def nothing_waits(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Return once every stored event is applied."""
    async with asyncio.timeout(30):
        while True:
            if not await connection.fetchval("SELECT count(*) FROM stripe_event_dispatch WHERE status <> 'applied'"):
                return
            await asyncio.sleep(0.1)


async def test_a_server_and_a_worker_of_their_own_share_the_loop(environment: dict[str, str]) -> None:
    """The server stores and wakes, the worker applies, the server shows; both end by SIGTERM with status 0."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    environment["BILLING_WORKER_PORT"] = str(free_port())
    watched = f"http://127.0.0.1:{environment['BILLING_WORKER_PORT']}"
    async with (
        running("serve", "--no-worker", environment=environment, ready=f"{base}/readyz") as server,
        running("worker", "--concurrency", "2", environment=environment, ready=f"{watched}/readyz") as worker,
        aiohttp.ClientSession() as session,
    ):
        assert await post(session, base, subscription_event(5)) == (202, {"status": "accepted", "event_id": "evt_5"})
        assert await post(session, base, subscription_event(5)) == (202, {"status": "duplicate", "event_id": "evt_5"})
        state = await state_at(session, base, 1)
        assert (state["sequence"], state["subscriptions"][0]["seat_count"]) == (1, 5)
        assert (state["subscriptions"][0]["plan_code"], state["access"]["state"]) == ("pro", "full")
        async with session.get(f"{watched}/metrics") as response:
            assert 'stripe_dispatch_events_total{disposition="applied",reason=""} 1.0' in await response.text()
        for process in (server, worker):
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0


async def test_what_a_killed_server_accepted_is_applied_by_the_next(environment: dict[str, str]) -> None:
    """A 202 is a promise: SIGKILL right after it costs the length of a lease, nothing else."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with aiohttp.ClientSession() as session:
        async with running("serve", environment=environment, ready=f"{base}/readyz") as server:
            answers = await asyncio.gather(*(post(session, base, subscription_event(n)) for n in range(1, 60)))
            server.kill()
            await server.wait()
        assert {status for status, _ in answers} == {202}
        async with running("serve", environment=environment, ready=f"{base}/readyz"):
            connection = await asyncpg.connect(environment["DATABASE_URL"])
            await nothing_waits(connection)
            numbers = await connection.fetchval("SELECT array_agg(sequence ORDER BY sequence) FROM billing_events")
            await connection.close()
            state = await state_at(session, base, 1)
    assert state["subscriptions"][0]["seat_count"] == 59
    assert numbers == list(range(1, state["sequence"] + 1))


async def test_billing_without_its_secrets_does_not_start(environment: dict[str, str]) -> None:
    """Everything that is missing is named at once, with what to do."""
    for name in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "BILLING_JWT_SECRET"):
        del environment[name]
    status, errors = await ended("serve", environment=environment)
    assert status == 2
    assert all(name in errors for name in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "BILLING_JWT_SECRET"))
    assert "Traceback" not in errors


async def test_a_taken_port_is_named(environment: dict[str, str]) -> None:
    """One line says which setting to change."""
    blocker = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", int(environment["BILLING_PORT"]))
    async with blocker:
        status, errors = await ended("serve", environment=environment)
    assert status == 2
    assert "BILLING_PORT" in errors.splitlines()[-1]
    assert "Traceback" not in errors


async def test_a_database_behind_the_code_is_refused(environment: dict[str, str]) -> None:
    """Nothing runs on a schema it does not know; the message says how to bring it up to date."""
    connection = await asyncpg.connect(environment["DATABASE_URL"])
    await connection.execute(
        "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)"
    )
    await connection.close()
    status, errors = await ended("serve", environment=environment)
    assert (status, "billing migrate" in errors) == (2, True)
