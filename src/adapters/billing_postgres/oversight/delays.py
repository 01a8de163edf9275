"""Measured delays, counted by all processes of a database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

import asyncpg

from billing_core.oversight.delays import DELAYS_KEPT, DelayCount, Histogram, MeasuredStage, added
from billing_postgres import queries
from billing_postgres.pool import Database
from billing_postgres.statements import Statements

_QUERIES: Final = queries.load("write_delays")


class PostgresDelayTally:
    """A `DelayTally`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._statements = Statements(database, pool, _QUERIES)

    async def add(self, counted: Collection[DelayCount]) -> None:
        """Add to what is counted, and delete what is old."""
        if counted:
            rows = ((each.minute, each.stage, each.bound, each.count) for each in counted)
            minutes, *columns = map(list, zip(*rows, strict=True))
            await self._statements.fetch("add_delays", minutes, *columns, max(minutes) - DELAYS_KEPT)

    async def since(self, instant: datetime) -> Mapping[MeasuredStage, Histogram]:
        """Return the histogram of each stage."""
        return added(DelayCount(**row) for row in await self._statements.fetch("sum_delays", instant))
