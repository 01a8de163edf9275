"""Postgres through pgbouncer in session mode, which passes on no setting that a connection is opened with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import pytest
from tests.integration.processes import environment_of, post, running, state_at, subscription_event
from tests.patience import PATIENCE
from tests.postgres import connected
from tests.programs import find_program

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
pool_mode = session
default_pool_size = 60
"""


@pytest.fixture
async def pooled_url(database_url: str, data_dir: Path) -> AsyncIterator[str]:
    """Start pgbouncer and return the database's URL through it."""
    program, port, parts = find_program("pgbouncer"), free_port(), urlsplit(database_url)
    users, configuration = data_dir / "users.txt", data_dir / "pgbouncer.ini"
    users.write_text(f'"{parts.username}" "{parts.password or ""}"\n', encoding="utf-8")
    text = CONFIGURATION.format(host=parts.hostname, server_port=parts.port, port=port, users=users)
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
        async with connected(url):
            return True
    except (OSError, asyncpg.PostgresError):
        return False


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
    assert (await inspect_server(pooled_url)).through_pooler
    assert not (await inspect_server(database_url)).through_pooler
