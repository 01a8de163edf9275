"""The contract of InvariantLog, in memory and on Postgres."""

from datetime import timedelta
from typing import Any, ClassVar

import asyncpg
import attrs
import pytest
from tests.contract.conftest import InMemory, OnPostgres

from billing_core.events import Disposition
from billing_core.inbox.ports import EventInbox
from billing_core.model import CustomerId, EventId
from billing_core.oversight.invariants import Invariant
from billing_core.oversight.ports import InvariantLog
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.arrange import park, save
from billing_core.testing.builders import ACME, customer
from billing_core.testing.oversight.invariant_log import InvariantLogContract, Plant, Strip
from billing_memory.clock import ManualClock
from billing_memory.database import MemoryDatabase

HOUR = timedelta(hours=1)


class TestMemoryInvariantLog(InMemory, InvariantLogContract):
    """In one process, whose tables are damaged by hand."""

    @pytest.fixture
    def plant(self, database: MemoryDatabase, manual_clock: ManualClock) -> Plant:
        tables = database.tables
        long_ago = manual_clock.now() - HOUR

        async def damage(invariant: Invariant) -> str:
            match invariant:
                case Invariant.COUNTER:
                    tables.counters[ACME] = 4
                    return ACME
                case Invariant.GAPLESS:
                    del tables.messages[ACME, 2]
                    database.outbox.pop((ACME, 2))
                    return ACME
                case Invariant.OUTCOME:
                    tables.dispatch[2] = attrs.evolve(tables.dispatch[2], reason=None)
                    return "evt_2"
                case Invariant.MESSAGE:
                    row = tables.dispatch[1]
                    assert row.outcome is not None
                    tables.dispatch[1] = attrs.evolve(row, outcome=attrs.evolve(row.outcome, sequence=2))
                    return "evt_1"
                case Invariant.LEASE:
                    tables.dispatch[4] = attrs.evolve(tables.dispatch[4], due_at=long_ago)
                    return "evt_4"
                case Invariant.PUBLISHED:
                    database.outbox[ACME, 1] = long_ago
                    return "acme#1"
                case Invariant.OUTBOX:
                    database.outbox[ACME, 7] = manual_clock.now()
                    return "acme#7"
                case Invariant.PARKED:
                    known = customer("cus_1", ACME)
                    tables.customers[CustomerId("cus_1")] = known
                    tables.dispatch[3] = attrs.evolve(tables.dispatch[3], due_at=long_ago)
                    assert tables.dispatch[3].disposition is Disposition.PARKED
                    return "evt_3"

        return damage

    @pytest.fixture
    def strip(self, database: MemoryDatabase) -> Strip:
        stored = database.tables.dispatch

        async def delete(event_id: EventId, part: str) -> None:
            (row,) = (each for each in stored.values() if each.event.event_id == event_id)
            missing: dict[str, Any] = {part: None}
            if part == "effect":
                assert row.outcome is not None
                missing = {"outcome": attrs.evolve(row.outcome, effect=None)}
            stored[row.dispatch_id] = attrs.evolve(row, **missing)

        return delete


class TestPostgresInvariantLog(OnPostgres, InvariantLogContract):
    """On a real server, damaged by SQL."""

    DAMAGE: ClassVar = {
        Invariant.COUNTER: ("acme", "UPDATE billing_tenants SET sequence = 4 WHERE tenant_id = 'acme'"),
        Invariant.GAPLESS: (
            "acme",
            "WITH gone AS (DELETE FROM billing_outbox WHERE tenant_id = 'acme' AND sequence = 2)"
            " DELETE FROM billing_events WHERE tenant_id = 'acme' AND sequence = 2",
        ),
        Invariant.OUTCOME: ("evt_2", "UPDATE stripe_event_dispatch SET reason = NULL WHERE status = 'dead'"),
        Invariant.MESSAGE: ("evt_1", "UPDATE stripe_event_dispatch SET sequence = 2 WHERE status = 'applied'"),
        Invariant.LEASE: (
            "evt_4",
            "UPDATE stripe_event_dispatch SET due_at = now() - interval '1 hour' WHERE status = 'leased'",
        ),
        Invariant.PUBLISHED: (
            "acme#1",
            "UPDATE billing_outbox SET committed_at = now() - interval '1 hour'"
            " WHERE tenant_id = 'acme' AND sequence = 1",
        ),
        Invariant.OUTBOX: ("acme#7", "INSERT INTO billing_outbox VALUES ('acme', 7, now())"),
        Invariant.PARKED: (
            "evt_3",
            "WITH linked AS (UPDATE billing_customers SET tenant_id = 'acme', linked_at = now() - interval '1 hour'"
            " WHERE customer_id = 'cus_1')"
            " UPDATE stripe_event_dispatch SET due_at = now() - interval '1 hour' WHERE status = 'parked'",
        ),
    }

    @pytest.fixture
    def plant(self, pool: "asyncpg.Pool[asyncpg.Record]") -> Plant:
        async def damage(invariant: Invariant) -> str:
            example, statement = self.DAMAGE[invariant]
            assert await pool.execute(statement) in ("UPDATE 1", "DELETE 1", "INSERT 0 1")
            return example

        return damage

    @pytest.fixture
    def strip(self, pool: "asyncpg.Pool[asyncpg.Record]") -> Strip:
        async def delete(event_id: EventId, part: str) -> None:
            statement = (
                f"UPDATE stripe_event_dispatch AS d SET {part} = NULL"
                " FROM stripe_events AS e WHERE e.id = d.event AND e.event_id = $1"
            )
            assert await pool.execute(statement, event_id) == "UPDATE 1"

        return delete

    async def test_an_event_whose_customer_was_linked_just_now_is_not_overdue(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        inbox: EventInbox,
        unit_of_work: UnitOfWork,
        invariants: InvariantLog,
    ) -> None:
        """However long it waited for the link: the time in which it should be applied begins with that."""
        await park(inbox, unit_of_work, "evt_1")
        await save(unit_of_work, Changes(customers=[customer()]))
        missed = "UPDATE stripe_event_dispatch SET status = 'parked', due_at = now() - interval '1 hour'"
        assert await pool.execute(missed) == "UPDATE 1"
        assert await invariants.everything() == []
        await pool.execute("UPDATE billing_customers SET linked_at = linked_at - interval '1 hour'")
        assert [each.invariant for each in await invariants.everything()] == [Invariant.PARKED]
