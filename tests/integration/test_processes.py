"""`billing serve` and `billing worker` as real processes with settings from the environment."""

import asyncio
import signal

import aiohttp
import pytest
from tests.integration.processes import ended, nothing_waits, post, running, state_at, subscription_event
from tests.postgres import connected

from billing_app.troubleshooting import ServerTrouble
from billing_embedded.loopback import free_port

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


async def test_a_server_and_a_separate_worker_share_the_work(environment: dict[str, str]) -> None:
    """The server stores events and wakes the worker, which applies them; both end with status 0 on SIGTERM."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    watched = str(free_port())
    worker_base = f"http://127.0.0.1:{watched}"
    arguments = ("--concurrency", "2", "--metrics-port", watched)
    async with (
        running("serve", "--no-worker", environment=environment, ready=f"{base}/readyz") as server,
        running("worker", *arguments, environment=environment, ready=f"{worker_base}/readyz") as worker,
        aiohttp.ClientSession() as session,
    ):
        assert await post(session, base, subscription_event(5)) == (202, {"status": "accepted", "event_id": "evt_5"})
        assert await post(session, base, subscription_event(5)) == (202, {"status": "duplicate", "event_id": "evt_5"})
        state = await state_at(session, base, 1)
        assert (state["sequence"], state["subscriptions"][0]["seat_count"]) == (1, 5)
        assert (state["subscriptions"][0]["plan_code"], state["access"]["state"]) == ("pro", "full")
        async with session.get(f"{worker_base}/metrics") as response:
            assert 'stripe_dispatch_events_total{disposition="applied",reason=""} 1.0' in await response.text()
        for process in (server, worker):
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0


async def test_events_that_a_killed_server_accepted_are_applied_by_the_next(environment: dict[str, str]) -> None:
    """A 202 is a promise: SIGKILL right after it delays the event by the length of a lease, and loses nothing."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with aiohttp.ClientSession() as session:
        async with running("serve", environment=environment, ready=f"{base}/readyz") as server:
            answers = await asyncio.gather(*(post(session, base, subscription_event(n)) for n in range(1, 60)))
            server.kill()
            await server.wait()
        assert {status for status, _ in answers} == {202}
        async with running("serve", environment=environment, ready=f"{base}/readyz"):
            async with connected(environment["DATABASE_URL"]) as connection:
                await nothing_waits(connection)
                numbers = await connection.fetchval("SELECT array_agg(sequence ORDER BY sequence) FROM billing_events")
            state = await state_at(session, base, 1)
    assert state["subscriptions"][0]["seat_count"] == 59
    assert numbers == list(range(1, state["sequence"] + 1))


async def test_billing_without_its_secrets_does_not_start(environment: dict[str, str]) -> None:
    """All missing settings are reported at once, with what to do."""
    for name in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "BILLING_JWT_SECRET"):
        del environment[name]
    end = await ended("serve", environment=environment)
    assert end.status == 78
    assert all(name in end.errors for name in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "BILLING_JWT_SECRET"))
    assert "Traceback" not in end.errors


async def test_a_taken_port_is_reported(environment: dict[str, str]) -> None:
    """One line names the setting to change."""
    blocker = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", int(environment["BILLING_PORT"]))
    async with blocker:
        end = await ended("serve", environment=environment)
    assert end.status == 78
    assert "BILLING_PORT" in end.errors.splitlines()[-1]
    assert f"See {ServerTrouble.PORT_IS_TAKEN}." in end.errors
    assert "Traceback" not in end.errors


async def test_a_database_behind_the_code_is_refused(environment: dict[str, str]) -> None:
    """No process starts on an old schema; the message says how to migrate it."""
    async with connected(environment["DATABASE_URL"]) as connection:
        await connection.execute(
            "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)"
        )
    end = await ended("serve", environment=environment)
    assert (end.status, "billing migrate" in end.errors) == (78, True)
