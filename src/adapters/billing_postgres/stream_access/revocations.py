"""Revoked tokens, known to every server of a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from billing_core.stream_access.ports import Revocation
from billing_postgres import queries
from billing_postgres.pool import Database
from billing_postgres.statements import Statements

_QUERIES: Final = queries.load("write_revocations")


class PostgresRevocations:
    """A `Revocations`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._statements = Statements(database, pool, _QUERIES)

    async def revoke(self, revocation: Revocation) -> None:
        """Store a revocation; of two with the same subject the later instants are kept."""
        await self._statements.fetch(
            "revoke", revocation.subject, revocation.name, revocation.revoked_at, revocation.kept_until
        )

    async def current(self) -> Sequence[Revocation]:
        """Return the revocations that still matter, by subject and name."""
        return [Revocation(**row) for row in await self._statements.fetch("list_revocations")]
