"""Who may read a tenant's billing data. The tenant comes from the token alone; a request can only confirm it."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import jwt
from aiohttp import web

from billing_app.http.responses import RefusalError
from billing_app.secret import Secret
from billing_core.admission import Principal
from billing_core.model import TenantId

ALGORITHM: Final = "HS256"
READER_ROLES: Final = ("owner", "admin", "viewer")
_CLAIMS: Final = ("exp", "iss", "aud", "tenant_id")
_MAX_TENANT_ID: Final = 255


class TenantAuthenticator(Protocol):
    """Tells whose data a request may read. A host application can bring its own."""

    async def authenticate(self, request: web.Request) -> Principal:
        """The principal of a request. Raises RefusalError: 401 without a valid proof, 403 without the right."""
        ...


class JwtAuthenticator:
    """Bearer tokens signed with HS256 and one of our secrets."""

    def __init__(self, *, secrets: Iterable[Secret], audience: str, issuer: str) -> None:
        """Accept every one of `secrets`, so that a key can be replaced without refusing anybody."""
        self._secrets = tuple(secrets)
        self._audience = audience
        self._issuer = issuer

    async def authenticate(self, request: web.Request) -> Principal:
        """See TenantAuthenticator."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("Send a token: Authorization: Bearer <token>.", challenge="Bearer")
        claims = self._claims(token.strip())
        tenant_id, role = claims["tenant_id"], claims.get("role", "viewer")
        if not isinstance(tenant_id, str) or not 0 < len(tenant_id) <= _MAX_TENANT_ID:
            raise _unauthorized("The token names no tenant.")
        if role not in READER_ROLES:
            raise RefusalError(403, "forbidden_role", "The role of this token may not read billing data.")
        return Principal(tenant_id=TenantId(tenant_id), role=role, expires_at=_instant(int(claims["exp"])))

    def _claims(self, token: str) -> dict[str, Any]:
        for secret in self._secrets:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    secret.reveal(),
                    algorithms=[ALGORITHM],
                    audience=self._audience,
                    issuer=self._issuer,
                    # When it was issued decides nothing, and a clock that is a second ahead must not matter.
                    options={"require": list(_CLAIMS), "verify_iat": False},
                )
            except jwt.ExpiredSignatureError:
                raise _unauthorized("The token has expired.") from None
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, OverflowError, RecursionError):
                break
            return claims
        # One text for everything else: which part of a forged token was wrong is nobody's business.
        raise _unauthorized("The token is not valid.")


def issue_token(
    *, secret: Secret, audience: str, issuer: str, tenant_id: TenantId, role: str, now: datetime, ttl: timedelta
) -> str:
    """A token that `JwtAuthenticator` accepts until `now + ttl`."""
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": f"tenant:{tenant_id}",
        "tenant_id": tenant_id,
        "role": role,
        "iat": now,
        "exp": now + ttl,
    }
    return jwt.encode(claims, secret.reveal(), algorithm=ALGORITHM)


def require_own_tenant(request: web.Request, principal: Principal) -> TenantId:
    """The principal's tenant, once path and header, where they name one, name the same. Raises RefusalError (403)."""
    named = (request.match_info.get("tenant_id"), request.headers.get("X-Tenant-Id"))
    if any(tenant_id is not None and tenant_id != principal.tenant_id for tenant_id in named):
        raise RefusalError(403, "wrong_tenant", "This token belongs to another tenant.")
    return principal.tenant_id


def _unauthorized(message: str, challenge: str = 'Bearer error="invalid_token"') -> RefusalError:
    return RefusalError(401, "unauthorized", message, {"WWW-Authenticate": challenge})


def _instant(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # further away than a datetime reaches
        return datetime.max.replace(tzinfo=UTC)
