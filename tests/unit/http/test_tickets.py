"""Tickets: they open one stream each, for a browser's EventSource."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest

from billing_app.settings import StreamSettings, Switches
from billing_core.testing.builders import ACME, GLOBEX

if TYPE_CHECKING:
    from tests.unit.http.conftest import MakeWorld, World

pytestmark = pytest.mark.stripe

STREAM = "/api/v1/billing/stream"


async def ticket(world: World, http: aiohttp.ClientSession, **claims: object) -> str:
    async with http.post(f"{world.url}{STREAM}/tickets", headers=world.bearer(**claims)) as answer:
        assert answer.status == 201, await answer.text()
        given: str = (await answer.json())["ticket"]
        return given


async def status(world: World, http: aiohttp.ClientSession, query: str, **headers: str) -> tuple[int, str]:
    """Return the status of a stream request and its error code, without waiting for events."""
    async with http.get(f"{world.url}{STREAM}?{query}", headers=headers) as answer:
        return answer.status, "" if answer.status == 200 else (await answer.json())["error"]["code"]


async def test_a_ticket_opens_the_stream_of_the_tenant_that_requested_it(
    world: World, http: aiohttp.ClientSession
) -> None:
    """No header is needed, and the events are the tenant's."""
    (event,) = await world.commit(GLOBEX)
    given = await ticket(world, http, tenant_id=GLOBEX)
    async with http.get(f"{world.url}{STREAM}?ticket={given}&after=0") as answer:
        assert answer.status == 200
        received = (await answer.content.readuntil(b"}\n\n")).decode()
    assert f"data: {event.payload}" in received


async def test_a_ticket_opens_one_stream(world: World, http: aiohttp.ClientSession) -> None:
    """Of several concurrent requests one is admitted, and none afterwards."""
    given = await ticket(world, http)
    tried = await asyncio.gather(*(status(world, http, f"ticket={given}") for _ in range(5)))
    assert sorted(tried) == [(200, "")] + [(401, "bad_ticket")] * 4
    assert await status(world, http, f"ticket={given}") == (401, "bad_ticket")


async def test_a_ticket_expires_within_seconds(make_world: MakeWorld, http: aiohttp.ClientSession) -> None:
    """The response says until when, never later than the token's expiry."""
    async with make_world(stream=StreamSettings(ticket_ttl=timedelta(0))).serving() as world:
        assert await status(world, http, f"ticket={await ticket(world, http)}") == (401, "bad_ticket")
    async with make_world().serving() as world:
        async with http.post(f"{world.url}{STREAM}/tickets", headers=world.bearer(ttl=timedelta(seconds=5))) as answer:
            body = await answer.json()
            assert answer.headers["Cache-Control"] == "no-store"
        assert set(body) == {"ticket", "expires_at"}
        assert body["expires_at"].endswith("Z")
        assert len(body["ticket"]) >= 43


async def test_a_stream_by_ticket_ends_with_the_token_behind_it(world: World, http: aiohttp.ClientSession) -> None:
    """A ticket does not outlive its token."""
    given = await ticket(world, http, ttl=timedelta(seconds=1.2))
    async with http.get(f"{world.url}{STREAM}?ticket={given}") as answer:
        assert b'{"reason":"token_expired"}' in await answer.read()


@pytest.mark.parametrize("given", ["", "x", "x" * 43, "x" * 5000, "%00", "%F0%9F%92%B6", "a&ticket=b"])
async def test_an_invalid_ticket_is_refused(world: World, http: aiohttp.ClientSession, given: str) -> None:
    """The form of the value does not matter."""
    answered, code = await status(world, http, f"ticket={given}")
    assert (answered, code) in {(401, "bad_ticket"), (400, "bad_parameter")}


@pytest.mark.parametrize("name", ["token", "access_token", "jwt", "Authorization", "BEARER"])
async def test_a_token_in_the_url_is_refused(world: World, http: aiohttp.ClientSession, name: str) -> None:
    """It is refused even beside a valid header, so that the mistake shows at once."""
    token = world.token()
    assert await status(world, http, f"{name}={token}") == (400, "token_in_address")
    assert await status(world, http, f"{name}={token}", **world.bearer()) == (400, "token_in_address")


async def test_token_and_ticket_together_are_refused(world: World, http: aiohttp.ClientSession) -> None:
    """Two proofs could name different tenants."""
    given = await ticket(world, http)
    assert await status(world, http, f"ticket={given}", **world.bearer()) == (400, "bad_parameter")


async def test_a_ticket_is_issued_for_a_token(world: World, http: aiohttp.ClientSession) -> None:
    """The token's role must be allowed to read, and its tenant must match the header."""
    url = f"{world.url}{STREAM}/tickets"
    for headers, expected in [
        ({}, 401),
        (world.bearer(role="stranger"), 403),
        ({**world.bearer(), "X-Tenant-Id": GLOBEX}, 403),
        ({**world.bearer(), "X-Tenant-Id": ACME}, 201),
    ]:
        async with http.post(url, headers=headers) as answer:
            assert answer.status == expected
    async with http.get(url, headers=world.bearer()) as answer:
        assert answer.status == 405


async def test_a_header_cannot_change_a_tickets_tenant(world: World, http: aiohttp.ClientSession) -> None:
    """A header that names another tenant is refused, as with a token."""
    given = await ticket(world, http)
    assert await status(world, http, f"ticket={given}", **{"X-Tenant-Id": GLOBEX}) == (403, "wrong_tenant")


async def test_no_ticket_reaches_a_log(
    world: World, http: aiohttp.ClientSession, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nor does any other part of a query string."""
    given = await ticket(world, http)
    await status(world, http, f"ticket={given}&after=0")
    await status(world, http, f"ticket={given}")
    await asyncio.sleep(0)
    logged = "".join(capfd.readouterr())
    assert "stream/tickets" in logged
    assert given not in logged
    assert "after=" not in logged


async def test_tickets_are_disabled_with_the_stream(make_world: MakeWorld, http: aiohttp.ClientSession) -> None:
    """Both routes then answer why."""
    async with (
        make_world(switches=Switches(billing=True, stream=False)).serving() as world,
        http.post(f"{world.url}{STREAM}/tickets", headers=world.bearer()) as answer,
    ):
        assert (answer.status, (await answer.json())["error"]["code"]) == (404, "stream_disabled")
