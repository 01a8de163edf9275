"""The event log contract, bound to the memory adapters and to Postgres."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from tests.contract.combined import MemoryInbox, MemoryTables, PostgresInbox, PostgresTables

from billing_core.testing.event_log import EventLogContract, Log, Store
from billing_core.testing.store import Elapse
from billing_core.testing.stores import Repository
from billing_memory.clock import ManualClock, SystemClock
from billing_memory.database import MemoryDatabase
from billing_memory.oversight.event_log import MemoryEventLog
from billing_postgres.oversight.event_log import PostgresEventLog
from billing_postgres.pool import Database


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
        return MemoryInbox(database, clock)

    @pytest.fixture
    def log(self, database: MemoryDatabase, clock: ManualClock) -> Log:
        return MemoryEventLog(database, clock)

    @pytest.fixture
    def repository(self, database: MemoryDatabase, clock: ManualClock) -> Repository:
        return MemoryTables(database, clock)

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
        async with PostgresInbox(database, pool) as store:
            yield store

    @pytest.fixture
    def log(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> Log:
        return PostgresEventLog(database, pool)

    @pytest.fixture
    def repository(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> Repository:
        return PostgresTables(database, pool)

    @pytest.fixture
    def elapse(self) -> Elapse:
        async def sleep(span: timedelta) -> None:
            await asyncio.sleep(span.total_seconds())

        return sleep
