"""`billing events prune`."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import click

from billing_app.cli.options import duration_option, operator
from billing_app.cli.terminal import json_option, print_json, progress
from billing_app.settings import Settings

_BATCH: Final = 1000


@click.command()
@click.option(
    "--older-than",
    callback=duration_option,
    help="Minimum age of the bodies, such as 90d. Default: BILLING_BODY_RETENTION_DAYS.",
)
@click.option("--dry-run", is_flag=True, help="Only show how many bodies would be deleted.")
@json_option
def prune(older_than: timedelta | None, dry_run: bool, as_json: bool) -> None:
    """Delete the stored bodies of old events that were applied or ignored.

    The id, type, body hash and outcome are kept permanently, so that duplicates are still recognized and the history
    stays complete. Bodies of dead, parked and due events are kept, however old. Pruned events cannot be replayed.

    \b
    billing events prune --dry-run
    billing events prune --older-than 90d
    """
    settings = Settings.for_command()
    age = settings.retention.bodies if older_than is None else older_than
    pruned = asyncio.run(_prune(settings, age, dry_run=dry_run, quiet=as_json))
    if as_json:
        print_json({"bodies": pruned, "older_than_seconds": age.total_seconds(), "dry_run": dry_run})
    else:
        click.echo(f"{pruned} bodies {'would be' if dry_run else 'were'} deleted.")


async def _prune(settings: Settings, age: timedelta, *, dry_run: bool, quiet: bool) -> int:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        total = await tools.inbox_upkeep().prunable(older_than=age)
        if dry_run or total == 0:
            return total
        audit = await tools.audit_log().begin(
            "prune", actor=operator(), reason=None, filter={"older_than_seconds": age.total_seconds()}
        )
        pruned, after = 0, 0
        with progress("Pruning", total, quiet=quiet) as advance:
            while True:
                step = await tools.inbox_upkeep().prune(older_than=age, after=after, limit=_BATCH)
                if step.reached is None:
                    break
                pruned, after = pruned + step.bodies, step.reached
                advance(step.bodies)
        await tools.audit_log().finish(audit, {"bodies": pruned})
    return pruned
