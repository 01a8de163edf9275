"""The contract of the call limiter, bound to the one of a process, to Valkey and to a cluster."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.patience import PATIENCE

from billing_core.operations.call_limits import CallLimits
from billing_core.testing.operations.call_limiter import CallLimiterContract, MakeLimiter
from billing_redis.call_limiter import RedisCallLimiter
from billing_redis.nodes import RedisNodes
from billing_stripe.client import LocalCallLimiter

SECONDS = timedelta(seconds=PATIENCE)


class TestLocalCallLimiter(CallLimiterContract):
    """In one process, where one object counts for all with the same limits."""

    @pytest.fixture
    def make_limiter(self) -> MakeLimiter:
        made: dict[CallLimits, LocalCallLimiter] = {}
        return lambda limits: made.setdefault(limits, LocalCallLimiter(limits))


class OnRedis(CallLimiterContract):
    """For all processes of one key. Limiters with the same limits count together."""

    @pytest.fixture
    async def nodes(self, redis_url: str) -> AsyncIterator[RedisNodes]:
        async with RedisNodes.open(redis_url, timeout=SECONDS) as nodes:
            yield nodes

    @pytest.fixture
    def make_limiter(self, nodes: RedisNodes) -> MakeLimiter:
        secret = uuid.uuid4().hex
        return lambda limits: RedisCallLimiter(nodes, limits, secret=f"{secret}{limits}")


@pytest.mark.redis
class TestRedisCallLimiter(OnRedis): ...


@pytest.mark.redis
class TestClusterCallLimiter(OnRedis):
    """All counts of one key are on one node."""

    @pytest.fixture
    async def nodes(self, redis_cluster_url: str) -> AsyncIterator[RedisNodes]:
        async with RedisNodes.open(redis_cluster_url, timeout=SECONDS) as nodes:
            yield nodes
