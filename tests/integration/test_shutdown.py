"""`billing serve` and `billing worker` end in time, also when the database does not answer any more."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import aiohttp
import pytest
from tests.integration.processes import environment_of, post, running, state_at, subscription_event
from tests.patience import PATIENCE
from tests.postgres import connected

from billing_embedded import embedded_servers_sync
from billing_embedded.loopback import free_port
from billing_postgres.migrate import migrate

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.faults]

LIMIT = 3
"""BILLING_SHUTDOWN_SECONDS of these processes."""
TOO_LONG = 2 * LIMIT
"""Nothing but a limit per stage makes an end take this long, and nothing less makes a busy machine fail the test."""


class Postgres:
    """A server of the test's own, to freeze."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._folder = folder

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """Stop the server and the processes of its connections, so that all of them stay open and none answers."""
        async with connected(self.url) as connection:
            rows = await connection.fetch(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        postmaster = int(next(self._folder.rglob("postmaster.pid")).read_text().splitlines()[0])
        processes = [postmaster, *(row["pid"] for row in rows)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in reversed(processes):
                os.kill(process, signal.SIGCONT)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="billing-shutdown-"))
    folder.chmod(0o711)  # under root the server runs as another user
    with embedded_servers_sync(folder) as urls:
        yield Postgres(urls.database_url, folder)
    shutil.rmtree(folder)


@pytest.fixture
async def environment(postgres: Postgres, redis_url: str) -> dict[str, str]:
    """Settings under which no limit of the database ends a wait before the deadline does."""
    await migrate(postgres.url)
    return environment_of(postgres.url, redis_url) | {
        "BILLING_SHUTDOWN_SECONDS": str(LIMIT),
        "BILLING_DB_STATEMENT_TIMEOUT_SECONDS": "60",
        "BILLING_DB_LOCK_TIMEOUT_SECONDS": "60",
        "BILLING_DB_TRANSACTION_TIMEOUT_SECONDS": "60",
        "BILLING_DB_ACQUIRE_TIMEOUT_SECONDS": "30",
    }


async def seconds_to_end(process: asyncio.subprocess.Process) -> float:
    """Send SIGTERM, and return how long the process takes to end with status 0."""
    started = monotonic()
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == 0
    return monotonic() - started


async def test_a_worker_ends_in_time_while_the_database_is_frozen(
    postgres: Postgres, environment: dict[str, str]
) -> None:
    """All of its stages share one deadline: dispatcher, monitors, publisher, and the closing of connections."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    port = str(free_port())
    ready = f"http://127.0.0.1:{port}/readyz"
    async with (
        running("serve", "--no-worker", environment=environment, ready=f"{base}/readyz"),
        running("worker", "--metrics-port", port, environment=environment, ready=ready) as worker,
        aiohttp.ClientSession() as session,
    ):
        assert (await post(session, base, subscription_event(1)))[0] == 202
        await state_at(session, base, 1)
        async with postgres.frozen():
            await asyncio.sleep(1)  # so that its polls are waiting for answers
            assert await seconds_to_end(worker) < TOO_LONG


async def test_a_server_ends_in_time_while_the_database_is_frozen(
    postgres: Postgres, environment: dict[str, str]
) -> None:
    """A webhook that waits to be stored holds up no more than the other stages do, and is not acknowledged."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with (
        running("serve", environment=environment, ready=f"{base}/readyz") as server,
        aiohttp.ClientSession() as session,
    ):
        assert (await post(session, base, subscription_event(1)))[0] == 202
        await state_at(session, base, 1)
        async with postgres.frozen():
            waiting = asyncio.create_task(post(session, base, subscription_event(2)))
            await asyncio.sleep(1)
            assert await seconds_to_end(server) < TOO_LONG
        (answer,) = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(answer, aiohttp.ClientConnectionError) or answer[0] == 503


async def test_no_event_stays_claimed_when_a_server_ends(postgres: Postgres, environment: dict[str, str]) -> None:
    """With a database that answers, events in hand are applied or given back: the next process need not wait for
    their leases to run out."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    environment["BILLING_DISPATCH_LEASE_SECONDS"] = "60"
    async with (
        running("serve", environment=environment, ready=f"{base}/readyz") as server,
        aiohttp.ClientSession() as session,
    ):
        answers = await asyncio.gather(*(post(session, base, subscription_event(number)) for number in range(1, 60)))
        assert {status for status, _ in answers} == {202}
        assert await seconds_to_end(server) < TOO_LONG
    async with connected(postgres.url) as connection:
        assert await connection.fetchval("SELECT count(*) FROM stripe_event_dispatch WHERE status = 'leased'") == 0
