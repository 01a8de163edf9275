"""A cluster of three masters that loses one: its tenants miss no message, the others notice nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

import aiohttp
import pytest
from redis.crc import key_slot
from tests.integration.deployment import TENANTS, Client, deployed, eventually, logs_end_at

from billing_core.errors import EventBusUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.testing.builders import message
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes

if TYPE_CHECKING:
    from tests.valkey import Valkey, ValkeyCluster

pytestmark = [pytest.mark.redis, pytest.mark.faults]

MANY = [TenantId(f"tenant-{number}") for number in range(64)]


@pytest.fixture
async def nodes(valkey_cluster: ValkeyCluster) -> AsyncIterator[RedisNodes]:
    async with RedisNodes.open(valkey_cluster.url, timeout=timedelta(seconds=2)) as opened:
        yield opened


@pytest.fixture
def bus(nodes: RedisNodes) -> RedisEventBus:
    return RedisEventBus(nodes)


async def keys_of(node: Valkey) -> set[str]:
    return set(await node.call("KEYS", "billing:*"))


def numbered(number: int) -> list[BillingEvent]:
    """Return the message with this number of every tenant."""
    return [message(tenant_id, number) for tenant_id in MANY]


class Received:
    """The messages that a follower has received so far."""

    def __init__(self) -> None:
        self.missed = False
        self._events: set[tuple[TenantId, int]] = set()

    async def collect(self, follower: AsyncGenerator[Sequence[BillingEvent], None]) -> None:
        async for batch in follower:
            self.missed = self.missed or not batch
            self._events |= {(event.tenant_id, event.sequence) for event in batch}

    def tenants(self, number: int) -> set[TenantId]:
        """Return the tenants whose message with this number was received."""
        return {tenant_id for tenant_id, each in self._events if each == number}


@asynccontextmanager
async def following(bus: RedisEventBus) -> AsyncIterator[Received]:
    received = Received()
    async with aclosing(bus.follow()) as follower:
        assert list(await anext(follower)) == []
        collecting = asyncio.ensure_future(received.collect(follower))
        yield received
        collecting.cancel()
        await asyncio.wait([collecting])


async def exhaust(follower: AsyncGenerator[Sequence[BillingEvent], None]) -> None:
    async for _ in follower:
        pass


async def test_tenants_are_spread_over_all_masters(bus: RedisEventBus, valkey_cluster: ValkeyCluster) -> None:
    """One call reaches all of them, and each has logs of its own."""
    assert await bus.append(numbered(1)) == dict.fromkeys(MANY, 1)
    kept = [await keys_of(node) for node in valkey_cluster.nodes]
    assert all(kept)
    assert sum(len(keys) for keys in kept) == len(MANY) + 16
    await bus.check()
    await bus.ping()


async def test_losing_a_master_affects_its_own_tenants_only(bus: RedisEventBus, valkey_cluster: ValkeyCluster) -> None:
    """The others' messages are appended and received. A follower reports a gap, and continues when all are back."""
    lost = valkey_cluster.nodes[1]
    await bus.append(numbered(1))
    cut_off = {tenant for tenant in MANY if any(key.endswith(f":{tenant}") for key in await keys_of(lost))}
    async with following(bus) as received:
        lost.kill()
        heads = await bus.append(numbered(2))
        assert heads == dict.fromkeys((tenant for tenant in MANY if tenant not in cut_off), 2)
        await eventually(lambda: received.tenants(2) == heads.keys())
        await eventually(lambda: received.missed)
        with pytest.raises(EventBusUnavailableError):
            await bus.append([message(min(cut_off), 2)])
        with pytest.raises(EventBusUnavailableError):
            await bus.read(min(cut_off), after=0, limit=1)
        with pytest.raises(EventBusUnavailableError):
            await bus.ping()
        await lost.start()
        await valkey_cluster.whole()
        for number in count(3):  # messages appended before the master's streams are followed again are missed
            await bus.append(numbered(number))
            await asyncio.sleep(0.05)
            if received.tenants(number) == set(MANY):
                break


async def test_a_follower_ends_when_every_master_is_away(bus: RedisEventBus, valkey_cluster: ValkeyCluster) -> None:
    """As with one server: the reader of the follower learns that nothing will arrive."""
    follower = bus.follow()
    await anext(follower)
    valkey_cluster.kill()
    with pytest.raises(EventBusUnavailableError):
        await exhaust(follower)
    with pytest.raises(EventBusUnavailableError):
        await bus.append(numbered(1))


async def test_a_shard_that_moves_to_another_master_is_found_there(
    bus: RedisEventBus, valkey_cluster: ValkeyCluster
) -> None:
    """Slots move while everything is running, as when a node is added."""
    await bus.append(numbered(1))
    giver, taker = valkey_cluster.nodes[:2]
    live = next(key for key in await keys_of(giver) if key.endswith(":live"))
    slot = str(key_slot(live.encode()))
    moved = {tenant for tenant in MANY if f"{live.removesuffix(':live')}:tenant:{tenant}" in await keys_of(giver)}
    await giver.call("DEL", *[key for key in await keys_of(giver) if key_slot(key.encode()) == int(slot)])
    taker_id = await taker.call("CLUSTER", "MYID")
    for node in (taker, giver, valkey_cluster.nodes[2]):
        await node.call("CLUSTER", "SETSLOT", slot, "NODE", taker_id)
    await taker.call("CLUSTER", "BUMPEPOCH")  # otherwise the former master may win the slot back by its own claim
    heads: Mapping[TenantId, int] = {}
    while heads.keys() != set(MANY):
        heads = await bus.append(numbered(2))
    assert heads == dict.fromkeys(MANY, 2)
    assert live in await keys_of(taker)
    assert [each.sequence for each in await bus.read(min(moved), after=0, limit=9)] == [2]


@pytest.mark.postgres
async def test_every_client_gets_every_number_once_while_a_master_is_killed_and_brought_back(
    database_url: str, valkey_cluster: ValkeyCluster
) -> None:
    """Tenants of that master are served from Postgres meanwhile; afterwards their logs are complete again."""
    tenants = [*TENANTS, *MANY[4:12]]  # some of each master's
    async with deployed(database_url, valkey_cluster.url) as deployment, aiohttp.ClientSession() as session:
        clients = [Client(deployment.urls, tenant_id, seed) for seed, tenant_id in enumerate(tenants * 2)]
        listening = [asyncio.ensure_future(client.run(session)) for client in clients]

        async def traffic(repeats: int) -> None:
            for _ in range(repeats):
                for tenant_id in tenants:
                    await deployment.write(tenant_id, 2)
                await asyncio.sleep(0.01)

        async def reached(number: int) -> None:
            await eventually(lambda: all(client.numbers[-1:] == [number] for client in clients))

        await traffic(10)
        await reached(20)
        writing = asyncio.ensure_future(traffic(30))
        await asyncio.sleep(0.1)
        valkey_cluster.nodes[2].kill()
        await writing
        await reached(80)
        await valkey_cluster.nodes[2].start()
        await valkey_cluster.whole()
        await traffic(10)
        await reached(100)
        await logs_end_at(deployment.bus, tenants, 100)
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    for client in clients:
        assert client.numbers == list(range(1, 101))
        assert client.resets == 0
