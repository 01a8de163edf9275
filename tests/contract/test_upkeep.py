"""The upkeep contract, bound to the memory repository and to Postgres."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.contract.combined import MemoryInbox, MemoryTables, PostgresInbox, PostgresTables

from billing_core.state.ports import Clock
from billing_core.testing.stores import Inbox, Repository
from billing_core.testing.upkeep import UpkeepContract
from billing_memory.clock import ManualClock, SystemClock
from billing_memory.database import MemoryDatabase
from billing_postgres.pool import Database


class TestMemory(UpkeepContract):
    """In one process."""

    @pytest.fixture
    def clock(self) -> Clock:
        return ManualClock()

    @pytest.fixture
    def database(self) -> MemoryDatabase:
        return MemoryDatabase()

    @pytest.fixture
    def repository(self, database: MemoryDatabase, clock: Clock) -> Repository:
        return MemoryTables(database, clock)

    @pytest.fixture
    def store(self, database: MemoryDatabase, clock: Clock) -> Inbox:
        return MemoryInbox(database, clock)


@pytest.mark.postgres
class TestPostgres(UpkeepContract):
    """On a real server."""

    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()

    @pytest.fixture
    def database(self, database_url: str) -> Database:
        return Database(url=database_url)

    @pytest.fixture
    async def pool(self, database: Database) -> "AsyncIterator[asyncpg.Pool[asyncpg.Record]]":
        async with await database.open_pool(size=5) as pool:
            yield pool

    @pytest.fixture
    def repository(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> Repository:
        return PostgresTables(database, pool)

    @pytest.fixture
    async def store(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[Inbox]:
        async with PostgresInbox(database, pool) as store:
            yield store
