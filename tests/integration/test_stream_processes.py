"""Open streams while an operator acts, with real servers and commands."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis.asyncio
from tests.integration.processes import bearer, ended, post, python, running, state_at, subscription_event, token
from tests.patience import PATIENCE
from tests.postgres import connected, move_clock

from billing_embedded.loopback import free_port
from billing_stripe.testing import objects

STREAM = "/api/v1/billing/stream"

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


@asynccontextmanager
async def serving(environment: dict[str, str]) -> AsyncIterator[str]:
    """Run a server; yields its URL."""
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with running("serve", environment=environment, ready=f"{base}/readyz"):
        yield base


class Stream:
    """One open stream, frame by frame."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self) -> dict[str, str] | None:
        """Return the fields of the next frame that is not a comment; None at the end."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            async for line in self._answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name and not name.startswith(":"):
                    fields[name] = value
                elif not name and fields:
                    return fields
        return fields or None

    async def rest(self) -> list[dict[str, str]]:
        """Return all frames to the end."""
        frames = []
        while (frame := await self.next()) is not None:
            frames.append(frame)
        return frames


@asynccontextmanager
async def stream(
    session: aiohttp.ClientSession, base: str, proof: str, last: str | None = None
) -> AsyncIterator[Stream]:
    headers = bearer(proof) | ({} if last is None else {"Last-Event-ID": last})
    async with session.get(base + STREAM, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        yield Stream(answer)


async def test_a_revoked_token_opens_no_stream_and_its_open_streams_end(environment: dict[str, str]) -> None:
    """Of that token only, within two poll intervals; the client gets the reason."""
    environment["BILLING_TOKEN_RECHECK_SECONDS"] = "0.2"
    leaked, good = token("acme"), token("acme")
    async with serving(environment) as base, aiohttp.ClientSession() as session:
        async with stream(session, base, leaked) as ending, stream(session, base, good) as staying:
            end = await ended("token", "revoke", "-", "--json", environment=environment, given=leaked + "\n")
            assert (end.status, end.errors) == (0, "")
            recorded = json.loads(end.output)
            assert (recorded["subject"], recorded["recorded"]) == ("token", True)
            assert leaked not in end.output
            *_, last = await ending.rest()
            assert (last["event"], json.loads(last["data"])["reason"]) == ("reconnect", "revoked")
            assert "retry" in (await staying.next() or {})
            await post(session, base, subscription_event(1))
            assert (await staying.next() or {})["id"] == "1"
        async with session.get(base + STREAM, headers=bearer(leaked)) as answer:
            assert answer.status == 401
            assert "revoked" in (await answer.json())["error"]["message"]

        async with stream(session, base, good) as ending, stream(session, base, token("globex")) as staying:
            end = await ended("token", "revoke", "--tenant", "acme", environment=environment)
            assert end.output.startswith("Revoked all tokens of acme issued until ")
            assert (await ending.rest())[-1]["event"] == "reconnect"
            assert "retry" in (await staying.next() or {})
            listed = await ended("token", "revoked", "--json", environment=environment)
            found = {(each["subject"], each["name"]) for each in json.loads(listed.output)["revocations"]}
            assert found == {("token", recorded["name"]), ("tenant", "acme")}


async def test_only_a_signed_token_can_be_revoked(environment: dict[str, str]) -> None:
    """A forged token is refused with what to do, and nothing is stored."""
    end = await ended("token", "revoke", "-", environment=environment, given="forged.to.ken")
    assert (end.status, end.output) == (2, "")
    assert "Nothing was revoked" in end.errors
    for arguments in ([], ["--id", "a", "--tenant", "b"], ["--id", ""], ["--id", "a", "-"]):
        assert (await ended("token", "revoke", *arguments, environment=environment)).status == 2
    end = await ended("token", "revoked", environment=environment)
    assert (end.output, end.errors) == ("", "There are no revocations.\n")


async def test_a_new_epoch_makes_every_client_load_its_state_again(environment: dict[str, str]) -> None:
    """The server restarts by itself; earlier ids are recognized as such, and numbers continue."""
    async with serving(environment) as base, aiohttp.ClientSession() as session:
        async with stream(session, base, token("acme")) as open_stream:
            await post(session, base, subscription_event(1))
            assert [(await open_stream.next() or {}).get("id") for _ in range(2)] == ["0", "1"]
            end = await ended("epoch", "--begin", "disk put back", "--json", environment=environment)
            begun = json.loads(end.output)
            assert (begun["number"], begun["begun"]) == (2, True)
            assert (await open_stream.rest())[-1]["event"] == "reconnect"
        state = await until_served(session, base)
        assert (state["sequence"], state["position"]) == (1, f"1-{begun['token']}")
        async with stream(session, base, token("acme"), last="1") as reset:
            assert [(await reset.next() or {}).get("event") for _ in range(2)] == [None, "reset"]
            await post(session, base, subscription_event(2))
            assert (await reset.next() or {})["id"] == f"2-{begun['token']}"
        async with stream(session, base, token("acme"), last=f"1-{begun['token']}") as resumed:
            assert [(await resumed.next() or {})["id"] for _ in range(2)] == [
                f"1-{begun['token']}",
                f"2-{begun['token']}",
            ]
        shown = await ended("epoch", environment=environment)
        assert shown.output == f"Epoch 2 ({begun['token']}).\n"


async def until_served(session: aiohttp.ClientSession, base: str) -> Any:
    """Return the state once the server is back."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await state_at(session, base, 1)
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def filled(client: redis.asyncio.Redis, pattern: str, length: int) -> list[Any]:
    """Return the logs once the first of them has that many messages."""
    async with asyncio.timeout(PATIENCE):
        while True:
            keys: list[Any] = await client.keys(pattern)
            if keys and await client.xlen(keys[0]) >= length:
                return keys
            await asyncio.sleep(0.05)


async def published(database_url: str) -> None:
    """Return once the outbox is empty."""
    async with asyncio.timeout(PATIENCE), connected(database_url) as connection:
        while await connection.fetchval("SELECT count(*) FROM billing_outbox"):  # noqa: ASYNC110 - another process empties it
            await asyncio.sleep(0.05)


async def test_an_empty_redis_is_filled_from_history_once(environment: dict[str, str]) -> None:
    """By one of the servers that start, with each tenant's newest messages."""
    environment["ENABLE_BILLING_STREAM_REPLAY"] = "true"
    environment["BILLING_STREAM_MAXLEN"] = "3"
    async with serving(environment) as base, aiohttp.ClientSession() as session:
        for number in range(1, 6):
            await post(session, base, subscription_event(number))
            await state_at(session, base, number)
        await published(environment["DATABASE_URL"])  # what is in the outbox would be sent to the empty Redis first
    async with connected(environment["DATABASE_URL"]) as connection:
        epoch = await connection.fetchval("SELECT token FROM billing_epochs ORDER BY number DESC LIMIT 1")
    other = environment | {"BILLING_PORT": str(free_port())}
    async with redis.asyncio.Redis.from_url(environment["REDIS_URL"]) as client:
        await client.flushdb()
        async with serving(environment), serving(other):
            keys = await filled(client, f"billing:{epoch}:*:tenant:*", 3)
            assert len(keys) == 1
            assert [entry for entry, _ in await client.xrange(keys[0])] == [b"3-0", b"4-0", b"5-0"]


async def test_the_example_of_a_custom_authenticator(environment: dict[str, str]) -> None:
    """The program in docs/billing/streaming.md accepts its sessions, and no tokens."""
    document = (Path(__file__).parents[2] / "docs/billing/streaming.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    (session_id,) = re.findall(r'SESSIONS = {"(.+?)": "acme"}', example)
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with (
        python("-c", example, environment=environment, ready=f"{base}/readyz"),
        aiohttp.ClientSession() as session,
    ):
        assert (await post(session, base, subscription_event(1)))[0] == 202
        signed_in = {"Cookie": f"session={session_id}"}
        async with session.get(f"{base}{STREAM}?after=0", headers=signed_in) as answer:
            opened = Stream(answer)
            await opened.next()
            assert json.loads((await opened.next() or {})["data"])["tenant_id"] == "acme"
        state = f"{base}/api/v1/billing/tenants/%s/state"
        for tenant_id, headers, status in (
            ("acme", signed_in, 200),
            ("globex", signed_in, 403),
            ("acme", bearer(token("acme")), 401),
        ):
            async with session.get(state % tenant_id, headers=headers) as answer:
                assert answer.status == status


async def test_an_unavailable_redis_at_startup_is_an_error_that_says_what_to_do(environment: dict[str, str]) -> None:
    """It does not show the URL, which may contain a password."""
    unavailable = environment | {"REDIS_URL": f"redis://:of-none@127.0.0.1:{free_port()}/0"}
    found = await ended("serve", environment=unavailable)
    assert found.status == 78
    assert "REDIS_URL: Redis does not answer" in found.errors
    assert "BILLING_STREAM_FALLBACK=postgres" in found.errors
    assert "of-none" not in found.errors + found.output


async def test_a_trial_that_no_event_ends_is_announced_once_by_any_number_of_workers(
    environment: dict[str, str],
) -> None:
    """By the clock of the database: the stream gets one message, the state agrees, and no process adds another."""
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    other = environment | {"BILLING_PORT": str(free_port())}
    async with (
        serving(environment) as base,
        serving(other),
        aiohttp.ClientSession() as session,
        connected(environment["DATABASE_URL"]) as connection,
    ):
        trial = objects.Span(end - timedelta(days=14), end)
        await post(session, base, subscription_event(1, status="trialing", trial=trial))
        assert (await state_at(session, base, 1))["access"]["state"] == "full"
        async with stream(session, base, token("acme"), "1") as opened:
            await move_clock(connection, timedelta(days=40))
            while "data" not in (frame := await opened.next() or {"data": "{}"}):
                continue  # the first frame says when to reconnect
            message = json.loads(frame["data"])
        assert (message["event_type"], message["sequence"]) == ("access.changed", 2)
        assert message["source"] == {"kind": "clock", "id": None}
        assert datetime.fromisoformat(message["occurred_at"]) == end + timedelta(hours=24)
        blocked = {"state": "blocked", "reason": "trial_overdue", "until": None}
        assert message["access"] == blocked
        assert (await state_at(session, base, 2))["access"] == blocked
        await post(session, base, subscription_event(2))
        assert (await state_at(session, base, 3))["access"]["state"] == "full"
        types = await connection.fetch("SELECT event_type FROM billing_events ORDER BY sequence")
        assert [row["event_type"] for row in types][1:] == ["access.changed", "subscription.activated"]
