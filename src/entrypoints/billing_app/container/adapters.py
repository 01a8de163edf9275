"""The adapters that a container is given: those of a real deployment, and those that live in memory.

Their types are the static proof that an adapter fits its port; the container demands the same ports at run time.
"""

from __future__ import annotations

from typing import TypeAlias, TypedDict

import asyncpg

from billing_app.settings import Settings
from billing_core.consumers.ports import ConsumerOversight, ConsumerQueue, ConsumerRegister
from billing_core.inbox.ports import EventInbox, EventQueue, KnownEvents, ReplayQueue
from billing_core.operations.ports import OperationLog
from billing_core.outgoing.ports import WebhookEndpoints
from billing_core.oversight.ports import (
    AuditLog,
    DelayTally,
    EventLog,
    InboxBacklog,
    InboxFlow,
    InboxUpkeep,
    InvariantLog,
    ProcessRegister,
    RefusalTally,
    StateUpkeep,
    TenantTimeline,
)
from billing_core.state.ports import Clock, RulesRegister, TenantReader, UncertainObjects, UnitOfWork
from billing_core.stream.ports import EpochLog, EventBus, LogRewrites, MessageHistory, Outbox
from billing_core.stream_access.ports import Revocations, StreamQuota, StreamTickets
from billing_memory.clock import SystemClock
from billing_memory.consumers.oversight import MemoryConsumerOversight
from billing_memory.consumers.queue import MemoryConsumers
from billing_memory.database import MemoryDatabase
from billing_memory.inbox.event_inbox import MemoryEventInbox
from billing_memory.operations.log import MemoryOperationLog
from billing_memory.outgoing.receivers import MemoryReceivers
from billing_memory.oversight.delays import MemoryDelayTally
from billing_memory.oversight.event_log import MemoryEventLog
from billing_memory.oversight.flow import MemoryInboxFlow
from billing_memory.oversight.invariants import MemoryInvariantLog
from billing_memory.oversight.processes import MemoryProcessRegister
from billing_memory.oversight.refusals import MemoryRefusalTally
from billing_memory.oversight.timeline import MemoryTenantTimeline
from billing_memory.oversight.upkeep import MemoryInboxUpkeep, MemoryStateUpkeep
from billing_memory.state.repository import MemoryRepository
from billing_memory.state.rules import MemoryRulesRegister
from billing_memory.stream.bus import MemoryEventBus, NullEventBus
from billing_memory.stream.epochs import MemoryEpochLog
from billing_memory.stream.history import MemoryMessageHistory
from billing_memory.stream.outbox import MemoryOutbox
from billing_memory.stream_access.quota import MemoryStreamQuota
from billing_memory.stream_access.revocations import MemoryRevocations
from billing_memory.stream_access.tickets import MemoryStreamTickets
from billing_postgres.consumers.oversight import PostgresConsumerOversight
from billing_postgres.consumers.queue import PostgresConsumerQueue
from billing_postgres.consumers.register import PostgresConsumerRegister
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.operations.log import PostgresOperationLog
from billing_postgres.outgoing.receivers import PostgresReceivers
from billing_postgres.oversight.delays import PostgresDelayTally
from billing_postgres.oversight.event_log import PostgresEventLog
from billing_postgres.oversight.flow import PostgresInboxFlow
from billing_postgres.oversight.invariants import PostgresInvariantLog
from billing_postgres.oversight.processes import PostgresProcessRegister
from billing_postgres.oversight.refusals import PostgresRefusalTally
from billing_postgres.oversight.timeline import PostgresTenantTimeline
from billing_postgres.oversight.upkeep import PostgresInboxUpkeep, PostgresStateUpkeep
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.state.rules import PostgresRulesRegister
from billing_postgres.stream.epochs import PostgresEpochLog
from billing_postgres.stream.history import PostgresMessageHistory
from billing_postgres.stream.outbox import PostgresOutbox
from billing_postgres.stream_access.revocations import PostgresRevocations
from billing_postgres.stream_access.tickets import PostgresStreamTickets

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


class Adapters(TypedDict):
    """One adapter per port, by the name of the container's dependency."""

    inbox: EventInbox
    queue: EventQueue
    known_events: KnownEvents
    replay_queue: ReplayQueue
    unit_of_work: UnitOfWork
    tenant_reader: TenantReader
    uncertain_objects: UncertainObjects
    rules_register: RulesRegister
    history: MessageHistory
    outbox: Outbox
    log_rewrites: LogRewrites
    bus: EventBus
    epochs: EpochLog
    tickets: StreamTickets
    quota: StreamQuota
    revocations: Revocations
    event_log: EventLog
    audit_log: AuditLog
    timeline: TenantTimeline
    invariants: InvariantLog
    inbox_backlog: InboxBacklog
    inbox_flow: InboxFlow
    inbox_upkeep: InboxUpkeep
    state_upkeep: StateUpkeep
    refusal_tally: RefusalTally
    delay_tally: DelayTally
    process_register: ProcessRegister
    operation_log: OperationLog
    consumer_register: ConsumerRegister
    consumer_queue: ConsumerQueue
    consumer_oversight: ConsumerOversight
    webhook_endpoints: WebhookEndpoints
    clock: Clock


def memory_adapters(
    settings: Settings, *, database: MemoryDatabase | None = None, clock: Clock | None = None
) -> Adapters:
    """Return adapters that share one database in memory, for tests, examples and hosts that need nothing durable."""
    clock = clock or SystemClock()
    database = database or MemoryDatabase()
    inbox = MemoryEventInbox(database, clock)
    repository = MemoryRepository(database, clock)
    event_log = MemoryEventLog(database, clock)
    outbox = MemoryOutbox(database, clock)
    epochs = MemoryEpochLog()
    consumers = MemoryConsumers(database, clock, epochs)
    return Adapters(
        inbox=inbox,
        queue=inbox,
        known_events=inbox,
        replay_queue=inbox,
        unit_of_work=repository,
        tenant_reader=repository,
        uncertain_objects=repository,
        rules_register=MemoryRulesRegister(database),
        history=MemoryMessageHistory(database),
        outbox=outbox,
        log_rewrites=outbox,
        bus=MemoryEventBus(log_length=settings.redis.log_length),
        epochs=epochs,
        tickets=MemoryStreamTickets(clock),
        quota=MemoryStreamQuota(clock, settings.quota),
        revocations=MemoryRevocations(database, clock),
        event_log=event_log,
        audit_log=event_log,
        timeline=MemoryTenantTimeline(database, clock),
        invariants=MemoryInvariantLog(database, clock),
        inbox_backlog=inbox,
        inbox_flow=MemoryInboxFlow(database),
        inbox_upkeep=MemoryInboxUpkeep(database, clock),
        state_upkeep=MemoryStateUpkeep(database),
        refusal_tally=MemoryRefusalTally(),
        delay_tally=MemoryDelayTally(),
        process_register=MemoryProcessRegister(clock),
        operation_log=MemoryOperationLog(database, clock),
        consumer_register=consumers,
        consumer_queue=consumers,
        consumer_oversight=MemoryConsumerOversight(database, clock, consumers),
        webhook_endpoints=MemoryReceivers(clock),
        clock=clock,
    )


def postgres_adapters(
    settings: Settings,
    *,
    database: Database,
    writers: Pool,
    readers: Pool | None = None,
    consumers: Pool | None = None,
    inbox: PostgresEventInbox | None = None,
    bus: EventBus | None = None,
    quota: StreamQuota | None = None,
) -> Adapters:
    """Return adapters over pools that are open.

    Args:
        settings: limits of the quota, unless one is given.
        database: the database of the pools.
        writers: connections for transactions that write.
        readers: connections for everything that only reads, so that slow reads delay no write; the same by default.
        consumers: connections for consumers, whose handlers may hold them, so that these delay no event; the same by
            default.
        inbox: an inbox that was started; without one nothing wakes up for new events.
        bus: the bus of all processes; without one nothing is streamed.
        quota: the quota of all processes; without one this process counts its own streams.
    """
    clock = SystemClock()
    readers = readers or writers
    inbox = inbox or PostgresEventInbox(database, writers)
    repository = PostgresRepository(database, writers, readers=readers)
    outbox = PostgresOutbox(database, writers)
    consumers = consumers or writers
    return Adapters(
        inbox=inbox,
        queue=inbox,
        known_events=inbox,
        replay_queue=inbox,
        unit_of_work=repository,
        tenant_reader=repository,
        uncertain_objects=repository,
        rules_register=PostgresRulesRegister(database, writers),
        history=PostgresMessageHistory(database, readers),
        outbox=outbox,
        log_rewrites=outbox,
        bus=bus or NullEventBus(),
        epochs=PostgresEpochLog(database, writers),
        tickets=PostgresStreamTickets(database, writers),
        quota=quota or MemoryStreamQuota(clock, settings.quota),
        revocations=PostgresRevocations(database, writers),
        event_log=PostgresEventLog(database, readers),
        audit_log=PostgresEventLog(database, writers),
        timeline=PostgresTenantTimeline(database, readers),
        invariants=PostgresInvariantLog(database, readers),
        inbox_backlog=inbox,
        inbox_flow=PostgresInboxFlow(database, readers),
        inbox_upkeep=PostgresInboxUpkeep(database, writers),
        state_upkeep=PostgresStateUpkeep(database, readers),
        refusal_tally=PostgresRefusalTally(database, writers),
        delay_tally=PostgresDelayTally(database, writers),
        process_register=PostgresProcessRegister(database, writers),
        operation_log=PostgresOperationLog(database, writers),
        consumer_register=PostgresConsumerRegister(database, consumers),
        consumer_queue=PostgresConsumerQueue(database, consumers),
        consumer_oversight=PostgresConsumerOversight(database, consumers),
        webhook_endpoints=PostgresReceivers(database, writers),
        clock=clock,
    )
