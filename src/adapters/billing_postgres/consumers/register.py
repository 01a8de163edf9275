"""The consumers of a deployment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final

import asyncpg

from billing_core.consumers.ports import RegisteredConsumer
from billing_core.consumers.values import Consumer, ConsumerName
from billing_core.errors import StoreUnavailableError
from billing_postgres import queries
from billing_postgres.consumers.rows import consumer_arguments, registered_from_row
from billing_postgres.errors import translated
from billing_postgres.pool import Database
from billing_postgres.statements import Statements
from billing_postgres.text import storable

_QUERIES: Final = queries.load("write_consumers")
_LOCK_WAIT: Final = "500ms"
"""Messages cannot be numbered while the lock is waited for."""
_LOCK_ATTEMPTS: Final = 20
_PAGE: Final = 10_000
"""Rows deleted by one statement."""


class PostgresConsumerRegister:
    """A `ConsumerRegister`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._database = database
        self._pool = pool
        self._statements = Statements(database, pool, _QUERIES)

    async def register(self, consumer: Consumer) -> RegisteredConsumer:
        """Update a consumer, or add it once every transaction that has numbered messages without it has ended."""
        arguments = consumer_arguments(consumer)
        known = await self._statements.fetch("update_consumer", *arguments[:-2])
        if known:
            return registered_from_row(known[0])
        await self._delete_rows(consumer.name)  # left by a removal that was interrupted
        (row,) = await self._alone("insert_consumer", *arguments)
        return registered_from_row(row)

    async def registered(self) -> Sequence[RegisteredConsumer]:
        """Return all consumers by name."""
        return list(map(registered_from_row, await self._statements.fetch("list_consumers")))

    async def remove(self, name: ConsumerName) -> bool:
        """Forget a consumer, then its positions: none are added any more."""
        found = await self._alone("delete_consumer", name)
        await self._delete_rows(name)
        return bool(found)

    async def disable(self, name: ConsumerName, *, reason: str) -> bool:
        """Hand nothing to a consumer until it is enabled."""
        return bool(await self._statements.fetch("disable_consumer", name, storable(reason)))

    async def enable(self, name: ConsumerName) -> bool:
        """Hand messages to a consumer again."""
        return bool(await self._statements.fetch("enable_consumer", name))

    async def _alone(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a statement while no transaction that has numbered messages is open."""
        for attempt in range(_LOCK_ATTEMPTS):
            try:
                return await self._try_alone(name, *arguments)
            except StoreUnavailableError as error:
                if attempt == _LOCK_ATTEMPTS - 1 or not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                    raise
            await asyncio.sleep(random.uniform(0.1, 0.3))  # noqa: S311 - spreads attempts
        raise AssertionError("the last attempt returns or raises")

    async def _try_alone(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._database.begun(self._pool, isolation="read_committed", readonly=False) as connection:
            with translated(name):
                await connection.fetch(_QUERIES["wait_briefly_for_locks"], _LOCK_WAIT)
                await connection.execute(_QUERIES["lock_consumers"])
                return await connection.fetch(_QUERIES[name], *arguments)

    async def _delete_rows(self, name: ConsumerName) -> None:
        for statement in ("delete_positions", "delete_skips"):
            deleted = _PAGE
            while deleted == _PAGE:
                ((deleted,),) = await self._statements.fetch(statement, name, _PAGE)
