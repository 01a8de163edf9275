"""Tickets for one stream each, valid at every server."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import asyncpg

from billing_core.stream_access.ports import Principal
from billing_postgres import queries
from billing_postgres.pool import Database
from billing_postgres.statements import Statements

_QUERIES: Final = queries.load("write_tickets")


class PostgresStreamTickets:
    """A `StreamTickets`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._statements = Statements(database, pool, _QUERIES)

    async def put(self, digest: bytes, principal: Principal, *, ttl: timedelta) -> None:
        """Store a ticket."""
        await self._statements.fetch(
            "put_ticket",
            digest,
            ttl,
            principal.tenant_id,
            principal.role,
            principal.expires_at,
            principal.token_id,
            principal.issued_at,
        )

    async def take(self, digest: bytes) -> Principal | None:
        """Redeem a ticket, once."""
        rows = await self._statements.fetch("take_ticket", digest)
        if not rows or not rows[0]["good"]:
            return None
        (row,) = rows
        return Principal(
            tenant_id=row["tenant_id"],
            role=row["role"],
            expires_at=row["principal_expires_at"],
            token_id=row["token_id"],
            issued_at=row["issued_at"],
        )
