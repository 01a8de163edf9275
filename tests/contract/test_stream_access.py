"""The contracts of tickets, quotas and revocations, bound to the memory adapters, to Postgres and to Valkey."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.contract.conftest import InMemory, OnPostgres
from tests.patience import PATIENCE

from billing_core.testing.stream_access.revocations import RevocationsContract
from billing_core.testing.stream_access.stream_quota import MakeQuota, SharedStreamQuotaContract, StreamQuotaContract
from billing_core.testing.stream_access.stream_tickets import StreamTicketsContract
from billing_memory.clock import SystemClock
from billing_memory.stream_access.quota import MemoryStreamQuota
from billing_redis.nodes import RedisNodes
from billing_redis.quota import RedisStreamQuota

SECONDS = timedelta(seconds=PATIENCE)


class TestMemoryTickets(InMemory, StreamTicketsContract): ...


class TestPostgresTickets(OnPostgres, StreamTicketsContract): ...


class TestMemoryRevocations(InMemory, RevocationsContract): ...


class TestPostgresRevocations(OnPostgres, RevocationsContract): ...


class TestMemoryQuota(StreamQuotaContract):
    """In one process, where one object counts for all."""

    @pytest.fixture
    def make_quota(self) -> MakeQuota:
        made: list[MemoryStreamQuota] = []
        return lambda policy: made[0] if made else made.append(MemoryStreamQuota(SystemClock(), policy)) or made[0]


@pytest.mark.redis
class TestRedisQuota(SharedStreamQuotaContract):
    """For all servers of a Redis."""

    @pytest.fixture
    async def make_quota(self, redis_url: str) -> AsyncIterator[MakeQuota]:
        async with RedisNodes.open(redis_url, timeout=SECONDS) as nodes:
            yield lambda policy: RedisStreamQuota(nodes, policy)


@pytest.mark.redis
class TestClusterQuota(SharedStreamQuotaContract):
    """For all servers of a cluster; the counts of one tenant are on one node."""

    @pytest.fixture
    async def make_quota(self, redis_cluster_url: str) -> AsyncIterator[MakeQuota]:
        namespace = f"test-{uuid.uuid4().hex}"
        async with RedisNodes.open(redis_cluster_url, timeout=SECONDS) as nodes:
            yield lambda policy: RedisStreamQuota(nodes, policy, namespace=namespace)
