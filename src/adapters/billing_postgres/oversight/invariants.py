"""Looks for rows of which an invariant does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from billing_core.oversight.invariants import LEASE_OVERDUE, PUBLISHING_OVERDUE, Invariant, Violation
from billing_postgres import queries
from billing_postgres.errors import translated
from billing_postgres.pool import Database

_QUERIES: Final = queries.load("read_invariants")
_TENANTS: Final = 200
_MESSAGES: Final = 1_000
_EVENTS: Final = 5_000
"""What one sample looks at: some tens of milliseconds of the database's time, whatever is stored."""
_REACHED: Final = "reached"


class PostgresInvariantLog:
    """An `InvariantLog`. It remembers which tenants it looked at last."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._database = database
        self._pool = pool
        self._reached = ""

    async def sample(self) -> Sequence[Violation]:
        """Look at what waits, the newest events and some tenants more."""
        tenants = await self._fetch("check_tenants", self._reached, _TENANTS, _MESSAGES)
        (page,) = (row for row in tenants if row["invariant"] == _REACHED)
        self._reached = page["examples"][0] if page["violations"] == _TENANTS else ""
        return _violations([*tenants, *await self._fetch("check_outcomes", _EVENTS), *await self._waiting()])

    async def everything(self) -> Sequence[Violation]:
        """Look at every row."""
        tenants = await self._fetch("check_tenants", "", None, None)
        return _violations([*tenants, *await self._fetch("check_outcomes", None), *await self._waiting()])

    async def _waiting(self) -> Sequence[asyncpg.Record]:
        return await self._fetch("check_waiting", LEASE_OVERDUE, PUBLISHING_OVERDUE)

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._database.acquire(self._pool) as connection:
            with translated(query):
                return await connection.fetch(_QUERIES[query], *arguments)


def _violations(rows: Sequence[asyncpg.Record]) -> Sequence[Violation]:
    return [
        Violation(invariant=Invariant(name), count=count, examples=tuple(examples))
        for name, count, examples in rows
        if name != _REACHED and count
    ]
