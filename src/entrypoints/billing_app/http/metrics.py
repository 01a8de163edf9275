"""/metrics, for Prometheus: on a port of its own, or behind a token on the port of the webhooks."""

import hmac
from collections.abc import Iterable

from aiohttp import web

from billing_app.http.responses import SAFE_HEADERS, RefusalError
from billing_app.http.services import SERVICES
from billing_app.secret import Secret


def routes(token: Secret | None) -> Iterable[web.RouteDef]:
    """Return the route for a port that only monitoring reaches. If there is a token, it is required there, too."""
    return [web.get("/metrics", _open if token is None else _guarded)]


def public_routes(token: Secret | None) -> Iterable[web.RouteDef]:
    """Return the route for a port that everyone may reach: without a token it shows nothing."""
    return [web.get("/metrics", _elsewhere if token is None else _guarded)]


async def _open(request: web.Request) -> web.Response:
    body, content_type = request.app[SERVICES].metrics.render()
    return web.Response(body=body, headers={**SAFE_HEADERS, "Content-Type": content_type})


async def _guarded(request: web.Request) -> web.Response:
    token = request.app[SERVICES].settings.server.metrics_token
    given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
    if token is None or not hmac.compare_digest(given, b"Bearer " + token.reveal().encode()):
        message = "Send the metrics token: Authorization: Bearer <token>."
        raise RefusalError(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})
    return await _open(request)


async def _elsewhere(_request: web.Request) -> web.Response:
    message = "This port serves no metrics. Set BILLING_METRICS_PORT for a port of their own, or BILLING_METRICS_TOKEN."
    raise RefusalError(404, "not_found", message)
