"""A former release and this one beside each other on one database: `nox --session rollout` builds the former one.

Not among the tests of `make test`: a clone without history cannot build it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import asyncpg
import pytest
from tests.databases import database_url_for
from tests.integration.processes import (
    answers,
    environment_of,
    nothing_waits,
    post,
    state_at,
    subscription_event,
)
from tests.patience import PATIENCE
from tests.postgres import connected

from billing_embedded.loopback import free_port

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


def former() -> Sequence[str]:
    """Return the command of the former release."""
    if "BILLING_FORMER_PYTHON" not in os.environ:
        pytest.fail("BILLING_FORMER_PYTHON names no interpreter: run `nox --session rollout`", pytrace=False)
    return [os.environ["BILLING_FORMER_PYTHON"], "-m", "billing_app"]


CURRENT = [sys.executable, "-m", "billing_app"]


@pytest.fixture
async def empty_url(database_url: str) -> AsyncIterator[str]:
    """Create a database without a schema."""
    name = f"billing_rollout_{secrets.token_hex(6)}"
    async with connected(database_url) as connection:
        await connection.execute(f'CREATE DATABASE "{name}"')
        yield database_url_for(database_url, name)
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


class Release:
    """The processes of one release."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.base = f"http://127.0.0.1:{free_port()}"
        self._command = command
        self._environment = {
            name: value for name, value in environment.items() if name != "PYTHONPATH" or command is CURRENT
        } | {"BILLING_PORT": self.base.rpartition(":")[2]}
        self._processes: list[asyncio.subprocess.Process] = []

    async def run(self, *arguments: str) -> int:
        """Run a command to its end, and return its status."""
        return await (await self._start(*arguments)).wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run a server and a worker, and end them."""
        self._processes = [await self._start("serve", "--no-worker"), await self._start("worker")]
        try:
            async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE):
                while not await answers(session, f"{self.base}/readyz"):
                    assert self._processes[0].returncode is None, "the server ended instead of starting"
                    await asyncio.sleep(0.05)
            yield
        finally:
            await self.stop()

    async def stop(self) -> list[int]:
        """End the processes as an orchestrator does, and return their status."""
        for process in self._processes:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        return [await process.wait() for process in self._processes]

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(*self._command, *arguments, env=self._environment)


async def test_releases_replace_each_other_without_a_gap(empty_url: str, redis_url: str) -> None:
    """Every webhook gets its 202 and is applied once, before, while and after both releases run; both end well."""
    environment = environment_of(empty_url, redis_url)
    old, new = Release(former(), environment), Release(CURRENT, environment)
    count = iter(range(1, 1000))
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as session:

        async def send(*releases: Release) -> int:
            """Send some webhooks to the servers by turns, and return the number of the last."""
            number = 0
            for _ in range(10):
                for release in releases:
                    number = next(count)
                    assert (await post(session, release.base, subscription_event(number)))[0] == 202
            return number

        assert await old.run("migrate") == 0
        await stack.enter_async_context(old.running())
        await send(old)
        assert await new.run("migrate") == 0
        await send(old)
        await stack.enter_async_context(new.running())
        await send(old, new)
        await seats(session, old, await send(new, old))
        assert await old.stop() == [0, 0]
        await seats(session, new, await send(new))
        async with connected(empty_url) as connection:
            await nothing_waits(connection)
            numbers = await connection.fetchval("SELECT array_agg(sequence ORDER BY sequence) FROM billing_events")
            assert numbers == list(range(1, len(numbers) + 1))
            assert await lost(connection) == 0
        assert await new.stop() == [0, 0]


async def seats(session: aiohttp.ClientSession, release: Release, number: int) -> None:
    """Wait until a server shows the state that the event of that number made."""
    async with asyncio.timeout(PATIENCE):
        while True:
            state = await state_at(session, release.base, 1)
            if state["subscriptions"][0]["seat_count"] == number:
                return
            await asyncio.sleep(0.05)


async def lost(connection: asyncpg.Connection[asyncpg.Record]) -> int:
    """Count the events that were sent and are not stored."""
    last = await connection.fetchval("SELECT max(substr(event_id, 5)::int) FROM stripe_events")
    return int(last) - int(await connection.fetchval("SELECT count(*) FROM stripe_events"))
