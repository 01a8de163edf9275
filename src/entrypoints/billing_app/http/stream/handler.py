"""GET /api/v1/billing/stream: a tenant's billing events as server-sent events, from where the client left off."""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

import attrs
from aiohttp import web

from billing_app.http.auth import require_own_tenant
from billing_app.http.loops import running
from billing_app.http.responses import SAFE_HEADERS, ErrorCode, RefusalError
from billing_app.http.services import Services
from billing_app.http.stream import tickets
from billing_app.http.stream.channel import StreamClient
from billing_app.http.stream.frames import Frame, opening_frame, reconnect_frame, reset_frame
from billing_app.http.stream.hub import HubFullError
from billing_app.http.stream.sinks import ClientGoneError, SocketSink
from billing_app.http.stream.spreading import life_of_one, pause_of_one
from billing_app.http.stream.type_filter import FilteredSink, wanted_types
from billing_core.model.epoch import Epoch
from billing_core.stream_access.ports import Principal

STREAM_HEADERS: Final = {
    **SAFE_HEADERS,
    "Content-Type": "text/event-stream; charset=utf-8",
    # A proxy that compresses holds every event back until its window is full. Source: RFC 9111, 5.2.2.6
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",  # nginx would hold events back until its buffer is full
}
_BAD_ID: Final = "Last-Event-ID must be the id of an event of this stream."
_BAD_AFTER: Final = "after must be a position returned by /state, or the id of an event of this stream."


def add_stream(app: web.Application, services: Services, path: str) -> None:
    """Serve the stream at `path` and its tickets below; the hub and its loops run as long as the application."""

    async def close_hub(_app: web.Application) -> None:
        services.hub.close()

    for loop in (services.revalidator.run, services.leases.run, services.hub.run):
        app.cleanup_ctx.append(running(loop))
    app.on_shutdown.append(close_hub)
    # No HEAD: it would open a stream.
    app.router.add_get(path, _StreamHandler(services).serve, allow_head=False)
    app.router.add_post(f"{path}/tickets", tickets.issue)


class _StreamHandler:
    """The route of the stream. Each call of `serve` lives as long as its client."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._hub = services.hub
        self._leases = services.leases
        self._revalidator = services.revalidator

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Admit the client, then send events until the stream ends."""
        principal = await tickets.admit(request, self._services.authenticator, self._services.tickets)
        tenant_id = require_own_tenant(request, principal)
        start = _start(request, self._services.epoch)
        types = wanted_types(request.query.get("types"))
        response = web.StreamResponse(headers=STREAM_HEADERS)
        socket = SocketSink(request, response, write_timeout=self._services.settings.stream.write_timeout)
        sink = socket if types is None else FilteredSink(socket, types)
        reason = "refused"
        try:
            with await self._leases.acquire(tenant_id), self._hub.client(tenant_id, sink) as client:
                cursor, ahead = await client.begin(start.after)
                await socket.open()
                reason = "client_left"
                await socket.write(self._opening(cursor, reset=ahead or start.foreign))
                reason = await self._run(client, principal)
                await socket.close(reconnect_frame(reason, pause_of_one(self._services.settings.stream)))
        except HubFullError:
            message = "This server has reached its limit of open streams. Try again in a moment."
            retry_after = {"Retry-After": str(random.randint(1, 5))}  # noqa: S311 - spreads load
            raise RefusalError(503, "too_many_streams", message, retry_after) from None
        except ClientGoneError as gone:
            reason = gone.reason
        finally:
            self._services.metrics.stream_ended(reason)
        return response

    def _opening(self, cursor: int, *, reset: bool) -> Sequence[Frame]:
        position = self._services.epoch.position(cursor)
        opening = opening_frame(position, pause_of_one(self._services.settings.stream))
        return [opening, reset_frame(cursor, position)] if reset else [opening]

    async def _run(self, client: StreamClient, principal: Principal) -> str:
        """Send messages until the stream ends, at the latest with its lifetime; return the reason."""
        seconds, reason = self._lifetime(principal)
        timer = asyncio.get_running_loop().call_later(seconds, client.end, reason)
        try:
            with self._revalidator.revalidating(principal, client.end):
                return await client.run()
        finally:
            timer.cancel()

    def _lifetime(self, principal: Principal) -> tuple[float, str]:
        """Return how many seconds the stream may last, and why."""
        longest = life_of_one(self._services.settings.stream).total_seconds()
        token = (principal.expires_at - self._services.clock.now()).total_seconds()
        return (token, "token_expired") if token < longest else (longest, "max_life")


@attrs.frozen
class _Start:
    """The place where a client wants to start."""

    after: int | None = None
    """Start after this number; None for the next new message."""
    foreign: bool = False
    """Whether the client named a position of another history."""


def _start(request: web.Request, epoch: Epoch) -> _Start:
    """Read the start from Last-Event-ID, or else from `after`. Raises RefusalError (400)."""
    last_id = _start_from(epoch, request.headers.get("Last-Event-ID"), "bad_last_event_id", _BAD_ID)
    after = _start_from(epoch, request.query.get("after"), "bad_parameter", _BAD_AFTER)
    return last_id or after or _Start()


def _start_from(epoch: Epoch, position: str | None, code: ErrorCode, message: str) -> _Start | None:
    if position is None:
        return None
    try:
        after = epoch.sequence(position)
    except ValueError:
        raise RefusalError(400, code, message) from None
    return _Start(after, foreign=after is None)
