"""`billing events replays`."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import click

from billing_app.cli.events.rendering import instant
from billing_app.cli.terminal import NOTHING_MATCHED, json_option, moment, plain, print_json
from billing_app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from billing_core.oversight.inspection import Audit

_BESIDE_COUNTS = ("matched", "interrupted", "dead_by_reason", "not_confirmed_by_reason")


@click.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Show at most this many.")
@json_option
def replays(limit: int, as_json: bool) -> None:
    """List past replays, newest first: who, what, why, and the result.

    A replay without a result is still running, or its process was killed.
    """
    found = asyncio.run(_find(Settings.load(), limit))
    if as_json:
        print_json({"replays": [_to_json(audit) for audit in found]})
    for audit in [] if as_json else found:
        why = f": {plain(audit.reason)}" if audit.reason else ""
        click.echo(f"{moment(audit.started_at)}  {plain(audit.actor)}{why}")
        click.echo(f"  {plain(json.dumps(audit.filter, ensure_ascii=False))}")
        click.echo(f"  {_result(audit)}")
    if not found:
        click.echo("No replay was recorded yet.", err=True)
        raise click.exceptions.Exit(NOTHING_MATCHED)


async def _find(settings: Settings, limit: int) -> Sequence[Audit]:
    from billing_app.container import open_tools
    from billing_core.inbox.replay import ACTION

    async with open_tools(settings) as tools:
        return await tools.audit_log().latest(limit=limit, action=ACTION)


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
    counts = [
        f"{count} {name.replace('_', ' ')}"
        for name, count in audit.result.items()
        if count and name not in _BESIDE_COUNTS
    ]
    stopped = ", stopped early" if audit.result.get("interrupted") else ""
    return f"{audit.result.get('matched')} matched: {', '.join(counts) or 'none processed'}{stopped}"
