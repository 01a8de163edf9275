"""Messages that the bus has not confirmed yet, in process."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.state.ports import Clock
from billing_core.stream.ports import LogRewrite, OutboxEntry
from billing_memory.database import MemoryDatabase


class MemoryOutbox:
    """An `Outbox` and the `LogRewrites` over the messages of a `MemoryDatabase`."""

    def __init__(self, database: MemoryDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def unpublished(self, *, older_than: timedelta, limit: int) -> Sequence[OutboxEntry]:
        """Return messages that have waited at least `older_than`, the longest waiting first."""
        now = self._clock.now()
        latest = now - older_than
        waiting = sorted((at, key) for key, at in self._database.outbox.items() if at <= latest)
        return [OutboxEntry(event=self._database.tables.messages[key], waited=now - at) for at, key in waiting[:limit]]

    async def published(self, events: Collection[BillingEvent]) -> None:
        """Remove published messages."""
        for event in events:
            self._database.outbox.pop((event.tenant_id, event.sequence), None)

    async def oldest(self) -> timedelta:
        """Return the age of the oldest unpublished message; zero if there is none."""
        now = self._clock.now()
        return max((now - at for at in self._database.outbox.values()), default=timedelta(0))

    async def history(self, *, after: tuple[TenantId, int], newest: int, limit: int) -> Sequence[BillingEvent]:
        """Return published messages after `after`, by tenant and number; the `newest` of each tenant."""
        tables = self._database.tables
        found = [
            (tenant_id, sequence)
            for tenant_id, sequence in sorted(tables.messages)
            if (tenant_id, sequence) > after
            and sequence > tables.counters[tenant_id] - newest
            and (tenant_id, sequence) not in self._database.outbox
        ]
        return [tables.messages[key] for key in found[:limit]]

    async def pending(self) -> Sequence[LogRewrite]:
        """Return the logs that can be replaced now."""
        waiting = self._database.outbox
        return [
            LogRewrite(tenant_id=tenant_id, until=until)
            for tenant_id, until in self._database.rewrites.items()
            if not any(owner == tenant_id and number <= until for owner, number in waiting)
        ]

    async def finish(self, rewrite: LogRewrite) -> None:
        """Forget a log that was replaced."""
        if self._database.rewrites.get(rewrite.tenant_id) == rewrite.until:
            del self._database.rewrites[rewrite.tenant_id]
