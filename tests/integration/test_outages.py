"""Outages that only refuse writes: they are seen, logged with an address, and over when they are over."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import attrs
import pytest
from tests.commands import started
from tests.integration.processes import bearer, ended, post, state_at, subscription_event, token
from tests.patience import PATIENCE
from tests.postgres import connected
from tests.valkey import Valkey

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.faults]

DISK_FULL = """
CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER disk_full BEFORE INSERT ON stripe_event_bodies EXECUTE FUNCTION disk_full();
"""


@attrs.define
class Server:
    """A server as its operator sees it: by its answers and by its log."""

    base: str
    session: aiohttp.ClientSession
    lines: list[dict[str, Any]] = attrs.field(factory=list)

    async def ready(self) -> tuple[int, dict[str, str]]:
        """Return the status of /readyz, and the checks."""
        async with self.session.get(f"{self.base}/readyz") as answer:
            return answer.status, (await answer.json())["checks"]

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something that this server does by itself."""
        async with asyncio.timeout(PATIENCE):
            while not await condition():  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.1)

    def logged(self, event: str, dependency: str) -> list[dict[str, Any]]:
        """Return the lines about a dependency."""
        return [line for line in self.lines if line["event"] == event and line.get("dependency") == dependency]


@asynccontextmanager
async def serving(environment: dict[str, str]) -> AsyncIterator[Server]:
    """Run a server, and read its log."""
    environment = environment | {"BILLING_LOG_FORMAT": "json", "BILLING_LOG_LEVEL": "info"}
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    process = await started("serve", environment=environment, captured=(2,))
    async with aiohttp.ClientSession() as session:
        server = Server(base, session)

        async def read(output: asyncio.StreamReader) -> None:
            async for line in output:
                if line.startswith(b"{"):
                    server.lines.append(json.loads(line))

        async def is_up() -> bool:
            assert process.returncode is None, server.lines
            try:
                return (await server.ready())[0] == 200
            except aiohttp.ClientConnectionError:
                return False

        reading = asyncio.create_task(read(process.stderr))
        try:
            await server.until(is_up)
            yield server
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reading


async def break_postgres(connection: asyncpg.Connection[asyncpg.Record], kind: str) -> None:
    """Let the database refuse writes: all of them, or those of new events only."""
    if kind == "disk full":
        await connection.execute(DISK_FULL)
        return
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    await drop_sessions(connection)


async def repair_postgres(connection: asyncpg.Connection[asyncpg.Record], kind: str) -> None:
    if kind == "disk full":
        await connection.execute("DROP TRIGGER disk_full ON stripe_event_bodies; DROP FUNCTION disk_full()")
        return
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    await drop_sessions(connection)


async def drop_sessions(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Close the sessions of others, which have the setting that they began with."""
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


@pytest.mark.parametrize("kind", ["read-only", "disk full"])
async def test_a_database_that_refuses_writes_is_seen(environment: dict[str, str], kind: str) -> None:
    """Webhooks get 503, the server is not ready, one line names the server, and one says that it is back."""
    address = urlsplit(environment["DATABASE_URL"])
    async with serving(environment) as server, connected(environment["DATABASE_URL"]) as connection:
        assert (await post(server.session, server.base, subscription_event(1)))[0] == 202
        await state_at(server.session, server.base, 1)
        await break_postgres(connection, kind)
        try:
            status = 202
            number = 2
            async with asyncio.timeout(PATIENCE):
                while status != 503:  # the first one may find a connection that was just closed, and be stored
                    status, _ = await post(server.session, server.base, subscription_event(number))
                    number += 1

            async def is_seen() -> bool:
                ready, checks = await server.ready()
                return (ready, checks["database"]) == (503, "store_unavailable")

            await server.until(is_seen)
            doctor = await ended("doctor", environment=environment) if kind == "read-only" else None
        finally:
            await repair_postgres(connection, kind)
        (lost, *_) = server.logged("dependency.unavailable", "postgres")
        assert lost["address"] == f"{address.hostname}:{address.port}" or lost["address"].startswith("/")
        assert lost["remedy"]
        assert "warning" in [line["level"] for line in server.lines if line["event"] == "webhook.received"]
        if doctor is not None:
            assert doctor.status == 1
            assert "takes no writes: a standby, or default_transaction_read_only is on" in doctor.output

        async def is_back() -> bool:
            if (await post(server.session, server.base, subscription_event(number)))[0] != 202:
                return False
            return (await server.ready())[0] == 200

        await server.until(is_back)
        back, losses = (
            server.logged("dependency.recovered", "postgres"),
            server.logged("dependency.unavailable", "postgres"),
        )
        assert {line["address"] for line in back} == {lost["address"]}
        # One each way; sessions that were closed to end the outage may be found by two uses of them.
        assert len(back) == len(losses) <= 2


async def break_valkey(valkey: Valkey, kind: str, folder: Path) -> None:
    """Let the server answer pings and reads, and refuse writes."""
    match kind:
        case "full":
            await valkey.call("CONFIG", "SET", "maxmemory", "1")
        case "replica":
            await valkey.call("REPLICAOF", "127.0.0.1", "1")
        case _:
            shutil.rmtree(folder)
            await valkey.call("CONFIG", "SET", "save", "3600 1")
            await valkey.call("BGSAVE")


async def repair_valkey(valkey: Valkey, kind: str) -> None:
    match kind:
        case "full":
            await valkey.call("CONFIG", "SET", "maxmemory", "0")
        case "replica":
            await valkey.call("REPLICAOF", "NO", "ONE")
        case _:
            await valkey.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")


@pytest.mark.parametrize(
    ("kind", "text"), [("full", "maxmemory"), ("replica", "replica"), ("snapshot", "snapshot or append-only file")]
)
async def test_messages_arrive_while_redis_refuses_writes(
    environment: dict[str, str], tmp_path: Path, kind: str, text: str
) -> None:
    """From Postgres, within two seconds of their commit; the outage is shown, logged once, and over when it is over."""
    folder = tmp_path / "valkey"
    folder.mkdir()
    valkey = Valkey(folder)
    await valkey.start()
    environment["REDIS_URL"] = valkey.url
    try:
        async with serving(environment) as server:
            headers = bearer(token("acme")) | {"Last-Event-ID": "0"}
            stream = server.session.get(
                f"{server.base}/api/v1/billing/stream?after=0",
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None),
            )
            async with stream as opened:
                await post(server.session, server.base, subscription_event(1))
                assert await next_number(opened) == 1
                await break_valkey(valkey, kind, folder)

                async def is_seen() -> bool:
                    ready, checks = await server.ready()
                    return (ready, checks["bus"]) == (200, "event_bus_unavailable")

                await server.until(is_seen)
                for number in (2, 3):
                    await post(server.session, server.base, subscription_event(number))
                    await state_at(server.session, server.base, number)
                    began = time.monotonic()
                    assert await next_number(opened) == number
                    assert time.monotonic() - began < 2.5 + SLACK
                await repair_valkey(valkey, kind)

                async def is_back() -> bool:
                    return (await server.ready())[1]["bus"] == "ok"

                await server.until(is_back)
            (lost,) = server.logged("dependency.unavailable", "redis")
            assert lost["address"] == f"127.0.0.1:{valkey.port}"
            assert text in lost["error"]
            assert len(server.logged("dependency.recovered", "redis")) == 1
    finally:
        valkey.kill()


SLACK = 4.0
"""Seconds that a busy machine may add. Without a look into Postgres a message takes a keep-alive, 15 seconds."""


async def next_number(opened: aiohttp.ClientResponse) -> int:
    """Return the number of the next message of a stream."""
    async with asyncio.timeout(PATIENCE):
        async for line in opened.content:
            if line.startswith(b"data: {"):
                number = json.loads(line.removeprefix(b"data: ")).get("sequence")
                if number is not None:
                    return int(number)
    raise AssertionError("the stream ended")


async def test_processes_are_listed_while_they_live(environment: dict[str, str]) -> None:
    """`billing workers` shows a server with its host and version; one that was killed falls silent."""
    nothing = await ended("workers", environment=environment)
    assert (nothing.status, "No server or worker is alive" in nothing.errors) == (3, True)
    async with serving(environment) as server:
        found = await ended("workers", "--json", environment=environment)
        (process,) = json.loads(found.output)["processes"]
        assert (found.status, process["kind"], process["alive"], process["processes_events"]) == (
            0,
            "serve",
            True,
            True,
        )
        assert "alive\tserve" in (await ended("workers", environment=environment)).output
        await post(server.session, server.base, subscription_event(1))
        await state_at(server.session, server.base, 1)
        assert "ok   processes: 1 alive" in (await ended("doctor", environment=environment)).output
    async with connected(environment["DATABASE_URL"]) as connection:
        await connection.execute("UPDATE billing_processes SET beat_at = now() - interval '1 minute'")
    silent = await ended("workers", environment=environment)
    assert (silent.status, silent.output.startswith("silent\tserve")) == (3, True)
    doctor = await ended("doctor", environment=environment)
    assert doctor.status == 1
    assert "no server and no application is running" in doctor.output


async def test_a_killed_server_leaves_its_stream_places_to_the_next_one(environment: dict[str, str]) -> None:
    """After its short life, not after the lease of 45 seconds; until then a refusal says when to come back."""
    environment["BILLING_STREAM_CONCURRENT_LIMIT"] = "3"
    forever = aiohttp.ClientTimeout(total=None)

    async def open_one(server: Server) -> aiohttp.ClientResponse:
        url = f"{server.base}/api/v1/billing/stream"
        return await server.session.get(url, headers=bearer(token("acme")), timeout=forever)

    async with serving(environment) as server:
        assert [(await open_one(server)).status for _ in range(4)] == [200, 200, 200, 429]
    async with serving(environment) as server:
        opened = 0
        async with asyncio.timeout(PATIENCE):
            while opened < 3:
                answer = await open_one(server)
                opened += answer.status == 200
                if answer.status == 429:
                    text = (await answer.json())["error"]["message"]
                    wait = int(answer.headers["Retry-After"])
                    assert wait <= 5
                    assert f"Try again in {wait} seconds" in text
                    await asyncio.sleep(0.2)
        assert (await open_one(server)).status == 429
