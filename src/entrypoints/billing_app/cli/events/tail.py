"""`billing events tail`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import attrs
import click

from billing_app.cli.events.filters import event_filter
from billing_app.cli.events.rendering import EVENTS
from billing_app.cli.lists import Output
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.inbox.selection import EventFilter
    from billing_core.oversight.inspection import StoredEvent
    from billing_core.oversight.ports import EventLog

_WATCHED: Final = 500
"""The newest matching events, whose changes are shown."""
_POLL_SECONDS: Final = 0.5


@click.command()
@event_filter
@click.option("-f", "--follow", is_flag=True, help="Go on with events as they arrive and change, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0, _WATCHED), default=10, show_default=True, help="Begin with so many events."
)
@EVENTS.options
def tail(wanted: EventFilter, follow: bool, lines: int, output: Output[StoredEvent]) -> None:
    """Show the newest stored events, the newest last, and with -f each one that arrives or changes its status.

    --json prints one JSON object per line. An event that is older than the newest 500 that match is not watched.

    \b
    billing events tail -f
    billing events tail -f --status dead --status parked
    billing events tail -f --tenant acme --json | jq .status
    """
    settings = Settings.for_command()
    shown = attrs.evolve(output, zone=output.zone or "utc")  # the distance from now would be wrong a moment later
    try:
        asyncio.run(_tail(settings, wanted, shown, follow=follow, lines=lines))
    except KeyboardInterrupt:
        return


async def _tail(
    settings: Settings, wanted: EventFilter, output: Output[StoredEvent], *, follow: bool, lines: int
) -> None:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        log = tools.event_log()
        newest = await log.find(wanted, before=None, limit=max(lines, _WATCHED if follow else 1))
        output.lines([*reversed(newest[:lines])], live=follow)
        if follow:
            await _follow(log, wanted, newest, lambda events: output.lines(events, head=False, live=True), output.hint)


async def _follow(
    log: EventLog,
    wanted: EventFilter,
    newest: Sequence[StoredEvent],
    show: Callable[[Sequence[StoredEvent]], None],
    say: Callable[[str], None],
) -> None:
    """Show events that are new, or whose status or attempt is another one than before, until this task is canceled."""
    from billing_core.errors import StoreUnavailableError
    from billing_core.oversight.changes import EventChanges

    changes, away = EventChanges(newest), False
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        try:
            found = await log.find(wanted, before=None, limit=_WATCHED)
        except StoreUnavailableError as error:
            if not away:
                say(f"The database does not answer ({error}). Trying again.")
            away = True
            continue
        away = False
        show(changes.since_last_look(found))
