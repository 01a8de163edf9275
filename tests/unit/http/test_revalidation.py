"""Revoked tokens and ended sessions close open streams."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp
import attrs
import jwt
from aiohttp import web
from tests.unit.http.conftest import SETTINGS

from billing_core.model import TenantId
from billing_core.stream_access.ports import Principal, Revocation
from billing_core.testing.builders import ACME, GLOBEX

if TYPE_CHECKING:
    from tests.unit.http.conftest import Eventually, Listen, MakeWorld, World

TICK = timedelta(milliseconds=50)
STATE = "/api/v1/billing/tenants/acme/state"


async def revoke(world: World, subject: str, name: str) -> None:
    """Revoke a proof and load it at once, where a real server polls."""
    now = world.clock.now()
    await world.container.revocations().revoke(
        Revocation(subject=subject, name=name, revoked_at=now, kept_until=now + timedelta(hours=1))  # type: ignore[arg-type]
    )
    await world.container.revoked().load()


def id_of(token: str) -> str:
    found: str = jwt.decode(token, options={"verify_signature": False})["jti"]
    return found


async def test_a_revoked_token_ends_its_own_streams(make_world: MakeWorld, http: aiohttp.ClientSession) -> None:
    """The client gets the reason, and its next requests are refused, also with a ticket issued before."""
    async with make_world(tokens=attrs.evolve(SETTINGS.tokens, revalidate_every=TICK)).serving() as world:
        bad, good = world.token(), world.token()
        ticket_url, stream_url = f"{world.url}/api/v1/billing/stream/tickets", f"{world.url}/api/v1/billing/stream"
        headers = {"Authorization": f"Bearer {bad}"}
        async with http.post(ticket_url, headers=headers) as answer:
            ticket = (await answer.json())["ticket"]
        async with (
            http.get(stream_url, headers=headers) as ending,
            http.get(stream_url, headers={"Authorization": f"Bearer {good}"}) as staying,
        ):
            await revoke(world, "token", id_of(bad))
            text = (await ending.content.read()).decode()
            assert json.loads(text.rpartition("data: ")[2])["reason"] == "revoked"
            await world.publish(ACME)
            assert (await staying.content.readuntil(b"}\n\n")).startswith(b"retry")
        assert world.sample("stripe_billing_stream_ended_total", reason="revoked") == 1
        async with http.get(world.url + STATE, headers=headers) as answer:
            assert answer.status == 401
        async with http.get(stream_url, params={"ticket": ticket}) as answer:
            assert answer.status == 401


async def test_all_tokens_of_a_tenant_can_be_revoked(
    make_world: MakeWorld, listen: Listen, http: aiohttp.ClientSession
) -> None:
    """Other tenants are not affected, and a token issued afterwards is valid."""
    async with (
        make_world(tokens=attrs.evolve(SETTINGS.tokens, revalidate_every=TICK)).serving() as world,
        listen(world) as acme,
        listen(world, GLOBEX) as globex,
    ):
        before = world.bearer()
        await revoke(world, "tenant", ACME)
        await acme.event()
        assert (await acme.event()).event == "reconnect"
        await world.publish(GLOBEX)
        await globex.event()
        assert await globex.numbers(1) == [1]
        async with http.get(world.url + STATE, headers=before) as answer:
            assert answer.status == 401
        later = world.clock.now() + timedelta(seconds=2)
        async with http.get(world.url + STATE, headers=world.bearer(now=later)) as answer:
            assert answer.status == 200


class Host:
    """A host application's authenticator: a header names the tenant, and a set holds the tenants still allowed."""

    def __init__(self) -> None:
        self.allowed = {ACME, GLOBEX}
        self.failing = False
        self.calls = 0

    async def authenticate(self, request: web.Request) -> Principal:
        tenant_id = TenantId(request.headers["X-Session"])
        return Principal(tenant_id=tenant_id, role="viewer", expires_at=datetime.max.replace(tzinfo=UTC))

    async def still_valid(self, principal: Principal) -> bool:
        self.calls += 1
        if self.failing:
            raise RuntimeError("the session store is unavailable")
        return principal.tenant_id in self.allowed


async def test_a_host_application_decides_for_itself(
    make_world: MakeWorld, http: aiohttp.ClientSession, eventually: Eventually
) -> None:
    """It is called once for all streams of one principal; if it fails, streams stay open."""
    world, host = make_world(tokens=attrs.evolve(SETTINGS.tokens, revalidate_every=TICK)), Host()
    world.replace(authenticator=host)
    async with world.serving():
        url = f"{world.url}/api/v1/billing/stream"
        async with (
            http.get(url, headers={"X-Session": ACME}) as one,
            http.get(url, headers={"X-Session": ACME}) as two,
            http.get(url, headers={"X-Session": GLOBEX}) as other,
        ):
            host.failing = True
            calls = host.calls
            await eventually(lambda: host.calls >= calls + 4)
            assert not any(each.content.at_eof() for each in (one, two, other))
            host.failing = False
            host.allowed.remove(ACME)
            for ended in (one, two):
                assert b'"revoked"' in await ended.content.read()
            assert not other.content.at_eof()
        assert world.sample("stripe_billing_stream_ended_total", reason="revoked") == 2
