"""Answers in one shape: JSON, never cached, and for every failure `{"error": {"code", "message"}}`."""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from aiohttp import web

ErrorCode = Literal[
    "bad_last_event_id",
    "bad_parameter",
    "bad_request",
    "bad_ticket",
    "bad_webhook",
    "billing_disabled",
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
    "too_many_streams",
    "too_many_tenant_streams",
    "unauthorized",
    "unsupported_encoding",
    "wrong_tenant",
]
"""Everything that a failure can be called. Programs depend on these words, so none is ever renamed."""

SAFE_HEADERS: Final[Mapping[str, str]] = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""On everything we send: it is one tenant's data, and it is what its type says."""

_JSON_HEADERS: Final[Mapping[str, str]] = {**SAFE_HEADERS, "Content-Type": "application/json; charset=utf-8"}


class RefusalError(Exception):
    """A request that gets no more than an error. The texts are for the caller and hold nothing of the inside."""

    def __init__(self, status: int, code: ErrorCode, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def response(self) -> web.Response:
        """The refusal as it is sent."""
        return error_response(self.status, self.code, self.message, self.headers)


def json_text_response(text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer whose JSON is already written."""
    return web.Response(
        body=text.encode(), status=status, headers={**_JSON_HEADERS, **headers} if headers else _JSON_HEADERS
    )


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer from JSON-ready values."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return json_text_response(text, status=status, headers=headers)


def error_response(
    status: int, code: ErrorCode, message: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A failure: `code` is for programs and stable, `message` for people."""
    return json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)
