"""Revoked tokens, known to every server of a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from billing_core.stream_access.ports import Revocation
from billing_postgres import queries
from billing_postgres.errors import translated
from billing_postgres.pool import Database

_QUERIES: Final = queries.load("write_revocations")


class PostgresRevocations:
    """A `Revocations`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._database = database
        self._pool = pool

    async def revoke(self, revocation: Revocation) -> None:
        """See Revocations."""
        async with self._database.acquire(self._pool) as connection:
            with translated("revoke"):
                await connection.execute(
                    _QUERIES["revoke"],
                    revocation.subject,
                    revocation.name,
                    revocation.revoked_at,
                    revocation.kept_until,
                )

    async def current(self) -> Sequence[Revocation]:
        """See Revocations."""
        async with self._database.acquire(self._pool) as connection:
            with translated("list_revocations"):
                rows = await connection.fetch(_QUERIES["list_revocations"])
        return [Revocation(**row) for row in rows]
