"""Adapters of several ports in one object, for contracts that ask for all of them of one fixture."""

import asyncpg

from billing_core.state.ports import Clock
from billing_memory.database import MemoryDatabase
from billing_memory.inbox.event_inbox import MemoryEventInbox
from billing_memory.oversight.upkeep import MemoryInboxUpkeep, MemoryStateUpkeep
from billing_memory.state.repository import MemoryRepository
from billing_memory.stream.history import MemoryMessageHistory
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.oversight.upkeep import PostgresInboxUpkeep, PostgresStateUpkeep
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.stream.history import PostgresMessageHistory


class MemoryTables(MemoryRepository):
    """State, history and state upkeep."""

    def __init__(self, database: MemoryDatabase, clock: Clock) -> None:
        super().__init__(database, clock)
        history, upkeep = MemoryMessageHistory(database), MemoryStateUpkeep(database)
        self.events, self.sequence, self.sequences = history.events, history.sequence, history.sequences
        self.duplicate_subscriptions, self.customers = upkeep.duplicate_subscriptions, upkeep.customers


class PostgresTables(PostgresRepository):
    """State, history and state upkeep."""

    def __init__(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        super().__init__(database, pool)
        history, upkeep = PostgresMessageHistory(database, pool), PostgresStateUpkeep(database, pool)
        self.events, self.sequence, self.sequences = history.events, history.sequence, history.sequences
        self.duplicate_subscriptions, self.customers = upkeep.duplicate_subscriptions, upkeep.customers


class MemoryInbox(MemoryEventInbox):
    """The inbox and its upkeep."""

    def __init__(self, database: MemoryDatabase, clock: Clock) -> None:
        super().__init__(database, clock)
        upkeep = MemoryInboxUpkeep(database, clock)
        self.ignore, self.prunable, self.prune = upkeep.ignore, upkeep.prunable, upkeep.prune


class PostgresInbox(PostgresEventInbox):
    """The inbox and its upkeep."""

    def __init__(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        super().__init__(database, pool)
        upkeep = PostgresInboxUpkeep(database, pool)
        self.ignore, self.prunable, self.prune = upkeep.ignore, upkeep.prunable, upkeep.prune
