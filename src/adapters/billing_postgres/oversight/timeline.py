"""The history of one tenant, read in one snapshot and by indexes on the tenant."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Final

import asyncpg

from billing_core.model import UNCERTAIN_SHOWN, Attention, TenantId
from billing_core.oversight.explain import MESSAGES_BEFORE, TenantHistory
from billing_core.oversight.inspection import FailedAttempt
from billing_postgres import queries
from billing_postgres.errors import translated
from billing_postgres.oversight.rows import failed_attempt_from_row, stored_event_from_row
from billing_postgres.pool import Connection, Database
from billing_postgres.state.repository import read_state
from billing_postgres.state.rows import customer_from_row, uncertainty_from_row
from billing_postgres.stream.rows import message_from_row
from billing_postgres.text import storable

_QUERIES: Final = queries.load("read_timeline")


class PostgresTenantTimeline:
    """A `TenantTimeline`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._database = database
        self._pool = pool

    async def history(
        self, tenant_id: TenantId, *, since: datetime | None, until: datetime | None, limit: int
    ) -> TenantHistory | None:
        """Return a tenant's state, its latest events and the messages they caused."""
        tenant_id = TenantId(storable(tenant_id) or "")
        async with self._database.begun(self._pool, isolation="repeatable_read", readonly=True) as connection:
            if not await _fetch(connection, "find_tenant", tenant_id):
                return None
            customers = await _fetch(connection, "list_tenant_customers", tenant_id)
            found = await _fetch(connection, "list_tenant_events", tenant_id, since, until, limit + 1)
            events = [stored_event_from_row(row) for row in reversed(found[:limit])]
            failed = await _fetch(connection, "list_failed_attempts", [event.dispatch_id for event in events])
            messages = await _fetch(
                connection,
                "list_explaining_messages",
                tenant_id,
                [event.key.event_id for event in events],
                MESSAGES_BEFORE,
                until is None,
            )
            state = await read_state(connection, tenant_id)
            attention = await _read_attention(connection, tenant_id)
        attempts: defaultdict[int, list[FailedAttempt]] = defaultdict(list)
        for row in failed:
            attempts[row["event"]].append(failed_attempt_from_row(row))
        return TenantHistory(
            state=state,
            customers=list(map(customer_from_row, customers)),
            events=events,
            since=since,
            cut=len(found) > limit,
            attempts=attempts,
            messages=list(map(message_from_row, messages)),
            attention=attention,
        )

    async def attention(self, tenant_id: TenantId) -> Attention:
        """Return what needs attention of a tenant."""
        async with self._database.acquire(self._pool) as connection:
            return await _read_attention(connection, TenantId(storable(tenant_id) or ""))


async def _read_attention(connection: Connection, tenant_id: TenantId) -> Attention:
    (dead,) = await _fetch(connection, "count_tenant_dead_events", tenant_id)
    uncertain = await _fetch(connection, "list_tenant_uncertain", tenant_id, UNCERTAIN_SHOWN)
    return Attention(dead_events=dead["dead_events"], uncertain=tuple(map(uncertainty_from_row, uncertain)))


async def _fetch(connection: Connection, query: str, *arguments: object) -> list[asyncpg.Record]:
    with translated(query):
        return await connection.fetch(_QUERIES[query], *arguments)
