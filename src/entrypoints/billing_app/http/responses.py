"""Responses in one form: JSON, never cached, and `{"error": {"code", "message"}}` for every failure."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from aiohttp import web

from billing_core.converters import dumps

ErrorCode = Literal[
    "bad_last_event_id",
    "bad_parameter",
    "bad_request",
    "bad_ticket",
    "bad_webhook",
    "broken_body",
    "forbidden_role",
    "internal_error",
    "issuer_unavailable",
    "method_not_allowed",
    "not_found",
    "read_timeout",
    "store_unavailable",
    "stream_disabled",
    "stream_rate_limited",
    "token_in_address",
    "too_large",
    "too_many_refusals",
    "too_many_streams",
    "too_many_tenant_streams",
    "unauthorized",
    "unsupported_encoding",
    "wrong_tenant",
]
"""Every error code. Programs depend on these words, so none is ever renamed."""

SAFE_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Server": "billing",  # in place of the versions of Python and aiohttp
}
"""Headers of all responses: they hold one tenant's data and must be taken for nothing but their type."""

_JSON_HEADERS: Final[Mapping[str, str]] = {**SAFE_HEADERS, "Content-Type": "application/json; charset=utf-8"}


class RefusalError(Exception):
    """A request is refused. The texts are for the caller and reveal nothing internal."""

    def __init__(self, status: int, code: ErrorCode, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def response(self) -> web.Response:
        """Return the refusal as a response."""
        return error_response(self.status, self.code, self.message, self.headers)


def json_text_response(text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Build a response from JSON text."""
    return web.Response(
        body=text.encode(), status=status, headers={**_JSON_HEADERS, **headers} if headers else _JSON_HEADERS
    )


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Build a response from values, which may be attrs values and instants: they are written as in the stream."""
    return json_text_response(dumps(value), status=status, headers=headers)


def error_response(
    status: int, code: ErrorCode, message: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Build the response of a failure: `code` is stable and for programs, `message` for people."""
    return json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)
