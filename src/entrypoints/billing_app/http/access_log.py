"""One line per request, without its query string: that may hold a ticket."""

import logging
from typing import Final

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

log = structlog.get_logger()

_ROUTINE: Final = frozenset({"/healthz", "/readyz", "/metrics", "/webhooks/stripe"})
"""Asked all the time, and counted in the metrics: their successes are worth a line only when debugging."""


class AccessLogger(AbstractAccessLogger):
    """For `AppRunner(access_log_class=…)`."""

    def __init__(self, logger: logging.Logger, log_format: str) -> None:
        super().__init__(logger, log_format)
        self._debugging = log.is_enabled_for(logging.DEBUG)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line. The path stays percent-encoded, so it cannot forge another line."""
        path = request.rel_url.raw_path
        routine = response.status < 400 and path in _ROUTINE
        if routine and not self._debugging:  # asking the log costs more than the rest, and this is the busiest route
            return
        emit = log.debug if routine else log.info
        emit(
            "http.request",
            method=request.method,
            path=path,
            status=response.status,
            bytes=response.body_length,
            seconds=round(time, 6),
        )
