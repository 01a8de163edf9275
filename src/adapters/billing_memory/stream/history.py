"""The history: every message that was numbered, in process."""

from collections.abc import Collection, Mapping, Sequence

from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_memory.database import MemoryDatabase


class MemoryMessageHistory:
    """A `MessageHistory`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def events(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """Return messages numbered above `after`, lowest first."""
        first = max(after, self._database.erased_until.get(tenant_id, 0)) + 1
        last = min(self._database.tables.counters.get(tenant_id, 0), first + limit - 1)
        return [self._database.tables.messages[tenant_id, number] for number in range(first, last + 1)]

    async def sequence(self, tenant_id: TenantId) -> int:
        """Return the number of a tenant's last message."""
        return self._database.tables.counters.get(tenant_id, 0)

    async def sequences(self, tenant_ids: Collection[TenantId]) -> Mapping[TenantId, int]:
        """Return the numbers of the tenants' last messages."""
        counters = self._database.tables.counters
        return {tenant_id: counters[tenant_id] for tenant_id in tenant_ids if tenant_id in counters}

    async def erased_until(self, tenant_id: TenantId) -> int:
        """Return the number up to which a tenant's messages were erased."""
        return self._database.erased_until.get(tenant_id, 0)

    async def outdated_logs(self, tenant_ids: Collection[TenantId]) -> Sequence[TenantId]:
        """Return the tenants whose log on the bus has to be replaced."""
        return [tenant_id for tenant_id in tenant_ids if tenant_id in self._database.rewrites]
