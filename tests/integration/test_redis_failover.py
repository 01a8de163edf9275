"""A master that is replaced by a replica of its own: by one that lagged, by Sentinel, and while it still runs.

`REDIS_URL` names one server. In front of a group of them this is a name, or a proxy, that follows the master.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from tests.integration.deployment import TENANTS, Client, Deployment, deployed, eventually, logs_end_at
from tests.patience import PATIENCE
from tests.relay import moving_name
from tests.valkey import Sentinel, Valkey

from billing_core.errors import EventBusUnavailableError
from billing_core.events import BillingEvent
from billing_core.testing.builders import ACME, messages
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes

pytestmark = [pytest.mark.redis, pytest.mark.faults]

NOWHERE = ("127.0.0.1", "1")
TIMEOUT = timedelta(seconds=PATIENCE)


@pytest.fixture
async def replica(valkey: Valkey, tmp_path: Path) -> AsyncIterator[Valkey]:
    """A replica of `valkey` that has caught up."""
    server = Valkey(tmp_path, dbfilename="replica.rdb", **{"repl-diskless-sync-delay": "0"})
    await valkey.call("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    await server.start()
    await server.call("REPLICAOF", "127.0.0.1", str(valkey.port))
    await until(lambda: replication(server, "master_link_status"), "up")
    yield server
    server.kill()


@pytest.fixture
async def sentinel(valkey: Valkey, replica: Valkey, tmp_path: Path) -> AsyncIterator[Sentinel]:
    """A sentinel that knows both servers."""
    server = Sentinel(tmp_path, valkey)
    await server.start()
    await until(server.replicas, 1)
    yield server
    server.kill()


async def replication(server: Valkey, field: str) -> object:
    return (await server.call("INFO", "replication")).get(field)


async def until(ask: Callable[[], Awaitable[object]], expected: object) -> None:
    while await ask() != expected:  # noqa: ASYNC110 - servers do not report when they are done
        await asyncio.sleep(0.02)


@asynccontextmanager
async def bus_at(url: str) -> AsyncIterator[RedisEventBus]:
    async with RedisNodes.open(url, timeout=TIMEOUT) as nodes:
        yield RedisEventBus(nodes)


@asynccontextmanager
async def listening(clients: list[Client]) -> AsyncIterator[None]:
    async with aiohttp.ClientSession() as session:
        tasks = [asyncio.ensure_future(client.run(session)) for client in clients]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def traffic(deployment: Deployment, repeats: int) -> None:
    for _ in range(repeats):
        for tenant_id in TENANTS:
            await deployment.write(tenant_id, 2)
        await asyncio.sleep(0.01)


async def all_reach(clients: list[Client], number: int) -> None:
    await eventually(lambda: all(client.numbers[-1:] == [number] for client in clients))


@pytest.mark.postgres
async def test_a_lagging_replica_is_promoted_and_every_client_gets_every_number_once(
    database_url: str, valkey: Valkey, replica: Valkey
) -> None:
    """Messages that the replica lacks come from the history: for new clients at once, in its log with the next one."""
    async with (
        moving_name(valkey.port) as name,
        deployed(database_url, name.url) as deployment,
        bus_at(replica.url) as replicated,
    ):
        clients = [Client(deployment.urls, tenant_id, seed) for seed, tenant_id in enumerate(TENANTS * 2)]
        late = [Client(deployment.urls, tenant_id, seed=9) for tenant_id in TENANTS]
        async with listening(clients):
            await traffic(deployment, 10)
            await all_reach(clients, 20)
            await logs_end_at(replicated, TENANTS, 20)
            await replica.call("REPLICAOF", *NOWHERE)
            await traffic(deployment, 10)
            await all_reach(clients, 40)
            await logs_end_at(deployment.bus, TENANTS, 40)
            await logs_end_at(replicated, TENANTS, 20)

            valkey.kill()
            await replica.call("REPLICAOF", "NO", "ONE")
            name.master = replica.port
            async with listening(late):
                await all_reach(late, 40)
                await traffic(deployment, 10)
                await all_reach([*clients, *late], 60)
                await logs_end_at(replicated, TENANTS, 60)
    for client in [*clients, *late]:
        assert client.numbers == list(range(1, 61))
        assert client.resets == 0


async def test_sentinel_replaces_a_dead_master_and_the_bus_follows_the_name(
    valkey: Valkey, replica: Valkey, sentinel: Sentinel
) -> None:
    """The bus knows nothing of Sentinel: it connects again, and the name leads it to the new master."""
    async with moving_name(valkey.port) as name, bus_at(name.url) as bus:
        await bus.append(messages(ACME, 1, 3))
        valkey.kill()
        with pytest.raises(EventBusUnavailableError):
            await bus.append(messages(ACME, 4, 4))
        await until(sentinel.master_port, replica.port)
        await until(lambda: replication(replica, "role"), "master")
        name.master = replica.port
        follower = bus.follow()
        await anext(follower)
        assert await bus.append(messages(ACME, 1, 4)) == {ACME: 4}
        assert messages(ACME, 4, 4)[0] in await anext(follower)
        await follower.aclose()


async def test_a_master_that_is_demoted_while_it_runs_keeps_no_connection(valkey: Valkey, replica: Valkey) -> None:
    """Its connections stay open and refuse every write; the first refusal closes them, and the next call arrives."""
    async with moving_name(valkey.port) as name, bus_at(name.url) as bus:
        await bus.append(messages(ACME, 1, 1))
        async with bus_at(replica.url) as replicated:
            await until(lambda: log_of(replicated), messages(ACME, 1, 1))
        await replica.call("REPLICAOF", "NO", "ONE")
        name.master = replica.port
        await valkey.call("REPLICAOF", "127.0.0.1", str(replica.port))
        with pytest.raises(EventBusUnavailableError):
            await bus.append(messages(ACME, 2, 2))
        assert await bus.append(messages(ACME, 2, 3)) == {ACME: 3}
        assert await log_of(bus) == messages(ACME, 1, 3)


async def log_of(bus: RedisEventBus) -> list[BillingEvent]:
    return list(await bus.read(ACME, after=0, limit=100))
