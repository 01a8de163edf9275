"""The history of one tenant, in process."""

from collections.abc import Collection
from datetime import datetime

from billing_core.events import Disposition
from billing_core.model import UNCERTAIN_SHOWN, Attention, TenantId
from billing_core.oversight.explain import MESSAGES_BEFORE, TenantHistory
from billing_core.state.ports import Clock
from billing_memory.database import Dispatch, MemoryDatabase
from billing_memory.oversight.event_log import stored_event
from billing_memory.state.repository import MemoryRepository


class MemoryTenantTimeline:
    """A `TenantTimeline`."""

    def __init__(self, database: MemoryDatabase, clock: Clock) -> None:
        self._database = database
        self._repository = MemoryRepository(database, clock)

    async def history(
        self, tenant_id: TenantId, *, since: datetime | None, until: datetime | None, limit: int
    ) -> TenantHistory | None:
        """Return a tenant's state, its latest events and the messages they caused."""
        tables = self._database.tables
        if tenant_id not in tables.counters:
            return None
        customers = [each for _, each in sorted(tables.customers.items()) if each.tenant_id == tenant_id]
        parked_on = {each.customer_id for each in customers}
        mine = [
            row
            for _, row in sorted(tables.dispatch.items())
            if (tables.owner(row) == tenant_id or _is_parked_on(row, parked_on))
            and (since is None or row.event.received_at >= since)
            and (until is None or row.event.received_at < until)
        ]
        shown = mine[-limit:]
        ids = {row.event.event_id for row in shown}
        history = [message for (owner, _), message in sorted(tables.messages.items()) if owner == tenant_id]
        caused = [message.sequence for message in history if message.event_id in ids]
        last = tables.counters[tenant_id] if until is None else max(caused, default=0)
        first = max(min(caused, default=last) - MESSAGES_BEFORE, last - 10 * MESSAGES_BEFORE)
        return TenantHistory(
            state=await self._repository.state(tenant_id),
            customers=customers,
            events=[stored_event(row) for row in shown],
            since=since,
            cut=len(mine) > limit,
            attempts={row.dispatch_id: row.failures for row in shown if row.failures},
            messages=[each for each in history if first <= each.sequence <= last or each.event_id in ids],
            attention=await self.attention(tenant_id),
        )

    async def attention(self, tenant_id: TenantId) -> Attention:
        """Return what needs attention of a tenant."""
        tables = self._database.tables
        dead = [row for row in tables.dispatch.values() if row.disposition is Disposition.DEAD]
        return Attention(
            dead_events=sum(tables.owner(row) == tenant_id for row in dead),
            uncertain=tuple(self._repository.uncertain_of(tenant_id)[:UNCERTAIN_SHOWN]),
        )


def _is_parked_on(row: Dispatch, customers: Collection[str]) -> bool:
    return row.disposition is Disposition.PARKED and row.outcome is not None and row.outcome.parked_on in customers
