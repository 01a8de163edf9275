"""`billing token`: a token for the API and the stream."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from billing_app.settings import Settings

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=30)


def _span(_ctx: click.Context, _param: click.Parameter, text: str | None) -> timedelta | None:
    """`90s`, `30m`, `1h` or `7d`; a bare number is seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,7})([smhd]?)", text)
    span = timedelta(**{_UNITS[match[2] or "s"]: int(match[1])}) if match else timedelta(0)
    if not timedelta(0) < span <= _LONGEST:
        raise click.BadParameter(f"{text!r} is not a span like 90s, 30m, 1h or 7d, of 30 days at most")
    return span


@click.command()
@click.option("--tenant", required=True, help="The tenant whose data the token opens.")
@click.option("--ttl", callback=_span, help="How long it is valid, like 30m. Default: BILLING_TOKEN_TTL_SECONDS.")
@click.option("--role", default="viewer", show_default=True, help="owner, admin or viewer; each may read.")
def token(tenant: str, ttl: timedelta | None, role: str) -> None:
    """Print a token for one tenant, signed with BILLING_JWT_SECRET.

    \b
    curl -N -H "Authorization: Bearer $(billing token --tenant acme)" \\
         http://127.0.0.1:8080/api/v1/billing/stream
    """
    from billing_app.errors import OperatorError
    from billing_app.http.auth import READER_ROLES, issue_token
    from billing_core.model import TenantId

    if role not in READER_ROLES:
        raise click.BadParameter(f"{role!r} is not one of {', '.join(READER_ROLES)}", param_hint="--role")
    if not tenant or tenant != tenant.strip():
        raise click.BadParameter("a tenant id is not empty and has no blanks around it", param_hint="--tenant")
    settings = Settings.load()
    if not settings.jwt_secrets:
        raise OperatorError("BILLING_JWT_SECRET is not set. Make one: openssl rand -hex 32, and give it to the server.")
    click.echo(
        issue_token(
            secret=settings.jwt_secrets[0],
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
            tenant_id=TenantId(tenant),
            role=role,
            now=datetime.now(UTC),
            ttl=ttl or settings.token_ttl,
        )
    )
