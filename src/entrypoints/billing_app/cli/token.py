"""`billing token`: issue tokens for the API and the stream, and revoke them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from billing_app.cli.lists import Column, Listing, Output
from billing_app.cli.terminal import json_option, print_json
from billing_app.settings import Settings
from billing_app.settings.parsers import parse_duration
from billing_app.settings.tokens import LONGEST_LIFETIME

if TYPE_CHECKING:
    from billing_core.stream_access.ports import Principal, Revocation

_LONGEST_TOKEN = 16 * 1024


def _lifetime_option(_ctx: click.Context, _param: click.Parameter, text: str | None) -> timedelta | None:
    """Parse a lifetime such as `90s`, `30m`, `1h` or `7d`; a bare number is seconds."""
    if text is None:
        return None
    duration = parse_duration(f"{text}s" if text.isdecimal() else text)
    if duration is None or not timedelta(0) < duration <= LONGEST_LIFETIME:
        raise click.BadParameter(f"{text!r} is not a duration such as 90s, 30m, 1h or 7d (at most 30 days)")
    return duration


@click.group(invoke_without_command=True)
@click.option("--tenant", help="Tenant whose data the token gives access to.")
@click.option("--ttl", callback=_lifetime_option, help="Lifetime, such as 30m. Default: BILLING_TOKEN_TTL_SECONDS.")
@click.option(
    "--role", default="viewer", show_default=True, help="One of BILLING_JWT_READER_ROLES or BILLING_JWT_OPERATOR_ROLES."
)
@click.option("--operator", metavar="NAME", help="Issue an operator's token in place of a tenant's, for this person.")
@json_option
@click.pass_context
def token(
    ctx: click.Context, *, tenant: str | None, ttl: timedelta | None, role: str, operator: str | None, as_json: bool
) -> None:
    """Print a token for one tenant or for an operator, signed with BILLING_JWT_SECRET, or revoke tokens.

    An operator's token has a role of BILLING_JWT_OPERATOR_ROLES and no tenant. It opens the operator's API, whose audit
    log names its person.

    \b
    curl -N -H "Authorization: Bearer $(billing token --tenant acme)" \\
         http://127.0.0.1:8080/api/v1/billing/stream
    billing token --operator jonas@ops.example --role operator
    """
    if ctx.invoked_subcommand is not None:
        return
    if (tenant is None) == (operator is None):
        raise click.UsageError("Give either --tenant or --operator.")
    for name, text in (("--tenant", tenant), ("--operator", operator)):
        if text is not None and (not text or text != text.strip()):
            raise click.BadParameter("it must not be empty or have surrounding spaces", param_hint=name)
    issued, expires_at = _issue(Settings.for_command(), tenant=tenant, operator=operator, role=role, ttl=ttl)
    if as_json:
        bearer = {"operator": operator} if tenant is None else {"tenant_id": tenant}
        print_json({"token": issued, **bearer, "role": role, "expires_at": expires_at})
    else:
        click.echo(issued)


def _issue(
    settings: Settings, *, tenant: str | None, operator: str | None, role: str, ttl: timedelta | None
) -> tuple[str, datetime]:
    """Sign a token; return it and the end of its life."""
    from billing_app.errors import OperatorError
    from billing_app.http.tokens import issue_operator_token, issue_token
    from billing_core.model import TenantId

    policy = settings.tokens
    roles = policy.roles if operator is None else policy.operator_roles
    if role not in roles:
        known = f"{', '.join(roles) or 'none'} (BILLING_JWT_OPERATOR_ROLES adds roles)"
        raise click.BadParameter(f"{role!r} is not one of {known}", param_hint="--role")
    if not policy.secrets:
        raise OperatorError(
            "BILLING_JWT_SECRET is not set. Generate one with `openssl rand -hex 32`, for the server too."
        )
    now, lifetime = datetime.now(UTC), ttl or policy.ttl
    signing: dict[str, Any] = {"secret": policy.secrets[0], "policy": policy, "role": role, "now": now, "ttl": lifetime}
    if operator is not None:
        return issue_operator_token(subject=operator, **signing), now + lifetime
    return issue_token(tenant_id=TenantId(tenant or ""), **signing), now + lifetime


@token.command()
@click.argument("source", required=False, type=click.Choice(["-"]))
@click.option("--id", "token_id", help="Revoke the token with this id (its `jti`).")
@click.option("--tenant", help="Revoke all tokens of this tenant issued up to now.")
@click.option(
    "--keep",
    callback=_lifetime_option,
    help="How long to keep the revocation. Default: 30d, the longest lifetime of our tokens; with -, until it expires.",
)
@json_option
def revoke(source: str | None, token_id: str | None, tenant: str | None, keep: timedelta | None, as_json: bool) -> None:
    """Revoke tokens and close the streams that they opened.

    With `-`, the token is read from standard input, because other users can see command lines. Every server refuses
    the token within BILLING_TOKEN_RECHECK_SECONDS, and its open streams end within the same time again.

    \b
    billing token revoke - < leaked-token
    """
    if sum(given is not None for given in (source, token_id, tenant)) != 1:
        raise click.UsageError("Give exactly one of --id, --tenant and -.")
    if "" in (token_id, tenant):
        raise click.UsageError("The id must not be empty.")
    settings = Settings.for_command()
    proof = sys.stdin.read(_LONGEST_TOKEN).strip() if source is not None else None
    revocation, recorded = asyncio.run(_revoke(settings, proof=proof, token_id=token_id, tenant=tenant, keep=keep))
    if as_json:
        from billing_core.converters import to_plain

        print_json({**to_plain(revocation), "recorded": recorded})
    elif recorded:
        seconds = settings.tokens.revalidate_every.total_seconds()
        click.echo(f"Revoked {_named(revocation)}. Every server refuses it within {seconds:g} seconds.")
    else:
        click.echo(f"Nothing to revoke: {_named(revocation)} expired at {revocation.kept_until:%Y-%m-%d %H:%M:%S} UTC.")


def _revocation_to_json(revocation: Revocation) -> dict[str, Any]:
    from billing_core.converters import to_plain

    shown: dict[str, Any] = to_plain(revocation)
    return shown


REVOCATIONS: Final = Listing["Revocation"](
    "revocations",
    [
        Column("revoked", lambda revocation: revocation.revoked_at),
        Column("subject", lambda revocation: revocation.subject),
        Column("name", lambda revocation: revocation.name),
        Column("kept-until", lambda revocation: revocation.kept_until),
    ],
    _revocation_to_json,
)


@token.command()
@REVOCATIONS.options
def revoked(output: Output[Revocation]) -> None:
    """List the current revocations: of single tokens, and of all tokens that a tenant had at that moment.

    \b
    billing token revoked
    """
    output.show(asyncio.run(_current(Settings.for_command())), nothing="There are no revocations.")


def _named(revocation: Revocation) -> str:
    if revocation.subject == "token":
        return f"token {revocation.name}"
    return f"all tokens of {revocation.name} issued until {revocation.revoked_at:%Y-%m-%d %H:%M:%S} UTC"


async def _revoke(
    settings: Settings, *, proof: str | None, token_id: str | None, tenant: str | None, keep: timedelta | None
) -> tuple[Revocation, bool]:
    """Revoke the token or the tenant's tokens; the flag is False if the token has expired already."""
    from billing_app.container import open_tools
    from billing_core.stream_access.ports import Revocation

    now = datetime.now(UTC)
    kept_until = now + (keep or LONGEST_LIFETIME)
    if proof is not None:
        principal = await _read(settings, proof)
        token_id = principal.token_id
        kept_until = principal.expires_at if keep is None else kept_until
    revocation = Revocation(
        subject="tenant" if token_id is None else "token",
        name=token_id or tenant or "",
        revoked_at=now,
        kept_until=kept_until,
    )
    if kept_until <= now:
        return revocation, False
    async with open_tools(settings) as tools:
        await tools.revocations().revoke(revocation)
    return revocation, True


async def _read(settings: Settings, proof: str) -> Principal:
    """Return the principal of a valid token, even if it has expired. Raises OperatorError."""
    from billing_app.container import open_token_verifier
    from billing_app.errors import OperatorError
    from billing_app.http.responses import RefusalError
    from billing_app.http.tokens import read_principal

    try:
        async with open_token_verifier(settings) as verifier:
            principal = read_principal(await verifier.read(proof, expired=True), settings.tokens)
    except RefusalError as refusal:
        raise OperatorError(f"{refusal.message} Nothing was revoked.") from None
    if principal.token_id is None:
        remedy = f"billing token revoke --tenant {principal.tenant_id}"
        raise OperatorError(f"This token has no id (`jti`). Revoke all tokens of its tenant instead: {remedy}")
    return principal


async def _current(settings: Settings) -> Sequence[Revocation]:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.revocations().current()
