"""Bearer tokens: JWTs signed with a shared secret, or with a key that their issuer publishes."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, runtime_checkable

import attrs
import jwt
from aiohttp import web

from billing_app.http.auth import role_refusal, unauthorized
from billing_app.http.responses import RefusalError
from billing_app.secret import Secret
from billing_app.settings import TokenSettings
from billing_core.model import TenantId
from billing_core.stream_access.ports import Principal
from billing_core.stream_access.revocation_list import RevocationList

SYMMETRIC: Final = "HS256"
ASYMMETRIC: Final = ("RS256", "ES256")
_REGISTERED: Final = ("exp", "iss", "aud")
_MAX_TENANT_ID: Final = 255
_MAX_TOKEN_ID: Final = 255
_MAX_SUBJECT: Final = 255
_DEFAULT_ROLE: Final = "viewer"

Claims = Mapping[str, Any]


@attrs.frozen
class VerificationKey:
    """A key and the one algorithm that it may be used with."""

    algorithm: str
    material: Any = attrs.field(repr=False)


@runtime_checkable
class PublishedKeys(Protocol):
    """The public keys of an issuer."""

    async def find(self, key_id: str | None, algorithm: str) -> VerificationKey | None:
        """Return the key of that name and algorithm, or None. Raises RefusalError (503) while no keys are known."""
        ...


class TokenVerifier:
    """Verifies tokens. The algorithm that a token names only selects which of our keys are tried."""

    def __init__(self, *, policy: TokenSettings, published: PublishedKeys | None) -> None:
        """Accept tokens signed with any of the secrets, so that one can be rotated without refusing valid tokens."""
        self._policy = policy
        self._published = published

    async def read(self, token: str, *, expired: bool = False) -> Claims:
        """Return a valid token's claims; with `expired`, an expired one's too. Raises RefusalError (401, 503)."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _invalid() from None
        for key in await self._keys(header):
            try:
                return self._decode(token, key, expired=expired)
            except jwt.ExpiredSignatureError:
                raise unauthorized("The token has expired.") from None
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, OverflowError, RecursionError):
                break
        raise _invalid()

    async def _keys(self, header: Mapping[str, Any]) -> Sequence[VerificationKey]:
        """Return the keys to try: never a key that the token itself contains or points to."""
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm == SYMMETRIC:
            return [VerificationKey(SYMMETRIC, secret.reveal()) for secret in self._policy.secrets]
        if algorithm not in ASYMMETRIC or self._published is None:
            return []
        key = await self._published.find(key_id, algorithm)
        return [] if key is None else [key]

    def _decode(self, token: str, key: VerificationKey, *, expired: bool) -> Claims:
        claims: Claims = jwt.decode(
            token,
            key.material,
            algorithms=[key.algorithm],
            audience=self._policy.audience,
            issuer=self._policy.issuer,
            # `iat` decides nothing here, and an issuer's clock that is a second ahead must not matter.
            options={"require": list(_REGISTERED), "verify_iat": False, "verify_exp": not expired},
        )
        return claims


class JwtAuthenticator:
    """A TenantAuthenticator for bearer tokens."""

    def __init__(self, *, verifier: TokenVerifier, policy: TokenSettings, revoked: RevocationList) -> None:
        self._verifier = verifier
        self._policy = policy
        self._revoked = revoked

    async def authenticate(self, request: web.Request) -> Principal:
        """See TenantAuthenticator."""
        principal = read_principal(await self._verifier.read(bearer_of(request)), self._policy)
        if principal.role not in self._policy.roles:
            detail = role_refusal(principal.role, "read billing data", "BILLING_JWT_READER_ROLES")
            raise RefusalError(403, "forbidden_role", detail)
        if self._revoked.covers(principal):
            raise revoked()
        return principal

    async def still_valid(self, principal: Principal) -> bool:
        """See TenantAuthenticator."""
        return not self._revoked.covers(principal)


def bearer_of(request: web.Request) -> str:
    """Return the token of a request. Raises RefusalError (401) without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unauthorized("Send a token: Authorization: Bearer <token>.", challenge="Bearer")
    return token.strip()


def revoked() -> RefusalError:
    """Return the refusal of a token that was revoked."""
    return unauthorized("The token was revoked.")


@attrs.frozen(kw_only=True)
class Identity:
    """The bearer of a token, whatever it gives access to."""

    role: str
    subject: str | None
    expires_at: datetime
    token_id: str | None
    issued_at: datetime | None


def read_identity(claims: Claims, policy: TokenSettings) -> Identity:
    """Return the bearer that a token names. Raises RefusalError (403) for a bad role claim."""
    role, token_id, issued_at = claims.get(policy.role_claim, _DEFAULT_ROLE), claims.get("jti"), claims.get("iat")
    if not isinstance(role, str):
        text = f"The token's role claim {policy.role_claim} (BILLING_JWT_ROLE_CLAIM) must be a string."
        raise RefusalError(403, "forbidden_role", text)
    return Identity(
        role=role,
        subject=_subject(claims),
        expires_at=_instant(claims["exp"]),
        token_id=token_id if isinstance(token_id, str) and len(token_id) <= _MAX_TOKEN_ID else None,
        issued_at=_instant(issued_at) if isinstance(issued_at, int | float) else None,
    )


def read_principal(claims: Claims, policy: TokenSettings) -> Principal:
    """Return the principal that a token names. Raises RefusalError: 401 without a tenant, 403 for a bad role claim."""
    tenant_id = claims.get(policy.tenant_claim)
    if not isinstance(tenant_id, str) or not 0 < len(tenant_id) <= _MAX_TENANT_ID:
        raise unauthorized("The token has no valid tenant claim.")
    bearer = read_identity(claims, policy)
    return Principal(
        tenant_id=TenantId(tenant_id),
        role=bearer.role,
        subject=bearer.subject,
        expires_at=bearer.expires_at,
        token_id=bearer.token_id,
        issued_at=bearer.issued_at,
    )


def _subject(claims: Claims) -> str | None:
    subject = claims.get("sub")
    usable = isinstance(subject, str) and 0 < len(subject) <= _MAX_SUBJECT and subject.isprintable()
    return subject if usable else None


def issue_token(
    *, secret: Secret, policy: TokenSettings, tenant_id: TenantId, role: str, now: datetime, ttl: timedelta
) -> str:
    """Sign a token that `JwtAuthenticator` accepts until `now + ttl`. It can be revoked by its `jti`."""
    own = {"sub": f"tenant:{tenant_id}", policy.tenant_claim: tenant_id}
    return _signed(own, secret=secret, policy=policy, role=role, now=now, ttl=ttl)


def issue_operator_token(
    *, secret: Secret, policy: TokenSettings, subject: str, role: str, now: datetime, ttl: timedelta
) -> str:
    """Sign a token of an operator: it names the person or program, and no tenant."""
    return _signed({"sub": subject}, secret=secret, policy=policy, role=role, now=now, ttl=ttl)


def _signed(own: Claims, *, secret: Secret, policy: TokenSettings, role: str, now: datetime, ttl: timedelta) -> str:
    claims = {
        "iss": policy.issuer,
        "aud": policy.audience,
        **own,
        policy.role_claim: role,
        "jti": secrets.token_urlsafe(12),
        "iat": now,
        "exp": now + ttl,
    }
    return jwt.encode(claims, secret.reveal(), algorithm=SYMMETRIC)


def _invalid() -> RefusalError:
    # One text for everything: a forger must not learn which part was wrong.
    return unauthorized("The token is not valid.")


def _instant(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (OverflowError, ValueError, OSError):  # beyond the range of a datetime
        return datetime.max.replace(tzinfo=UTC)
