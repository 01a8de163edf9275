"""Refused webhooks, counted by all servers of a database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from billing_core.oversight.ports import REFUSALS_KEPT, RefusedWebhooks
from billing_postgres import queries
from billing_postgres.pool import Database
from billing_postgres.statements import Statements

_QUERIES: Final = queries.load("write_refusals")


class PostgresRefusalTally:
    """A `RefusalTally`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._statements = Statements(database, pool, _QUERIES)

    async def add(self, refused: Collection[RefusedWebhooks]) -> None:
        """Add to what is counted, and delete what is old."""
        if refused:
            rows = ((each.hour, each.reason, each.count, each.largest) for each in refused)
            hours, *columns = map(list, zip(*rows, strict=True))
            await self._statements.fetch("add_refusals", hours, *columns, max(hours) - REFUSALS_KEPT)

    async def since(self, instant: datetime) -> Sequence[RefusedWebhooks]:
        """Return what was counted since an hour, by hour and reason."""
        return [RefusedWebhooks(**row) for row in await self._statements.fetch("list_refusals", instant)]
