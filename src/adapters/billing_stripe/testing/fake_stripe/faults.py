"""Faults between a client and Stripe, to be injected for a number of requests."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, Protocol

import attrs
from aiohttp import web

Point = Literal["before", "executing", "executed", "answering"]
"""When a fault strikes.

- `before`: nothing is executed, and the idempotency key stays free.
- `executing`: the key is taken, but nothing is changed. An `Answer` is stored, and replayed for the key.
- `executed`: the change is made, but an `Answer` is stored in place of the true one.
- `answering`: the change is made and its answer stored; only the transmission fails.
"""


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
    content_type: str = "application/json"

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        """Respond at once."""
        return web.Response(status=self.status, body=self.body, headers=self.headers, content_type=self.content_type)


def server_error(status: int = 500, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a server error of Stripe. It is stored for the key unless it strikes `before` or `answering`."""
    body = b'{"error": {"message": "An unknown error occurred", "type": "api_error"}}'
    return Answer(status=status, body=body, headers=headers or {})


def stored_error(original_request: str = "req_00000000000000") -> Answer:
    """Return the server error that an idempotency key has kept, as every later request with the key gets it."""
    return server_error(headers={"Idempotent-Replayed": "true", "Original-Request": original_request})


def rate_limited(*, retry_after: int | None = None) -> Answer:
    """Return the error for too much load; `retry_after` in seconds, which Stripe does not send."""
    headers = {"Stripe-Rate-Limited-Reason": "endpoint-rate"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    body = b'{"error": {"code": "rate_limit", "message": "Too many requests", "type": "invalid_request_error"}}'
    return Answer(status=429, body=body, headers=headers)


def lock_timeout() -> Answer:
    """Return the error for an object that another request is changing."""
    body = (
        b'{"error": {"code": "lock_timeout", "message": "Locked by another request", "type": "invalid_request_error"}}'
    )
    return Answer(status=429, body=body, headers={"Stripe-Should-Retry": "true"})


def key_in_use() -> Answer:
    """Return the error for an idempotency key whose first request is still in progress."""
    body = b'{"error": {"code": "idempotency_key_in_use", "message": "In use", "type": "idempotency_error"}}'
    return Answer(status=409, body=body)


def conflict() -> Answer:
    """Return the error for a request that conflicts with another one, as older API versions report a lock."""
    body = (
        b'{"error": {"code": "lock_timeout", "message": "Locked by another request", "type": "invalid_request_error"}}'
    )
    return Answer(status=409, body=body)


def html(status: int = 200) -> Answer:
    """Return a page of a proxy in place of JSON, with any status."""
    return Answer(status=status, body=b"<html><body>Please wait.</body></html>", content_type="text/html")


@attrs.frozen
class DroppedBody:
    """A response that breaks off in the middle of its body."""

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        """Announce more bytes than are sent, then close the connection."""
        response = await _begin(request)
        _hang_up(request, abruptly=False)
        return response


@attrs.frozen
class Stall:
    """A response that stops in the middle of its body, while the connection stays open."""

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        """Announce more bytes than are sent, then wait until the client disconnects or the fake is closed."""
        response = await _begin(request)
        await closing.wait()
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
    """A correct but late response. While it strikes `executing`, the key and the object are in use."""

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


async def _begin(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"id": "in_')
    return response


def _hang_up(request: web.Request, *, abruptly: bool) -> None:
    transport = request.transport
    if transport is None:
        return
    if abruptly:
        # With a linger time of zero the kernel sends a reset instead of an orderly close.
        own = transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.close()
