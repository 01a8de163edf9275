"""The event bus contract, bound to the memory bus and to Valkey."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from billing_core.ports import EventBus
from billing_core.testing.bus import EventBusContract
from billing_memory.bus import MemoryEventBus
from billing_redis.bus import RedisEventBus


class TestMemory(EventBusContract):
    """In one process."""

    @pytest.fixture
    def event_bus(self) -> EventBus:
        return MemoryEventBus()


@pytest.mark.redis
class TestRedis(EventBusContract):
    """On a real server; a namespace of its own keeps each test's keys apart."""

    @pytest.fixture
    async def event_bus(self, redis_url: str) -> AsyncIterator[EventBus]:
        async with RedisEventBus.open(
            redis_url, timeout=timedelta(seconds=5), namespace=f"test-{uuid.uuid4().hex}"
        ) as bus:
            yield bus
