"""`billing events replays`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from billing_app.cli.events.rendering import instant
from billing_app.cli.lists import Column, Listing, Output
from billing_app.cli.terminal import NOTHING_MATCHED
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.oversight.inspection import Audit

_BESIDE_COUNTS: Final = ("matched", "interrupted", "dead_by_reason", "not_confirmed_by_reason")


def _to_json(audit: Audit) -> dict[str, object]:
    return {
        "id": audit.audit_id,
        "by": audit.actor,
        "why": audit.reason,
        "filter": audit.filter,
        "started_at": instant(audit.started_at),
        "finished_at": instant(audit.finished_at),
        "result": audit.result,
    }


def _result(audit: Audit) -> str:
    if audit.result is None:
        return "unfinished: still running, or its process was killed"
    if audit.result.get("erased"):
        return "erased with its tenant"
    counts = [
        f"{count} {name.replace('_', ' ')}"
        for name, count in audit.result.items()
        if count and name not in _BESIDE_COUNTS
    ]
    stopped = ", stopped early" if audit.result.get("interrupted") else ""
    return f"{audit.result.get('matched')} matched: {', '.join(counts) or 'none processed'}{stopped}"


REPLAYS: Final = Listing["Audit"](
    "replays",
    [
        Column("started", lambda audit: audit.started_at),
        Column("by", lambda audit: audit.actor),
        Column("why", lambda audit: audit.reason),
        Column("filter", lambda audit: json.dumps(audit.filter, ensure_ascii=False)),
        Column("result", _result),
    ],
    _to_json,
)


@click.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Show at most this many.")
@REPLAYS.options
def replays(limit: int, output: Output[Audit]) -> None:
    """List past replays, newest first: who, what, why, and the result.

    A replay without a result is still running, or its process was killed.

    \b
    billing events replays --limit 5
    """
    found = asyncio.run(_find(Settings.for_command(), limit))
    output.show(found, nothing="No replay was recorded yet.")
    if not found:
        raise click.exceptions.Exit(NOTHING_MATCHED)


async def _find(settings: Settings, limit: int) -> Sequence[Audit]:
    from billing_app.container import open_tools
    from billing_core.inbox.replay import ACTION

    async with open_tools(settings) as tools:
        return await tools.audit_log().latest(limit=limit, action=ACTION)
