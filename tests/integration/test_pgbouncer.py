"""Postgres through pgbouncer, which passes on no setting that a connection is opened with.

In session mode a connection keeps what is set on it later. In transaction mode it keeps nothing: each transaction may
run on another connection of the server, which others have used before and use afterwards.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import pytest
from tests.integration.processes import (
    ended,
    environment_of,
    nothing_waits,
    post,
    running,
    state_at,
    subscription_event,
)
from tests.patience import PATIENCE
from tests.postgres import connected
from tests.programs import find_program

from billing_app.troubleshooting import ServerTrouble
from billing_embedded.loopback import free_port
from billing_embedded.system_user import server_user
from billing_postgres.installation import inspect_server
from billing_postgres.pool import Database

pytestmark = pytest.mark.postgres

CONFIGURATION = """
[databases]
* = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = {mode}
default_pool_size = {size}
"""


SEARCHES = """
import asyncio, sys
from billing_core.inbox.selection import EventFilter
from billing_postgres.oversight.event_log import PostgresEventLog
from billing_postgres.pool import Database

async def search():
    database = Database(url=sys.argv[1], direct_url=sys.argv[2])
    async with await database.open_pool(size=3) as pool:
        for _ in range(40):
            await asyncio.gather(*(PostgresEventLog(database, pool).select(EventFilter()) for _ in range(3)))

asyncio.run(search())
"""


@pytest.fixture
async def pooled_url(database_url: str, data_dir: Path) -> AsyncIterator[str]:
    """Start pgbouncer in session mode, and return the database's URL through it."""
    async with pooler(database_url, data_dir, mode="session", size=60) as url:
        yield url


@pytest.fixture
async def shared_url(database_url: str, data_dir: Path) -> AsyncIterator[str]:
    """Start pgbouncer in transaction mode with few connections to the server, and return the URL through it."""
    async with pooler(database_url, data_dir, mode="transaction", size=3) as url:
        yield url


@asynccontextmanager
async def pooler(database_url: str, data_dir: Path, *, mode: str, size: int) -> AsyncIterator[str]:
    program, port, parts = find_program("pgbouncer"), free_port(), urlsplit(database_url)
    users, configuration = data_dir / "users.txt", data_dir / "pgbouncer.ini"
    users.write_text(f'"{parts.username}" "{parts.password or ""}"\n', encoding="utf-8")
    text = CONFIGURATION.format(
        host=parts.hostname, server_port=parts.port, port=port, users=users, mode=mode, size=size
    )
    configuration.write_text(text, encoding="utf-8")
    login, _, _ = parts.netloc.rpartition("@")
    url = urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
    unprivileged = server_user(data_dir).popen_arguments()  # it refuses to run as root
    process = await asyncio.create_subprocess_exec(program, "-q", str(configuration), **unprivileged)
    try:
        async with asyncio.timeout(PATIENCE):
            while not await answers(url):
                assert process.returncode is None, "pgbouncer ended instead of starting"
                await asyncio.sleep(0.05)
        yield url
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answers(url: str) -> bool:
    try:
        await (await asyncpg.connect(url)).close()
    except (OSError, asyncpg.PostgresError):
        return False
    return True


async def test_limits_hold(pooled_url: str) -> None:
    """The limits of every wait; the connections that only read refuse to write."""
    database = Database(url=pooled_url, statement_timeout=timedelta(seconds=7), lock_timeout=timedelta(seconds=3))
    async with await database.open_pool(size=2, read_only=True) as pool:
        limits = [await pool.fetchval(f"SHOW {name}") for name in ("statement_timeout", "lock_timeout")]
        assert limits == ["7s", "3s"]
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await pool.execute("CREATE TABLE refused ()")


async def test_a_server_and_a_worker_share_the_database(pooled_url: str, redis_url: str) -> None:
    """A webhook becomes state, and the server's notice wakes the worker: it would look for events itself much later."""
    environment = environment_of(pooled_url, redis_url)
    environment |= {"BILLING_DISPATCH_POLL_SECONDS": "60"}
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    watched = str(free_port())
    worker_ready = f"http://127.0.0.1:{watched}/readyz"
    async with (
        running("serve", "--no-worker", environment=environment, ready=f"{base}/readyz"),
        running("worker", "--metrics-port", watched, environment=environment, ready=worker_ready),
        aiohttp.ClientSession() as session,
    ):
        for number in (1, 2):
            assert (await post(session, base, subscription_event(number)))[0] == 202
            assert (await state_at(session, base, number))["sequence"] == number


async def test_the_pooler_is_recognized(pooled_url: str, database_url: str) -> None:
    """Connections to it take none of the server's, so its pools may be larger than `max_connections`."""
    server = await inspect_server(pooled_url)
    assert (server.through_pooler, server.keeps_sessions) == (True, True)
    server = await inspect_server(database_url)
    assert (server.through_pooler, server.keeps_sessions) == (False, True)


async def test_transaction_mode_is_refused_without_the_way_around_it(
    shared_url: str, database_url: str, redis_url: str
) -> None:
    """A process that would lose notices and limits does not start; with the server's own address it may."""
    end = await ended("serve", environment=environment_of(shared_url, redis_url))
    assert end.status == 78, end.errors
    assert str(ServerTrouble.POOLER_SHARES_SESSIONS) in end.errors
    assert "DATABASE_DIRECT_URL" in end.errors
    assert not (await inspect_server(shared_url, direct_url=shared_url)).keeps_sessions
    assert (await inspect_server(shared_url, direct_url=database_url)).keeps_sessions


async def test_limits_hold_for_each_transaction(shared_url: str, database_url: str) -> None:
    """Alone or in a transaction, a statement has the limits, and leaves none behind for others."""
    limit = timedelta(seconds=7)
    database = Database(url=shared_url, direct_url=database_url, statement_timeout=limit)
    async with await database.open_pool(size=5) as pool:
        async with database.acquire(pool) as connection:
            assert await connection.fetchval("SHOW statement_timeout") == "7s"
        async with database.begun(pool, isolation="repeatable_read", readonly=True) as connection:
            assert await connection.fetchval("SHOW statement_timeout") == "7s"
            assert await connection.fetchval("SHOW transaction_read_only") == "on"
        async with database.lent(pool) as connection:
            assert await connection.fetchval("SHOW statement_timeout") == "7s"
        assert await pool.fetchval("SHOW statement_timeout") == "0"
    kept = await database.connect()
    assert await kept.fetchval("SHOW statement_timeout") == "7s"
    await kept.close()


async def test_statements_of_many_connections_do_not_meet(shared_url: str, database_url: str) -> None:
    """Connections share a few of the server's, where a prepared statement of one would be found by another."""
    database = Database(url=shared_url, direct_url=database_url)
    async with await database.open_pool(size=12) as pool:

        async def ask(number: int) -> int:
            async with database.acquire(pool) as connection:
                return int(await connection.fetchval("SELECT $1::int", number))

        assert await asyncio.gather(*map(ask, range(100))) == list(range(100))


async def test_a_search_of_several_processes_names_no_statement(shared_url: str, database_url: str) -> None:
    """A cursor's statement has a name, which stays at the server's connection and meets that of another process."""
    command = (sys.executable, "-c", SEARCHES, shared_url, database_url)
    searching = [await asyncio.create_subprocess_exec(*command, stderr=PIPE) for _ in range(3)]
    for process in searching:
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()


async def test_a_deployment_behind_transaction_mode(shared_url: str, database_url: str, redis_url: str) -> None:
    """Servers and workers with more connections than the pooler has: webhooks become state and wake the worker."""
    environment = environment_of(shared_url, redis_url)
    environment |= {"DATABASE_DIRECT_URL": database_url, "BILLING_DISPATCH_POLL_SECONDS": "60"}
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    watched = str(free_port())
    worker_ready = f"http://127.0.0.1:{watched}/readyz"
    async with (
        running("serve", "--no-worker", environment=environment, ready=f"{base}/readyz"),
        running("worker", "--metrics-port", watched, environment=environment, ready=worker_ready),
        aiohttp.ClientSession() as session,
    ):
        for number in (1, 2):
            assert (await post(session, base, subscription_event(number)))[0] == 202
            assert (await state_at(session, base, number))["sequence"] == number
        answers = await asyncio.gather(*(post(session, base, subscription_event(n)) for n in range(3, 60)))
        assert {status for status, _ in answers} == {202}
        async with connected(database_url) as connection:
            await nothing_waits(connection)
        assert (await state_at(session, base, 3))["subscriptions"][0]["seat_count"] == 59
    assert (await ended("migrate", environment=environment)).status == 0
