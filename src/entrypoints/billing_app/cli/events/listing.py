"""`billing events list`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import click

from billing_app.cli.events.filters import event_filter, nothing_matched
from billing_app.cli.events.rendering import event_to_json, status_text
from billing_app.cli.terminal import json_option, moment, plain, print_json
from billing_app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from billing_core.inbox.selection import EventFilter
    from billing_core.oversight.inspection import StoredEvent

_ROOM_FOR_A_TABLE: Final = 140


@click.command(name="list")
@event_filter
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Show at most this many.")
@click.option("--before", type=click.IntRange(1), help="Continue before this number, printed by the previous page.")
@json_option
def list_(wanted: EventFilter, limit: int, before: int | None, as_json: bool) -> None:
    """List stored events that meet all conditions, newest first."""
    found = asyncio.run(_find(Settings.load(), wanted, before=before, limit=limit))
    more = found[-1].dispatch_id if len(found) == limit else None
    if as_json:
        print_json({"events": [event_to_json(event) for event in found], "before": more})
    elif found:
        _print(found)
    if not found:
        nothing_matched()
    if more is not None and not as_json:
        click.echo(f"There may be more. Continue with --before {more}", err=True)


async def _find(settings: Settings, wanted: EventFilter, *, before: int | None, limit: int) -> Sequence[StoredEvent]:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.event_log().find(wanted, before=before, limit=limit)


def _print(found: Sequence[StoredEvent]) -> None:
    """Print a table if the terminal is wide enough, otherwise two lines per event, so that no id is broken."""
    from rich.console import Console

    console = Console()
    if console.width >= _ROOM_FOR_A_TABLE:
        _print_table(console, found)
        return
    for event in found:
        click.echo(f"{moment(event.received_at)}  {event.key.event_id}  {plain(event.type)}")
        click.echo(f"    {plain(event.tenant_id or 'no tenant')}, {plain(status_text(event))}")


def _print_table(console: Console, found: Sequence[StoredEvent]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("received", "event"):
        table.add_column(column, no_wrap=True)
    for column in ("type", "tenant", "status"):
        table.add_column(column, overflow="fold")
    for event in found:
        cells = (moment(event.received_at), event.key.event_id, event.type, event.tenant_id or "–", status_text(event))
        table.add_row(*(Text(plain(cell)) for cell in cells))
    console.print(table)
