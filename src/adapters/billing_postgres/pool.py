"""Connections to Postgres on which no wait is endless."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

import asyncpg
import attrs

from billing_postgres import queries
from billing_postgres.errors import UNAVAILABLE, translated

_LIMIT_TRANSACTIONS: Final = queries.load("session")["limit_transactions"]

Isolation = Literal["read_committed", "repeatable_read"]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


@attrs.frozen(kw_only=True)
class Database:
    """Where the database is, and how long anything there may take."""

    url: str = attrs.field(repr=False)
    application_name: str = "billing"
    connect_timeout: timedelta = timedelta(seconds=5)
    acquire_timeout: timedelta = timedelta(seconds=2)
    statement_timeout: timedelta = timedelta(seconds=5)
    lock_timeout: timedelta = timedelta(seconds=4)
    idle_in_transaction_timeout: timedelta = timedelta(seconds=10)
    """Frees the row locks of a process that froze between two statements of a transaction."""
    transaction_timeout: timedelta = timedelta(seconds=30)
    """Frees those of one that froze in the middle of a statement's messages, which no other limit covers."""

    async def connect(self, **server_settings: str) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection for one user who keeps it, with further settings of its session."""
        arguments = self._arguments()
        arguments["server_settings"] |= server_settings
        with translated("connect"):
            connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(**arguments)
            try:
                await self._limit_transactions(connection)
            except BaseException:
                connection.terminate()
                raise
            return connection

    async def open_pool(self, *, size: int, min_size: int = 0) -> "asyncpg.Pool[asyncpg.Record]":
        """A pool of at most `size` connections.

        What its users change in a session ends with their transaction, so a connection goes back without the reset
        query: it would cost every short transaction another round trip.

        Statements are planned each time they run. A plan is kept by default, and one that was made while a table was
        small reads it from end to end until the next ANALYZE; for a statement that works on a whole batch, planning
        costs little.
        """
        arguments = self._arguments()
        arguments["server_settings"]["plan_cache_mode"] = "force_custom_plan"
        with translated("connect"):
            pool: asyncpg.Pool[asyncpg.Record] = await asyncpg.create_pool(
                **arguments,
                min_size=min(min_size, size),
                max_size=size,
                init=self._limit_transactions,
                reset=_leave_as_it_is,
            )
            return pool

    @asynccontextmanager
    async def acquire(self, pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[Connection]:
        """Borrow a connection; StoreUnavailableError when none comes free in time."""
        with translated("acquire"):
            connection = await pool.acquire(timeout=self.acquire_timeout.total_seconds())
        try:
            yield connection
        finally:
            # A connection that broke is thrown away by the pool; whoever used it knows already.
            with suppress(*UNAVAILABLE):
                await pool.release(connection)

    @asynccontextmanager
    async def begun(
        self, pool: "asyncpg.Pool[asyncpg.Record]", *, isolation: Isolation, readonly: bool
    ) -> AsyncIterator[Connection]:
        """A connection inside a transaction: committed at the end of the block, rolled back on any exception."""
        async with self.acquire(pool) as connection:
            transaction = connection.transaction(isolation=isolation, readonly=readonly)
            with translated("begin"):
                await transaction.start()
            try:
                yield connection
            except BaseException:
                # What made us give up is the news; where the connection is gone, so is the transaction.
                with suppress(*UNAVAILABLE):
                    await transaction.rollback()
                raise
            with translated("commit"):
                await transaction.commit()

    async def _limit_transactions(self, connection: Connection) -> None:
        """Servers before 17 do not know this limit, and would refuse a connection that asks for it."""
        if connection.get_server_version() >= (17,):
            await connection.fetchval(_LIMIT_TRANSACTIONS, _milliseconds(self.transaction_timeout))

    def _arguments(self) -> dict[str, Any]:
        return {
            "dsn": self.url,
            "timeout": self.connect_timeout.total_seconds(),
            # The server's own timeout answers first; this one is for a server that does not answer at all.
            "command_timeout": self.statement_timeout.total_seconds() + 1,
            "server_settings": {
                "application_name": self.application_name,
                "statement_timeout": _milliseconds(self.statement_timeout),
                "lock_timeout": _milliseconds(self.lock_timeout),
                "idle_in_transaction_session_timeout": _milliseconds(self.idle_in_transaction_timeout),
                "jit": "off",  # compiling takes longer than any statement here
            },
        }


def _milliseconds(span: timedelta) -> str:
    return str(max(1, round(span / timedelta(milliseconds=1))))


async def _leave_as_it_is(_connection: object) -> None:
    """The reset of a pool whose users leave nothing behind."""
