"""The history: every message that was numbered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import asyncpg

from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_postgres import queries
from billing_postgres.pool import Database
from billing_postgres.statements import Statements
from billing_postgres.stream.rows import message_from_row

_QUERIES: Final = queries.load("read_messages")


class PostgresMessageHistory:
    """A `MessageHistory`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._statements = Statements(database, pool, _QUERIES)

    async def events(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """Return messages numbered above `after`, lowest first."""
        return list(map(message_from_row, await self._statements.fetch("list_messages", tenant_id, after, limit)))

    async def sequence(self, tenant_id: TenantId) -> int:
        """Return the number of a tenant's last message."""
        found = await self._statements.fetch("get_sequence", tenant_id)
        return found[0]["sequence"] if found else 0

    async def sequences(self, tenant_ids: Collection[TenantId]) -> Mapping[TenantId, int]:
        """Return the numbers of the tenants' last messages."""
        found = await self._statements.fetch("get_sequences", list(tenant_ids))
        return {row["tenant_id"]: row["sequence"] for row in found}

    async def erased_until(self, tenant_id: TenantId) -> int:
        """Return the number up to which a tenant's messages were erased."""
        found = await self._statements.fetch("get_erased_until", tenant_id)
        return found[0]["erased_until"] if found else 0

    async def outdated_logs(self, tenant_ids: Collection[TenantId]) -> Sequence[TenantId]:
        """Return the tenants whose log on the bus has to be replaced."""
        return [row["tenant_id"] for row in await self._statements.fetch("find_outdated_logs", list(tenant_ids))]
