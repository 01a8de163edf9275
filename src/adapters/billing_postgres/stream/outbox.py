"""Messages that the bus has not confirmed yet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Final

import asyncpg

from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.stream.ports import LogRewrite, OutboxEntry
from billing_postgres import queries
from billing_postgres.pool import Database
from billing_postgres.statements import Statements
from billing_postgres.stream.rows import message_from_row
from billing_postgres.text import text_array

_QUERIES: Final = queries.load("write_outbox")


class PostgresOutbox:
    """An `Outbox`, and the `LogRewrites`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._statements = Statements(database, pool, _QUERIES)

    async def unpublished(self, *, older_than: timedelta, limit: int) -> Sequence[OutboxEntry]:
        """Return messages that have waited at least `older_than`, the longest waiting first."""
        found = await self._statements.fetch("list_unpublished", older_than, limit)
        return [OutboxEntry(event=message_from_row(row), waited=row["waited"]) for row in found]

    async def published(self, events: Collection[BillingEvent]) -> None:
        """Remove published messages."""
        if events:
            tenants, sequences = [event.tenant_id for event in events], [event.sequence for event in events]
            await self._statements.fetch("delete_published", text_array(tenants), sequences)

    async def oldest(self) -> timedelta:
        """Return the age of the oldest unpublished message; zero if there is none."""
        (row,) = await self._statements.fetch("find_oldest_unpublished")
        waited: timedelta = row["waited"]
        return waited

    async def history(self, *, after: tuple[TenantId, int], newest: int, limit: int) -> Sequence[BillingEvent]:
        """Return published messages after `after`, by tenant and number; the `newest` of each tenant."""
        found = await self._statements.fetch("list_published", *after, newest, limit)
        return [message_from_row(row) for row in found]

    async def pending(self) -> Sequence[LogRewrite]:
        """Return the logs that can be replaced now."""
        found = await self._statements.fetch("list_rewrites")
        return [LogRewrite(tenant_id=row["tenant_id"], until=row["until"]) for row in found]

    async def finish(self, rewrite: LogRewrite) -> None:
        """Forget a log that was replaced."""
        await self._statements.fetch("finish_rewrite", rewrite.tenant_id, rewrite.until)
