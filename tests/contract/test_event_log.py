"""The event log contract, bound to the memory adapters and to Postgres."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from billing_core.testing.event_log import EventLogContract, Log, Store
from billing_core.testing.store import Elapse
from billing_core.testing.stores import Repository
from billing_memory.clock import ManualClock, SystemClock
from billing_memory.database import MemoryDatabase
from billing_memory.event_log import MemoryEventLog
from billing_memory.inbox import MemoryEventInbox
from billing_memory.repository import MemoryRepository
from billing_postgres.event_log import PostgresEventLog
from billing_postgres.inbox import PostgresEventInbox
from billing_postgres.pool import Database
from billing_postgres.repository import PostgresRepository


class TestMemory(EventLogContract):
    """In one process, with a clock that is turned by hand."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(SystemClock().now())

    @pytest.fixture
    def database(self) -> MemoryDatabase:
        return MemoryDatabase()

    @pytest.fixture
    def store(self, database: MemoryDatabase, clock: ManualClock) -> Store:
        return MemoryEventInbox(database, clock)

    @pytest.fixture
    def log(self, database: MemoryDatabase, clock: ManualClock) -> Log:
        return MemoryEventLog(database, clock)

    @pytest.fixture
    def repository(self, database: MemoryDatabase, clock: ManualClock) -> Repository:
        return MemoryRepository(database, clock)

    @pytest.fixture
    def elapse(self, clock: ManualClock) -> Elapse:
        async def turn(span: timedelta) -> None:
            clock.advance(span)

        return turn


@pytest.mark.postgres
class TestPostgres(EventLogContract):
    """On a real server, whose time has to be waited for."""

    @pytest.fixture
    def database(self, database_url: str) -> Database:
        return Database(url=database_url)

    @pytest.fixture
    async def pool(self, database: Database) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
        async with await database.open_pool(size=5) as pool:
            yield pool

    @pytest.fixture
    async def store(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[Store]:
        async with PostgresEventInbox(database, pool) as store:
            yield store

    @pytest.fixture
    def log(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> Log:
        return PostgresEventLog(database, pool)

    @pytest.fixture
    def repository(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> Repository:
        return PostgresRepository(database, pool)

    @pytest.fixture
    def elapse(self) -> Elapse:
        async def sleep(span: timedelta) -> None:
            await asyncio.sleep(span.total_seconds())

        return sleep
