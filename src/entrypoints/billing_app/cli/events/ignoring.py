"""`billing events ignore`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from billing_app.cli.events.filters import demand_condition, event_filter, nothing_matched
from billing_app.cli.options import by_option, yes_option
from billing_app.cli.terminal import confirm, json_option, print_json
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.inbox.selection import EventFilter
    from billing_core.oversight.ignoring import IgnoredEvents


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
    found = asyncio.run(_ignore(Settings.for_command(), wanted, limit=limit, why=why, by=by, yes=yes))
    if found is None:
        nothing_matched()
    if as_json:
        print_json({"matched": found.matched, "ignored": found.ignored, "left": found.left})
    else:
        click.echo(f"Ignored {found.ignored} of {found.matched} events.")
        if found.left:
            click.echo(f"{found.left} were left unchanged: already applied or ignored, or being processed.", err=True)
    if found.left:
        raise click.exceptions.Exit(1)


async def _ignore(
    settings: Settings, wanted: EventFilter, *, limit: int | None, why: str, by: str, yes: bool
) -> IgnoredEvents | None:
    """Ignore matching events; None if none match."""
    from billing_app.container import open_tools
    from billing_core.oversight.ignoring import ignore_events

    async with open_tools(settings) as tools:
        numbers = await tools.event_log().select(wanted, limit=limit)
        if not numbers:
            return None
        if len(numbers) > 1:
            confirm(f"Ignore up to {len(numbers)} events?", yes=yes)
        return await ignore_events(
            numbers, wanted=wanted, actor=by, reason=why, upkeep=tools.inbox_upkeep(), audits=tools.audit_log()
        )
