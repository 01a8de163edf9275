"""The server that an installation uses, and the provider's account whose data its database holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg
import attrs

from billing_postgres import queries
from billing_postgres.errors import reaching, translated

_SETTINGS: Final = queries.load("read_settings")
_ACCOUNT: Final = queries.load("write_provider_account")
_LOOKS: Final = 8
_PATIENCE: Final = 5.0
"""Seconds that a connection and a statement may take."""


@attrs.frozen(kw_only=True)
class DatabaseServer:
    """A server as one of our sessions sees it."""

    version: int
    """The major one."""
    connections: int
    """The number that all processes together may open."""
    through_pooler: bool
    """Whether a pooler such as pgbouncer stands between: a connection to it takes none of the server."""
    keeps_sessions: bool = True
    """Whether a connection keeps settings and notices; behind a pooler in transaction mode it does not."""
    ahead: timedelta
    """The server's clock minus ours."""
    read_only: bool = False
    """Whether it takes no writes: a standby, or sessions that are read-only by default."""


@attrs.frozen(kw_only=True)
class HeldAccount:
    """The provider's account and mode that a database belongs to."""

    livemode: bool
    account_id: str | None
    """None if the provider has not named it yet."""
    holds_data: bool
    """Whether there is any data of it."""


async def inspect_server(database_url: str, *, direct_url: str | None = None) -> DatabaseServer:
    """Return what a server is and allows. Raises: StoreUnavailableError.

    Args:
        database_url: the address for most connections.
        direct_url: the address for connections that keep a session, if it is another one.
    """
    keeps_sessions = await _keeps_sessions(direct_url or database_url)
    async with _connected(database_url) as connection:
        before = datetime.now(UTC)
        row = await connection.fetchrow(_SETTINGS["describe_server"])
        after = datetime.now(UTC)
        if row is None:
            raise AssertionError("a statement without a table returns one row")
        return DatabaseServer(
            version=connection.get_server_version().major,
            connections=row["connections"],
            through_pooler=row["process"] != connection.get_server_pid(),
            keeps_sessions=keeps_sessions,
            ahead=row["at"] - (before + (after - before) / 2),
            read_only=row["refuses_writes"],
        )


async def find_account(database_url: str) -> HeldAccount | None:
    """Return the account that a database belongs to; None before the first start. Raises: StoreUnavailableError."""
    async with _connected(database_url) as connection:
        row = await connection.fetchrow(_ACCOUNT["find_provider_account"])
    return None if row is None else HeldAccount(**row)


async def keep_account(database_url: str, *, livemode: bool, account_id: str | None) -> None:
    """Store the account that a database belongs to. Raises: StoreUnavailableError."""
    async with _connected(database_url) as connection:
        await connection.execute(_ACCOUNT["keep_provider_account"], livemode, account_id)


async def _keeps_sessions(database_url: str) -> bool:
    """Look whether two open connections meet the same process of the server, which they do only in transaction mode.

    Others that use the pooler meanwhile may keep them apart, so they look several times.
    """
    async with _connected(database_url) as first, _connected(database_url) as second:
        met: list[set[int]] = [set(), set()]
        for _ in range(_LOOKS):
            for connection, processes in zip((first, second), met, strict=True):
                processes.add(await connection.fetchval(_SETTINGS["find_process"]))
    return met[0].isdisjoint(met[1])


@asynccontextmanager
async def _connected(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    with reaching(database_url, within=_PATIENCE):
        connection = await asyncpg.connect(
            database_url, timeout=_PATIENCE, command_timeout=_PATIENCE, statement_cache_size=0
        )
    with translated("installation"):
        try:
            yield connection
        finally:
            await connection.close(timeout=1)
