"""Who may read a tenant's billing data. The tenant comes from the proof alone; a request can only confirm it."""

from typing import Protocol

from aiohttp import web

from billing_app.http.responses import RefusalError
from billing_core.model import TenantId
from billing_core.stream_access.ports import Principal


class TenantAuthenticator(Protocol):
    """Tells whose data a request may read. A host application can bring its own."""

    async def authenticate(self, request: web.Request) -> Principal:
        """The principal of a request. Raises RefusalError: 401 without a valid proof, 403 without the right."""
        ...

    async def still_valid(self, principal: Principal) -> bool:
        """Whether what `authenticate` once said still holds; asked time and again while a stream is open.

        When a principal expires need not be looked at. An exception changes nothing for the stream.
        """
        ...


def require_own_tenant(request: web.Request, principal: Principal) -> TenantId:
    """The principal's tenant, once path and header, where they name one, name the same. Raises RefusalError (403)."""
    named = (request.match_info.get("tenant_id"), request.headers.get("X-Tenant-Id"))
    if any(tenant_id is not None and tenant_id != principal.tenant_id for tenant_id in named):
        raise RefusalError(403, "wrong_tenant", "This token belongs to another tenant.")
    return principal.tenant_id


def unauthorized(message: str, challenge: str = 'Bearer error="invalid_token"') -> RefusalError:
    """A request without a valid proof."""
    return RefusalError(401, "unauthorized", message, {"WWW-Authenticate": challenge})
