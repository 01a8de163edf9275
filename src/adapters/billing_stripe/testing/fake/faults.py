"""Faults between a client and Stripe, to be injected for a number of requests."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

import attrs
from aiohttp import web


class Fault(Protocol):
    """A fault that replaces or delays the response to one request."""

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse | None:
        """Return the response in place of the real one, or None to let it follow. Ends early when `closing` is set."""
        ...


@attrs.frozen(kw_only=True)
class Answer:
    """A fixed response."""

    status: int
    body: bytes
    headers: Mapping[str, str] = attrs.field(factory=dict)

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        """Respond at once."""
        return web.Response(status=self.status, body=self.body, headers=self.headers, content_type="application/json")


def server_error(status: int = 500, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a server error of Stripe."""
    body = b'{"error": {"message": "An unknown error occurred", "type": "api_error"}}'
    return Answer(status=status, body=body, headers=headers or {})


def rate_limited(*, retry_after: int | None = None) -> Answer:
    """Return a rate limit error; `retry_after` in seconds."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = b'{"error": {"code": "rate_limit", "message": "Too many requests", "type": "invalid_request_error"}}'
    return Answer(status=429, body=body, headers=headers)


def conflict() -> Answer:
    """Return the error for an object that another request has locked."""
    body = (
        b'{"error": {"code": "lock_timeout", "message": "Locked by another request", "type": "invalid_request_error"}}'
    )
    return Answer(status=409, body=body)


@attrs.frozen
class DroppedBody:
    """A response that breaks off in the middle of its body."""

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        """Announce more bytes than are sent, then close the connection."""
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"id": "in_')
        _hang_up(request, abruptly=False)
        return response


@attrs.frozen
class Reset:
    """A connection that is reset without a response."""

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        """Reset the connection."""
        _hang_up(request, abruptly=True)
        return web.Response(status=500)


@attrs.frozen
class Delay:
    """A correct but late response."""

    wait: timedelta

    async def strike(self, request: web.Request, closing: asyncio.Event) -> None:
        """Wait, then let the real response follow."""
        try:
            async with asyncio.timeout(self.wait.total_seconds()):
                await closing.wait()
        except TimeoutError:
            return


@attrs.frozen
class Hang:
    """A request without a response."""

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        """Wait until the client disconnects or the fake is closed."""
        await closing.wait()
        return web.Response(status=503)


def _hang_up(request: web.Request, *, abruptly: bool) -> None:
    transport = request.transport
    if transport is None:
        return
    if abruptly:
        # With a linger time of zero the kernel sends a reset instead of an orderly close.
        own = transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.close()
