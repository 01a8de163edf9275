"""Positions of consumers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import asyncpg

from billing_core.consumers.ports import ConsumerClaim, Progress, Waiting, Want
from billing_core.consumers.values import ConsumerMessage, ConsumerName
from billing_core.errors import ClaimLostError, StoreUnavailableError, TransactionLostError
from billing_core.waiting import wait_at_most
from billing_postgres import queries
from billing_postgres.consumers.rows import claim_from_row, progress_arrays, received_from_row
from billing_postgres.errors import translated
from billing_postgres.pool import Connection, Database
from billing_postgres.statements import Statements

_QUERIES: Final = MappingProxyType(queries.load("write_consumers"))

_GRACE: Final = timedelta(seconds=5)
"""The limits of the server are for a process that froze: one that runs ends its transactions itself, before."""
_LONGEST: Final = 2**31 - 1

_LOST: Final = "the connection of the transaction was lost while the handler ran"
_FAILED: Final = (
    "the handler returned after a statement of the transaction had failed, so nothing of it can be stored: put a "
    "statement that may fail into `async with transaction.transaction()`"
)
_ENDED: Final = (
    "the handler ended the transaction, so the position cannot be stored with its writes: leave COMMIT and ROLLBACK "
    "out, and raise an exception to roll back"
)


class PostgresConsumerQueue:
    """A `ConsumerQueue`. Notices are for this process; others find what is due by polling."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._database = database
        self._pool = pool
        self._statements = Statements(database, pool, _QUERIES)
        self._due = asyncio.Event()

    async def catch_up(self, consumers: Collection[ConsumerName], *, limit: int) -> Collection[ConsumerName]:
        """Find the next tenants of one consumer that starts in the past; return it if there may be more."""
        if not consumers:
            return ()
        async with self._database.begun(self._pool, isolation="read_committed", readonly=False) as connection:
            with translated("search_tenants"):
                found = await connection.fetch(_QUERIES["lock_search"], list(consumers))
                unfinished = [row["consumer"] for row in found if await _search(connection, row["consumer"], limit)]
        return unfinished

    async def claim(self, wants: Sequence[Want]) -> Sequence[ConsumerClaim]:
        """Claim tenants that are due, the longest first."""
        self._due.clear()
        found = await self._statements.fetch(
            "claim_tenants",
            [want.consumer for want in wants],
            [want.limit for want in wants],
            [want.lease for want in wants],
        )
        return list(map(claim_from_row, found))

    async def messages(self, claims: Sequence[ConsumerClaim], *, limit: int) -> Sequence[Waiting]:
        """Return the next messages of each claim."""
        found = await self._statements.fetch(
            "list_waiting_messages",
            [each.consumer for each in claims],
            [each.tenant_id for each in claims],
            [each.position for each in claims],
            [each.last for each in claims],
            limit + 1,
        )
        received: list[list[ConsumerMessage]] = [[] for _ in claims]
        for row in found:
            received[row["claim"] - 1].append(received_from_row(row))
        return [_page(claim, each, limit) for claim, each in zip(claims, received, strict=True)]

    async def settle(self, progress: Sequence[Progress]) -> Sequence[bool]:
        """Store new positions."""
        if not progress:
            return []
        held = {row["fence"] for row in await self._statements.fetch("settle_positions", *progress_arrays(progress))}
        return [each.claim.fence in held for each in progress]

    @asynccontextmanager
    async def settling(self, progress: Progress, *, limit: timedelta) -> AsyncIterator[Connection]:
        """Open a transaction at whose end the position is stored: until then, its row is not locked."""
        async with self._database.lent(self._pool) as connection:
            with translated("begin_handler"):
                began = await connection.fetchrow(_QUERIES["begin_handler"], *_limits(connection, limit))
            assert began is not None
            yield connection
            await _end(connection, began)
            with translated("settle_positions"):
                held = await connection.fetch(_QUERIES["settle_positions"], *progress_arrays([progress]))
            if not held:
                raise ClaimLostError(f"another process has {progress.claim.tenant_id} of {progress.claim.consumer}")

    def notify(self) -> None:
        """Wake what waits in this process."""
        self._due.set()

    async def wait(self, *, at_most: timedelta) -> None:
        """Return when messages may have become due."""
        await wait_at_most(self._due, at_most)


def _limits(connection: Connection, limit: timedelta) -> tuple[list[str], list[str]]:
    """Return names and values of settings that let a transaction last for a time and a little longer.

    A timer of a transaction that runs keeps its time, so it is turned off and on again.
    """
    milliseconds = str(min(_LONGEST, (limit + _GRACE) // timedelta(milliseconds=1)))
    names, values = ["idle_in_transaction_session_timeout"], [milliseconds]
    if connection.get_server_version() >= (17,):
        names += ["transaction_timeout", "transaction_timeout"]
        values += ["0", milliseconds]
    return names, values


async def _end(connection: Connection, began: asyncpg.Record) -> None:
    """Raise TransactionLostError if the transaction that was begun is over or has failed."""
    try:
        with translated("end_handler"):
            found = await connection.fetchval(_QUERIES["end_handler"], began["path"])
    except StoreUnavailableError as exc:
        raise TransactionLostError(f"{_LOST} ({type(exc.__cause__).__name__})") from exc
    except asyncpg.InFailedSQLTransactionError as exc:
        raise TransactionLostError(_FAILED) from exc
    if found != began["began_at"]:
        raise TransactionLostError(_ENDED)


async def _search(connection: Connection, name: str, limit: int) -> bool:
    (row,) = await connection.fetch(_QUERIES["search_tenants"], name, limit)
    await connection.fetch(_QUERIES["delete_handled"], name)
    more: bool = row["more"]
    return more


def _page(claim: ConsumerClaim, received: Sequence[ConsumerMessage], limit: int) -> Waiting:
    if len(received) <= limit:
        return Waiting(messages=received, until=claim.last)
    return Waiting(messages=received[:limit], until=received[limit - 1].sequence)
