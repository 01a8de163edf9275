"""Named statements, run one at a time on connections of a pool."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg
import attrs

from billing_postgres.errors import translated
from billing_postgres.pool import Database


@attrs.frozen
class Statements:
    """The statements of one adapter. Each runs on a connection of its own and commits by itself."""

    database: Database
    pool: asyncpg.Pool[asyncpg.Record]
    texts: Mapping[str, str] = attrs.field(repr=False)

    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a statement and return its rows. Raises StoreUnavailableError."""
        async with self.database.acquire(self.pool) as connection:
            with translated(name):
                return await connection.fetch(self.texts[name], *arguments)
