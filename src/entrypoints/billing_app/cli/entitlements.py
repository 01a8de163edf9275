"""`billing entitlements`: the features that a tenant may use, and why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from billing_app.cli.terminal import json_option, moment, plain, print_json, require_known
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.model import FeatureVerdict, TenantEntitlements

_LARGEST = 10**18 - 1


@click.command()
@click.argument("tenant")
@click.argument("feature", required=False)
@click.option(
    "--quantity", type=click.IntRange(0, _LARGEST), help="How much more of FEATURE is asked for; 1 if not set."
)
@click.option(
    "--used", type=click.IntRange(0, _LARGEST), help="How much of FEATURE there is already, by your own count."
)
@json_option
def entitlements(tenant: str, feature: str | None, quantity: int | None, used: int | None, as_json: bool) -> None:
    """Show which features TENANT may use now, what is left of each, and what gives it; or FEATURE alone.

    \b
    billing entitlements acme
    billing entitlements acme projects --used 3 --json

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 unknown tenant.
    """
    if feature is None and (quantity is not None or used is not None):
        raise click.UsageError("--quantity and --used need a FEATURE.")
    found = asyncio.run(_load(Settings.for_command(), tenant))
    keys = found.features(found.as_of) if feature is None else (feature,)
    verdicts = [found.allows(key, found.as_of, 1 if quantity is None else quantity, used=used) for key in keys]
    if as_json:
        _print_json(found, verdicts[0] if feature is not None else None)
        return
    access = found.span(found.as_of).access
    until = f" until {moment(access.until)}" if access.until else ""
    click.echo(f"{plain(tenant)}  access {access.state.value}: {access.reason.value}{until}")
    width = max((len(plain(key)) for key in keys), default=0)
    for verdict in verdicts:
        click.echo(f"  {plain(verdict.feature):{width}}  {_answer(verdict)}")
    if not verdicts:
        click.echo("  No plan lists a feature. See docs/billing/entitlements.md.")


async def _load(settings: Settings, tenant: str) -> TenantEntitlements:
    from billing_app.container import open_tools
    from billing_core.model import TenantId

    async with open_tools(settings) as tools:
        await require_known(tools.state_upkeep(), tenant)
        return await tools.entitlement_loader().load(TenantId(tenant))


def _print_json(found: TenantEntitlements, verdict: FeatureVerdict | None) -> None:
    from billing_core.payloads import entitlement_payload, entitlements_payload

    if verdict is None:
        print_json(entitlements_payload(found, found.as_of))
    else:
        print_json(entitlement_payload(found.tenant_id, verdict))


def _answer(verdict: FeatureVerdict) -> str:
    parts = [f"{'yes' if verdict.allowed else 'no'}: {verdict.reason.value}"]
    if verdict.used is not None:
        parts.append(f"used {verdict.used}")
    if verdict.kind in ("limit", "metered"):
        parts.append("no limit" if verdict.limit is None else f"limit {verdict.limit}, remaining {verdict.remaining}")
    if verdict.resets_at is not None:
        parts.append(f"resets {moment(verdict.resets_at)}")
    if verdict.sources:
        parts.append(f"from {plain(', '.join(verdict.sources))}")
    return "  ".join(parts)
