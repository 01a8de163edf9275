"""`billing events ignore`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import click

from billing_app.cli.events.filters import demand_condition, event_filter, nothing_matched
from billing_app.cli.options import by_option, yes_option
from billing_app.cli.terminal import confirm, json_option, print_json
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.inbox.selection import EventFilter

REASON: Final = "by_operator"
_BATCH: Final = 500


@click.command()
@event_filter
@click.option("--limit", type=click.IntRange(1), help="Ignore at most this many events, the oldest ones.")
@click.option("--why", required=True, help="Why the events will never be applied; for the audit log.")
@by_option()
@yes_option
@json_option
def ignore(*, wanted: EventFilter, limit: int | None, why: str, by: str, yes: bool, as_json: bool) -> None:
    """Mark dead, parked and due events that will never be applied as ignored. A replay processes them again.

    Applied events and events that are being processed are left unchanged; the exit status is then 1.

    \b
    billing events ignore --id evt_123 --why 'test event of a partner'
    billing events ignore --status dead --reason unsupported --why 'another product' --yes
    """
    demand_condition(wanted)
    matched, ignored = asyncio.run(_ignore(Settings.load(), wanted, limit=limit, why=why, by=by, yes=yes))
    if matched == 0:
        nothing_matched()
    left = matched - ignored
    if as_json:
        print_json({"matched": matched, "ignored": ignored, "left": left})
    else:
        click.echo(f"Ignored {ignored} of {matched} events.")
        if left:
            click.echo(f"{left} were left unchanged: already applied or ignored, or being processed.", err=True)
    if left:
        raise click.exceptions.Exit(1)


async def _ignore(
    settings: Settings, wanted: EventFilter, *, limit: int | None, why: str, by: str, yes: bool
) -> tuple[int, int]:
    """Ignore matching events; return how many matched and how many of them were ignored."""
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        numbers = await tools.event_log().select(wanted, limit=limit)
        if not numbers:
            return 0, 0
        if len(numbers) > 1:
            confirm(f"Ignore up to {len(numbers)} events?", yes=yes)
        audit = await tools.audit_log().begin("ignore", actor=by, reason=why, filter=wanted.describe())
        ignored = 0
        for start in range(0, len(numbers), _BATCH):
            ignored += len(await tools.inbox_upkeep().ignore(numbers[start : start + _BATCH], reason=REASON))
        await tools.audit_log().finish(audit, {"matched": len(numbers), "ignored": ignored})
    return len(numbers), ignored
