"""A consumer sees each message of a tenant at least once and in order, whatever workers, operators and the clock do.

A state machine plays random lives: messages are numbered, workers claim, handle, fail, die and wake up late, and leases
run out. A model of a few lines checks each hand-over; in the end everything is handled. In memory and on Postgres.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import ClassVar, TypeVar

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from tests.property.choices import scaled, shrinks_slowly

from billing_core.consumers.ports import ConsumerClaim, ConsumerOversight, ConsumerQueue, ConsumerRegister, Step, Want
from billing_core.consumers.values import Consumer
from billing_core.model import TenantId
from billing_core.state.ports import UnitOfWork
from billing_core.testing.builders import AT, message
from billing_core.testing.consumers.arrange import MAILS, number, step
from billing_memory.clock import ManualClock
from billing_memory.consumers.oversight import MemoryConsumerOversight
from billing_memory.consumers.queue import MemoryConsumers
from billing_memory.database import MemoryDatabase
from billing_memory.state.repository import MemoryRepository
from billing_memory.stream.epochs import MemoryEpochLog
from billing_postgres.consumers.oversight import PostgresConsumerOversight
from billing_postgres.consumers.queue import PostgresConsumerQueue
from billing_postgres.consumers.register import PostgresConsumerRegister
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository

T = TypeVar("T")
LEASE = timedelta(hours=1)
"""Longer than any run, so that leases end when the test says so and at no other time."""
TENANTS = tuple(TenantId(f"tenant-{number}") for number in range(3))
WANTED, UNWANTED = "invoice.paid", "access.changed"


@attrs.frozen(kw_only=True)
class Stores:
    """A consumer's stores over one database, and its clock."""

    register: ConsumerRegister
    queue: ConsumerQueue
    oversight: ConsumerOversight
    repository: UnitOfWork
    elapse: Callable[[], Awaitable[None]]
    """Lets every lease run out and every retry become due."""


async def in_memory(_stack: AsyncExitStack) -> Stores:
    database, clock = MemoryDatabase(), ManualClock(AT + timedelta(days=1))
    consumers = MemoryConsumers(database, clock, MemoryEpochLog())

    async def elapse() -> None:
        clock.advance(2 * LEASE)

    return Stores(
        register=consumers,
        queue=consumers,
        oversight=MemoryConsumerOversight(database, clock, consumers),
        repository=MemoryRepository(database, clock),
        elapse=elapse,
    )


_TABLES = """
billing_consumers, billing_consumer_tenants, billing_consumer_skips, billing_events, billing_outbox, billing_tenants
"""


class ConsumerLife(RuleBasedStateMachine):
    """Numbers, hands over and loses messages at random."""

    open_stores: ClassVar[Callable[[AsyncExitStack], Awaitable[Stores]]] = staticmethod(in_memory)

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.wanted: defaultdict[TenantId, list[int]] = defaultdict(list)
        """The numbers that the consumer has to see."""
        self.last: defaultdict[TenantId, int] = defaultdict(int)
        self.done: defaultdict[TenantId, int] = defaultdict(int)
        """The highest number whose position was stored, or that was skipped."""
        self.claims: list[ConsumerClaim] = []
        """Every claim that was ever given, live or lost."""
        self.live: dict[TenantId, int] = {}
        """The fence of the claim that holds each tenant; 0 while it waits for a retry."""
        self.expired: set[TenantId] = set()
        """Tenants whose lease has run out, or whose retry is due. A late worker may finish until they are claimed."""
        self.held: set[TenantId] = set()

    @initialize(earlier=st.lists(st.sampled_from(TENANTS), max_size=6), start=st.sampled_from(("now", "beginning")))
    def open(self, earlier: list[TenantId], start: str) -> None:
        self.stores = self.run(type(self).open_stores(self.stack))
        for tenant_id in earlier:
            self.add(tenant_id, WANTED, awaited=start == "beginning")
        consumer = Consumer(name=MAILS, event_types=("invoice.*",), start=start)  # type: ignore[arg-type]
        self.run(self.stores.register.register(consumer))

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            self.finish()
        self.run(self.stack.aclose())
        self.runner.close()

    def run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return self.runner.run(awaited())

    def add(self, tenant_id: TenantId, event_type: str, *, awaited: bool = True) -> None:
        self.last[tenant_id] += 1
        sequence = self.last[tenant_id]
        if event_type == WANTED and awaited:
            self.wanted[tenant_id].append(sequence)
        self.run(number(self.stores.repository, message(tenant_id, sequence, event_type=event_type)))

    # --- rules --------------------------------------------------------------------------------------------------

    @rule(tenant_id=st.sampled_from(TENANTS), event_type=st.sampled_from((WANTED, WANTED, UNWANTED)))
    def number(self, tenant_id: TenantId, event_type: str) -> None:
        self.add(tenant_id, event_type)

    @rule(limit=st.integers(1, 3))
    def search(self, limit: int) -> None:
        self.run(self.stores.queue.catch_up([MAILS], limit=limit))

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        found = self.run(self.stores.queue.claim([Want(consumer=MAILS, limit=limit, lease=LEASE)]))
        for each in found:
            assert each.tenant_id not in self.live or each.tenant_id in self.expired
            assert each.tenant_id not in self.held
            self.live[each.tenant_id] = each.fence
            self.expired.discard(each.tenant_id)
        self.claims += found

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), end=st.sampled_from(Step), limit=st.integers(1, 2))
    def hand_over(self, data: st.DataObject, end: Step, limit: int) -> None:
        """A worker, which may have lost its claim, handles its next message and stores what came of it."""
        index = data.draw(st.integers(0, len(self.claims) - 1))
        claim = self.claims[index]
        (waiting,) = self.run(self.stores.queue.messages([claim], limit=limit))
        live = self.live.get(claim.tenant_id) == claim.fence
        sequence = waiting.messages[0].sequence if waiting.messages else None
        if live and sequence is not None:
            self.check_order(claim.tenant_id, sequence)
        position = waiting.until if sequence is None or (end is Step.DONE and limit == 1) else sequence
        if sequence is None:
            end = Step.DONE
        elif end in (Step.RETRY, Step.HOLD):
            position = sequence - 1
        (held,) = self.run(self.stores.queue.settle([step(claim, end, position, after=LEASE)]))
        assert held is live
        if not held:
            return
        self.expired.discard(claim.tenant_id)
        if end in (Step.CONTINUE, Step.SKIP):
            self.claims[index] = attrs.evolve(claim, position=position, attempt=1)
        else:
            del self.live[claim.tenant_id]
            if end is Step.RETRY:
                self.live[claim.tenant_id] = 0
            if end is Step.HOLD:
                self.held.add(claim.tenant_id)
        if sequence is not None and end not in (Step.RETRY, Step.HOLD):
            self.done[claim.tenant_id] = sequence

    def check_order(self, tenant_id: TenantId, sequence: int) -> None:
        """The message is the first one whose end was not stored: none is left out, and none comes too early."""
        missing = [each for each in self.wanted[tenant_id] if each > self.done[tenant_id]]
        assert missing
        assert sequence == missing[0]

    @rule()
    def elapse(self) -> None:
        """Every worker has died, or is late."""
        self.run(self.stores.elapse())
        self.expired |= self.live.keys()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), skip=st.booleans())
    def decide(self, data: st.DataObject, skip: bool) -> None:
        tenant_id = data.draw(st.sampled_from(sorted(self.held)))
        oversight = self.stores.oversight
        if skip:
            (dead,) = self.run(oversight.waiting(MAILS, held=True, tenant_id=tenant_id, limit=1))
            skipped = dead.position + 1
            assert self.run(oversight.skip(MAILS, tenant_id=tenant_id, sequence=skipped, actor="ops", reason=None))
            self.check_order(tenant_id, skipped)
            self.done[tenant_id] = skipped
        else:
            assert self.run(oversight.retry(MAILS, tenant_id=tenant_id, actor="ops", reason=None)) == 1
        self.held.discard(tenant_id)

    def finish(self) -> None:
        """Handle everything: each number that was not handled comes, and nothing else."""
        while self.run(self.stores.queue.catch_up([MAILS], limit=10)):
            pass
        self.run(self.stores.oversight.retry(MAILS, actor="ops", reason=None))
        self.run(self.stores.elapse())
        want = Want(consumer=MAILS, limit=10, lease=LEASE)
        while claims := self.run(self.stores.queue.claim([want])):
            for claim in claims:
                (waiting,) = self.run(self.stores.queue.messages([claim], limit=100))
                for each in waiting.messages:
                    self.check_order(claim.tenant_id, each.sequence)
                    self.done[claim.tenant_id] = each.sequence
                assert self.run(self.stores.queue.settle([step(claim, Step.DONE, waiting.until)])) == [True]
        for tenant_id, numbers in self.wanted.items():
            assert not [each for each in numbers if each > self.done[tenant_id]], tenant_id
        assert self.run(self.stores.oversight.standings())[0].waiting == 0


@shrinks_slowly
def test_in_memory() -> None:
    """The memory adapters keep to the model."""
    run_state_machine_as_test(ConsumerLife, settings=settings(max_examples=scaled(150), stateful_step_count=40))


@pytest.mark.postgres
@shrinks_slowly
def test_on_postgres(database_url: str) -> None:
    """Postgres keeps to the same model."""

    async def on_postgres(stack: AsyncExitStack) -> Stores:
        database = Database(url=database_url)
        pool = await stack.enter_async_context(await database.open_pool(size=3))
        await pool.execute(f"TRUNCATE {_TABLES} CASCADE")

        async def elapse() -> None:
            await pool.execute("UPDATE billing_consumer_tenants SET due_at = due_at - interval '2 hours'")

        return Stores(
            register=PostgresConsumerRegister(database, pool),
            queue=PostgresConsumerQueue(database, pool),
            oversight=PostgresConsumerOversight(database, pool),
            repository=PostgresRepository(database, pool),
            elapse=elapse,
        )

    class OnPostgres(ConsumerLife):
        open_stores = staticmethod(on_postgres)

    run_state_machine_as_test(OnPostgres, settings=settings(max_examples=scaled(40), stateful_step_count=40))
