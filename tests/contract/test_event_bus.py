"""The event bus contract, bound to the memory bus, to Valkey and to a cluster of it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from billing_core.stream.ports import BackfillableBus, BackfillTurn
from billing_core.testing.bus import BackfillableBusContract, EventBusContract
from billing_memory.stream.bus import MemoryEventBus
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes


class TestMemory(EventBusContract, BackfillableBusContract):
    """In one process."""

    @pytest.fixture
    def event_bus(self) -> BackfillableBus:
        return MemoryEventBus()


@pytest.mark.redis
class TestRedis(EventBusContract, BackfillableBusContract):
    """On a real server; a namespace of its own keeps each test's keys apart."""

    @pytest.fixture
    async def event_bus(self, redis_url: str) -> AsyncIterator[BackfillableBus]:
        async with RedisNodes.open(redis_url, timeout=timedelta(seconds=5)) as nodes:
            yield RedisEventBus(nodes, namespace=f"test-{uuid.uuid4().hex}")

    async def test_a_turn_that_is_not_kept_is_free(self, event_bus: BackfillableBus) -> None:
        """A process that died while it filled the bus does not keep others from it."""
        assert await event_bus.claim_backfill("dead", lease=timedelta(milliseconds=50)) is BackfillTurn.OURS
        turn = BackfillTurn.OTHERS
        while turn is BackfillTurn.OTHERS:
            await asyncio.sleep(0.01)
            turn = await event_bus.claim_backfill("next", lease=timedelta(minutes=1))
        assert turn is BackfillTurn.OURS
        assert await event_bus.claim_backfill("dead", lease=timedelta(minutes=1)) is BackfillTurn.OTHERS


@pytest.mark.redis
class TestCluster(EventBusContract, BackfillableBusContract):
    """On three masters; one test's tenants are on different ones."""

    @pytest.fixture
    async def event_bus(self, redis_cluster_url: str) -> AsyncIterator[BackfillableBus]:
        async with RedisNodes.open(redis_cluster_url, timeout=timedelta(seconds=5)) as nodes:
            yield RedisEventBus(nodes, namespace=f"test-{uuid.uuid4().hex}")
