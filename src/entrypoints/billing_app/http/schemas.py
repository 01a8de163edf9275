"""GET /schemas/… and /openapi.json: public descriptions of messages and routes, which any cache may keep."""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from aiohttp import web

from billing_app import payload_schema
from billing_app.http import openapi

_HEADERS: Final = {
    "Cache-Control": "public, max-age=3600",
    "X-Content-Type-Options": "nosniff",
}


def routes() -> Iterable[web.RouteDef]:
    """Return the routes of the message schema and of the OpenAPI document."""
    return [
        _serving(payload_schema.PATH, _message_schema(), "application/schema+json"),
        _serving(openapi.PATH, _document(), "application/json"),
    ]


@cache
def _message_schema() -> bytes:
    return _compact(payload_schema.schema())


@cache
def _document() -> bytes:
    return _compact(openapi.document())


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _serving(path: str, body: bytes, content_type: str) -> web.RouteDef:
    headers = {**_HEADERS, "Content-Type": f"{content_type}; charset=utf-8"}

    async def show(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return web.get(path, show)
