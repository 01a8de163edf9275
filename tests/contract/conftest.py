"""Two sets of adapters for the contract suites: in memory, on a clock that tests set, and on a real Postgres.

A binding inherits one of them and a suite. Suites ask for ports by the names that the container uses, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import asyncpg
import pytest
from tests.databases import Databases
from tests.postgres import move_clock

from billing_app.container import Adapters, memory_adapters, postgres_adapters
from billing_app.settings import Settings
from billing_core.inbox.ports import EventSelector
from billing_core.testing.builders import AT
from billing_core.testing.timing import Elapse
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database

_MAKE_EVENTS_OLDER = """
WITH free AS (
    SELECT event FROM stripe_event_dispatch FOR UPDATE SKIP LOCKED
), older AS (
    UPDATE stripe_event_dispatch AS d
    SET due_at = due_at - $1::interval
    FROM free
    WHERE d.event = free.event
    RETURNING d.event
)
SELECT count(*) FROM older
"""
_MAKE_CONSUMERS_OLDER = """
UPDATE billing_consumer_tenants SET due_at = due_at - $1::interval, waiting_since = waiting_since - $1::interval
"""


class _PortFixtures:
    """One fixture for each of the `adapters` of a binding."""

    @pytest.fixture
    def selector(self, adapters: Adapters) -> EventSelector:
        return adapters["event_log"]


def _port_fixture(name: str) -> Any:
    @pytest.fixture(name=name)
    def port(self: _PortFixtures, adapters: Adapters) -> object:
        return adapters[name]  # type: ignore[literal-required]

    return port


for _name in Adapters.__annotations__:
    setattr(_PortFixtures, _name, _port_fixture(_name))


class InMemory(_PortFixtures):
    """In one process, with a clock that tests set."""

    @pytest.fixture
    def manual_clock(self) -> ManualClock:
        return ManualClock(AT + timedelta(days=1))

    @pytest.fixture
    def elapse(self, manual_clock: ManualClock) -> Elapse:
        async def advance(span: timedelta) -> None:
            manual_clock.advance(span)

        return advance

    @pytest.fixture
    def database(self) -> MemoryDatabase:
        return MemoryDatabase()

    @pytest.fixture
    def adapters(self, database: MemoryDatabase, manual_clock: ManualClock) -> Adapters:
        return memory_adapters(Settings(), database=database, clock=manual_clock)


class Lent(NamedTuple):
    """A database, and open connections to it."""

    database: Database
    pool: asyncpg.Pool[asyncpg.Record]


class LastingDatabase:
    """One database with open connections, for one test after another: to open them costs as much as a short test."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._lent: Lent | None = None
        self._stack = AsyncExitStack()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Lent]:
        """Lend it to a test. If that changed more than rows, the next test gets another one."""
        if (lent := self._lent) is None:
            lent = self._lent = await self._open()
        yield lent
        if not await self._databases.empty(lent.pool):
            await self.aclose()

    async def aclose(self) -> None:
        """End its connections."""
        self._lent = None
        await self._stack.aclose()

    async def _open(self) -> Lent:
        database = Database(url=await self._stack.enter_async_context(self._databases.fresh()))
        return Lent(database, await self._stack.enter_async_context(await database.open_pool(size=5)))


@pytest.fixture(scope="session")
async def lasting_database(databases: Databases) -> AsyncIterator[LastingDatabase]:
    """Return the database of this process."""
    lasting = LastingDatabase(databases)
    yield lasting
    await lasting.aclose()


@pytest.mark.postgres
class OnPostgres(_PortFixtures):
    """On a real server. Its time passes by making rows older; rows that a test has locked have to be waited for.

    The clock that decides on access is a function of the database, and is moved.
    """

    @pytest.fixture
    def elapse(self, pool: asyncpg.Pool[asyncpg.Record]) -> Elapse:
        passed = timedelta()

        async def make_older(span: timedelta) -> None:
            nonlocal passed
            passed += span
            await move_clock(pool, passed)
            await pool.execute("UPDATE billing_outbox SET committed_at = committed_at - $1::interval", span)
            await pool.execute(_MAKE_CONSUMERS_OLDER, span)
            await pool.execute("UPDATE billing_processes SET beat_at = beat_at - $1::interval", span)
            await pool.execute("UPDATE billing_stream_tickets SET good_until = good_until - $1::interval", span)
            older = await pool.fetchval(_MAKE_EVENTS_OLDER, span)
            if older < await pool.fetchval("SELECT count(*) FROM stripe_event_dispatch"):
                await asyncio.sleep(span.total_seconds())

        return make_older

    @pytest.fixture
    async def lent(self, lasting_database: LastingDatabase) -> AsyncIterator[Lent]:
        async with lasting_database.lent() as lent:
            yield lent

    @pytest.fixture
    def database(self, lent: Lent) -> Database:
        return lent.database

    @pytest.fixture
    def database_url(self, database: Database) -> str:
        return database.url

    @pytest.fixture
    def pool(self, lent: Lent) -> asyncpg.Pool[asyncpg.Record]:
        return lent.pool

    @pytest.fixture
    async def adapters(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> AsyncIterator[Adapters]:
        async with PostgresEventInbox(database, pool) as inbox:
            yield postgres_adapters(Settings(), database=database, writers=pool, inbox=inbox)
