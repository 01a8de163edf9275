"""`billing events replay`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from billing_app.cli.events.filters import demand_condition, event_filter, nothing_matched
from billing_app.cli.events.rendering import changes_to_json
from billing_app.cli.terminal import confirm, operator, plain, progress
from billing_app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from billing_core.inbox.replay import DryRunReport, Replayer, ReplayReport, ReplayRequest

REHEARSED_AT_MOST: Final = 1000
"""Events of one dry run: it is one transaction, and holds its locks until it is rolled back."""
_SHOWN: Final = 120
"""Characters of a value in a dry run; `--json` has all of them."""


@click.command()
@event_filter
@click.option("--limit", type=click.IntRange(1), help="At most so many events, the earliest ones.")
@click.option("--rate", type=click.FloatRange(0.1), help="Events per second at most. [default: as fast as it goes]")
@click.option("--dry-run", is_flag=True, help="Show what would change and be told; leaves no trace.")
@click.option("--no-publish", is_flag=True, help="Write state, but tell nobody: no message, no number.")
@click.option("--yes", is_flag=True, help="Do not ask, however many there are.")
@click.option("--why", help="The reason; kept with who did it.")
@click.option("--by", default=operator, show_default="the user of this system", help="Who does it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay(
    *,
    wanted: Any,
    limit: int | None,
    rate: float | None,
    dry_run: bool,
    no_publish: bool,
    yes: bool,
    why: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Process stored events once more, whatever became of them and however old they are.

    They go the way every event goes, earliest first. Replaying what was applied changes nothing and tells nobody,
    unless a row is not what its events say: then it is put right, and the tenant gets one message. It is safe beside
    servers, workers and other replays; events that somebody works on are left to him.

    Exit status: 0 done, 1 some failed, 2 wrong usage or configuration, 3 nothing matched.
    """
    demand_condition(wanted)
    from billing_app import runtime
    from billing_app.container import configure_logging
    from billing_core.inbox.replay import ReplayRequest

    request = ReplayRequest(wanted=wanted, actor=by, reason=why, rate=rate, publishes=not no_publish)
    settings = Settings.load()
    configure_logging(settings)
    outcome: list[ReplayReport | DryRunReport | None] = []

    async def run() -> None:
        if dry_run:
            outcome.append(await _dry_run(settings, request, limit=limit))
        else:
            outcome.append(await _replay(settings, request, limit=limit, yes=yes, quiet=as_json))

    runtime.run(run())
    _report(outcome[0], as_json=as_json)


async def _replay(
    settings: Settings, request: ReplayRequest, *, limit: int | None, yes: bool, quiet: bool
) -> ReplayReport | None:
    """Replay what matches; None when nothing does."""
    from billing_app.container import open_replayer

    async with open_replayer(settings, notify=request.publishes, publishes=request.publishes) as replayer:
        numbers = await replayer.find(request.wanted, limit=limit)
        if not numbers:
            return None
        if len(numbers) > 1:
            confirm(f"Replay {len(numbers)} events?", yes=yes)
        return await _watched(replayer, request, numbers, quiet=quiet)


async def _watched(replayer: Replayer, request: ReplayRequest, numbers: Sequence[int], *, quiet: bool) -> ReplayReport:
    """Replay under a progress bar. Ctrl-C ends it after the batch it is at."""
    import asyncio

    from billing_app import runtime

    async def stop() -> None:
        await interrupted.wait()
        replayer.stop()

    interrupted = runtime.termination()
    watching = asyncio.create_task(stop())
    seen = 0

    def advanced(report: ReplayReport) -> None:
        nonlocal seen
        advance(report.seen - seen)
        seen = report.seen

    try:
        with progress("Replaying", len(numbers), quiet=quiet) as advance:
            return await replayer.replay(request, numbers, observe=advanced)
    finally:
        watching.cancel()


async def _dry_run(settings: Settings, request: ReplayRequest, *, limit: int | None) -> DryRunReport | None:
    """Find out what a replay would do; None when nothing matches."""
    from billing_app.container import open_replayer

    async with open_replayer(settings, notify=request.publishes, publishes=False) as replayer:
        numbers = await replayer.find(request.wanted, limit=min(limit or REHEARSED_AT_MOST + 1, REHEARSED_AT_MOST + 1))
        if len(numbers) > REHEARSED_AT_MOST:
            raise click.UsageError(
                f"A dry run is one transaction and takes at most {REHEARSED_AT_MOST} events: "
                f"narrow the conditions, or give --limit {REHEARSED_AT_MOST}."
            )
        return await replayer.dry_run(numbers) if numbers else None


def _report(outcome: ReplayReport | DryRunReport | None, *, as_json: bool) -> None:
    from billing_core.converters import to_plain
    from billing_core.inbox.replay import ReplayReport

    if outcome is None:
        nothing_matched()
    report = outcome if isinstance(outcome, ReplayReport) else outcome.report
    if as_json:
        trial = {} if isinstance(outcome, ReplayReport) else _rehearsal_to_json(outcome)
        click.echo(json.dumps({"dry_run": bool(trial), **to_plain(report), **trial}))
    else:
        if not isinstance(outcome, ReplayReport):
            _print_rehearsal(outcome)
        _print_counts(report, rehearsed=not isinstance(outcome, ReplayReport))
    sys.exit(1 if report.failed else 0)


def _rehearsal_to_json(found: DryRunReport) -> dict[str, Any]:
    from billing_core.converters import to_plain

    return {
        "differences": [
            {
                "kind": change.kind,
                "object_id": change.object_id,
                "tenant_id": change.tenant_id,
                "fields": changes_to_json(change.fields),
            }
            for change in found.trial.differences
        ],
        "would_tell": [json.loads(event.payload) for event in found.trial.events],
        "failures": to_plain(found.failures),
    }


def _print_rehearsal(found: DryRunReport) -> None:
    for change in found.trial.differences:
        owner = f" of {plain(change.tenant_id)}" if change.tenant_id else ""
        click.echo(f"{change.kind} {plain(change.object_id)}{owner}")
        for field in change.fields:
            click.echo(f"  {field.field}: {_value(field.before)} → {_value(field.after)}")
    for event in found.trial.events:
        summary = json.loads(event.payload)["summary"]
        click.echo(f"message {event.sequence} to {plain(event.tenant_id)}: {event.event_type}, {plain(summary)}")
    for failure in found.failures:
        click.echo(f"{failure.event_id} fails: {plain(failure.error)}", err=True)
    if not found.trial.differences:
        click.echo("No row would change.")
    if not found.trial.events:
        click.echo("Nobody would be told anything.")


def _value(value: object) -> str:
    text = "–" if value is None else plain(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _print_counts(report: ReplayReport, *, rehearsed: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    for name, meaning in _MEANINGS.items():
        count = getattr(report, name)
        if count or name == "matched":
            table.add_row(str(count), meaning)
    if rehearsed:
        click.echo("Nothing of this has happened:")
    Console().print(table)
    if report.interrupted:
        click.echo(f"Stopped before the other {report.matched - report.seen} events: they are as they were.", err=True)


_MEANINGS: Final = {
    "matched": "events matched",
    "changed": "changed the state",
    "confirmed": "confirmed the state",
    "stale": "are stale: something newer is known",
    "messages": "messages to tenants",
    "ignored": "ignored",
    "parked": "wait for their tenant",
    "dead": "dead: see `billing events list --status dead`",
    "unfinished": "failed, and are tried again",
    "busy": "left to whoever works on them right now",
    "pruned": "have no body any more and cannot be replayed",
}
