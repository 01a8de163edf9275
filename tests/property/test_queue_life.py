"""An event is processed by one worker at a time and never lost, whatever two workers, operators and the clock do to it.

A state machine plays random lives of a few events against a model of a dozen lines, in memory and on Postgres.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import ClassVar, TypeVar

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.property.choices import scaled, shrinks_slowly

from billing_core.events import Claim, Disposition, Effect, Outcome, ReceiptStatus
from billing_core.inbox.selection import EventFilter
from billing_core.model import CustomerId, TenantId
from billing_core.oversight.inspection import StoredEvent
from billing_core.oversight.ports import EventLog, InboxUpkeep
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.builders import AT, customer, provider_event
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase
from billing_memory.inbox.event_inbox import MemoryEventInbox
from billing_memory.oversight.event_log import MemoryEventLog
from billing_memory.oversight.upkeep import MemoryInboxUpkeep
from billing_memory.state.repository import MemoryRepository
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.oversight.event_log import PostgresEventLog
from billing_postgres.oversight.upkeep import PostgresInboxUpkeep
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository

T = TypeVar("T")
LEASE = timedelta(hours=1)
"""Longer than any run, so that leases end when the test says so and at no other time."""
EVENTS = 5
CUSTOMERS = tuple(CustomerId(f"cus_{number}") for number in range(2))
WORKERS = st.sampled_from((0, 1))
FINISHED = (Disposition.APPLIED, Disposition.IGNORED)


@attrs.define
class Expected:
    """The life of one event as the machine knows it."""

    status: Disposition = Disposition.DUE
    attempt: int = 0
    waits: bool = False
    """Due or leased, but not claimable before time passes."""
    parked_on: CustomerId | None = None
    body: bool = True

    @property
    def claimable(self) -> bool:
        return self.status in (Disposition.DUE, Disposition.LEASED) and not self.waits

    @property
    def busy(self) -> bool:
        """Whether a worker holds a live lease."""
        return self.status is Disposition.LEASED and self.waits


@attrs.frozen(kw_only=True)
class Stores:
    """Two workers' inboxes over one database, an operator's view of it, and its clock."""

    inboxes: Sequence[MemoryEventInbox | PostgresEventInbox]
    repository: UnitOfWork
    upkeep: InboxUpkeep
    log: EventLog
    elapse: Callable[[], Awaitable[None]]
    """Lets every lease run out and every retry become due."""


async def in_memory(_stack: AsyncExitStack) -> Stores:
    database, clock = MemoryDatabase(), ManualClock(AT + timedelta(days=1))

    async def elapse() -> None:
        clock.advance(2 * LEASE)

    return Stores(
        inboxes=[MemoryEventInbox(database, clock) for _ in range(2)],
        repository=MemoryRepository(database, clock),
        upkeep=MemoryInboxUpkeep(database, clock),
        log=MemoryEventLog(database, clock),
        elapse=elapse,
    )


_TABLES = "stripe_events, stripe_event_dispatch, billing_customers, billing_tenants"


class QueueLife(RuleBasedStateMachine):
    """Records, claims, ends and revives events at random, and compares each step with the model."""

    open_stores: ClassVar[Callable[[AsyncExitStack], Awaitable[Stores]]] = staticmethod(in_memory)

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.expected: dict[str, Expected] = {}
        self.claims: list[Claim] = []
        """Every claim that was ever given and not released, live or stale."""
        self.linked: set[CustomerId] = set()

    @initialize()
    def open(self) -> None:
        self.stores = self.run(type(self).open_stores(self.stack))

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()

    def run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return self.runner.run(awaited())

    # --- rules --------------------------------------------------------------------------------------------------

    @rule(number=st.integers(0, EVENTS - 1), worker=WORKERS, lease=st.booleans())
    def record(self, number: int, worker: int, lease: bool) -> None:
        event_id = f"evt_{number}"
        receipt = self.run(self.stores.inboxes[worker].record(provider_event(event_id), lease=LEASE if lease else None))
        if event_id in self.expected:
            assert (receipt.status, receipt.claim) == (ReceiptStatus.DUPLICATE, None)
            return
        assert receipt.status is ReceiptStatus.ACCEPTED
        assert (receipt.claim is not None) == lease
        self.expected[event_id] = Expected()
        if receipt.claim is not None:
            self.give([receipt.claim])

    @rule(worker=WORKERS, limit=st.integers(1, EVENTS), late=st.booleans())
    def claim(self, worker: int, limit: int, late: bool) -> None:
        """A worker claims what is due; `late`, also what another one has held for too long."""
        if late:
            self.let_time_pass()
        claimable = {event_id for event_id, event in self.expected.items() if event.claimable}
        claims = self.run(self.stores.inboxes[worker].claim(limit=limit, lease=LEASE))
        got = {claim.event.event_id for claim in claims}
        assert got <= claimable
        assert len(claims) == len(got) == min(limit, len(claimable))
        self.give(claims)

    @rule()
    def let_time_pass(self) -> None:
        self.run(self.stores.elapse())
        for event in self.expected.values():
            event.waits = False

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), worker=WORKERS)
    def retry(self, data: st.DataObject, worker: int) -> None:
        claim = self.some_claim(data)
        current = self.is_current(claim)
        kept = self.run(self.stores.inboxes[worker].retry(claim, after=LEASE, reason="bug", error="broken"))
        assert kept == current
        if current:
            event = self.of(claim)
            event.status, event.waits = Disposition.DUE, True

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), worker=WORKERS)
    def bury(self, data: st.DataObject, worker: int) -> None:
        claim = self.some_claim(data)
        current = self.is_current(claim)
        assert self.run(self.stores.inboxes[worker].bury(claim, reason="bug", error="broken")) == current
        if current:
            self.of(claim).status = Disposition.DEAD

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), worker=WORKERS)
    def release(self, data: st.DataObject, worker: int) -> None:
        """A worker that stops returns what it holds; it uses a released claim never again."""
        claim = self.some_claim(data)
        current = self.is_current(claim)
        self.run(self.stores.inboxes[worker].release([claim]))
        self.claims.remove(claim)
        if current:
            event = self.of(claim)
            event.status, event.waits, event.attempt = Disposition.DUE, False, event.attempt - 1

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), disposition=st.sampled_from((*FINISHED, Disposition.PARKED)), fails=st.booleans())
    def finish(self, data: st.DataObject, disposition: Disposition, fails: bool) -> None:
        """A unit of work ends the events that it still holds, unless it is rolled back."""
        claims = data.draw(
            st.lists(st.sampled_from(self.claims), min_size=1, unique_by=lambda claim: claim.dispatch_id)
        )
        on = data.draw(st.sampled_from(CUSTOMERS))
        held = self.run(self.settle(claims, disposition, on, fails=fails))
        assert [self.is_current(claim) for claim in claims] == [claim in held for claim in claims]
        if fails:
            return
        for claim in held:
            event = self.of(claim)
            event.status, event.waits, event.parked_on = disposition, False, None
            if disposition is Disposition.PARKED:
                event.parked_on = on
                if on in self.linked:  # the link was there already: nothing to wait for
                    event.status = Disposition.DUE

    @rule(customer_id=st.sampled_from(CUSTOMERS))
    def link(self, customer_id: CustomerId) -> None:
        """A customer gets its tenant: what was parked on it is due."""
        self.run(self.save_link(customer_id))
        self.linked.add(customer_id)
        for event in self.expected.values():
            if event.status is Disposition.PARKED and event.parked_on == customer_id:
                event.status, event.waits = Disposition.DUE, False

    @rule()
    def unpark(self) -> None:
        """Looking for parked events that need not wait finds none: each is due as soon as its customer is linked."""
        assert self.run(self.stores.inboxes[0].unpark()) == 0

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def ignore(self, data: st.DataObject) -> None:
        numbers, chosen = self.some_events(data)
        wanted = {id_ for id_ in chosen if not self.expected[id_].busy and self.expected[id_].status not in FINISHED}
        ignored = self.run(self.stores.upkeep.ignore(list(numbers.values()), reason="operator"))
        assert {event_id for event_id, number in numbers.items() if number in ignored} == wanted
        for event_id in wanted:
            self.expected[event_id].status = Disposition.IGNORED

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), worker=WORKERS)
    def reclaim(self, data: st.DataObject, worker: int) -> None:
        """A replay takes events whatever their status, except what a worker holds or whose body is gone."""
        numbers, chosen = self.some_events(data)
        wanted = {id_ for id_ in chosen if not self.expected[id_].busy and self.expected[id_].body}
        claims = self.run(self.stores.inboxes[worker].reclaim(list(numbers.values()), lease=LEASE))
        assert {claim.event.event_id for claim in claims} == wanted
        assert all(claim.tries == 1 for claim in claims)
        self.give(claims)

    @rule()
    def prune(self) -> None:
        old = {id_ for id_, event in self.expected.items() if event.status in FINISHED and event.body}
        pruned = self.run(self.stores.upkeep.prune(older_than=timedelta(0), after=0, limit=100))
        assert pruned.bodies == len(old)
        for event_id in old:
            self.expected[event_id].body = False

    # --- what must hold -----------------------------------------------------------------------------------------

    @invariant()
    def every_event_is_as_expected(self) -> None:
        if not hasattr(self, "stores"):
            return
        stored = {event.key.event_id: event for event in self.run(self.stored())}
        found = {id_: (event.status, event.attempt, event.body_kept) for id_, event in stored.items()}
        assert found == {id_: (event.status, event.attempt, event.body) for id_, event in self.expected.items()}

    # --- means --------------------------------------------------------------------------------------------------

    def give(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            event = self.of(claim)
            event.attempt += 1
            assert claim.attempt == event.attempt
            event.status, event.waits = Disposition.LEASED, True
            self.claims.append(claim)

    def of(self, claim: Claim) -> Expected:
        return self.expected[claim.event.event_id]

    def is_current(self, claim: Claim) -> bool:
        event = self.of(claim)
        return event.status is Disposition.LEASED and event.attempt == claim.attempt

    def some_claim(self, data: st.DataObject) -> Claim:
        """A claim; every other time one that was lost to another worker, if there is any."""
        lost = [one for one in self.claims if self.of(one).status is Disposition.LEASED and not self.is_current(one)]
        return data.draw(st.sampled_from(lost if lost and data.draw(st.booleans()) else self.claims))

    def some_events(self, data: st.DataObject) -> tuple[dict[str, int], Collection[str]]:
        chosen = data.draw(st.sets(st.sampled_from(sorted(self.expected)), min_size=1))
        numbers = {event.key.event_id: event.dispatch_id for event in self.run(self.stored())}
        return {event_id: numbers[event_id] for event_id in chosen}, chosen

    async def stored(self) -> Sequence[StoredEvent]:
        found: Sequence[StoredEvent] = await self.stores.log.find(EventFilter(), before=None, limit=100)
        return found

    async def settle(
        self, claims: Sequence[Claim], disposition: Disposition, on: CustomerId, *, fails: bool
    ) -> Sequence[Claim]:
        held: Sequence[Claim] = ()
        with suppress(_RollBack):
            async with self.stores.repository.transaction() as transaction:
                held = (await transaction.hold(claims)).claims
                await transaction.settle([_outcome(claim, disposition, on) for claim in held])
                if fails:
                    _roll_back()
        return held

    async def save_link(self, customer_id: CustomerId) -> None:
        linked = customer(customer_id, TenantId(f"tenant-of-{customer_id}"))
        async with self.stores.repository.transaction() as transaction:
            await transaction.lock_customers([customer_id])
            await transaction.lock_tenants([linked.tenant_id])
            await transaction.save(Changes(customers=[linked]))


class _RollBack(Exception):  # noqa: N818 - a signal
    """Rolls a unit of work back."""


def _roll_back() -> None:
    raise _RollBack


def _outcome(claim: Claim, disposition: Disposition, on: CustomerId) -> Outcome:
    match disposition:
        case Disposition.APPLIED:
            return Outcome(claim=claim, disposition=disposition, effect=Effect.CHANGED, tenant_id=TenantId("acme"))
        case Disposition.PARKED:
            return Outcome(
                claim=claim, disposition=disposition, reason="unmapped_customer", parked_on=on, customer_id=on
            )
        case _:
            return Outcome(claim=claim, disposition=disposition, reason="unhandled")


@shrinks_slowly
def test_in_memory() -> None:
    """The memory adapters keep to the model."""
    run_state_machine_as_test(QueueLife, settings=settings(max_examples=scaled(100), stateful_step_count=50))


@pytest.mark.postgres
@shrinks_slowly
def test_on_postgres(database_url: str) -> None:
    """Postgres keeps to the same model."""

    async def on_postgres(stack: AsyncExitStack) -> Stores:
        database = Database(url=database_url)
        pool = await stack.enter_async_context(await database.open_pool(size=3))
        await pool.execute(f"TRUNCATE {_TABLES} CASCADE")
        inboxes = [await stack.enter_async_context(PostgresEventInbox(database, pool)) for _ in range(2)]

        async def elapse() -> None:
            await pool.execute("UPDATE stripe_event_dispatch SET due_at = due_at - interval '2 hours'")

        return Stores(
            inboxes=inboxes,
            repository=PostgresRepository(database, pool),
            upkeep=PostgresInboxUpkeep(database, pool),
            log=PostgresEventLog(database, pool),
            elapse=elapse,
        )

    class OnPostgres(QueueLife):
        open_stores = staticmethod(on_postgres)

    run_state_machine_as_test(OnPostgres, settings=settings(max_examples=scaled(40), stateful_step_count=50))
