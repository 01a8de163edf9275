"""GET /schemas/… and /openapi.json: public descriptions of messages and routes, which any cache may keep."""

import json
from collections.abc import Iterable
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
        _serving(payload_schema.PATH, payload_schema.schema(), "application/schema+json"),
        _serving(openapi.PATH, openapi.document(), "application/json"),
    ]


def _serving(path: str, value: Any, content_type: str) -> web.RouteDef:
    body = json.dumps(value, separators=(",", ":")).encode()
    headers = {**_HEADERS, "Content-Type": f"{content_type}; charset=utf-8"}

    async def show(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return web.get(path, show)
