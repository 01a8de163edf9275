"""`billing events stats`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from billing_app.cli.events.filters import event_filter, nothing_matched
from billing_app.cli.events.rendering import STATUSES
from billing_app.cli.lists import Column, Listing, Output
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.inbox.selection import EventFilter
    from billing_core.oversight.inspection import EventTally
    from billing_core.oversight.ports import TallyBy

_UNLESS_TOLD: Final = timedelta(hours=24)


def _counts(tally: EventTally) -> Mapping[str, int]:
    known = {status.value: count for status, count in tally.counts.items()}
    return {status: known.get(status, 0) for status in STATUSES}


def _count(status: str) -> Column[EventTally]:
    color = {"dead": "red", "parked": "yellow"}.get(status)
    return Column(
        status,
        lambda tally: _counts(tally)[status],
        color=lambda tally: color if _counts(tally)[status] else None,
    )


def _to_json(tally: EventTally) -> Mapping[str, Any]:
    return {"name": tally.name, "total": tally.total, **_counts(tally)}


STATS: Final = Listing["EventTally"](
    "groups",
    [Column("name", lambda tally: tally.name), Column("total", lambda tally: tally.total), *map(_count, STATUSES)],
    _to_json,
)


@click.command()
@event_filter
@click.option(
    "--by",
    type=click.Choice(["status", "type", "hour"]),
    default="status",
    show_default=True,
    help="Groups: the status with its reason, the type, or the hour in which an event was received (UTC).",
)
@STATS.options
def stats(wanted: EventFilter, by: TallyBy, output: Output[EventTally]) -> None:
    """Count stored events in groups: of the last 24 hours, unless --since or --id says otherwise.

    \b
    billing events stats
    billing events stats --by type --since 7d --sort -dead
    billing events stats --by hour --type 'invoice.*' --output csv
    """
    if wanted.since is None and not wanted.ids:
        wanted = attrs.evolve(wanted, since=datetime.now(UTC) - _UNLESS_TOLD)
        output.hint("Events that were received in the last 24 hours; --since 7d counts those of a week.")
    found = asyncio.run(_tally(Settings.for_command(), wanted, by))
    output.show(found, beside={"by": by, "since": wanted.since})
    if not found:
        nothing_matched()


async def _tally(settings: Settings, wanted: EventFilter, by: TallyBy) -> Sequence[EventTally]:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.event_log().tally(wanted, by=by)
