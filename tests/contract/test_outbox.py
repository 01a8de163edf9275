"""The outbox contract, bound to the memory outbox and to Postgres."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from tests.contract.combined import MemoryTables, PostgresTables

from billing_core.stream.ports import Outbox
from billing_core.testing.outbox import OutboxContract
from billing_core.testing.store import Elapse
from billing_core.testing.stores import Repository
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.stream.outbox import MemoryOutbox
from billing_postgres.pool import Database
from billing_postgres.stream.outbox import PostgresOutbox


class TestMemory(OutboxContract):
    """In one process, with a clock that is turned by hand."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def database(self) -> MemoryDatabase:
        return MemoryDatabase()

    @pytest.fixture
    def repository(self, database: MemoryDatabase, clock: ManualClock) -> Repository:
        return MemoryTables(database, clock)

    @pytest.fixture
    def outbox(self, database: MemoryDatabase, clock: ManualClock) -> Outbox:
        return MemoryOutbox(database, clock)

    @pytest.fixture
    def elapse(self, clock: ManualClock) -> Elapse:
        async def turn(span: timedelta) -> None:
            clock.advance(span)

        return turn


@pytest.mark.postgres
class TestPostgres(OutboxContract):
    """On a real server, whose time has to be waited for."""

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
    def outbox(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> Outbox:
        return PostgresOutbox(database, pool)

    @pytest.fixture
    def elapse(self) -> Elapse:
        async def sleep(span: timedelta) -> None:
            await asyncio.sleep(span.total_seconds())

        return sleep
