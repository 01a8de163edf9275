"""`billing grants`: access that an operator gives, beside what is paid for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from billing_app.cli.lists import Column, Listing, Output, Part
from billing_app.cli.options import by_option, not_blank
from billing_app.cli.terminal import NOTHING_MATCHED, confirm, json_option, moment, plain, require_known
from billing_app.settings import Settings
from billing_app.settings.parsers import parse_duration

if TYPE_CHECKING:
    from billing_core.model import AccessGrant
    from billing_core.state.results import GrantResult


def _to_json(grant: AccessGrant) -> dict[str, Any]:
    from billing_core.converters import to_plain

    plain_grant: dict[str, Any] = to_plain(grant)
    return plain_grant


def _standing(grant: AccessGrant) -> Sequence[Part]:
    if grant.revoked_at is not None:
        return ("revoked", grant.revoked_at, f"by {grant.revoked_by}: {grant.revoked_reason}")
    return ("holds" if grant.holds(datetime.now(UTC)) else "ended",)


GRANTS: Final = Listing["AccessGrant"](
    "grants",
    [
        Column("grant", lambda grant: grant.grant_id),
        Column("tenant", lambda grant: grant.tenant_id),
        Column("plan", lambda grant: grant.plan_code),
        Column("until", lambda grant: grant.until),
        Column("granted", lambda grant: grant.granted_at),
        Column("by", lambda grant: grant.actor),
        Column("why", lambda grant: grant.reason, cut=True),
        Column("standing", _standing),
    ],
    _to_json,
)


@click.group()
def grants() -> None:
    """Grant tenants access beside what they pay for. Stripe's events do not undo it."""


def _end(_ctx: click.Context, _param: click.Parameter, text: str | None) -> datetime | None:
    """Parse the end of a grant: a date, or a duration from now."""
    if text is None:
        return None
    try:
        if (duration := parse_duration(text)) is not None:
            return datetime.now(UTC) + duration
        instant = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is neither a date (2027-01-01) nor a duration from now (90d)") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


_by = by_option("Your name, for the record.")


@grants.command()
@click.argument("tenant")
@click.option("--plan", required=True, callback=not_blank, help="The plan that the tenant may use.")
@click.option("--until", callback=_end, help="The end: 2027-01-01 (UTC), or 90d from now. Without it, until revoked.")
@click.option("--why", required=True, callback=not_blank, help="Why it is granted, for the record.")
@click.option("--force", is_flag=True, help="Also grant a plan that is not in the catalog.")
@click.option("--yes", is_flag=True, help="Create a tenant that is not known without asking.")
@_by
@json_option
def add(
    *, tenant: str, plan: str, until: datetime | None, why: str, force: bool, yes: bool, by: str, as_json: bool
) -> None:
    """Grant TENANT full access to a plan, and notify it.

    \b
    billing grants add acme --plan pro --until 90d --why goodwill

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration.
    """
    settings = Settings.for_command()
    if (fault := settings.tenants.fault_of(tenant)) is not None:
        raise click.BadParameter(f"the id {fault}", param_hint="TENANT")
    if until is not None and until <= datetime.now(UTC):
        raise click.BadParameter("this end has passed", param_hint="--until")
    added = _add(settings, tenant, plan=plan, until=until, reason=why, actor=by, force=force, yes=yes)
    grant = asyncio.run(added).grant
    if as_json:
        click.echo(json.dumps(_to_json(grant)))
    else:
        until_when = f" until {moment(grant.until)}" if grant.until else ""
        click.echo(f"Granted plan {plain(plan)} to {plain(tenant)}{until_when}. Revoke it with {grant.grant_id}.")


@grants.command(name="list")
@click.argument("tenant", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Show at most this many.")
@GRANTS.options
def list_(tenant: str | None, limit: int, output: Output[AccessGrant]) -> None:
    """List grants, the last made first: those of TENANT, or of all. Revoked and ended ones are shown as such.

    \b
    billing grants list acme

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 unknown tenant.
    """
    found = asyncio.run(_list(Settings.for_command(), tenant, limit=limit))
    output.show(found, nothing="There are no grants.")


@grants.command()
@click.argument("grant")
@click.option("--why", required=True, callback=not_blank, help="Why it is revoked, for the record.")
@_by
@json_option
def revoke(*, grant: str, why: str, by: str, as_json: bool) -> None:
    """Revoke GRANT (grant_…) now, and notify its tenant. Repeating the command is harmless.

    \b
    billing grants revoke grant_123 --why 'they pay again'

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 unknown grant.
    """
    result = asyncio.run(_revoke(Settings.for_command(), grant, reason=why, actor=by))
    if result is None:
        click.echo(f"Unknown grant {plain(grant)!r}. See `billing grants list`.", err=True)
        raise click.exceptions.Exit(NOTHING_MATCHED)
    if as_json:
        click.echo(json.dumps(_to_json(result.grant)))
    elif result.events:
        click.echo(f"Revoked the grant of plan {plain(result.grant.plan_code)} to {plain(result.grant.tenant_id)}.")
    else:
        click.echo(f"{plain(grant)} was revoked before, at {moment(result.grant.revoked_at)}.")


async def _add(
    settings: Settings,
    tenant: str,
    *,
    plan: str,
    until: datetime | None,
    reason: str,
    actor: str,
    force: bool,
    yes: bool,
) -> GrantResult:
    from billing_app.container import open_tools
    from billing_core.model import TenantId

    async with open_tools(settings) as tools:
        plans = [each.plan_code for each in (await tools.rules().reload()).rules.plans]
        if plans and plan not in plans and not force:
            raise click.UsageError(
                f"There is no plan {plain(plan)!r}. The plans are {', '.join(map(plain, plans))}. "
                "Pass --force to grant it anyway."
            )
        _, known = await tools.state_upkeep().knows(payer="", tenant=TenantId(tenant))
        if not known:
            confirm(f"The tenant {plain(tenant)} is not known. Create it?", yes=yes)
        return await tools.service().grant(TenantId(tenant), plan_code=plan, until=until, reason=reason, actor=actor)


async def _list(settings: Settings, tenant: str | None, *, limit: int) -> Sequence[AccessGrant]:
    from billing_app.container import open_tools
    from billing_core.model import TenantId

    async with open_tools(settings) as tools:
        if tenant is not None:
            await require_known(tools.state_upkeep(), tenant)
        return await tools.tenant_reader().grants(None if tenant is None else TenantId(tenant), limit=limit)


async def _revoke(settings: Settings, grant: str, *, reason: str, actor: str) -> GrantResult | None:
    from billing_app.container import open_tools
    from billing_core.model import GrantId

    async with open_tools(settings) as tools:
        return await tools.service().revoke_grant(GrantId(grant), reason=reason, actor=actor)
