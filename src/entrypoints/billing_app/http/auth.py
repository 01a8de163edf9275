"""Authenticate requests for a tenant's billing data. The tenant comes from the token; a request can only confirm it."""

from typing import Protocol, runtime_checkable

from aiohttp import web

from billing_app.http.responses import RefusalError
from billing_core.model import TenantId
from billing_core.stream_access.ports import Principal


@runtime_checkable
class TenantAuthenticator(Protocol):
    """A port that decides whose data a request may read. A host application can bring its own."""

    async def authenticate(self, request: web.Request) -> Principal:
        """Return the principal of a request. Raises RefusalError: 401 without a valid token, 403 if it may not read."""
        ...

    async def still_valid(self, principal: Principal) -> bool:
        """Return whether the principal may still read; asked at intervals while a stream is open.

        `expires_at` need not be checked. An exception changes nothing for the stream.
        """
        ...


def require_own_tenant(request: web.Request, principal: Principal) -> TenantId:
    """Return the principal's tenant. Raises RefusalError (403) if the path or a header names another one."""
    named = (request.match_info.get("tenant_id"), request.headers.get("X-Tenant-Id"))
    if any(tenant_id is not None and tenant_id != principal.tenant_id for tenant_id in named):
        raise RefusalError(403, "wrong_tenant", "This token belongs to another tenant.")
    return principal.tenant_id


def role_refusal(role: str, doing: str, setting: str) -> str:
    """Return the text for a token whose role may not do something, with the setting that names the roles that may."""
    return f"The role {role[:60]!r} of this token may not {doing}. The roles of {setting} may."


def unauthorized(message: str, challenge: str = 'Bearer error="invalid_token"') -> RefusalError:
    """Return the refusal of a request without a valid token."""
    return RefusalError(401, "unauthorized", message, {"WWW-Authenticate": challenge})
