"""The historian contract, bound to the memory adapters and to Postgres."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.contract.combined import MemoryInbox, MemoryTables, PostgresInbox, PostgresTables

from billing_core.oversight.ports import TenantTimeline
from billing_core.state.ports import Clock
from billing_core.testing.stores import Inbox, Repository
from billing_core.testing.timeline import TenantTimelineContract
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.oversight.timeline import MemoryTenantTimeline
from billing_postgres.oversight.timeline import PostgresTenantTimeline
from billing_postgres.pool import Database


class TestMemory(TenantTimelineContract):
    """In one process."""

    @pytest.fixture
    def clock(self) -> Clock:
        return ManualClock()

    @pytest.fixture
    def database(self) -> MemoryDatabase:
        return MemoryDatabase()

    @pytest.fixture
    def timeline(self, database: MemoryDatabase, clock: Clock) -> TenantTimeline:
        return MemoryTenantTimeline(database, clock)

    @pytest.fixture
    def store(self, database: MemoryDatabase, clock: Clock) -> Inbox:
        return MemoryInbox(database, clock)

    @pytest.fixture
    def repository(self, database: MemoryDatabase, clock: Clock) -> Repository:
        return MemoryTables(database, clock)


@pytest.mark.postgres
class TestPostgres(TenantTimelineContract):
    """On a real server."""

    @pytest.fixture
    def database(self, database_url: str) -> Database:
        return Database(url=database_url)

    @pytest.fixture
    async def pool(self, database: Database) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
        async with await database.open_pool(size=4) as pool:
            yield pool

    @pytest.fixture
    def timeline(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> TenantTimeline:
        return PostgresTenantTimeline(database, pool)

    @pytest.fixture
    async def store(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[Inbox]:
        async with PostgresInbox(database, pool) as store:
            yield store

    @pytest.fixture
    def repository(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> Repository:
        return PostgresTables(database, pool)
