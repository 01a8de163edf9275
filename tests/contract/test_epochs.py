"""The epoch log contract, bound to the memory adapter and to Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from billing_core.stream.ports import EpochLog
from billing_core.testing.epochs import EpochLogContract
from billing_memory.stream.epochs import MemoryEpochLog
from billing_postgres.pool import Database
from billing_postgres.stream.epochs import PostgresEpochLog


class TestMemory(EpochLogContract):
    """In one process."""

    @pytest.fixture
    def epochs(self) -> EpochLog:
        return MemoryEpochLog()


@pytest.mark.postgres
class TestPostgres(EpochLogContract):
    """In a database, which shows that it was put back."""

    @pytest.fixture
    async def pool(self, database_url: str) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
        async with await Database(url=database_url).open_pool(size=4) as opened:
            yield opened

    @pytest.fixture
    def epochs(self, database_url: str, pool: asyncpg.Pool[asyncpg.Record]) -> EpochLog:
        return PostgresEpochLog(Database(url=database_url), pool)

    async def test_a_restored_dump_begins_an_epoch(self, epochs: EpochLog, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        """Its tables are new ones, whatever rows they hold. One epoch is begun, whoever notices first."""
        first = await epochs.enter()
        await pool.execute("ALTER TABLE billing_events RENAME TO old; CREATE TABLE billing_events (LIKE old)")
        second = await epochs.enter()
        assert second.number == 2
        assert second.token != first.token
        assert await epochs.enter() == second

    async def test_another_server_or_timeline_begins_an_epoch(
        self, epochs: EpochLog, pool: asyncpg.Pool[asyncpg.Record]
    ) -> None:
        """A base backup that was started elsewhere, and a replica that took over."""
        for number, other in enumerate(["9/00000001/1", "1/00000002/1"], start=2):
            await epochs.enter()
            await pool.execute("UPDATE billing_epochs SET place = $1", other)
            assert (await epochs.enter()).number == number

    async def test_a_user_without_rights_can_enter(self, database_url: str, epochs: EpochLog) -> None:
        """Ours needs no more than its own tables; where the server hides its place, operators begin epochs."""
        first = await epochs.enter()
        admin = await asyncpg.connect(database_url)
        name = f"plain_{first.token}"
        await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'plain'")
        await admin.execute(f"GRANT SELECT, INSERT ON billing_epochs, billing_events TO {name}")
        parts = urlsplit(database_url)
        url = urlunsplit(parts._replace(netloc=f"{name}:plain@{parts.netloc.rpartition('@')[2]}"))
        try:
            async with await Database(url=url).open_pool(size=1) as pool:
                assert await PostgresEpochLog(Database(url=url), pool).enter() == first
                await admin.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public")
                assert await PostgresEpochLog(Database(url=url), pool).enter() == first
        finally:
            await admin.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO public")
            await admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
            await admin.close()
