"""Log one line per request, without its query string, which may contain a ticket."""

import logging
from typing import Final

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

log = structlog.get_logger()

_ROUTINE: Final = frozenset({"/healthz", "/readyz", "/metrics", "/webhooks/stripe"})
"""Requested all the time and counted in the metrics: their successes are logged at debug level only."""
_REPORTED: Final = frozenset(("/webhooks/stripe", status) for status in (400, 408, 413, 415, 429, 500, 503))
"""Webhooks that `webhook.refused` and its summaries report, `http.failed` or `webhook.received`."""


class AccessLogger(AbstractAccessLogger):
    """The access log of the server, for `AppRunner(access_log_class=…)`."""

    def __init__(self, logger: logging.Logger, log_format: str) -> None:
        super().__init__(logger, log_format)
        self._debugging = log.is_enabled_for(logging.DEBUG)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line. The path stays percent-encoded, so that it cannot forge another line."""
        path = request.rel_url.raw_path
        routine = path in _ROUTINE and (response.status < 400 or (path, response.status) in _REPORTED)
        if routine and not self._debugging:  # a log call costs more than the rest, and this is the busiest route
            return
        emit = log.debug if routine else log.warning if response.status >= 500 else log.info
        emit(
            "http.request",
            method=request.method,
            path=path,
            status=response.status,
            bytes=response.body_length,
            seconds=round(time, 6),
        )
