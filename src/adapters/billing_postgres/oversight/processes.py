"""The servers and workers of a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from billing_core.errors import StoreUnavailableError
from billing_core.oversight.ports import SILENT_KEPT, Beat, RunningProcess, SeenProcess
from billing_postgres import queries
from billing_postgres.migrate import packaged
from billing_postgres.oversight.rows import PROCESSES, process_from_row
from billing_postgres.pool import Database
from billing_postgres.statements import Statements

_QUERIES: Final = queries.load("write_processes")


class PostgresProcessRegister:
    """A `ProcessRegister`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._statements = Statements(database, pool, _QUERIES)
        self._needed = frozenset(migration.version for migration in packaged())

    async def beat(self, process: RunningProcess) -> Beat:
        """Write that a process is alive."""
        try:
            (row,) = await self._statements.fetch(
                "beat_process", SILENT_KEPT, process.process_id, *PROCESSES.row(process)
            )
        except asyncpg.UndefinedTableError as exc:
            raise StoreUnavailableError("the schema lacks migrations: run `billing migrate`") from exc
        return Beat(at=row["at"], pending=len(self._needed.difference(row["migrations"])))

    async def leave(self, process_id: str) -> None:
        """Delete the row of a process."""
        await self._statements.fetch("leave_process", process_id)

    async def current(self) -> Sequence[SeenProcess]:
        """Return all processes, the longest running first."""
        return [
            SeenProcess(process=process_from_row(row), silent_for=row["silent_for"])
            for row in await self._statements.fetch("list_processes")
        ]
