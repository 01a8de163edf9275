"""The contracts of the state ports, in memory and on Postgres."""

import pytest
from tests.contract.conftest import InMemory, OnPostgres

from billing_core.state.ports import Clock
from billing_core.testing.state.access_schedule import AccessScheduleContract
from billing_core.testing.state.claim_fence import ClaimFenceContract
from billing_core.testing.state.clock import ClockContract
from billing_core.testing.state.link_register import LinkRegisterContract
from billing_core.testing.state.provisional_views import ProvisionalViewsContract
from billing_core.testing.state.rules_register import RulesRegisterContract
from billing_core.testing.state.state_reader import StateReaderContract
from billing_core.testing.state.stored_events import StoredEventsContract
from billing_core.testing.state.tenant_erasures import TenantErasuresContract
from billing_core.testing.state.tenant_locks import TenantLocksContract
from billing_core.testing.state.tenant_moves import TenantMovesContract
from billing_core.testing.state.tenant_reader import TenantReaderContract
from billing_core.testing.state.uncertain_objects import UncertainObjectsContract
from billing_core.testing.state.unit_of_work import UnitOfWorkContract
from billing_core.testing.state.waiting_events import WaitingEventsContract
from billing_memory.clock import ManualClock, SystemClock


class TestMemoryUnitOfWork(InMemory, UnitOfWorkContract): ...


class TestPostgresUnitOfWork(OnPostgres, UnitOfWorkContract): ...


class TestMemoryClaimFence(InMemory, ClaimFenceContract): ...


class TestPostgresClaimFence(OnPostgres, ClaimFenceContract): ...


class TestMemoryAccessSchedule(InMemory, AccessScheduleContract):
    serial = True


class TestPostgresAccessSchedule(OnPostgres, AccessScheduleContract): ...


class TestMemoryTenantLocks(InMemory, TenantLocksContract): ...


class TestPostgresTenantLocks(OnPostgres, TenantLocksContract): ...


class TestMemoryLinkRegister(InMemory, LinkRegisterContract): ...


class TestPostgresLinkRegister(OnPostgres, LinkRegisterContract): ...


class TestMemoryTenantMoves(InMemory, TenantMovesContract): ...


class TestPostgresTenantMoves(OnPostgres, TenantMovesContract): ...


class TestMemoryTenantErasures(InMemory, TenantErasuresContract): ...


class TestPostgresTenantErasures(OnPostgres, TenantErasuresContract): ...


class TestMemoryStateReader(InMemory, StateReaderContract): ...


class TestPostgresStateReader(OnPostgres, StateReaderContract): ...


class TestMemoryStoredEvents(InMemory, StoredEventsContract): ...


class TestPostgresStoredEvents(OnPostgres, StoredEventsContract): ...


class TestMemoryWaitingEvents(InMemory, WaitingEventsContract): ...


class TestPostgresWaitingEvents(OnPostgres, WaitingEventsContract): ...


class TestMemoryTenantReader(InMemory, TenantReaderContract): ...


class TestPostgresTenantReader(OnPostgres, TenantReaderContract): ...


class TestMemoryUncertainObjects(InMemory, UncertainObjectsContract): ...


class TestPostgresUncertainObjects(OnPostgres, UncertainObjectsContract): ...


class TestMemoryProvisionalViews(InMemory, ProvisionalViewsContract): ...


class TestPostgresProvisionalViews(OnPostgres, ProvisionalViewsContract): ...


class TestMemoryRulesRegister(InMemory, RulesRegisterContract): ...


class TestPostgresRulesRegister(OnPostgres, RulesRegisterContract): ...


class TestSystemClock(ClockContract):
    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()


class TestManualClock(ClockContract):
    @pytest.fixture
    def clock(self) -> Clock:
        return ManualClock()
