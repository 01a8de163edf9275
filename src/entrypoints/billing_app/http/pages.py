"""The activity page and, in the demo, the link that signs in to it. Static files, nothing inline, nothing foreign."""

import html
from collections.abc import Iterable
from datetime import timedelta
from importlib.resources import files
from string import Template
from typing import Final

from aiohttp import web

from billing_app.http.responses import SAFE_HEADERS, RefusalError
from billing_app.http.services import SERVICES, Services
from billing_app.http.sign_in import read_ticket
from billing_app.http.tokens import TokenPolicy, issue_token

_PAGE_HEADERS: Final = {
    **SAFE_HEADERS,
    # Our own files, and nothing written into a page. Trusted types take away every way to turn a string into markup.
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
    ".ts": "text/plain",  # to be read by people and compilers; browsers run no TypeScript
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
_PAGES: Final = {"/activity": "activity.html"}
ASSETS: Final = (
    *("activity.js", "activity.css", "billing-stream.js", "cards.js", "dom.js", "feed.js", "format.js"),
    *("sign-in.js", "icon.svg", "billing-stream.d.ts"),
)
_DEMO_TOKEN_LIFE: Final = timedelta(hours=1)


def routes(services: Services) -> Iterable[web.RouteDef]:
    """A closed list of files, each with a route of its own: no path can lead anywhere else."""
    yield web.get("/", _to_activity)
    for path, name in {**_PAGES, **{f"/assets/{name}": name for name in ASSETS}}.items():
        yield web.get(path, _StaticFile(name).serve)
    if services.demo_ticket_secret is not None:
        yield web.get("/demo/sign-in", _SignIn().serve)


async def _to_activity(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/activity")


class _StaticFile:
    """One packaged file, read once."""

    def __init__(self, name: str) -> None:
        self._body = _packaged(name).encode()
        self._headers = {**_PAGE_HEADERS, "Content-Type": f"{_TYPES[name[name.rindex('.') :]]}; charset=utf-8"}

    async def serve(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._body, headers=self._headers)


class _SignIn:
    """Hands a short-lived token to the page: in the document, which is not cached, and never in an address."""

    def __init__(self) -> None:
        self._page = Template(_packaged("sign-in.html"))

    async def serve(self, request: web.Request) -> web.Response:
        services = request.app[SERVICES]
        secret, now = services.demo_ticket_secret, services.clock.now()
        tenant_id = None if secret is None else read_ticket(secret, request.query.get("ticket", ""), now=now)
        if tenant_id is None:
            raise RefusalError(403, "bad_ticket", "This link is not valid any more. The demo prints a new one.")
        settings = services.settings
        token = issue_token(
            secret=settings.jwt_secrets[0],
            policy=TokenPolicy.of(settings),
            tenant_id=tenant_id,
            role="viewer",
            now=now,
            ttl=min(settings.token_ttl, _DEMO_TOKEN_LIFE),
        )
        page = self._page.substitute(token=html.escape(token))
        return web.Response(text=page, headers={**_PAGE_HEADERS, "Content-Type": "text/html; charset=utf-8"})


def _packaged(name: str) -> str:
    return files("billing_app").joinpath("web", name).read_text(encoding="utf-8")
