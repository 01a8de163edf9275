"""The repository contracts, bound to the memory repository and to Postgres."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from tests.contract.combined import MemoryInbox, MemoryTables, PostgresInbox, PostgresTables

from billing_core.testing.records import RecordsContract
from billing_core.testing.repository import BillingRepositoryContract
from billing_core.testing.store import Elapse
from billing_core.testing.stores import Inbox, Repository
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_postgres.pool import Database


class InMemory:
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
    def store(self, database: MemoryDatabase, clock: ManualClock) -> Inbox:
        return MemoryInbox(database, clock)

    @pytest.fixture
    def elapse(self, clock: ManualClock) -> Elapse:
        async def turn(span: timedelta) -> None:
            clock.advance(span)

        return turn


class OnPostgres:
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
    async def store(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[Inbox]:
        async with PostgresInbox(database, pool) as store:
            yield store

    @pytest.fixture
    def elapse(self) -> Elapse:
        async def sleep(span: timedelta) -> None:
            await asyncio.sleep(span.total_seconds())

        return sleep


class TestMemory(InMemory, BillingRepositoryContract):
    """State, numbers and the car park."""


class TestMemoryRecords(InMemory, RecordsContract):
    """Facts beside subscription and invoice."""


@pytest.mark.postgres
class TestPostgres(OnPostgres, BillingRepositoryContract):
    """State, numbers and the car park."""


@pytest.mark.postgres
class TestPostgresRecords(OnPostgres, RecordsContract):
    """Facts beside subscription and invoice."""
