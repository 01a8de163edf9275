"""Looks for rows that violate an invariant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from billing_core.oversight.invariants import LEASE_OVERDUE, PUBLISHING_OVERDUE, Invariant, Violation
from billing_postgres import queries
from billing_postgres.pool import Database
from billing_postgres.statements import Statements

_QUERIES: Final = queries.load("read_invariants")
_TENANTS: Final = 200
_MESSAGES: Final = 1_000
_EVENTS: Final = 5_000
"""The size of one sample: some tens of milliseconds of the database's time, however much is stored."""
_REACHED: Final = "reached"


class PostgresInvariantLog:
    """An `InvariantLog`. It remembers the last tenant of the previous sample."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._statements = Statements(database, pool, _QUERIES)
        self._reached = ""

    async def sample(self) -> Sequence[Violation]:
        """Check what waits, the newest events and the next tenants."""
        tenants = await self._statements.fetch("check_tenants", self._reached, _TENANTS, _MESSAGES)
        (page,) = (row for row in tenants if row["invariant"] == _REACHED)
        self._reached = page["examples"][0] if page["violations"] == _TENANTS else ""
        return _violations([*tenants, *await self._statements.fetch("check_outcomes", _EVENTS), *await self._waiting()])

    async def everything(self) -> Sequence[Violation]:
        """Check every row."""
        tenants = await self._statements.fetch("check_tenants", "", None, None)
        return _violations([*tenants, *await self._statements.fetch("check_outcomes", None), *await self._waiting()])

    async def _waiting(self) -> Sequence[asyncpg.Record]:
        return await self._statements.fetch("check_waiting", LEASE_OVERDUE, PUBLISHING_OVERDUE)


def _violations(rows: Sequence[asyncpg.Record]) -> Sequence[Violation]:
    return [
        Violation(invariant=Invariant(row["invariant"]), count=row["violations"], examples=tuple(row["examples"]))
        for row in rows
        if row["invariant"] != _REACHED and row["violations"]
    ]
