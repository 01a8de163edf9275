"""The contracts of the oversight ports, in memory and on Postgres."""

from tests.contract.conftest import InMemory, OnPostgres

from billing_core.testing.oversight.audit_log import AuditLogContract
from billing_core.testing.oversight.delay_tally import DelayTallyContract
from billing_core.testing.oversight.event_log import EventLogContract
from billing_core.testing.oversight.inbox_backlog import InboxBacklogContract
from billing_core.testing.oversight.inbox_flow import InboxFlowContract
from billing_core.testing.oversight.inbox_upkeep import InboxUpkeepContract
from billing_core.testing.oversight.process_register import ProcessRegisterContract
from billing_core.testing.oversight.refusal_tally import RefusalTallyContract
from billing_core.testing.oversight.state_upkeep import StateUpkeepContract
from billing_core.testing.oversight.tenant_timeline import TenantTimelineContract


class TestMemoryInboxBacklog(InMemory, InboxBacklogContract): ...


class TestPostgresInboxBacklog(OnPostgres, InboxBacklogContract): ...


class TestMemoryInboxFlow(InMemory, InboxFlowContract): ...


class TestPostgresInboxFlow(OnPostgres, InboxFlowContract): ...


class TestMemoryInboxUpkeep(InMemory, InboxUpkeepContract): ...


class TestPostgresInboxUpkeep(OnPostgres, InboxUpkeepContract): ...


class TestMemoryEventLog(InMemory, EventLogContract): ...


class TestPostgresEventLog(OnPostgres, EventLogContract): ...


class TestMemoryAuditLog(InMemory, AuditLogContract): ...


class TestPostgresAuditLog(OnPostgres, AuditLogContract): ...


class TestMemoryTenantTimeline(InMemory, TenantTimelineContract): ...


class TestPostgresTenantTimeline(OnPostgres, TenantTimelineContract): ...


class TestMemoryStateUpkeep(InMemory, StateUpkeepContract): ...


class TestPostgresStateUpkeep(OnPostgres, StateUpkeepContract): ...


class TestMemoryRefusalTally(InMemory, RefusalTallyContract): ...


class TestPostgresRefusalTally(OnPostgres, RefusalTallyContract): ...


class TestMemoryProcessRegister(InMemory, ProcessRegisterContract): ...


class TestPostgresProcessRegister(OnPostgres, ProcessRegisterContract): ...


class TestMemoryDelayTally(InMemory, DelayTallyContract): ...


class TestPostgresDelayTally(OnPostgres, DelayTallyContract): ...
