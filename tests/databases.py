"""Migrated, empty databases on one server, each used by one test after another.

Copying a database is most of what a short test costs: it has 300 files. So the database that a test leaves is emptied
for another test if nothing but its rows has changed, and is dropped otherwise.
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
"""Tables with a page: one whose rows were deleted has a size and statistics that a new one does not have."""
_CLOCK = "SELECT pg_get_functiondef('billing_now'::regproc)"
_DESCRIBE = """
SELECT md5(concat_ws('/',
    (SELECT string_agg(m::text, ',' ORDER BY m::text) FROM schema_migrations AS m),
    (SELECT string_agg(
        concat_ws(' ', c.oid, c.relname, c.relkind, c.relowner, c.relpersistence, c.relrowsecurity, c.relacl::text,
                  c.reloptions::text), ',' ORDER BY c.oid
     ) FROM pg_class AS c WHERE c.oid >= 16384),
    (SELECT string_agg(a::text, ',' ORDER BY a.attrelid, a.attnum) FROM pg_attribute AS a WHERE a.attrelid >= 16384),
    (SELECT string_agg(d::text, ',' ORDER BY d.oid) FROM pg_attrdef AS d),
    (SELECT string_agg(c::text, ',' ORDER BY c.oid) FROM pg_constraint AS c WHERE c.oid >= 16384),
    (SELECT string_agg(i::text, ',' ORDER BY i.indexrelid) FROM pg_index AS i WHERE i.indexrelid >= 16384),
    (SELECT string_agg(n::text, ',' ORDER BY n.oid) FROM pg_namespace AS n WHERE n.nspname !~ '^pg_(toast_)?temp_'),
    (SELECT string_agg(p::text, ',' ORDER BY p.oid) FROM pg_proc AS p WHERE p.oid >= 16384),
    (SELECT string_agg(r::text, ',' ORDER BY r.oid) FROM pg_rewrite AS r WHERE r.oid >= 16384),
    (SELECT string_agg(t::text, ',' ORDER BY t.oid) FROM pg_trigger AS t),
    (SELECT string_agg(s.starelid::text, ',') FROM pg_statistic AS s
     WHERE s.starelid >= 16384 AND s.starelid <> 'schema_migrations'::regclass),
    (SELECT string_agg(s::text, ',') FROM pg_db_role_setting AS s JOIN pg_database AS b ON b.oid = s.setdatabase
     WHERE b.datname = current_database())
))
"""
"""Everything by which a database may differ from another one apart from its rows: 16384 is the first number that the
server gives to an object that is not its own. The table of migrations is filled when the database is made, and the
server analyzes it some time later: that makes no difference to a test."""


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
            await self._admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._template.name}"')
        try:
            yield database_url_for(self._server_url, name)
        finally:
            if await self._empty(name):
                self._clean.append(name)
            else:
                await self._drop(name)

    async def close(self) -> None:
        """Drop the databases that are kept for other tests."""
        while self._clean:
            await self._drop(self._clean.pop())

    async def _empty(self, name: str) -> bool:
        """Delete all rows and turn the clock back. Return whether the database is now as a new one."""
        try:
            async with connected(database_url_for(self._server_url, name)) as connection:
                await connection.execute(_END_SESSIONS)
                if filled := [row[0] for row in await connection.fetch(_FILLED)]:
                    await connection.execute(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY CASCADE")
                await connection.execute(self._template.clock)
                return bool(await connection.fetchval(_DESCRIBE) == self._template.described)
        except (asyncpg.PostgresError, asyncpg.InterfaceError):
            return False

    async def _drop(self, name: str) -> None:
        await self._admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def database_url_for(server_url: str, name: str) -> str:
    """Return the URL of another database on the same server."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
