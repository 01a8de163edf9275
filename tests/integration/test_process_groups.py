"""`billing serve --processes` and `billing worker --processes` as real processes."""

import asyncio
import os
import signal
from collections.abc import Collection, Sequence
from pathlib import Path

import aiohttp
import pytest
from tests.commands import started
from tests.integration.processes import ended, nothing_waits, post, running, state_at, subscription_event
from tests.patience import PATIENCE
from tests.postgres import connected

from billing_app.troubleshooting import ServerTrouble
from billing_embedded.loopback import free_ports

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


async def processes_in(database_url: str, count: int) -> Sequence[int]:
    """Wait until that many processes are on the list, and return their ids."""
    async with connected(database_url) as connection, asyncio.timeout(PATIENCE):
        while True:
            pids = [
                row["pid"] for row in await connection.fetch("SELECT pid FROM billing_processes ORDER BY started_at")
            ]
            if len(pids) == count:
                return pids
            await asyncio.sleep(0.1)


async def gone(pids: Collection[int]) -> None:
    """Wait until these processes have ended."""
    async with asyncio.timeout(PATIENCE):
        while any(Path(f"/proc/{pid}").exists() for pid in pids):  # noqa: ASYNC110, ASYNC240 - /proc blocks nothing
            await asyncio.sleep(0.05)


async def post_until_accepted(session: aiohttp.ClientSession, base: str, body: bytes) -> str:
    """Send a webhook as Stripe does: again until it is accepted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                status, answer = await post(session, base, body)
                if status == 202:
                    return str(answer["status"])
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                pass
            await asyncio.sleep(0.1)


async def test_servers_share_a_port_and_have_metrics_each(environment: dict[str, str]) -> None:
    """All of them are on the list of processes, ready by themselves, and end together with status 0."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    metrics = free_ports(2)
    second = f"http://127.0.0.1:{metrics + 1}"
    arguments = ("serve", "--processes", "2", "--metrics-port", str(metrics))
    async with (
        running(*arguments, environment=environment, ready=f"{second}/readyz") as supervisor,
        aiohttp.ClientSession() as session,
    ):
        pids = await processes_in(environment["DATABASE_URL"], 2)
        bodies = [subscription_event(number) for number in range(1, 41)]
        # A connection each: it is connections that are spread over the processes.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=8)) as senders:
            assert {(await post(senders, base, body))[0] for body in bodies} == {202}
        await state_at(session, base, 1)
        accepted = []
        for port in (metrics, metrics + 1):
            async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
                lines = (await response.text()).splitlines()
            accepted.append(sum(float(line.split()[-1]) for line in lines if is_accepted(line)))
        assert sum(accepted) == 40
        assert all(accepted)
        taken = await ended("serve", "--processes", "2", environment=environment)
        assert (taken.status, f"See {ServerTrouble.PORT_IS_TAKEN}." in taken.errors) == (78, True)
        supervisor.send_signal(signal.SIGTERM)
        assert await supervisor.wait() == 0
        await gone(pids)


def is_accepted(line: str) -> bool:
    return line.startswith("stripe_webhook_events_total{") and 'result="accepted"' in line


async def test_workers_share_the_work_and_start_on_servers_of_their_supervisor(
    environment: dict[str, str], data_dir: Path
) -> None:
    """Local servers belong to the supervisor: the workers join them, and nothing of either is left at the end."""
    for name in ("DATABASE_URL", "REDIS_URL"):
        del environment[name]
    environment["BILLING_DATA_DIR"] = str(data_dir)
    metrics = free_ports(2)
    ready = f"http://127.0.0.1:{metrics + 1}/readyz"
    arguments = ("worker", "--processes", "2", "--metrics-port", str(metrics))
    async with running(*arguments, environment=environment, ready=ready) as supervisor:
        listed = await ended("workers", environment=environment)
        assert listed.output.count("processes events") == 2
        supervisor.send_signal(signal.SIGINT)
        assert await supervisor.wait() == 0
    assert (await ended("embedded", "status", environment=environment)).status == 1


async def test_a_metrics_port_that_is_taken_ends_all(environment: dict[str, str]) -> None:
    """The status of the process that refused to start is the group's."""
    metrics = free_ports(2)
    blocker = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", metrics + 1)
    async with blocker:
        end = await ended("worker", "--processes", "2", "--metrics-port", str(metrics), environment=environment)
    assert (end.status, f"cannot listen on 127.0.0.1:{metrics + 1}" in end.errors) == (78, True)
    assert "Traceback" not in end.errors


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 1)])
async def test_a_signal_ends_the_check_of_a_group(
    environment: dict[str, str], number: signal.Signals, status: int
) -> None:
    """It may wait for a database that does not answer, in a process of its own."""
    connected_to = asyncio.Event()
    connections: list[asyncio.Task[None] | None] = []

    async def answer_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        connected_to.set()
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(answer_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    silenced = {**environment, "DATABASE_URL": f"postgresql://billing:secret@127.0.0.1:{port}/billing"}
    async with silent:
        supervisor = await started("serve", "--processes", "2", environment=silenced)
        try:
            async with asyncio.timeout(PATIENCE):
                await connected_to.wait()
                supervisor.send_signal(number)
                assert await supervisor.wait() == status
            async with asyncio.timeout(5):  # the check would have waited for longer
                await asyncio.gather(*filter(None, connections))
        finally:
            supervisor.kill()
            await supervisor.wait()


@pytest.mark.faults
async def test_nothing_is_lost_or_doubled_when_processes_and_their_supervisor_are_killed(
    environment: dict[str, str],
) -> None:
    """Webhooks arrive all the while: one process is killed and replaced, then the supervisor, and no process stays."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    database_url = environment["DATABASE_URL"]
    bodies = [subscription_event(number) for number in range(1, 121)]
    accepted = 0

    async def send(session: aiohttp.ClientSession, own: Sequence[bytes]) -> None:
        nonlocal accepted
        for body in own:
            await post_until_accepted(session, base, body)
            accepted += 1

    async def until_accepted(count: int) -> None:
        while accepted < count:  # noqa: ASYNC110 - a number sets no event
            await asyncio.sleep(0.02)

    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as senders:
        async with running("serve", "--processes", "2", environment=environment, ready=f"{base}/readyz") as supervisor:
            pids = await processes_in(database_url, 2)
            for start in range(4):
                senders.create_task(send(session, bodies[start::4]))
            await until_accepted(30)
            os.kill(pids[0], signal.SIGKILL)
            replaced = [pid for pid in await processes_in(database_url, 3) if pid not in pids]
            await until_accepted(60)
            supervisor.kill()
            await supervisor.wait()
            await gone([*pids, *replaced])
        async with running("serve", environment=environment, ready=f"{base}/readyz"), connected(database_url) as store:
            await until_accepted(len(bodies))
            await nothing_waits(store)
            numbers = await store.fetchval("SELECT array_agg(sequence ORDER BY sequence) FROM billing_events")
            assert await store.fetchval("SELECT count(*) FROM stripe_events") == len(bodies)
            state = await state_at(session, base, 1)
    assert state["subscriptions"][0]["seat_count"] == len(bodies)
    assert numbers == list(range(1, state["sequence"] + 1))
