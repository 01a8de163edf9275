"""`POST /webhooks/stripe` of a real server: what is stored, what is refused, and what a failed attempt leads to."""

from __future__ import annotations

import asyncio
import json
import re

import aiohttp
import pytest
from tests.integration.processes import ended, post, running, state_at, subscription_event
from tests.patience import PATIENCE
from tests.postgres import connected

from billing_embedded.loopback import free_port

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.stripe]

BREAK = """
    CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'broken by the test'; END $$;
    CREATE TRIGGER broken BEFORE INSERT ON billing_events FOR EACH ROW EXECUTE FUNCTION broken();
"""
FAILED = 'stripe_webhook_events_total{event_type="customer.subscription.updated",result="dispatch_failed"}'


@pytest.fixture
def metrics(environment: dict[str, str]) -> str:
    """Give the server a port for its metrics, and return their address."""
    environment["BILLING_METRICS_PORT"] = str(free_port())
    return f"http://127.0.0.1:{environment['BILLING_METRICS_PORT']}/metrics"


async def counted(session: aiohttp.ClientSession, metrics: str, sample: str) -> float:
    """Return a sample of the server's metrics; zero if it is not there."""
    async with session.get(metrics) as answer:
        found = re.search(rf"^{re.escape(sample)} (\S+)$", await answer.text(), re.MULTILINE)
    return float(found[1]) if found else 0.0


async def failures(session: aiohttp.ClientSession, metrics: str, count: int) -> None:
    """Wait until so many failed attempts are counted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if await counted(session, metrics, FAILED) >= count:
                return
            await asyncio.sleep(0.05)


async def test_a_refused_webhook_leaves_no_trace(environment: dict[str, str]) -> None:
    """A signature of another secret is answered 400, and nothing is stored."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with (
        running("serve", environment=environment, ready=f"{base}/readyz"),
        aiohttp.ClientSession() as session,
    ):
        headers = {"Stripe-Signature": "t=1,v1=00"}
        async with session.post(f"{base}/webhooks/stripe", data=subscription_event(1), headers=headers) as answer:
            assert answer.status == 400
        async with connected(environment["DATABASE_URL"]) as connection:
            assert await connection.fetchval("SELECT count(*) FROM stripe_events") == 0


async def test_an_event_that_cannot_be_applied_is_kept_and_tried_again(
    environment: dict[str, str], metrics: str
) -> None:
    """It was accepted; each failed attempt is counted, and the event is applied once the fault is gone."""
    environment |= {"BILLING_DISPATCH_BACKOFF_BASE_SECONDS": "0.1", "BILLING_DISPATCH_BACKOFF_CAP_SECONDS": "0.2"}
    environment["BILLING_DISPATCH_MAX_ATTEMPTS"] = "1000"
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with (
        running("serve", environment=environment, ready=f"{base}/readyz"),
        connected(environment["DATABASE_URL"]) as connection,
        aiohttp.ClientSession() as session,
    ):
        await connection.execute(BREAK)
        assert (await post(session, base, subscription_event(1)))[0] == 202
        await failures(session, metrics, 2)
        assert await counted(session, metrics, 'stripe_dispatch_retry_total{result="rescheduled"}') >= 2
        await connection.execute("DROP FUNCTION broken CASCADE")
        assert (await state_at(session, base, 1))["sequence"] == 1
        assert await counted(session, metrics, 'stripe_dispatch_retry_total{result="applied"}') == 1


async def test_an_event_that_died_is_applied_by_a_replay(environment: dict[str, str], metrics: str) -> None:
    """After its last attempt it is dead and counted; `billing events replay` processes it once the fault is gone."""
    environment["BILLING_DISPATCH_MAX_ATTEMPTS"] = "1"
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with (
        running("serve", environment=environment, ready=f"{base}/readyz"),
        connected(environment["DATABASE_URL"]) as connection,
        aiohttp.ClientSession() as session,
    ):
        await connection.execute(BREAK)
        assert (await post(session, base, subscription_event(1)))[0] == 202
        await failures(session, metrics, 1)
        await connection.execute("DROP FUNCTION broken CASCADE")
        replay = ("events", "replay", "--status", "dead", "--why", "the fault is gone", "--yes", "--json")
        end = await ended(*replay, environment=environment)
        assert end.status == 0, end.errors
        assert json.loads(end.output)
        assert (await state_at(session, base, 1))["sequence"] == 1
