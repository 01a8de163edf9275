"""The contracts of tickets, quotas and revocations, bound to the memory adapters, to Postgres and to Valkey."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from billing_core.stream_access.ports import Revocations, StreamTickets
from billing_core.testing.stream_access import (
    MakeQuota,
    RevocationsContract,
    StreamQuotaContract,
    StreamTicketsContract,
)
from billing_memory.clock import SystemClock
from billing_memory.stream_access.quota import MemoryStreamQuota
from billing_memory.stream_access.revocations import MemoryRevocations
from billing_memory.stream_access.tickets import MemoryStreamTickets
from billing_postgres.pool import Database
from billing_postgres.stream_access.revocations import PostgresRevocations
from billing_postgres.stream_access.tickets import PostgresStreamTickets
from billing_redis.nodes import RedisNodes
from billing_redis.quota import RedisStreamQuota

SECONDS = timedelta(seconds=5)


class TestMemoryTickets(StreamTicketsContract):
    """In one process."""

    @pytest.fixture
    def tickets(self) -> StreamTickets:
        return MemoryStreamTickets(SystemClock())


@pytest.mark.postgres
class TestPostgresTickets(StreamTicketsContract):
    """For all servers of a database."""

    @pytest.fixture
    async def tickets(self, database_url: str) -> AsyncIterator[StreamTickets]:
        database = Database(url=database_url)
        async with await database.open_pool(size=4) as pool:
            yield PostgresStreamTickets(database, pool)


class TestMemoryRevocations(RevocationsContract):
    """In one process."""

    @pytest.fixture
    def revocations(self) -> Revocations:
        return MemoryRevocations(SystemClock())


@pytest.mark.postgres
class TestPostgresRevocations(RevocationsContract):
    """For all servers of a database."""

    @pytest.fixture
    async def revocations(self, database_url: str) -> AsyncIterator[Revocations]:
        database = Database(url=database_url)
        async with await database.open_pool(size=1) as pool:
            yield PostgresRevocations(database, pool)


class TestMemoryQuota(StreamQuotaContract):
    """In one process, where one object counts for all."""

    @pytest.fixture
    def make_quota(self) -> MakeQuota:
        made: list[MemoryStreamQuota] = []
        return lambda policy: made[0] if made else made.append(MemoryStreamQuota(SystemClock(), policy)) or made[0]


@pytest.mark.redis
class TestRedisQuota(StreamQuotaContract):
    """For all servers of a Redis."""

    @pytest.fixture
    async def make_quota(self, redis_url: str) -> AsyncIterator[MakeQuota]:
        async with RedisNodes.open(redis_url, timeout=SECONDS) as nodes:
            yield lambda policy: RedisStreamQuota(nodes, policy)


@pytest.mark.redis
class TestClusterQuota(StreamQuotaContract):
    """For all servers of a cluster; a tenant's counts are at one node of it."""

    @pytest.fixture
    async def make_quota(self, redis_cluster_url: str) -> AsyncIterator[MakeQuota]:
        namespace = f"test-{uuid.uuid4().hex}"
        async with RedisNodes.open(redis_cluster_url, timeout=SECONDS) as nodes:
            yield lambda policy: RedisStreamQuota(nodes, policy, namespace=namespace)
