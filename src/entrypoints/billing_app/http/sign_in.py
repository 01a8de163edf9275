"""GET /demo/sign-in: a link that signs a browser in to one tenant of the demo.

Its ticket is `base64url(tenant).expiry.hmac`: not a token, expired after minutes, and accepted by the demo only.
"""

import base64
import hashlib
import hmac
import html
from collections.abc import Iterable
from datetime import datetime, timedelta
from string import Template
from typing import Final

from aiohttp import web

from billing_app.http.pages import PAGE_HEADERS, packaged
from billing_app.http.responses import RefusalError
from billing_app.http.services import SERVICES
from billing_app.http.tokens import issue_token
from billing_app.secret import Secret
from billing_core.model import TenantId

_MAX_LENGTH: Final = 1024
_TOKEN_LIFETIME: Final = timedelta(hours=1)


def make_ticket(secret: Secret, tenant_id: TenantId, *, expires_at: datetime) -> str:
    """Return a ticket for /demo/sign-in?ticket=…"""
    tenant = base64.urlsafe_b64encode(tenant_id.encode()).decode().rstrip("=")
    claim = f"{tenant}.{int(expires_at.timestamp())}"
    return f"{claim}.{_signature(secret, claim)}"


def read_ticket(secret: Secret, ticket: str, *, now: datetime) -> TenantId | None:
    """Return the tenant of a ticket, or None if it is forged, malformed or expired."""
    claim, _, signature = ticket.rpartition(".")
    if len(ticket) > _MAX_LENGTH or not hmac.compare_digest(
        signature.encode(errors="replace"), _signature(secret, claim).encode()
    ):
        return None
    # Signed by us, so it is well-formed from here on.
    tenant, _, expiry = claim.partition(".")
    if int(expiry) <= now.timestamp():
        return None
    return TenantId(base64.urlsafe_b64decode(tenant + "=" * (-len(tenant) % 4)).decode())


def _signature(secret: Secret, claim: str) -> str:
    """Return 128 bits in letters: the link has to fit into two lines of a terminal."""
    digest = hmac.new(secret.reveal().encode(), claim.encode(errors="replace"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")


def routes() -> Iterable[web.RouteDef]:
    """Return the sign-in route. Only the demo serves it."""
    return [web.get("/demo/sign-in", _SignIn().serve)]


class _SignIn:
    """A page that passes a short-lived token to the browser: in the document, which is not cached, never in a URL."""

    def __init__(self) -> None:
        self._page = Template(packaged("sign-in.html"))

    async def serve(self, request: web.Request) -> web.Response:
        services = request.app[SERVICES]
        settings, now = services.settings, services.clock.now()
        secret = settings.demo.ticket_secret
        tenant_id = None if secret is None else read_ticket(secret, request.query.get("ticket", ""), now=now)
        if tenant_id is None:
            message = "This sign-in link is invalid or has expired. The demo's terminal shows a new one."
            raise RefusalError(403, "bad_ticket", message)
        token = issue_token(
            secret=settings.tokens.secrets[0],
            policy=settings.tokens,
            tenant_id=tenant_id,
            role="viewer",
            now=now,
            ttl=min(settings.tokens.ttl, _TOKEN_LIFETIME),
        )
        page = self._page.substitute(token=html.escape(token))
        return web.Response(text=page, headers={**PAGE_HEADERS, "Content-Type": "text/html; charset=utf-8"})
