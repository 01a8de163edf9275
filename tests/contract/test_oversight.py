"""The contracts of the oversight ports, in memory and on Postgres."""

from datetime import timedelta

import asyncpg
from tests.contract.conftest import InMemory, OnPostgres

from billing_core.events import Disposition
from billing_core.inbox.ports import EventInbox
from billing_core.oversight.flow import MEASURED
from billing_core.oversight.ports import InboxFlow, TenantTimeline
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.arrange import park, save
from billing_core.testing.builders import ACME, AT, GLOBEX
from billing_core.testing.oversight.audit_log import AuditLogContract
from billing_core.testing.oversight.delay_tally import DelayTallyContract
from billing_core.testing.oversight.event_log import EventLogContract
from billing_core.testing.oversight.inbox_backlog import InboxBacklogContract
from billing_core.testing.oversight.inbox_flow import InboxFlowContract
from billing_core.testing.oversight.inbox_upkeep import InboxUpkeepContract
from billing_core.testing.oversight.process_register import ProcessRegisterContract
from billing_core.testing.oversight.refusal_tally import RefusalTallyContract
from billing_core.testing.oversight.state_upkeep import StateUpkeepContract
from billing_core.testing.oversight.tenant_timeline import ALICE, BOB, TenantTimelineContract

STORE_MANY = """
WITH stored AS (
    INSERT INTO stripe_events (account, livemode, event_id, type, created_at, received_at, secret_slot)
    SELECT '', false, 'evt_' || number, 'invoice.paid', $1::timestamptz,
           $1::timestamptz + CASE WHEN number <= $3::int THEN interval '1 hour' ELSE interval '1 second' END, 1
    FROM generate_series(1, $2::int + $3::int) AS number
    ORDER BY number
    RETURNING id
)
INSERT INTO stripe_event_dispatch (event) SELECT id FROM stored
"""
"""Args: $1 an instant, $2 a number of events that arrived at once, $3 a number of earlier ones that were late."""


class TestMemoryInboxBacklog(InMemory, InboxBacklogContract): ...


class TestPostgresInboxBacklog(OnPostgres, InboxBacklogContract): ...


class TestMemoryInboxFlow(InMemory, InboxFlowContract): ...


class TestPostgresInboxFlow(OnPostgres, InboxFlowContract):
    async def test_the_latest_events_are_measured(
        self, pool: "asyncpg.Pool[asyncpg.Record]", inbox_flow: InboxFlow
    ) -> None:
        """Of very many, the earlier ones do not count."""
        await pool.execute(STORE_MANY, AT, MEASURED, MEASURED // 10)
        delays = await inbox_flow.delays(since=AT, until=AT + timedelta(days=1))
        assert delays.sent == (timedelta(seconds=1), timedelta(seconds=1))


class TestMemoryInboxUpkeep(InMemory, InboxUpkeepContract): ...


class TestPostgresInboxUpkeep(OnPostgres, InboxUpkeepContract): ...


class TestMemoryEventLog(InMemory, EventLogContract): ...


class TestPostgresEventLog(OnPostgres, EventLogContract): ...


class TestMemoryAuditLog(InMemory, AuditLogContract): ...


class TestPostgresAuditLog(OnPostgres, AuditLogContract): ...


class TestMemoryTenantTimeline(InMemory, TenantTimelineContract): ...


class TestPostgresTenantTimeline(OnPostgres, TenantTimelineContract):
    async def test_an_event_that_still_waits_for_a_linked_customer_is_shown(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        inbox: EventInbox,
        unit_of_work: UnitOfWork,
        timeline: TenantTimeline,
    ) -> None:
        """A link makes waiting events due, so an operator looks for one that was missed. No other tenant's is shown."""
        await park(inbox, unit_of_work, "evt_1", on=ALICE)
        await park(inbox, unit_of_work, "evt_2", on=BOB)
        await save(unit_of_work, Changes(), tenants=[ACME, GLOBEX])
        await pool.execute(
            "UPDATE billing_customers SET tenant_id = CASE customer_id WHEN $1 THEN 'acme' ELSE 'globex' END", ALICE
        )
        history = await timeline.history(ACME, since=None, until=None, limit=10)
        assert history is not None
        assert [(each.key.event_id, each.status) for each in history.events] == [("evt_1", Disposition.PARKED)]


class TestMemoryStateUpkeep(InMemory, StateUpkeepContract): ...


class TestPostgresStateUpkeep(OnPostgres, StateUpkeepContract): ...


class TestMemoryRefusalTally(InMemory, RefusalTallyContract): ...


class TestPostgresRefusalTally(OnPostgres, RefusalTallyContract): ...


class TestMemoryProcessRegister(InMemory, ProcessRegisterContract): ...


class TestPostgresProcessRegister(OnPostgres, ProcessRegisterContract): ...


class TestMemoryDelayTally(InMemory, DelayTallyContract): ...


class TestPostgresDelayTally(OnPostgres, DelayTallyContract): ...
