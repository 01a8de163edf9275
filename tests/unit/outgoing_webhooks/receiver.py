"""A receiver of outgoing webhooks on loopback, and name servers that answer what a test says."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_network

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from billing_core.outgoing.values import OutgoingWebhook, SigningSecret

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
LOOPBACK = (ip_network("127.0.0.0/8"),)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def webhook(message_id: str = "first:acme:7") -> OutgoingWebhook:
    return OutgoingWebhook(
        message_id=message_id, event_type="subscription.activated", occurred_at=NOW, payload='{"sequence":7}'
    )


def secret() -> SigningSecret:
    return SigningSecret.generate(NOW)


class Receiver:
    """Keeps what it received, and answers as a test says."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answer: Answer = self.accept
        self.port = 0

    @staticmethod
    async def accept(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    def answers(self, status: int, **headers: str) -> None:
        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers={name.replace("_", "-"): text for name, text in headers.items()})

        self.answer = answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        names = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((names, await request.read()))
        return await self.answer(request)

    def url(self, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}/hooks"


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Run a receiver on a free port."""
    receiver = Receiver()
    server = web.Server(receiver.handle)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        ((_, receiver.port),) = runner.addresses
        yield receiver
    finally:
        await runner.cleanup()


class NameServer(AbstractResolver):
    """Answers each lookup with the next addresses; the last ones from then on."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers: Iterator[list[str]] = iter(answers)
        self._last: list[str] = []
        self.lookups = 0
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.lookups += 1
        self._last = next(self._answers, self._last)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._last
        ]

    async def close(self) -> None:
        self.closed = True
