"""Two sets of adapters for the contract suites: in memory, on a clock that tests set, and on a real Postgres.

A binding inherits one of them and a suite. Suites ask for ports by role; the same fixtures serve all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from billing_core.inbox.ports import EventInbox, EventQueue, EventSelector, KnownEvents, ReplayQueue
from billing_core.oversight.ports import (
    AuditLog,
    EventLog,
    InboxBacklog,
    InboxUpkeep,
    InvariantLog,
    StateUpkeep,
    TenantTimeline,
)
from billing_core.state.ports import Clock, TenantReader, UncertainObjects, UnitOfWork
from billing_core.stream.ports import MessageHistory, Outbox
from billing_core.testing.builders import AT
from billing_core.testing.timing import Elapse
from billing_memory.clock import ManualClock, SystemClock
from billing_memory.database import MemoryDatabase
from billing_memory.inbox.event_inbox import MemoryEventInbox
from billing_memory.oversight.event_log import MemoryEventLog
from billing_memory.oversight.invariants import MemoryInvariantLog
from billing_memory.oversight.timeline import MemoryTenantTimeline
from billing_memory.oversight.upkeep import MemoryInboxUpkeep, MemoryStateUpkeep
from billing_memory.state.repository import MemoryRepository
from billing_memory.stream.history import MemoryMessageHistory
from billing_memory.stream.outbox import MemoryOutbox
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.oversight.event_log import PostgresEventLog
from billing_postgres.oversight.invariants import PostgresInvariantLog
from billing_postgres.oversight.timeline import PostgresTenantTimeline
from billing_postgres.oversight.upkeep import PostgresInboxUpkeep, PostgresStateUpkeep
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.stream.history import PostgresMessageHistory
from billing_postgres.stream.outbox import PostgresOutbox


class _SharedAdapters:
    """Ports that one object satisfies together with another port, in memory as on Postgres."""

    @pytest.fixture
    def queue(self, inbox: EventQueue) -> EventQueue:
        return inbox

    @pytest.fixture
    def known_events(self, inbox: KnownEvents) -> KnownEvents:
        return inbox

    @pytest.fixture
    def replay_queue(self, inbox: ReplayQueue) -> ReplayQueue:
        return inbox

    @pytest.fixture
    def backlog(self, inbox: InboxBacklog) -> InboxBacklog:
        return inbox

    @pytest.fixture
    def tenants(self, unit_of_work: TenantReader) -> TenantReader:
        return unit_of_work

    @pytest.fixture
    def uncertain_objects(self, unit_of_work: UncertainObjects) -> UncertainObjects:
        return unit_of_work

    @pytest.fixture
    def selector(self, event_log: EventSelector) -> EventSelector:
        return event_log

    @pytest.fixture
    def audit_log(self, event_log: AuditLog) -> AuditLog:
        return event_log


class InMemory(_SharedAdapters):
    """In one process, with a clock that tests set."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock(AT + timedelta(days=1))

    @pytest.fixture
    def elapse(self, clock: ManualClock) -> Elapse:
        async def advance(span: timedelta) -> None:
            clock.advance(span)

        return advance

    @pytest.fixture
    def database(self) -> MemoryDatabase:
        return MemoryDatabase()

    @pytest.fixture
    def inbox(self, database: MemoryDatabase, clock: ManualClock) -> EventInbox:
        return MemoryEventInbox(database, clock)

    @pytest.fixture
    def unit_of_work(self, database: MemoryDatabase, clock: ManualClock) -> UnitOfWork:
        return MemoryRepository(database, clock)

    @pytest.fixture
    def history(self, database: MemoryDatabase) -> MessageHistory:
        return MemoryMessageHistory(database)

    @pytest.fixture
    def outbox(self, database: MemoryDatabase, clock: ManualClock) -> Outbox:
        return MemoryOutbox(database, clock)

    @pytest.fixture
    def event_log(self, database: MemoryDatabase, clock: ManualClock) -> EventLog:
        return MemoryEventLog(database, clock)

    @pytest.fixture
    def timeline(self, database: MemoryDatabase, clock: ManualClock) -> TenantTimeline:
        return MemoryTenantTimeline(database, clock)

    @pytest.fixture
    def invariant_log(self, database: MemoryDatabase, clock: ManualClock) -> InvariantLog:
        return MemoryInvariantLog(database, clock)

    @pytest.fixture
    def state_upkeep(self, database: MemoryDatabase) -> StateUpkeep:
        return MemoryStateUpkeep(database)

    @pytest.fixture
    def inbox_upkeep(self, database: MemoryDatabase, clock: ManualClock) -> InboxUpkeep:
        return MemoryInboxUpkeep(database, clock)


@pytest.mark.postgres
class OnPostgres(_SharedAdapters):
    """On a real server, whose time tests must wait for."""

    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()

    @pytest.fixture
    def elapse(self) -> Elapse:
        async def sleep(span: timedelta) -> None:
            await asyncio.sleep(span.total_seconds())

        return sleep

    @pytest.fixture
    def database(self, database_url: str) -> Database:
        return Database(url=database_url)

    @pytest.fixture
    async def pool(self, database: Database) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
        async with await database.open_pool(size=5) as pool:
            yield pool

    @pytest.fixture
    async def inbox(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> AsyncIterator[EventInbox]:
        async with PostgresEventInbox(database, pool) as inbox:
            yield inbox

    @pytest.fixture
    def unit_of_work(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> UnitOfWork:
        return PostgresRepository(database, pool)

    @pytest.fixture
    def history(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> MessageHistory:
        return PostgresMessageHistory(database, pool)

    @pytest.fixture
    def outbox(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> Outbox:
        return PostgresOutbox(database, pool)

    @pytest.fixture
    def event_log(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> EventLog:
        return PostgresEventLog(database, pool)

    @pytest.fixture
    def timeline(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> TenantTimeline:
        return PostgresTenantTimeline(database, pool)

    @pytest.fixture
    def invariant_log(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> InvariantLog:
        return PostgresInvariantLog(database, pool)

    @pytest.fixture
    def state_upkeep(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> StateUpkeep:
        return PostgresStateUpkeep(database, pool)

    @pytest.fixture
    def inbox_upkeep(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> InboxUpkeep:
        return PostgresInboxUpkeep(database, pool)
