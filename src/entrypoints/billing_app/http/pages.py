"""The activity page and the operator's page: static files, with nothing inline and nothing from other hosts."""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from aiohttp import web

from billing_app.http.responses import SAFE_HEADERS

PAGE_HEADERS: Final = {
    **SAFE_HEADERS,
    # Our own files only, and nothing written into a page. Trusted Types remove every way to turn a string into markup.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".ts": "text/plain",  # for people and compilers to read; browsers run no TypeScript
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
_EMBEDDABLE: Final = {"Access-Control-Allow-Origin": "*"}
"""Pages of any origin may load the modules of <billing-activity>: they hold nothing of a tenant."""
_OPERATORS_PAGE: Final = "ops/ops.html"
_PAGES: Final = {
    "/activity": "activity.html",
    "/docs": "api.html",
    "/ops": _OPERATORS_PAGE,
    "/ops/{view:events|tenants|replay|audit}": _OPERATORS_PAGE,
    "/ops/{view:events|tenants}/{id:[^/]+}": _OPERATORS_PAGE,
}
"""Pages by path. The operator's page shows each of its views by its own address."""
ASSETS: Final = (
    *("activity.js", "activity.css", "billing-activity.js", "billing-activity.css", "billing-stream.js", "dom.js"),
    *("format.js", "sign-in.js", "icon.svg", "billing-stream.d.ts", "billing-event-payload.v2.d.ts", "tokens.css"),
    *("api.js", "api.css"),
)
OPERATORS_ASSETS: Final = (
    *("ops.js", "ops.css", "actions.js", "audit.js", "budget.js", "changes.js", "charts.js", "counting.js"),
    *("dialog.js", "event.js", "events.js", "filters.js", "flow.js", "live.js", "overview.js", "parts.js"),
    *("replay.js", "replays.js", "router.js", "session.js", "tenant.js", "tenants.js", "timeline.js", "times.js"),
    "words.js",
)
COMPONENT_ASSETS: Final = (
    *("actions.js", "cancel-dialog.js", "change-dialog.js", "confirmation.js", "feed.js", "invoices.js"),
    *("messages.js", "seats-dialog.js", "start.js", "subscriptions.js", "tenant-data.js", "timeline.js", "uses.js"),
    *("verdict.js", "words.js", "words-de.js", "words-en.js"),
)
"""The modules of <billing-activity>, in a folder of their own."""


def routes() -> Iterable[web.RouteDef]:
    """Return one route per file of a closed list, so that no path can lead anywhere else."""
    yield web.get("/", _to_activity)
    folders = {"activity": COMPONENT_ASSETS, "ops": OPERATORS_ASSETS}
    assets = (*ASSETS, *(f"{folder}/{name}" for folder, names in folders.items() for name in names))
    for path, name in {**_PAGES, **{f"/assets/{name}": name for name in assets}}.items():
        yield web.get(path, _StaticFile(name, {} if name.startswith("ops/") else _EMBEDDABLE).serve)


@cache
def packaged(name: str) -> str:
    """Return the text of a file that the package ships, which is read once."""
    return files("billing_app").joinpath("web", name).read_text(encoding="utf-8")


async def _to_activity(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/activity")


class _StaticFile:
    """One packaged file."""

    def __init__(self, name: str, headers: Mapping[str, str]) -> None:
        self._body = packaged(name).encode()
        content_type = f"{_TYPES[name[name.rindex('.') :]]}; charset=utf-8"
        self._headers = {**PAGE_HEADERS, **headers, "Content-Type": content_type}

    async def serve(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._body, headers=self._headers)
