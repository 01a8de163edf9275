"""`billing events list`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from billing_app.cli.events.filters import event_filter, nothing_matched
from billing_app.cli.events.rendering import EVENTS
from billing_app.cli.lists import Output
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.inbox.selection import EventFilter
    from billing_core.oversight.inspection import StoredEvent


@click.command(name="list")
@event_filter
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Show at most this many.")
@click.option("--before", type=click.IntRange(1), help="Continue before this number, printed by the previous page.")
@EVENTS.options
def list_(wanted: EventFilter, limit: int, before: int | None, output: Output[StoredEvent]) -> None:
    """List stored events that meet all conditions, newest first.

    \b
    billing events list --status dead --since 2h
    billing events list --type 'invoice.*' --tenant acme --output csv > events.csv
    billing events list --status due --sort -received
    """
    found = asyncio.run(_find(Settings.for_command(), wanted, before=before, limit=limit))
    more = found[-1].dispatch_id if len(found) == limit else None
    output.show(found, beside={"before": more})
    if not found:
        nothing_matched()
    if more is not None:
        output.hint(f"There may be more. Continue with --before {more}")


async def _find(settings: Settings, wanted: EventFilter, *, before: int | None, limit: int) -> Sequence[StoredEvent]:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.event_log().find(wanted, before=before, limit=limit)
