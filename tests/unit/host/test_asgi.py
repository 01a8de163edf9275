"""The start-up and shutdown of an ASGI application without its own."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from tests.unit.host.conftest import PLANS

from billing_app import Billing, Settings, open_billing
from billing_app.errors import StartRefusedError
from billing_app.host.asgi import Receive, Scope, Send


class Server:
    """The lifespan of a server."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self.answers: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()

    async def ask(self, message: str) -> MutableMapping[str, Any]:
        self.asked.put_nowait({"type": message})
        return await self.answers.get()

    async def receive(self) -> MutableMapping[str, Any]:
        return await self.asked.get()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.answers.put_nowait(message)


def application(billing: Billing, seen: list[str]) -> Any:
    async def inner(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(f"{scope['type']} {billing.enabled}")

    return billing.around(inner)


async def test_billing_is_open_between_start_up_and_shutdown() -> None:
    """Requests reach the application; the lifespan does not."""
    billing, server, seen = open_billing(Settings.for_tests(PLANS)), Server(), list[str]()
    app = application(billing, seen)
    life = asyncio.create_task(app({"type": "lifespan"}, server.receive, server.send))
    assert await server.ask("lifespan.startup") == {"type": "lifespan.startup.complete"}
    await app({"type": "http"}, server.receive, server.send)
    assert seen == ["http True"]
    assert await server.ask("lifespan.shutdown") == {"type": "lifespan.shutdown.complete"}
    await life
    async with billing:  # it was closed
        pass


async def test_a_start_up_that_fails_tells_the_server_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every fault, so that the server's log shows it and the process ends."""
    monkeypatch.setenv("ENABLE_BILLING", "true")
    monkeypatch.delenv("STRIPE_SECRET_KEY", raising=False)
    server = Server()
    app = application(open_billing(), [])
    life = asyncio.create_task(app({"type": "lifespan"}, server.receive, server.send))
    answer = await server.ask("lifespan.startup")
    assert answer["type"] == "lifespan.startup.failed"
    assert "STRIPE_SECRET_KEY is required" in answer["message"]
    with pytest.raises(StartRefusedError):
        await life
