"""The upkeep contract, bound to the memory repository and to Postgres."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from billing_core.ports import BillingRepository, Clock, EventStore
from billing_core.testing.upkeep import UpkeepContract
from billing_memory.clock import ManualClock, SystemClock
from billing_memory.database import MemoryDatabase
from billing_memory.repository import MemoryRepository
from billing_memory.store import MemoryEventStore
from billing_postgres.pool import Database
from billing_postgres.repository import PostgresRepository
from billing_postgres.store import PostgresEventStore


class TestMemory(UpkeepContract):
    """In one process."""

    @pytest.fixture
    def clock(self) -> Clock:
        return ManualClock()

    @pytest.fixture
    def database(self) -> MemoryDatabase:
        return MemoryDatabase()

    @pytest.fixture
    def repository(self, database: MemoryDatabase, clock: Clock) -> BillingRepository:
        return MemoryRepository(database, clock)

    @pytest.fixture
    def store(self, database: MemoryDatabase, clock: Clock) -> EventStore:
        return MemoryEventStore(database, clock)


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
    def repository(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> BillingRepository:
        return PostgresRepository(database, pool)

    @pytest.fixture
    async def store(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[EventStore]:
        async with PostgresEventStore(database, pool) as store:
            yield store
