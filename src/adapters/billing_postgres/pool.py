"""Connections to Postgres, with a limit on every wait."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import asyncpg
import attrs

from billing_core.errors import StoreUnavailableError
from billing_postgres import queries
from billing_postgres.errors import UNAVAILABLE, reaching, translated

_CONFIGURE: Final = queries.load("session")["configure"]
_POOLED: Final = MappingProxyType({"plan_cache_mode": "force_custom_plan"})

Isolation = Literal["read_committed", "repeatable_read"]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

Waited: TypeAlias = "Callable[[asyncpg.Pool[asyncpg.Record], float, bool], None]"


def _ignore(_pool: object, _seconds: float, _in_vain: bool) -> None:
    """Nothing depends on it."""


@attrs.frozen(kw_only=True)
class Database:
    """The address of the database, and the limits of connections to it."""

    url: str = attrs.field(repr=False)
    direct_url: str | None = attrs.field(default=None, repr=False)
    """The address of the server itself, if `url` leads to a pooler that gives each transaction another connection."""
    application_name: str = "billing"
    connect_timeout: timedelta = timedelta(seconds=5)
    acquire_timeout: timedelta = timedelta(seconds=2)
    statement_timeout: timedelta = timedelta(seconds=5)
    lock_timeout: timedelta = timedelta(seconds=4)
    idle_in_transaction_timeout: timedelta = timedelta(seconds=10)
    """Frees the row locks of a process that froze between two statements of a transaction."""
    transaction_timeout: timedelta = timedelta(seconds=30)
    """Frees the row locks of a process that froze while sending a statement, which no other limit covers."""
    waited: Waited = attrs.field(default=_ignore, repr=False)
    """Takes the pool, the seconds of each wait for one of its connections, and whether none became free."""

    async def connect(self, **settings: str) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection that the caller keeps and closes, with further settings for its session."""
        url = self.direct_url or self.url
        with reaching(url, within=self.connect_timeout.total_seconds()):
            connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(url, **self._arguments())
            try:
                await self._configure(connection, settings)
            except BaseException:
                connection.terminate()
                raise
            return connection

    async def open_pool(
        self, *, size: int, min_size: int = 0, read_only: bool = False
    ) -> "asyncpg.Pool[asyncpg.Record]":
        """Open a pool of at most `size` connections; with `read_only`, ones on which the server refuses every write.

        Its users change a session only within their transactions, so a connection is returned without the reset query:
        it would cost every short transaction another round trip.

        Statements are planned each time they run. By default plans are kept, and a plan made while a table was small
        scans the whole table until the next ANALYZE; for a statement that works on a batch, planning costs little.

        Behind a pooler in transaction mode, connections keep neither settings nor prepared statements, for others get
        what they leave behind. There, only transactions that are begun as such refuse to write.
        """
        settings = {**_POOLED}
        if read_only:
            settings["default_transaction_read_only"] = "on"
        kept = {"init": partial(self._configure, settings=settings)}
        with reaching(self.url, within=self.connect_timeout.total_seconds()):
            pool: asyncpg.Pool[asyncpg.Record] = await asyncpg.create_pool(
                self.url,
                **self._arguments(),
                **(kept if self.direct_url is None else {"statement_cache_size": 0}),
                min_size=min(min_size, size),
                max_size=size,
                reset=_no_reset,
            )
            return pool

    @asynccontextmanager
    async def acquire(self, pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[Connection]:
        """Borrow a connection; StoreUnavailableError when none becomes free in time.

        Statements commit one by one; behind a pooler in transaction mode, in one transaction, which carries the limits.
        """
        if self.direct_url is None:
            async with self._borrowed(pool) as connection:
                yield connection
        else:
            async with self.begun(pool, isolation="read_committed", readonly=False) as connection:
                yield connection

    @asynccontextmanager
    async def lent(self, pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[Connection]:
        """Begin a transaction of a writing pool for code of others: what it leaves in the session is removed.

        Behind a pooler in transaction mode nothing can be removed; the pooler's `server_reset_query_always` can.
        """
        async with self._borrowed(pool) as connection:
            try:
                async with self._transaction(connection, isolation="read_committed", readonly=False):
                    yield connection
            finally:
                if self.direct_url is None:
                    await self._set_back(connection)

    @asynccontextmanager
    async def begun(
        self, pool: "asyncpg.Pool[asyncpg.Record]", *, isolation: Isolation, readonly: bool
    ) -> AsyncIterator[Connection]:
        """Borrow a connection inside a transaction: committed at the end of the block, rolled back on any exception."""
        async with (
            self._borrowed(pool) as connection,
            self._transaction(connection, isolation=isolation, readonly=readonly),
        ):
            yield connection

    @asynccontextmanager
    async def _borrowed(self, pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[Connection]:
        patience, began = self.acquire_timeout.total_seconds(), time.perf_counter()
        with reaching(self.url, within=patience):
            try:
                connection = await pool.acquire(timeout=patience)
            except TimeoutError as exc:
                if pool.get_idle_size() or pool.get_size() < pool.get_max_size():
                    raise  # it was being opened
                self.waited(pool, time.perf_counter() - began, True)
                raise StoreUnavailableError(_exhausted(pool.get_max_size(), patience)) from exc
        self.waited(pool, time.perf_counter() - began, False)
        try:
            yield connection
        finally:
            # The pool discards a broken connection; its user has had the error already.
            with suppress(*UNAVAILABLE):
                await pool.release(connection)

    async def _set_back(self, connection: Connection) -> None:
        """Remove settings, advisory locks and listeners of a session; end the session if that fails."""
        try:
            await connection.reset()
            await self._configure(connection, _POOLED)
        except BaseException as error:
            with suppress(asyncpg.InterfaceError):  # lost before: the pool has it back
                connection.terminate()
            if not isinstance(error, (*UNAVAILABLE, asyncpg.PostgresError)):
                raise

    @asynccontextmanager
    async def _transaction(
        self, connection: Connection, *, isolation: Isolation, readonly: bool
    ) -> AsyncIterator[None]:
        begun = connection.transaction(isolation=isolation, readonly=readonly)
        with translated("begin"):
            await begun.start()
        try:
            if self.direct_url is not None:
                with translated("begin"):
                    await self._configure(connection, {}, local=True)
            yield
        except BaseException:
            # The first error is the one to report; if the connection is lost, so is the transaction.
            with suppress(*UNAVAILABLE):
                await begun.rollback()
            raise
        with translated("commit"):
            await begun.commit()

    async def _configure(self, connection: Connection, settings: Mapping[str, str], *, local: bool = False) -> None:
        """Set the limits of a session, or of a transaction.

        Not when it is opened: pgbouncer refuses or drops what it is asked for then.
        """
        limits = {
            "statement_timeout": _milliseconds(self.statement_timeout),
            "lock_timeout": _milliseconds(self.lock_timeout),
            "idle_in_transaction_session_timeout": _milliseconds(self.idle_in_transaction_timeout),
            "jit": "off",  # compiling takes longer than any statement here
        }
        if connection.get_server_version() >= (17,):
            limits["transaction_timeout"] = _milliseconds(self.transaction_timeout)
        names, values = zip(*{**limits, **settings}.items(), strict=True)
        await connection.fetch(_CONFIGURE, names, values, local)

    def _arguments(self) -> dict[str, Any]:
        return {
            "timeout": self.connect_timeout.total_seconds(),
            # The server's own timeout comes first; this one is for a server that does not answer at all.
            "command_timeout": self.statement_timeout.total_seconds() + 1,
            "server_settings": {"application_name": self.application_name},
        }


def _exhausted(size: int, seconds: float) -> str:
    return (
        f"all {size} connections to Postgres were in use for {seconds:g} s: slow statements or locks hold them, or "
        "BILLING_DB_POOL_SIZE is too small"
    )


def _milliseconds(span: timedelta) -> str:
    return str(max(1, round(span / timedelta(milliseconds=1))))


async def _no_reset(_connection: object) -> None:
    """Do nothing: users of the pool leave nothing behind."""
