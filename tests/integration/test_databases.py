"""The databases of the tests: what one test leaves is not there for the next one."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from tests.databases import Databases
from tests.postgres import connected, move_clock

pytestmark = pytest.mark.postgres

COUNT = "SELECT count(*) FROM billing_tenants"


@pytest.fixture
async def own(databases: Databases) -> AsyncIterator[Databases]:
    """Return databases that no other test has used or will use."""
    async with databases.apart() as own:
        yield own


async def number_of(url: str) -> int:
    """Return the number by which the server knows a database, whatever its name."""
    async with connected(url) as connection:
        return int(await connection.fetchval("SELECT oid FROM pg_database WHERE datname = current_database()"))


async def test_a_database_is_used_again_without_its_rows(own: Databases) -> None:
    """Its numbers start again, its clock is right again, and its former name leads nowhere."""
    add = "INSERT INTO billing_audits (action, actor, reason, filter) VALUES ('a', 'b', 'c', '{}') RETURNING audit_id"
    async with own.fresh() as former:
        first = await number_of(former)
        async with connected(former) as connection:
            await connection.execute("INSERT INTO billing_tenants (tenant_id) VALUES ('acme')")
            assert await connection.fetchval(add) == 1
            await move_clock(connection, timedelta(days=1))
            await connection.execute("ANALYZE schema_migrations")
    async with own.fresh() as url:
        async with connected(url) as connection:
            assert await connection.fetchval(COUNT) == 0
            assert await connection.fetchval(add) == 1
            assert abs(await connection.fetchval("SELECT billing_now() - clock_timestamp()")) < timedelta(hours=1)
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await number_of(former)
        assert await number_of(url) == first


async def test_what_is_still_connected_is_cut_off(own: Databases) -> None:
    """Its open transaction would keep the next test waiting, and could write into it."""
    async with own.fresh() as former:
        left = await asyncpg.connect(former)
        await left.execute("BEGIN; INSERT INTO billing_tenants (tenant_id) VALUES ('acme')")
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await left.execute("COMMIT")
    async with own.fresh() as url, connected(url) as connection:
        assert await connection.fetchval(COUNT) == 0


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE billing_tenants ADD COLUMN note text",
        "ALTER TABLE billing_tenants ALTER COLUMN sequence SET DEFAULT 7",
        "DROP INDEX stripe_event_dispatch_parked_since",
        "CREATE TABLE public.other (id int)",
        "CREATE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DELETE FROM schema_migrations WHERE version = 1",
        "DROP TABLE schema_migrations",
        "GRANT SELECT ON billing_tenants TO PUBLIC",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''1MB''', current_database()); END $$",
    ],
)
async def test_a_database_that_differs_otherwise_is_dropped(own: Databases, change: str) -> None:
    """The next test gets another one."""
    async with own.fresh() as former:
        first = await number_of(former)
        async with connected(former) as connection:
            await connection.execute(change)
    async with own.fresh() as url:
        assert await number_of(url) != first
