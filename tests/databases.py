"""Migrated, empty databases on one server, each used by one test after another.

Copying a database is most of what a short test costs: it has 300 files, and so many are replaced where tables are
truncated. So the rows that a test leaves are deleted, and the next test gets the database, if nothing else has changed
and little was written. Statistics and dead rows stay: a test about plans or sizes takes `databases.apart`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from tests.postgres import Connection, connected

_END_SESSIONS = """
SELECT pg_terminate_backend(pid, 10000)
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_FILLED = """
SELECT oid::regclass::text
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'schema_migrations'
  AND pg_relation_size(oid) > 0
"""
"""Tables with a page. One that was filled before may be empty."""
_SIZE = """
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""
_RESTART = """
SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false)
FROM pg_sequences
WHERE last_value IS NOT NULL
"""
_CLOCK = "SELECT pg_get_functiondef('billing_now'::regproc)"
_DESCRIBE = """
WITH parts AS (
    SELECT hash_record_extended(row(tableoid, oid, xmin), 0) AS hash FROM pg_class WHERE oid >= 16384
    UNION ALL
    SELECT hash_record_extended(row(tableoid, attrelid, attnum, xmin), 0) FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL
    SELECT hash_record_extended(row(tableoid, oid, xmin), 0) FROM pg_attrdef
    UNION ALL
    SELECT hash_record_extended(row(tableoid, oid, xmin), 0) FROM pg_constraint WHERE oid >= 16384
    UNION ALL
    SELECT hash_record_extended(row(tableoid, indexrelid, xmin), 0) FROM pg_index WHERE indexrelid >= 16384
    UNION ALL
    SELECT hash_record_extended(row(tableoid, oid, xmin), 0) FROM pg_namespace
    WHERE nspname !~ '^pg_(toast_)?temp_'
    UNION ALL
    SELECT hash_record_extended(row(tableoid, oid, xmin), 0) FROM pg_proc
    WHERE oid >= 16384 AND oid <> 'billing_now'::regproc
    UNION ALL
    SELECT hash_record_extended(row(tableoid, oid, xmin), 0) FROM pg_rewrite WHERE oid >= 16384
    UNION ALL
    SELECT hash_record_extended(row(tableoid, oid, xmin), 0) FROM pg_trigger
    UNION ALL
    SELECT hash_record_extended(row(tableoid, starelid, staattnum, xmin), 0) FROM pg_statistic
    WHERE starelid >= 16384 AND starelid <> 'schema_migrations'::regclass
    UNION ALL
    SELECT hash_record_extended(row(s.tableoid, s.setrole, s.setconfig), 0)
    FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase
    WHERE d.datname = current_database()
    UNION ALL
    SELECT hash_record_extended(row(tableoid, version, xmin), 0) FROM schema_migrations
)
SELECT row(count(*), bit_xor(hash))::text FROM parts
"""
"""Everything by which a database may differ from another one apart from its rows, by the transactions that wrote it
last: 16384 is the first number that the server gives to an object that is not its own. The table of migrations is
filled when the database is made, and a server may analyze it some time later: that makes no difference to a test."""
_LARGE = 4_000_000
"""Bytes of a database whose rows are not worth deleting; one without rows has more than a quarter of it."""


class _Template(NamedTuple):
    """The database that others are copied from."""

    name: str
    clock: str
    described: str


class Databases:
    """The databases of one server. Each test gets a name of its own, which no process of an earlier test knows."""

    def __init__(self, admin: Connection, server_url: str, template: _Template) -> None:
        self._admin = admin
        self._server_url = server_url
        self._template = template
        self._clean: list[str] = []

    @classmethod
    async def open(cls, admin: Connection, server_url: str, template: str) -> Databases:
        """Copy databases from the one of this name, which must have no sessions."""
        async with connected(database_url_for(server_url, template)) as connection:
            described = await connection.fetchval(_DESCRIBE)
            return cls(admin, server_url, _Template(template, await connection.fetchval(_CLOCK), described))

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[Databases]:
        """Yield databases that no test outside of the block uses."""
        databases = Databases(self._admin, self._server_url, self._template)
        try:
            yield databases
        finally:
            await databases.close()

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[str]:
        """Yield the URL of a migrated database without rows. What is still connected to it at the end is cut off."""
        name = f"billing_test_{secrets.token_hex(6)}"
        if self._clean:
            await self._admin.execute(f'ALTER DATABASE "{self._clean.pop()}" RENAME TO "{name}"')
        else:
            # Without fsync, copying files takes a third of the time that logging their pages takes.
            copying = "STRATEGY FILE_COPY" if self._admin.get_server_version() >= (15,) else ""
            await self._admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._template.name}" {copying}')
        try:
            yield database_url_for(self._server_url, name)
        finally:
            if await self._leave(name):
                self._clean.append(name)
            else:
                await self._drop(name)

    async def close(self) -> None:
        """Drop the databases that are kept for other tests."""
        while self._clean:
            await self._drop(self._clean.pop())

    async def empty(self, connection: Connection | asyncpg.Pool[asyncpg.Record]) -> bool:
        """Delete all rows and turn the clock back. Return whether the database can be used as a new one."""
        try:
            if await connection.fetchval(_SIZE) > _LARGE:
                return False
            if filled := [row[0] for row in await connection.fetch(_FILLED)]:
                deletions = (f"DELETE FROM {table}" for table in filled)  # by one transaction, and without triggers
                await connection.execute("; ".join(["SET LOCAL session_replication_role = replica", *deletions]))
            await connection.execute(_RESTART)
            if await connection.fetchval(_CLOCK) != self._template.clock:
                await connection.execute(self._template.clock)
            return bool(await connection.fetchval(_DESCRIBE) == self._template.described)
        except (asyncpg.PostgresError, asyncpg.InterfaceError):
            return False

    async def _leave(self, name: str) -> bool:
        """End the sessions of a database, and empty it."""
        try:
            async with connected(database_url_for(self._server_url, name)) as connection:
                await connection.execute(_END_SESSIONS)
                return await self.empty(connection)
        except (asyncpg.PostgresError, asyncpg.InterfaceError):
            return False

    async def _drop(self, name: str) -> None:
        await self._admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def database_url_for(server_url: str, name: str) -> str:
    """Return the URL of another database on the same server."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
