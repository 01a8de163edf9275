"""Let pages of listed origins read the API and the stream. Origins are compared exactly."""

from collections.abc import Collection
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_PREFIX: Final = "/api/v1/billing/"
_OPERATORS: Final = f"{_PREFIX}operator/"
"""Only the operator's page calls these, from our own origin."""
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Tenant-Id",
    "Access-Control-Max-Age": "600",
}


def allow_origins(app: web.Application, origins: Collection[str]) -> None:
    """Send CORS headers to pages of these origins, and none to others.

    Tokens travel in a header that a page has to set itself, so cookies are never allowed, and neither is `*`.
    """
    if not origins:
        return

    async def name_origin(request: web.Request, response: web.StreamResponse) -> None:
        if not _is_shared(request):
            return
        response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin", "")
        if origin in origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = "Retry-After"

    app.on_response_prepare.append(name_origin)
    app.middlewares.append(_answer_preflight(frozenset(origins)))


def _answer_preflight(origins: Collection[str]) -> Middleware:
    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if preflight and _is_shared(request) and request.headers.get("Origin") in origins:
            return web.Response(status=204, headers=_PREFLIGHT)
        return await handler(request)

    return answer


def _is_shared(request: web.Request) -> bool:
    return request.path.startswith(_PREFIX) and not request.path.startswith(_OPERATORS)
