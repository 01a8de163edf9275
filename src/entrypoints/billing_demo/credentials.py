"""Secrets of one run, generated for it."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs

from billing_app.http.sign_in import make_ticket
from billing_app.http.tokens import issue_token
from billing_app.secret import Secret
from billing_app.settings import TokenSettings
from billing_core.model import TenantId

_TOKEN_LIFETIME: Final = timedelta(hours=1)
_TICKET_LIFETIME: Final = timedelta(minutes=15)
_POLICY: Final = TokenSettings()


def _secret(prefix: str = "") -> Secret:
    return Secret(prefix + secrets.token_hex(32))


@attrs.frozen(kw_only=True)
class Credentials:
    """The secrets that the server and the demo share."""

    webhook: Secret = attrs.field(factory=lambda: _secret("whsec_"))
    jwt: Secret = attrs.field(factory=_secret)
    ticket: Secret = attrs.field(factory=_secret)
    api_key: Secret = attrs.field(factory=lambda: _secret("sk_test_"))
    """Shaped like a test mode key of Stripe, because the server derives its mode from the key."""

    def token(self, tenant_id: str, *, role: str = "viewer") -> str:
        """Issue a bearer token for a tenant."""
        return issue_token(
            secret=self.jwt,
            policy=_POLICY,
            tenant_id=TenantId(tenant_id),
            role=role,
            now=datetime.now(UTC),
            ttl=_TOKEN_LIFETIME,
        )

    def sign_in_path(self, tenant_id: str) -> str:
        """Return path and query of a link that signs a browser in as a tenant, valid for some minutes."""
        ticket = make_ticket(self.ticket, TenantId(tenant_id), expires_at=datetime.now(UTC) + _TICKET_LIFETIME)
        return f"/demo/sign-in?ticket={ticket}"
