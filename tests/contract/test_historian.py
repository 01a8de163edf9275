"""The historian contract, bound to the memory adapters and to Postgres."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from billing_core.ports import BillingRepository, Clock, EventStore, Historian
from billing_core.testing.historian import HistorianContract
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.historian import MemoryHistorian
from billing_memory.repository import MemoryRepository
from billing_memory.store import MemoryEventStore
from billing_postgres.historian import PostgresHistorian
from billing_postgres.pool import Database
from billing_postgres.repository import PostgresRepository
from billing_postgres.store import PostgresEventStore


class TestMemory(HistorianContract):
    """In one process."""

    @pytest.fixture
    def clock(self) -> Clock:
        return ManualClock()

    @pytest.fixture
    def database(self) -> MemoryDatabase:
        return MemoryDatabase()

    @pytest.fixture
    def historian(self, database: MemoryDatabase, clock: Clock) -> Historian:
        return MemoryHistorian(database, clock)

    @pytest.fixture
    def store(self, database: MemoryDatabase, clock: Clock) -> EventStore:
        return MemoryEventStore(database, clock)

    @pytest.fixture
    def repository(self, database: MemoryDatabase, clock: Clock) -> BillingRepository:
        return MemoryRepository(database, clock)


@pytest.mark.postgres
class TestPostgres(HistorianContract):
    """On a real server."""

    @pytest.fixture
    def database(self, database_url: str) -> Database:
        return Database(url=database_url)

    @pytest.fixture
    async def pool(self, database: Database) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
        async with await database.open_pool(size=4) as pool:
            yield pool

    @pytest.fixture
    def historian(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> Historian:
        return PostgresHistorian(database, pool)

    @pytest.fixture
    async def store(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[EventStore]:
        async with PostgresEventStore(database, pool) as store:
            yield store

    @pytest.fixture
    def repository(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> BillingRepository:
        return PostgresRepository(database, pool)
