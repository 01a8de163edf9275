"""POST /api/v1/billing/stream/tickets: for a browser's EventSource, which cannot send an Authorization header.

A token in a URL ends up in browser histories and in the logs of every proxy on the way. So does a ticket, but it opens
one stream, once, within seconds, and is worthless afterwards.
"""

import hashlib
import secrets
from datetime import timedelta
from typing import Final

from aiohttp import web

from billing_app.http.auth import TenantAuthenticator, require_own_tenant
from billing_app.http.responses import RefusalError, json_response
from billing_app.http.services import SERVICES
from billing_core.stream_access.ports import Principal, StreamTickets

PARAMETER: Final = "ticket"
_TOKEN_PARAMETERS: Final = frozenset({"access_token", "token", "jwt", "authorization", "bearer"})
_MAX_LENGTH: Final = 128


async def issue(request: web.Request) -> web.Response:
    """Answer a ticket for the token's principal. It expires no later than the token does."""
    services = request.app[SERVICES]
    principal = await services.authenticator.authenticate(request)
    require_own_tenant(request, principal)
    now = services.clock.now()
    ttl = min(services.settings.stream.ticket_ttl, principal.expires_at - now)
    ticket = secrets.token_urlsafe(32)
    await services.tickets.put(_digest(ticket), principal, ttl=max(ttl, timedelta(0)))
    return json_response({"ticket": ticket, "expires_at": now + ttl}, status=201)


async def admit(request: web.Request, authenticator: TenantAuthenticator, tickets: StreamTickets) -> Principal:
    """Return the principal of a request by its ticket or token. Raises RefusalError, StoreUnavailableError."""
    if not _TOKEN_PARAMETERS.isdisjoint(name.lower() for name in request.query):
        message = "Do not put a token in the URL. Send it as Authorization: Bearer <token>, or request a ticket."
        raise RefusalError(400, "token_in_address", message)
    given = request.query.getall(PARAMETER, [])
    if not given:
        return await authenticator.authenticate(request)
    if len(given) > 1 or "Authorization" in request.headers:
        raise RefusalError(400, "bad_parameter", "Send either one ticket or an Authorization header.")
    principal = await tickets.take(_digest(given[0])) if len(given[0]) <= _MAX_LENGTH else None
    if principal is None or not await authenticator.still_valid(principal):
        message = "The ticket is unknown, expired or already used. Request a new ticket for each stream."
        raise RefusalError(401, "bad_ticket", message, {"WWW-Authenticate": "Bearer"})
    return principal


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode(errors="replace")).digest()
