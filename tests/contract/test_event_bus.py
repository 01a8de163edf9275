"""The event bus contract, bound to the memory bus, to Valkey and to a cluster of it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from billing_core.refilling import Refillable, Turn
from billing_core.testing.bus import EventBusContract, RefillableContract
from billing_memory.bus import MemoryEventBus
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes


class TestMemory(EventBusContract, RefillableContract):
    """In one process."""

    @pytest.fixture
    def event_bus(self) -> Refillable:
        return MemoryEventBus()


@pytest.mark.redis
class TestRedis(EventBusContract, RefillableContract):
    """On a real server; a namespace of its own keeps each test's keys apart."""

    @pytest.fixture
    async def event_bus(self, redis_url: str) -> AsyncIterator[Refillable]:
        async with RedisNodes.open(redis_url, timeout=timedelta(seconds=5)) as nodes:
            yield RedisEventBus(nodes, namespace=f"test-{uuid.uuid4().hex}")

    async def test_a_turn_that_is_not_kept_is_free(self, event_bus: Refillable) -> None:
        """A process that died while it filled the bus does not keep others from it."""
        assert await event_bus.claim_refill("dead", lease=timedelta(milliseconds=50)) is Turn.OURS
        turn = Turn.OTHERS
        while turn is Turn.OTHERS:
            await asyncio.sleep(0.01)
            turn = await event_bus.claim_refill("next", lease=timedelta(minutes=1))
        assert turn is Turn.OURS
        assert await event_bus.claim_refill("dead", lease=timedelta(minutes=1)) is Turn.OTHERS


@pytest.mark.redis
class TestCluster(EventBusContract, RefillableContract):
    """On three masters; one test's tenants are on different ones."""

    @pytest.fixture
    async def event_bus(self, redis_cluster_url: str) -> AsyncIterator[Refillable]:
        async with RedisNodes.open(redis_cluster_url, timeout=timedelta(seconds=5)) as nodes:
            yield RedisEventBus(nodes, namespace=f"test-{uuid.uuid4().hex}")
