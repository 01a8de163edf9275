"""GET /api/v1/billing/operator/live: what changes, as server-sent events. After a reconnect a page loads again."""

import asyncio
from typing import Final

from aiohttp import web

from billing_app.http.operations.problems import Problem, problem_of
from billing_app.http.operator.feed import FeedFullError, Listener
from billing_app.http.operator.identity import Operator
from billing_app.http.responses import RefusalError
from billing_app.http.services import SERVICES, Services
from billing_app.http.stream.frames import KEEP_ALIVE, opening_of_feed, reconnect_frame
from billing_app.http.stream.handler import STREAM_HEADERS
from billing_app.http.stream.sinks import ClientGoneError, SocketSink
from billing_app.http.stream.spreading import life_of_one, pause_of_one

_KEEP_ALIVE_SECONDS: Final = 15.0


async def serve(request: web.Request) -> web.StreamResponse:
    """Admit an operator, then send what changes until the stream ends."""
    services = request.app[SERVICES]
    try:
        operator = await services.operator.authenticator.authenticate(request)
        with services.operator.feed.listening() as listener:
            return await _serve(request, services, operator, listener)
    except FeedFullError:
        detail = "This server has reached its limit of operators' streams. Try again in a moment."
        return Problem(503, "too_many_streams", detail, headers={"Retry-After": "5"}, retryable=True).response()
    except Problem as problem:
        return problem.response()
    except RefusalError as refusal:
        return problem_of(refusal).response()


async def _serve(
    request: web.Request, services: Services, operator: Operator, listener: Listener
) -> web.StreamResponse:
    policy = services.settings.stream
    response = web.StreamResponse(headers=STREAM_HEADERS)
    socket = SocketSink(request, response, write_timeout=policy.write_timeout)
    try:
        await socket.open()
        await socket.write([opening_of_feed(pause_of_one(policy))])
        reason = await _send(services, operator, listener, socket)
        await socket.close(reconnect_frame(reason, pause_of_one(policy)))
    except ClientGoneError:
        pass
    return response


async def _send(services: Services, operator: Operator, listener: Listener, socket: SocketSink) -> str:
    """Send frames until the stream is to end; return the reason."""
    loop = asyncio.get_running_loop()
    longest = life_of_one(services.settings.stream).total_seconds()
    token = (operator.expires_at - services.clock.now()).total_seconds()
    seconds, reason = (token, "token_expired") if token < longest else (longest, "max_life")
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        try:
            async with asyncio.timeout(min(left, _KEEP_ALIVE_SECONDS)):
                frame = await listener.frames.get()
        except TimeoutError:
            frame = KEEP_ALIVE
        if frame is None:
            return "stalled" if listener.stalled else "shutdown"
        if not await services.operator.authenticator.still_valid(operator):
            return "revoked"
        await socket.write([frame])
    return reason
