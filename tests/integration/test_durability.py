"""Commits with a consequence outside are on disk, even where synchronous commits were switched off.

A stored event is answered 202, a numbered message is published, and a stored command is sent to the provider.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest
from tests import patience
from tests.postgres import connected, postmaster_of

from billing_core.state.ports import Changes
from billing_core.testing.builders import ACME, message, provider_event
from billing_core.testing.operations.operation_log import COMMAND, REQUEST
from billing_embedded import embedded_servers_sync
from billing_postgres import queries
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.migrate import migrate
from billing_postgres.operations.log import PostgresOperationLog
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.stream.history import PostgresMessageHistory

pytestmark = [pytest.mark.postgres, pytest.mark.faults]

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Act = Callable[[Database, "asyncpg.Pool[asyncpg.Record]"], Awaitable[None]]
PATIENCE = timedelta(seconds=20)
ROLE_SETTINGS = ("off", "local", "on", "remote_write", "remote_apply")


async def crash(url: str, data_dir: Path) -> None:
    """Stop Postgres immediately, as a power cut does: nothing that is not on disk survives."""
    postmaster = postmaster_of(data_dir)
    os.kill(postmaster, signal.SIGQUIT)
    async with asyncio.timeout(patience.PATIENCE):
        while True:
            try:
                connection = await asyncpg.connect(url, timeout=5)
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.1)
                continue
            await connection.close()
            if postmaster_of(data_dir) != postmaster:
                return


async def without_synchronous_commits(url: str) -> None:
    """Let the role commit without waiting, and keep the server from writing such commits out by itself."""
    async with connected(url) as connection:
        await connection.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = off")
        await connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        await connection.execute("SELECT pg_reload_conf()")


async def record_many(database: Database, pool: Pool) -> None:
    """Record events that share commits."""
    async with PostgresEventInbox(database, pool, timeout=PATIENCE) as inbox:
        await asyncio.gather(*(inbox.record(provider_event(f"evt_{number}")) for number in range(50)))


async def record_one(database: Database, pool: Pool) -> None:
    """Record an event that comes alone."""
    async with PostgresEventInbox(database, pool, timeout=PATIENCE) as inbox:
        await inbox.record(provider_event("evt_0"))


async def number_a_message(database: Database, pool: Pool) -> None:
    """Commit a message, which may be published from then on."""
    async with PostgresRepository(database, pool).transaction() as transaction:
        await transaction.lock_tenants([ACME])
        await transaction.save(Changes(events=[message(ACME, 1)]))


async def store_a_command(database: Database, pool: Pool) -> None:
    """Commit the command of an operation, which may be sent from then on."""
    log = PostgresOperationLog(database, pool)
    begun = await log.begin(REQUEST, lease=PATIENCE)
    await log.plan(begun.operation, COMMAND, lease=PATIENCE)


@pytest.mark.parametrize(
    ("act", "stored"),
    [
        pytest.param(record_many, (50, 0, 0), id="events that share a commit"),
        pytest.param(record_one, (1, 0, 0), id="an event alone"),
        pytest.param(number_a_message, (0, 1, 0), id="a message"),
        pytest.param(store_a_command, (0, 0, 1), id="a command for the provider"),
    ],
)
async def test_a_crash_right_after_the_answer_loses_nothing(
    data_dir: Path, act: Act, stored: tuple[int, int, int]
) -> None:
    """The role is set to `off`, as someone in search of speed sets it: a bystander's commit is lost, ours are not."""
    with embedded_servers_sync(data_dir) as urls:
        await migrate(urls.database_url)
        await without_synchronous_commits(urls.database_url)
        database = Database(url=urls.database_url)
        pool = await database.open_pool(size=2)
        try:
            await pool.execute("CREATE TABLE bystander (id int)")
            await pool.execute("CHECKPOINT")
            await act(database, pool)
            await pool.execute("INSERT INTO bystander VALUES (1)")
            await crash(urls.database_url, data_dir)
        finally:
            pool.terminate()

        async with await database.open_pool(size=1) as pool:
            events = await pool.fetchval("SELECT count(*) FROM stripe_events JOIN stripe_event_bodies ON id = event")
            messages = await PostgresMessageHistory(database, pool).sequence(ACME)
            commands = sum(
                each.command is not None for each in await PostgresOperationLog(database, pool).unresolved(limit=9)
            )
            assert (events, messages, commands) == stored
            assert await pool.fetchval("SELECT count(*) FROM bystander") == 0, "nothing was lost: that was no crash"


@pytest.mark.parametrize("configured", ROLE_SETTINGS)
async def test_only_what_is_too_weak_is_raised(database_url: str, configured: str) -> None:
    """A site that waits for its replicas continues to do so."""
    database = Database(url=f"{database_url}?options=-c%20synchronous_commit%3D{configured}")
    async with (
        await database.open_pool(size=1) as pool,
        PostgresRepository(database, pool).transaction() as transaction,
    ):
        await transaction.lock_tenants([ACME])
        effective = await transaction._connection.fetchval("SHOW synchronous_commit")
    assert effective == ("on" if configured in ("off", "local") else configured)


async def test_a_review_of_access_and_an_accepted_action_wait_for_the_disk(database_url: str) -> None:
    """Messages follow from the one, and the answer to an operator from the other."""
    database = Database(url=f"{database_url}?options=-c%20synchronous_commit%3Doff")
    begin_audit = queries.load("write_audits")["begin_audit"]
    async with await database.open_pool(size=1) as pool:
        repository = PostgresRepository(database, pool)
        async with repository.transaction() as transaction:
            await transaction.lock_tenants([ACME])
        async with repository.transaction() as transaction:
            assert (await transaction.lock_due(policy="0", limit=1)).counters.keys() == {ACME}
            assert await transaction._connection.fetchval("SHOW synchronous_commit") == "on"
        async with database.begun(pool, isolation="read_committed", readonly=False) as connection:
            await connection.fetch(begin_audit, "replay", "operator", None, "{}")
            assert await connection.fetchval("SHOW synchronous_commit") == "on"
