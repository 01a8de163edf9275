"""The epochs of a database, and the detection of a restore or a failover."""

from __future__ import annotations

import secrets
import string
from typing import Final

import asyncpg

from billing_core.model.epoch import Epoch
from billing_postgres import queries
from billing_postgres.errors import translated
from billing_postgres.pool import Connection, Database

_QUERIES: Final = queries.load("write_epochs")
_LETTERS: Final = string.ascii_lowercase + string.digits
_UNKNOWN: Final = ""
"""The place of a database that does not show it: there only an operator begins epochs."""


class PostgresEpochLog:
    """An `EpochLog`.

    A restored dump has other tables, another server has another identifier, and a promoted replica has another
    timeline: these are detected. A disk that was reset to an earlier snapshot is not: that needs `begin`.
    """

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._database = database
        self._pool = pool

    async def enter(self) -> Epoch:
        """Return the current epoch, or begin one if the database was restored or has failed over."""
        async with self._database.acquire(self._pool) as connection:
            with translated("enter_epoch"):
                place = await _place(connection)
                last = await connection.fetchrow(_QUERIES["find_epoch"])
                if last is None:
                    last = await _begin(connection, 1, place, "the first")
                elif last["place"] != place and _UNKNOWN not in (last["place"], place):
                    last = await _begin(connection, last["number"] + 1, place, "restored or failed over")
        return Epoch(number=last["number"], token=last["token"])

    async def begin(self, reason: str) -> Epoch:
        """Begin a new epoch."""
        async with self._database.acquire(self._pool) as connection:
            with translated("begin_epoch"):
                last = await connection.fetchrow(_QUERIES["find_epoch"])
                number = 1 if last is None else last["number"] + 1
                last = await _begin(connection, number, await _place(connection), reason)
        return Epoch(number=last["number"], token=last["token"])


async def _begin(connection: Connection, number: int, place: str, reason: str) -> asyncpg.Record:
    token = secrets.choice(string.ascii_lowercase) + "".join(secrets.choice(_LETTERS) for _ in range(7))
    await connection.execute(_QUERIES["begin_epoch"], number, token, place, reason)
    begun = await connection.fetchrow(_QUERIES["find_epoch"])
    assert begun is not None  # epochs are never deleted
    return begun


async def _place(connection: Connection) -> str:
    try:
        async with connection.transaction():  # of its own, so that a refusal leaves one around it usable
            return str(await connection.fetchval(_QUERIES["find_place"]))
    except (asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFunctionError):
        return _UNKNOWN
