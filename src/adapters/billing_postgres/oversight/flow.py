"""The flow of events through the inbox, measured by the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from billing_core.oversight.flow import MEASURED, FlowDelays, FlowStep, in_steps
from billing_postgres import queries
from billing_postgres.pool import Database
from billing_postgres.statements import Statements

_QUERIES: Final = queries.load("read_flow")


class PostgresInboxFlow:
    """An `InboxFlow`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._statements = Statements(database, pool, _QUERIES)

    async def steps(self, *, since: datetime, until: datetime, step: timedelta) -> Sequence[FlowStep]:
        """Count the events of each step."""
        rows = await self._statements.fetch("count_flow", since, until, step)
        return in_steps({row["at"]: FlowStep(**row) for row in rows}, since=since, until=until, step=step)

    async def delays(self, *, since: datetime, until: datetime) -> FlowDelays:
        """Measure the delays of the latest events."""
        (row,) = await self._statements.fetch("measure_delays", since, until, MEASURED)
        return FlowDelays(sent=row["sent"] and tuple(row["sent"]), duplicates=row["duplicates"])
