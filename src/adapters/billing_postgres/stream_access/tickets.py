"""Tickets for one stream each, good at every server."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import asyncpg

from billing_core.model import TenantId
from billing_core.stream_access.ports import Principal
from billing_postgres import queries
from billing_postgres.errors import translated
from billing_postgres.pool import Database

_QUERIES: Final = queries.load("write_tickets")


class PostgresStreamTickets:
    """A `StreamTickets`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._database = database
        self._pool = pool

    async def put(self, digest: bytes, principal: Principal, *, ttl: timedelta) -> None:
        """See StreamTickets."""
        async with self._database.acquire(self._pool) as connection:
            with translated("put_ticket"):
                await connection.execute(
                    _QUERIES["put_ticket"],
                    digest,
                    ttl,
                    principal.tenant_id,
                    principal.role,
                    principal.expires_at,
                    principal.token_id,
                    principal.issued_at,
                )

    async def take(self, digest: bytes) -> Principal | None:
        """See StreamTickets."""
        async with self._database.acquire(self._pool) as connection:
            with translated("take_ticket"):
                row = await connection.fetchrow(_QUERIES["take_ticket"], digest)
        if row is None or not row["good"]:
            return None
        return Principal(
            tenant_id=TenantId(row["tenant_id"]),
            role=row["role"],
            expires_at=row["principal_expires_at"],
            token_id=row["token_id"],
            issued_at=row["issued_at"],
        )
