"""One line per request, without its query string: that may hold a ticket."""

from typing import Final

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

log = structlog.get_logger()

_ROUTINE: Final = frozenset({"/healthz", "/readyz", "/metrics", "/webhooks/stripe"})
"""Asked all the time, and counted in the metrics: their successes are worth a line only when debugging."""


class AccessLogger(AbstractAccessLogger):
    """For `AppRunner(access_log_class=…)`."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line. The path stays percent-encoded, so it cannot forge another line."""
        path = request.rel_url.raw_path
        emit = log.debug if path in _ROUTINE and response.status < 400 else log.info
        emit(
            "http.request",
            method=request.method,
            path=path,
            status=response.status,
            bytes=response.body_length,
            seconds=round(time, 6),
        )
