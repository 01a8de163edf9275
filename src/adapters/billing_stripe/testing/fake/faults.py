"""What can go wrong between a client and Stripe, as something to order by the number of requests."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

import attrs
from aiohttp import web


class Fault(Protocol):
    """Replaces the answer to one request, or comes before it."""

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse | None:
        """The answer in place of the real one; None to let the real one follow. Ends early when `closing` is set."""
        ...


@attrs.frozen(kw_only=True)
class Answer:
    """A fixed answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = attrs.field(factory=dict)

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        """Answer at once."""
        return web.Response(status=self.status, body=self.body, headers=self.headers, content_type="application/json")


def server_error(status: int = 500, headers: Mapping[str, str] | None = None) -> Answer:
    """Stripe has a problem of its own."""
    body = b'{"error": {"message": "An unknown error occurred", "type": "api_error"}}'
    return Answer(status=status, body=body, headers=headers or {})


def rate_limited(*, retry_after: int | None = None) -> Answer:
    """Too many requests; `retry_after` in seconds."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = b'{"error": {"code": "rate_limit", "message": "Too many requests", "type": "invalid_request_error"}}'
    return Answer(status=429, body=body, headers=headers)


def conflict() -> Answer:
    """The object is locked by another request."""
    body = (
        b'{"error": {"code": "lock_timeout", "message": "Locked by another request", "type": "invalid_request_error"}}'
    )
    return Answer(status=409, body=body)


@attrs.frozen
class DroppedBody:
    """An answer that breaks off in the middle of its body."""

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        """Promise more than is sent, then hang up."""
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"id": "in_')
        _hang_up(request, abruptly=False)
        return response


@attrs.frozen
class Reset:
    """A connection that is reset instead of answered."""

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        """Hang up without a word."""
        _hang_up(request, abruptly=True)
        return web.Response(status=500)


@attrs.frozen
class Delay:
    """An answer that is right, but late."""

    wait: timedelta

    async def strike(self, request: web.Request, closing: asyncio.Event) -> None:
        """Wait first."""
        try:
            async with asyncio.timeout(self.wait.total_seconds()):
                await closing.wait()
        except TimeoutError:
            return


@attrs.frozen
class Hang:
    """A request that is never answered."""

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        """Wait until the client loses patience, or the fake is closed."""
        await closing.wait()
        return web.Response(status=503)


def _hang_up(request: web.Request, *, abruptly: bool) -> None:
    transport = request.transport
    if transport is None:
        return
    if abruptly:
        # Lingering for no time makes the kernel send a reset in place of an orderly end.
        own = transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.close()
