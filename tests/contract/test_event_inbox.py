"""The event store contract, bound to the memory store and to Postgres."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.contract.combined import MemoryInbox, PostgresInbox

from billing_core.testing.store import Elapse, EventInboxContract
from billing_core.testing.stores import Inbox
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_postgres.pool import Database


class TestMemory(EventInboxContract):
    """In one process, with a clock that is turned by hand."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def store(self, clock: ManualClock) -> Inbox:
        return MemoryInbox(MemoryDatabase(), clock)

    @pytest.fixture
    def elapse(self, clock: ManualClock) -> Elapse:
        async def turn(span: timedelta) -> None:
            clock.advance(span)

        return turn


@pytest.mark.postgres
class TestPostgres(EventInboxContract):
    """On a real server, whose time has to be waited for."""

    @pytest.fixture
    async def store(self, database_url: str) -> AsyncIterator[Inbox]:
        database = Database(url=database_url)
        async with await database.open_pool(size=5) as pool, PostgresInbox(database, pool) as store:
            yield store

    @pytest.fixture
    def elapse(self) -> Elapse:
        async def sleep(span: timedelta) -> None:
            await asyncio.sleep(span.total_seconds())

        return sleep
