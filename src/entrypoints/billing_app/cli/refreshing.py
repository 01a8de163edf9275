"""`billing plans refresh`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import click

from billing_app.cli.events.rendering import difference_lines, difference_to_json
from billing_app.cli.options import by_option, dry_run_option, yes_option
from billing_app.cli.terminal import confirm, json_option, print_json, progress
from billing_app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from billing_app.container import Tools
    from billing_core.model import RulesInForce, TenantId
    from billing_core.state.diff import ObjectChange

_AT_ONCE: Final = 100
"""Tenants of one transaction."""
_SHOWN: Final = 20
"""Subscriptions that are printed; `--json` has all of them."""


@click.command()
@dry_run_option
@yes_option
@by_option("Your name, kept with the rules.")
@json_option
def refresh(*, dry_run: bool, yes: bool, by: str, as_json: bool) -> None:
    """Put the rules of this configuration in force, and read the stored state of all tenants by them.

    Servers and workers put new rules in force by themselves. This is for rules that they do not: earlier ones that are
    to return, and rules that take the plan of a live subscription away. Tenants are notified of each plan that changes,
    once. May run beside servers and workers, and be repeated.

    \b
    billing plans refresh --dry-run
    billing plans refresh --yes

    Exit status: 0 done, 2 wrong usage or configuration.
    """
    asyncio.run(_refresh(Settings.for_command(), dry_run=dry_run, yes=yes, by=by, as_json=as_json))


async def _refresh(settings: Settings, *, dry_run: bool, yes: bool, by: str, as_json: bool) -> None:
    from billing_app.container import open_tools
    from billing_core.state.rules import activate

    async with open_tools(settings) as tools:
        before = await tools.rules().reload()
        if dry_run or not yes:
            _print_preview(before, await _preview(tools, quiet=as_json), as_json=as_json and dry_run)
        if dry_run:
            return
        confirm("Put these rules in force?", yes=yes)
        report = await activate(tools.rules_register(), tools.own_rules(), actor=by, always=True)
        await tools.rules().reload()
        reread, messages = await _reread(tools, quiet=as_json)
    result = {"generation": report.generation, "result": report.result.value, "tenants": reread, "messages": messages}
    if as_json:
        print_json(result)
    else:
        click.echo(
            f"Generation {report.generation} is in force. The state of {reread} tenants was read by it, "
            f"which changed {messages} of their subscriptions."
        )


async def _preview(tools: Tools, *, quiet: bool) -> Sequence[ObjectChange]:
    """Return what the rules of this configuration would change, page by page, so that no lock is held for long."""
    from billing_core.state.rules import live_subscriptions

    found = {held.tenant_id async for held in live_subscriptions(tools.rules_register())}
    tenants = sorted(found)
    differences: list[ObjectChange] = []
    with progress("comparing", len(tenants), quiet=quiet) as advance:
        for page in _pages(tenants):
            trial = await tools.service().preview(page, tools.own_rules())
            differences += trial.differences
            advance(len(page))
    return differences


async def _reread(tools: Tools, *, quiet: bool) -> tuple[int, int]:
    """Read the state of all tenants that are behind; return how many they are, and how many messages they got."""
    register, tenants, messages = tools.rules_register(), 0, 0
    with progress("reading", await register.count_behind(), quiet=quiet) as advance:
        while behind := await register.tenants_behind(limit=_AT_ONCE):
            messages += len(await tools.service().reread(behind))
            tenants += len(behind)
            advance(len(behind))
    return tenants, messages


def _pages(tenants: Sequence[TenantId]) -> Sequence[Sequence[TenantId]]:
    return [tenants[start : start + _AT_ONCE] for start in range(0, len(tenants), _AT_ONCE)]


def _print_preview(before: RulesInForce, differences: Sequence[ObjectChange], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {"dry_run": True, "generation": before.generation, "differences": [*map(difference_to_json, differences)]}
        )
        return
    for change in differences[:_SHOWN]:
        click.echo("\n".join(difference_lines(change)), err=True)
    if len(differences) > _SHOWN:
        click.echo(f"… and {len(differences) - _SHOWN} more; --dry-run --json shows all of them", err=True)
    click.echo(f"{len(differences)} rows would change under the rules of this configuration.", err=True)
    if before.generation:
        click.echo(f"Generation {before.generation} is in force now.", err=True)
