"""Operators: the callers of the operator's API, as their tokens describe them."""

from datetime import datetime
from typing import Protocol, runtime_checkable

import attrs
from aiohttp import web

from billing_app.http.auth import role_refusal, unauthorized
from billing_app.http.operations.problems import Problem
from billing_app.http.tokens import TokenVerifier, bearer_of, read_identity, revoked
from billing_app.settings import TokenSettings
from billing_core.model.time import aware
from billing_core.stream_access.revocation_list import RevocationList


@attrs.frozen(kw_only=True)
class Operator:
    """An authenticated operator."""

    subject: str
    """The person or program that the token was issued to: the actor of the audit log."""
    role: str
    expires_at: datetime = attrs.field(validator=aware)
    token_id: str | None = None


@runtime_checkable
class OperatorAuthenticator(Protocol):
    """A port that decides who may operate. It never takes a token of one tenant."""

    async def authenticate(self, request: web.Request) -> Operator:
        """Return the operator of a request. Raises RefusalError (401, 503) or Problem (403, 404)."""
        ...

    async def still_valid(self, operator: Operator) -> bool:
        """Return whether the operator's token was not revoked; `expires_at` need not be checked."""
        ...


class JwtOperatorAuthenticator:
    """An OperatorAuthenticator for bearer tokens."""

    def __init__(self, *, verifier: TokenVerifier, policy: TokenSettings, revoked: RevocationList) -> None:
        self._verifier = verifier
        self._policy = policy
        self._revoked = revoked

    async def authenticate(self, request: web.Request) -> Operator:
        """See OperatorAuthenticator."""
        if not self._policy.operator_roles:
            detail = "The operator's API is disabled: BILLING_JWT_OPERATOR_ROLES names no role."
            raise Problem(404, "operator_disabled", detail)
        claims = await self._verifier.read(bearer_of(request))
        identity = read_identity(claims, self._policy)
        if identity.role not in self._policy.operator_roles:
            raise Problem(403, "forbidden_role", role_refusal(identity.role, "operate", "BILLING_JWT_OPERATOR_ROLES"))
        if claims.get(self._policy.tenant_claim) is not None:
            detail = "This token is for one tenant. Operators' tokens have no tenant claim."
            raise Problem(403, "tenant_token", detail)
        if identity.subject is None:
            detail = "The token names no person or program: the audit log needs a sub claim."
            raise Problem(403, "subject_missing", detail)
        if identity.token_id is None and self._policy.operator_id_required:
            raise unauthorized(
                "This token could not be revoked: it has no jti claim. Let your identity provider add one, or allow "
                "such tokens by BILLING_JWT_OPERATOR_ID_REQUIRED=false."
            )
        operator = Operator(
            subject=identity.subject,
            role=identity.role,
            expires_at=identity.expires_at,
            token_id=identity.token_id,
        )
        if not await self.still_valid(operator):
            raise revoked()
        return operator

    async def still_valid(self, operator: Operator) -> bool:
        """See OperatorAuthenticator."""
        return not self._revoked.covers_token(operator.token_id)
