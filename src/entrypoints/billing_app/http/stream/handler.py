"""GET /api/v1/billing/stream: a tenant's billing events as server-sent events, from where the client left off."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Final

import attrs
from aiohttp import HttpVersion11, web

from billing_app.http.auth import require_own_tenant
from billing_app.http.responses import SAFE_HEADERS, ErrorCode, RefusalError
from billing_app.http.services import Services
from billing_app.http.stream import tickets
from billing_app.http.stream.frames import Frame, opening_frame, reconnect_frame, reset_frame
from billing_app.http.stream.hub import ClientGoneError, HubFullError, HubPolicy, StreamHub
from billing_app.http.stream.quota import StreamSlots
from billing_app.http.stream.revalidation import Revalidator
from billing_app.http.stream.type_filter import FilteredSink, wanted_types
from billing_core.model.epoch import Epoch
from billing_core.stream_access.ports import Principal

_HEADERS: Final = {
    **SAFE_HEADERS,
    "Content-Type": "text/event-stream; charset=utf-8",
    "X-Accel-Buffering": "no",  # nginx would hold events back until its buffer is full
}
_BAD_ID: Final = "Last-Event-ID must be the id of an event of this stream."
_BAD_AFTER: Final = "after must be the position of a state, or the id of an event of this stream."
_CONGESTED: Final = 64 * 1024
"""Unsent bytes in a socket's buffer above which a client is not sent to directly any more."""


def add_stream(app: web.Application, services: Services, path: str) -> None:
    """Serve the stream at `path` and its tickets below, with a hub that lives as long as the application."""
    settings = services.settings
    policy = HubPolicy(
        keepalive=settings.stream_keepalive,
        recent=settings.stream_buffer,
        max_clients=settings.stream_max_connections,
    )
    hub = StreamHub(
        bus=services.bus,
        history=services.history,
        metrics=services.metrics,
        policy=policy,
        epoch=services.epoch,
    )
    stream_slots = StreamSlots(services.quota, services.metrics, lease=settings.stream_lease)
    revalidator = Revalidator(services.authenticator, every=settings.token_recheck)

    async def close_hub(_app: web.Application) -> None:
        hub.close()

    for loop in (revalidator.run, stream_slots.run, hub.run):
        app.cleanup_ctx.append(partial(_running, loop))
    app.on_shutdown.append(close_hub)
    # No HEAD: it would open a stream.
    app.router.add_get(path, _StreamHandler(services, hub, stream_slots, revalidator).serve, allow_head=False)
    app.router.add_post(f"{path}/tickets", tickets.issue)


async def _running(loop: Callable[[], Awaitable[None]], _app: web.Application) -> AsyncIterator[None]:
    running = asyncio.ensure_future(loop())
    yield
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


class _StreamHandler:
    """Serves one client at a time, each in its own call."""

    def __init__(self, services: Services, hub: StreamHub, stream_slots: StreamSlots, revalidator: Revalidator) -> None:
        self._services = services
        self._hub = hub
        self._stream_slots = stream_slots
        self._revalidator = revalidator

    async def serve(self, request: web.Request) -> web.StreamResponse:
        principal = await tickets.admit(request, self._services.authenticator, self._services.tickets)
        tenant_id = require_own_tenant(request, principal)
        start = _start(request, self._services.epoch)
        wanted = wanted_types(request.query.get("types"))
        response = web.StreamResponse(headers=_HEADERS)
        sink = _SocketSink(request, response, write_timeout=self._services.settings.stream_write_timeout)
        reason = "refused"
        try:
            shown = sink if wanted is None else FilteredSink(sink, wanted)
            with await self._stream_slots.enter(tenant_id), self._hub.client(tenant_id, shown) as client:
                cursor, ahead = await client.begin(start.after)
                await sink.open()
                reason = "client_left"
                await sink.write(self._opening(cursor, reset=ahead or start.elsewhere))
                life = self._life(principal)
                timer = asyncio.get_running_loop().call_later(life[0], client.end, life[1])
                try:
                    with self._revalidator.watching(principal, client.end):
                        reason = await client.run()
                finally:
                    timer.cancel()
                await sink.close(reconnect_frame(reason, self._services.settings.stream_retry))
        except HubFullError:
            retry_after = {"Retry-After": str(random.randint(1, 5))}  # noqa: S311 - spreads load
            raise RefusalError(503, "too_many_streams", "Try again in a moment.", retry_after) from None
        except ClientGoneError as gone:
            reason = gone.reason
        finally:
            self._services.metrics.stream_ended(reason)
        return response

    def _opening(self, cursor: int, *, reset: bool) -> Sequence[Frame]:
        position = self._services.epoch.position(cursor)
        opening = opening_frame(position, self._services.settings.stream_retry)
        return [opening, reset_frame(cursor, position)] if reset else [opening]

    def _life(self, principal: Principal) -> tuple[float, str]:
        """How many seconds the stream may live, and why no longer. Jitter keeps clients from coming back together."""
        most = self._services.settings.stream_max_life.total_seconds() * random.uniform(0.5, 1)  # noqa: S311
        token = (principal.expires_at - self._services.clock.now()).total_seconds()
        return (token, "token_expired") if token < most else (most, "max_life")


@attrs.frozen
class _Start:
    """Where a client wants to begin: behind number `after`, or with what comes from now on."""

    after: int | None = None
    elsewhere: bool = False
    """Whether it named a place in another history."""


def _start(request: web.Request, epoch: Epoch) -> _Start:
    """The place of the last event a client has, else that of the state it was shown. Raises RefusalError (400)."""
    last_id = _place(epoch, request.headers.get("Last-Event-ID"), "bad_last_event_id", _BAD_ID)
    after = _place(epoch, request.query.get("after"), "bad_parameter", _BAD_AFTER)
    return last_id or after or _Start()


def _place(epoch: Epoch, given: str | None, code: ErrorCode, message: str) -> _Start | None:
    if given is None:
        return None
    try:
        after = epoch.sequence(given)
    except ValueError:
        raise RefusalError(400, code, message) from None
    return _Start(after, elsewhere=after is None)


class _SocketSink:
    """Frames into one response, by two ways.

    `send` writes to the transport itself: the frame is already the chunk that aiohttp would make of it, and a coroutine
    per client and event would cost more than everything else. `write` goes through aiohttp and waits for the socket.
    """

    def __init__(self, request: web.Request, response: web.StreamResponse, *, write_timeout: timedelta) -> None:
        self._request = request
        self._response = response
        self._write_timeout = write_timeout.total_seconds()
        self._transport: asyncio.WriteTransport | None = None
        self._chunked = request.version >= HttpVersion11

    async def open(self) -> None:
        """Send the head of the response; nothing may be sent before."""
        try:
            await self._response.prepare(self._request)
        except OSError as exc:
            raise ClientGoneError("client_left") from exc
        transport = self._request.transport
        if transport is None:
            raise ClientGoneError("client_left")
        self._transport = transport
        _limit_silence(transport, self._write_timeout)

    def send(self, frame: Frame) -> bool:
        """See Sink."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > _CONGESTED:
            return False
        transport.write(frame.chunk if self._chunked else frame.plain)
        return True

    async def write(self, frames: Sequence[Frame]) -> None:
        """See Sink. The deadline is for each piece, so that much to catch up does not need a fast line."""
        for piece in _pieces(frames):
            try:
                async with asyncio.timeout(self._write_timeout):
                    await self._response.write(piece)
            except TimeoutError:
                self.abort()
                raise ClientGoneError("stalled") from None
            except OSError as exc:
                raise ClientGoneError("client_left") from exc

    async def close(self, last: Frame) -> None:
        """Send the last frame and the end of the response."""
        await self.write([last])
        with suppress(OSError):
            await self._response.write_eof()

    def abort(self) -> None:
        """See Sink."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def gone(self) -> bool:
        """See Sink."""
        return self._transport is not None and self._transport.is_closing()


def _pieces(frames: Sequence[Frame]) -> Sequence[bytes]:
    """Whole frames in pieces that a socket's buffer takes in one go."""
    pieces: list[bytes] = []
    piece = bytearray()
    for frame in frames:
        piece += frame.plain
        if len(piece) >= _CONGESTED:
            pieces.append(bytes(piece))
            piece = bytearray()
    return [*pieces, bytes(piece)] if piece else pieces


def _limit_silence(transport: asyncio.WriteTransport, seconds: float) -> None:
    """Let the kernel give up on a peer that acknowledges nothing; a client that vanished sends no goodbye."""
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux
    if option is not None and connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1000))
