"""GET /schemas/…: the wire schema, for whoever reads the stream. It is nobody's data and may be cached by anybody."""

import json
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from billing_app import payload_schema

_HEADERS: Final = {
    "Content-Type": "application/schema+json; charset=utf-8",
    "Cache-Control": "public, max-age=3600",
    "X-Content-Type-Options": "nosniff",
}


def routes() -> Iterable[web.RouteDef]:
    """One schema, of version 1."""
    body = json.dumps(payload_schema.schema(), separators=(",", ":")).encode()

    async def show(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers=_HEADERS)

    return [web.get(payload_schema.PATH, show)]
