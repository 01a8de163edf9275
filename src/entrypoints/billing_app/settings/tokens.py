"""Bearer tokens: how they are verified, issued and revoked."""

from datetime import timedelta
from typing import Final

import attrs

from billing_app.secret import Secret
from billing_app.settings import parsers
from billing_app.settings.declaration import seconds, setting
from billing_app.troubleshooting import SettingTrouble

LONGEST_LIFETIME: Final = timedelta(days=30)
"""The longest lifetime of a token that we issue."""


@attrs.frozen(kw_only=True)
class TokenSettings:
    """Keys and required claims of a token."""

    secrets: tuple[Secret, ...] = setting(
        "BILLING_JWT_SECRET",
        parsers.comma_list(parsers.secret(parsers.at_least_bytes(32))),
        (),
        "HS256 key of API and stream tokens. The first one signs and all of them verify, so that a key can be rotated.",
        secret=True,
        trouble=SettingTrouble.TOKEN_KEY_IS_WEAK,
    )
    jwks_url: str | None = setting(
        "BILLING_JWT_JWKS_URL",
        parsers.SECURE_URL,
        None,
        "Address of the token issuer's RS256 and ES256 keys; in addition to BILLING_JWT_SECRET or instead of it.",
        example="https://login.example.com/.well-known/jwks.json",
    )
    jwks_refresh: timedelta = seconds(
        "BILLING_JWT_JWKS_REFRESH_SECONDS",
        300,
        "Age at which the issuer's keys are fetched again; an unknown key id triggers a fetch at once.",
        minimum=10,
        maximum=86400,
    )
    audience: str = setting("BILLING_JWT_AUDIENCE", parsers.TEXT, "billing", "Required `aud` claim of a token.")
    issuer: str = setting("BILLING_JWT_ISSUER", parsers.TEXT, "billing-core", "Required `iss` claim of a token.")
    tenant_claim: str = setting("BILLING_JWT_TENANT_CLAIM", parsers.TEXT, "tenant_id", "Claim that names the tenant.")
    role_claim: str = setting(
        "BILLING_JWT_ROLE_CLAIM",
        parsers.TEXT,
        "role",
        "Claim that names the role; a token without it has the role viewer.",
    )
    reader_roles: tuple[str, ...] = setting(
        "BILLING_JWT_READER_ROLES",
        parsers.comma_list(parsers.TEXT),
        ("owner", "admin", "viewer"),
        "Roles that may read billing data.",
    )
    writer_roles: tuple[str, ...] = setting(
        "BILLING_JWT_WRITER_ROLES",
        parsers.comma_list(parsers.TEXT),
        ("owner", "admin"),
        "Roles that may change subscriptions, payment methods and the rest of a tenant's billing through the API.",
    )
    operator_roles: tuple[str, ...] = setting(
        "BILLING_JWT_OPERATOR_ROLES",
        parsers.comma_list(parsers.TEXT),
        (),
        "Roles of your own staff: they may read and change billing data, give credit and waive payments, and `/state` "
        "also shows them what needs attention. "
        "Never a role that tenants can have.",
        example="operator",
    )
    operator_id_required: bool = setting(
        "BILLING_JWT_OPERATOR_ID_REQUIRED",
        parsers.FLAG,
        True,
        "Refuse operators' tokens without a `jti` claim, which cannot be revoked. Set it to false for an identity "
        "provider that issues none, and let such tokens expire soon.",
    )
    revalidate_every: timedelta = seconds(
        "BILLING_TOKEN_RECHECK_SECONDS",
        15,
        "How often a server loads revocations and revalidates the tokens of open streams. A revocation takes effect "
        "within twice this time.",
        minimum=0.05,
        maximum=25,
    )
    ttl: timedelta = seconds(
        "BILLING_TOKEN_TTL_SECONDS",
        3600,
        "Lifetime of a token issued by `billing token`.",
        minimum=1,
        maximum=30 * 86400,
    )

    @property
    def roles(self) -> tuple[str, ...]:
        """All roles that may read billing data."""
        return tuple(dict.fromkeys((*self.reader_roles, *self.writer_roles, *self.operator_roles)))
