"""Outgoing webhooks by real workers: an outage of the receiver, and a worker that is killed at the worst moment."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from aiohttp import web
from standardwebhooks import Webhook
from tests.integration.processes import ended, running
from tests.patience import PATIENCE
from tests.postgres import connected
from tests.unit.outgoing_webhooks.receiver import Receiver, receiving

from billing_core.model import TenantId
from billing_core.testing.builders import ACME, GLOBEX
from billing_core.testing.consumers.arrange import number_up_to
from billing_embedded.loopback import free_port
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.faults]

INITECH = TenantId("initech")
STUCK = """
    SELECT count(*) > 0 FROM pg_locks
    WHERE NOT granted AND relation = 'billing_consumer_tenants'::regclass
"""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def deployment(environment: dict[str, str]) -> dict[str, str]:
    """Settings of workers that may send to this machine."""
    port = str(free_port())
    return environment | {"BILLING_OUTGOING_ALLOWED_NETWORKS": "127.0.0.0/8", "BILLING_METRICS_PORT": port}


@pytest.fixture
async def unit_of_work(environment: dict[str, str]) -> AsyncIterator[PostgresRepository]:
    database = Database(url=environment["DATABASE_URL"])
    async with await database.open_pool(size=2) as pool:
        yield PostgresRepository(database, pool)


def ready(deployment: dict[str, str]) -> str:
    return f"http://127.0.0.1:{deployment['BILLING_METRICS_PORT']}/readyz"


async def add(deployment: dict[str, str], receiver: Receiver) -> str:
    """Add the receiver as an operator does, and return its secret."""
    added = await ended("consumers", "add", "crm", "--url", receiver.url(), "--json", environment=deployment)
    assert added.status == 0, added.errors
    return str(json.loads(added.output)["secret"])


def ids(receiver: Receiver) -> list[str]:
    """Return tenant and number of each request."""
    return [headers["webhook-id"].partition(":")[2] for headers, _ in receiver.requests]


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if done():
                return
            await asyncio.sleep(0.05)


async def true(connection: asyncpg.Connection[asyncpg.Record], condition: str) -> None:
    """Wait until a query returns true."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if await connection.fetchval(condition):
                return
            await asyncio.sleep(0.05)


async def test_an_outage_of_the_receiver_loses_nothing_and_keeps_the_order(
    deployment: dict[str, str], receiver: Receiver, unit_of_work: PostgresRepository
) -> None:
    """The messages of each tenant arrive in order once the receiver is back, under the ids of the failed attempts."""
    secret = await add(deployment, receiver)
    refused: defaultdict[str, int] = defaultdict(int)
    delivered: list[str] = []

    async def down_for_two_attempts(request: web.Request) -> web.StreamResponse:
        _, tenant, number = request.headers["webhook-id"].split(":")
        if refused[tenant] < 2:
            refused[tenant] += 1
            return web.Response(status=500)
        delivered.append(f"{tenant}:{number}")
        return web.Response(status=204)

    receiver.answer = down_for_two_attempts
    tenants = (ACME, GLOBEX, INITECH)
    async with running("worker", environment=deployment, ready=ready(deployment)):
        for tenant in tenants:
            await number_up_to(unit_of_work, 4, tenant)
        await until(lambda: len(delivered) == 12)
    for tenant in tenants:
        assert [each for each in delivered if each.startswith(tenant)] == [f"{tenant}:{n}" for n in (1, 2, 3, 4)]
        assert ids(receiver).count(f"{tenant}:1") == 3
    for headers, body in receiver.requests:
        Webhook(secret).verify(body, headers)
    async with connected(deployment["DATABASE_URL"]) as connection:
        assert await connection.fetchval("SELECT count(*) FROM billing_consumer_tenants") == 0
        assert await connection.fetchval("SELECT failing_since FROM billing_receivers") is None


async def test_a_worker_that_is_killed_before_its_position_is_stored_delivers_again(
    deployment: dict[str, str], receiver: Receiver, unit_of_work: PostgresRepository
) -> None:
    """SIGKILL between the receiver's 204 and our position: the same message comes a second time, under the same id."""
    await add(deployment, receiver)
    await number_up_to(unit_of_work, 2)
    async with (
        connected(deployment["DATABASE_URL"]) as blocker,
        connected(deployment["DATABASE_URL"]) as connection,
    ):
        blocking = blocker.transaction()

        async def answer_and_block(_request: web.Request) -> web.StreamResponse:
            await blocking.start()
            await blocker.execute("LOCK TABLE billing_consumer_tenants IN EXCLUSIVE MODE")
            return web.Response(status=204)

        receiver.answer = answer_and_block
        async with running("worker", environment=deployment, ready=ready(deployment)) as worker:
            await until(lambda: len(receiver.requests) == 1)
            await true(connection, STUCK)
            worker.kill()
            await worker.wait()
        receiver.answer = Receiver.accept
        await blocking.rollback()
        assert await connection.fetchval("SELECT position FROM billing_consumer_tenants") == 0
        await connection.execute("UPDATE billing_consumer_tenants SET due_at = now()")  # the lease runs out
        async with running("worker", environment=deployment, ready=ready(deployment)):
            await until(lambda: len(receiver.requests) == 3)
    assert ids(receiver) == ["acme:1", "acme:1", "acme:2"]
    (first, body), (again, repeated), _ = receiver.requests
    assert first["webhook-id"] == again["webhook-id"]
    assert body == repeated


async def test_a_receiver_that_is_gone_is_disabled_and_its_messages_wait(
    deployment: dict[str, str], receiver: Receiver, unit_of_work: PostgresRepository
) -> None:
    """The doctor and the metrics say so; once it is enabled again, everything arrives in order."""
    await add(deployment, receiver)
    receiver.answers(410)
    async with running("worker", environment=deployment, ready=ready(deployment)):
        await number_up_to(unit_of_work, 3)
        async with connected(deployment["DATABASE_URL"]) as connection:
            await true(connection, "SELECT disabled_at IS NOT NULL FROM billing_consumers")
        doctor = await ended("doctor", "--json", environment=deployment)
        assert "consumer crm is disabled (The receiver answered 410" in doctor.output
        receiver.answers(204)
        enabled = await ended("consumers", "enable", "crm", environment=deployment)
        assert enabled.status == 0, enabled.errors
        await until(lambda: ids(receiver)[-1] == "acme:3")
    assert ids(receiver)[-3:] == ["acme:1", "acme:2", "acme:3"]
