"""The web application: its routes, and errors as JSON."""

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web, web_response
from aiohttp.typedefs import Handler

from billing_app.http import api, health, metrics, pages, schemas, sign_in
from billing_app.http.cors import allow_origins
from billing_app.http.loops import restarted, running
from billing_app.http.operations import routes as operations
from billing_app.http.operations.problems import Problem
from billing_app.http.operator import routes as operator
from billing_app.http.refusals import RefusalCounts
from billing_app.http.responses import SAFE_HEADERS, ErrorCode, RefusalError, error_response
from billing_app.http.runner import WEBHOOK_HANDLER
from billing_app.http.services import SERVICES, Services
from billing_app.http.stream.handler import add_stream
from billing_app.http.webhooks import WebhookReceiver
from billing_app.settings.server import WEBHOOK_PATH
from billing_app.tracing import traced
from billing_core.errors import StoreUnavailableError
from billing_core.inbox.intake import Intake

log = structlog.get_logger()

# aiohttp answers malformed requests itself and offers no other way to keep its and Python's version out of that.
web_response.SERVER_SOFTWARE = SAFE_HEADERS["Server"]  # type: ignore[attr-defined]

STREAM_PATH: Final = "/api/v1/billing/stream"
_CODES: Final[Mapping[int, ErrorCode]] = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
"""Codes of the errors that aiohttp raises itself."""


def create_app(services: Services) -> web.Application:
    """Build the application of one server process, for `billing_app.http.runner.set_up`."""
    app = web.Application(middlewares=[_errors_as_json], client_max_size=services.settings.webhooks.body_limit)
    app[SERVICES] = services
    allow_origins(app, services.settings.server.cors_origins)
    app.router.add_routes(health.routes())
    app.router.add_routes(metrics.public_routes(services.settings.server.metrics_token))
    app.router.add_routes(pages.routes())
    app.router.add_routes(schemas.routes())
    if services.settings.demo.ticket_secret is not None:
        app.router.add_routes(sign_in.routes())
    if services.intake is not None:
        _add_billing(app, services, services.intake)
    else:
        app.router.add_route("*", WEBHOOK_PATH, _billing_disabled)
        app.router.add_route("*", "/api/v1/billing/{rest:.*}", _billing_disabled)
    return app


def create_probes(services: Services) -> web.Application:
    """Build the application of the port for monitoring: health and metrics."""
    app = web.Application(middlewares=[_errors_as_json])
    app[SERVICES] = services
    app.router.add_routes(health.routes())
    app.router.add_routes(metrics.routes(services.settings.server.metrics_token))
    return app


def _add_billing(app: web.Application, services: Services, intake: Intake) -> None:
    settings = services.settings
    counts = RefusalCounts(services.refusal_tally, services.clock)
    receiver = WebhookReceiver(
        intake,
        services.metrics,
        counts,
        settings.webhooks,
        settings.server.trusted_proxies,
        database=services.dependencies.database,
    )
    app.cleanup_ctx.append(running(counts.run))
    app.cleanup_ctx.append(running(partial(restarted, services.entitlements.run)))
    app.on_cleanup.append(receiver.close)
    receive = traced(receiver.receive, services.tracing)
    app.router.add_post(WEBHOOK_PATH, receive)
    answered: Handler = partial(_errors_as_json, handler=receive)
    app[WEBHOOK_HANDLER] = answered
    app.router.add_routes(operations.routes())
    app.router.add_routes(api.routes())
    operator.add_operator(app, services)
    if settings.switches.stream:
        add_stream(app, services, STREAM_PATH)
    else:
        app.router.add_get(STREAM_PATH, _stream_disabled)
        app.router.add_post(f"{STREAM_PATH}/tickets", _stream_disabled)


async def _billing_disabled(_request: web.Request) -> web.Response:
    return Problem(404, "billing_disabled", "Billing is disabled: ENABLE_BILLING is false.").response()


async def _stream_disabled(_request: web.Request) -> web.Response:
    message = "The stream is disabled: ENABLE_BILLING_STREAM is false. Poll the tenant's /events instead."
    return error_response(404, "stream_disabled", message)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RefusalError as refusal:
        return refusal.response()
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        code = _CODES.get(exc.status, "bad_request")
        return error_response(exc.status, code, f"{HTTPStatus(exc.status).phrase}.", _kept(exc))
    except StoreUnavailableError as exc:
        log.warning("http.store_unavailable", path=request.rel_url.raw_path, error=str(exc))
        message = "The billing data is unavailable. Try again in a moment."
        return error_response(503, "store_unavailable", message, {"Retry-After": "2"})
    except Exception:
        log.exception("http.failed", method=request.method, path=request.rel_url.raw_path)
        return error_response(500, "internal_error", "An internal error occurred. Try again later.")


def _kept(exc: web.HTTPException) -> dict[str, str]:
    return {name: exc.headers[name] for name in ("Allow",) if name in exc.headers}
