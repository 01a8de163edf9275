"""`billing tenants erase`."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

import click

from billing_app.cli.options import by_option, dry_run_option, not_blank, yes_option
from billing_app.cli.terminal import json_option, plain, print_json, require_known
from billing_app.settings import Settings
from billing_app.settings.tokens import LONGEST_LIFETIME

if TYPE_CHECKING:
    from billing_core.model import TenantId
    from billing_core.state.erasing import ErasedTenant

_STAYS: Final = (
    "the keys of its events, so that no delivery brings it back",
    "its id with its last number, so that clients of a tenant that comes back load its state again",
    "digests of the ids of its customers and objects, so that later events are ignored (erased)",
    "the entry of the audit log: who, when, why",
)


@click.command()
@click.argument("tenant")
@click.option("--why", required=True, callback=not_blank, help="Why, for the audit log. It stays: name no person.")
@by_option()
@dry_run_option
@yes_option
@json_option
def erase(*, tenant: str, why: str, by: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Erase TENANT: its state, messages, events' bodies, operations, grants, links and positions of consumers.

    Its tokens are revoked and its streams end. Stripe keeps its customers: delete them there. Events that come for them
    afterwards are ignored. This cannot be undone.

    \b
    billing tenants erase acme --why 'request 2026-117' --dry-run

    Exit status: 0 done, 1 refused, 2 wrong usage or configuration, 3 unknown tenant.
    """
    from billing_core.model import TenantId

    erased = asyncio.run(
        _erase(Settings.for_command(), TenantId(tenant), why=why, by=by, dry_run=dry_run, yes=yes, quiet=as_json)
    )
    if as_json:
        print_json({"dry_run": dry_run, "tenant_id": erased.tenant_id, "erased": erased.rows})
    elif not dry_run:
        _print(erased, f"Erased {plain(tenant)}:")


async def _erase(
    settings: Settings, tenant_id: TenantId, *, why: str, by: str, dry_run: bool, yes: bool, quiet: bool
) -> ErasedTenant:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        await require_known(tools.state_upkeep(), tenant_id)
        trial = await tools.service().erase(tenant_id, actor=by, reason=why, dry_run=True)
        if not quiet:
            _print(trial, "Dry run. Nothing was changed:" if dry_run else f"This erases of {plain(tenant_id)}:")
        if dry_run:
            return trial
        _ask_for_name(tenant_id, yes=yes)
        return await tools.service().erase(tenant_id, actor=by, reason=why, token_lifetime=LONGEST_LIFETIME)


def _ask_for_name(tenant_id: TenantId, *, yes: bool) -> None:
    """Have the tenant's id typed. Without a terminal, `--yes` is required."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"Erasing {plain(tenant_id)} cannot be undone. Not a terminal. Pass --yes to confirm.")
    typed = click.prompt("This cannot be undone. Type the tenant's id to erase it", err=True)
    if typed != tenant_id:
        raise click.UsageError("That is not the tenant's id. Nothing was changed.")


def _print(erased: ErasedTenant, title: str) -> None:
    click.echo(title)
    for kind, count in erased.rows.items():
        if count:
            click.echo(f"  {count:>6} {kind.replace('_', ' ')}")
    click.echo("What stays:")
    for each in _STAYS:
        click.echo(f"  {each}")
