"""`billing events replay`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from billing_app.cli.events.filters import demand_condition, event_filter, nothing_matched
from billing_app.cli.events.rendering import difference_lines, difference_to_json
from billing_app.cli.options import by_option, yes_option
from billing_app.cli.terminal import confirm, json_option, plain, print_json, progress
from billing_app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from billing_core.inbox.ports import HeldPlan
    from billing_core.inbox.replay import DryRunReport, Replayer, ReplayReport, ReplayRequest


@click.command()
@event_filter
@click.option("--limit", type=click.IntRange(1), help="Replay at most this many events, the oldest ones.")
@click.option("--rate", type=click.FloatRange(0.1), help="Maximum events per second. [default: unlimited]")
@click.option("--dry-run", is_flag=True, help="Show which rows and messages a replay would write, and write nothing.")
@click.option("--no-publish", is_flag=True, help="Update state without publishing messages.")
@click.option("--force", is_flag=True, help="Replay although the plans in force lack plans that subscriptions are on.")
@yes_option
@click.option("--why", help="Why the events are replayed; for the audit log.")
@by_option()
@json_option
def replay(
    *,
    wanted: Any,
    limit: int | None,
    rate: float | None,
    dry_run: bool,
    no_publish: bool,
    force: bool,
    yes: bool,
    why: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Process stored events again, whatever their status and age.

    Events are processed as usual, oldest first. Replaying an applied event changes nothing and publishes nothing,
    unless a stored row differs from what its events say: the row is then corrected and the tenant gets one message.
    An applied event stays applied whatever its replay finds; one that fails or contradicts it is not confirmed.
    Replays are safe beside servers, workers and other replays; events being processed elsewhere are skipped.

    \b
    billing events replay --status dead --reason bug --dry-run
    billing events replay --status dead --reason bug --yes --why 'fixed in 0.2'
    billing events replay --tenant acme --rate 50 --yes

    Exit status: 0 done, 1 some failed, 2 wrong usage or configuration, 3 nothing matched.
    """
    demand_condition(wanted)
    from billing_app import runtime
    from billing_app.container import configure_logging
    from billing_core.inbox.replay import ReplayRequest

    request = ReplayRequest(wanted=wanted, actor=by, reason=why, rate=rate, publishes=not no_publish)
    settings = Settings.for_command()
    configure_logging(settings)
    outcome: list[ReplayReport | DryRunReport | None] = []

    async def run() -> None:
        if dry_run:
            outcome.append(await _dry_run(settings, request, limit=limit))
        else:
            outcome.append(await _replay(settings, request, limit=limit, force=force, yes=yes, quiet=as_json))

    runtime.run(run())
    only_dead = {status.value for status in wanted.statuses} == {"dead"}
    _report(outcome[0], only_dead=only_dead, as_json=as_json)


async def _replay(
    settings: Settings, request: ReplayRequest, *, limit: int | None, force: bool, yes: bool, quiet: bool
) -> ReplayReport | None:
    """Replay the matching events; None if none match."""
    from billing_app.container import open_replayer

    async with open_replayer(settings, notify=request.publishes, publishes=request.publishes) as replayer:
        numbers = await replayer.find(request.wanted, limit=limit)
        if not numbers:
            return None
        if lost := _lost_plans_text(await replayer.find_lost_plans(numbers)):
            if not force:
                raise click.UsageError(f"{lost} {_LOST_PLANS_REMEDY}")
            click.echo(lost, err=True)
        if len(numbers) > 1:
            confirm(f"Replay {len(numbers)} events?", yes=yes)
        return await _replay_with_progress(replayer, request, numbers, quiet=quiet)


async def _replay_with_progress(
    replayer: Replayer, request: ReplayRequest, numbers: Sequence[int], *, quiet: bool
) -> ReplayReport:
    """Replay with a progress bar. Ctrl-C stops it after the current batch."""
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
    """Replay the matching events in a transaction that is rolled back; None if none match."""
    from billing_app.container import open_replayer
    from billing_core.inbox.replay import DRY_RUN_LIMIT

    async with open_replayer(settings, notify=request.publishes, publishes=False) as replayer:
        numbers = await replayer.find(request.wanted, limit=min(limit or DRY_RUN_LIMIT + 1, DRY_RUN_LIMIT + 1))
        if len(numbers) > DRY_RUN_LIMIT:
            raise click.UsageError(
                f"A dry run is one transaction and is limited to {DRY_RUN_LIMIT} events. "
                f"Select fewer events, or pass --limit {DRY_RUN_LIMIT}."
            )
        if lost := _lost_plans_text(await replayer.find_lost_plans(numbers)):
            click.echo(f"{lost} {_LOST_PLANS_REMEDY}", err=True)
        return await replayer.dry_run(numbers) if numbers else None


_LOST_PLANS_REMEDY: Final = (
    "Replay with the settings that the servers have, or put the plans back: `billing plans list` shows those that are "
    "configured, `billing plans refresh` puts them in force. --force replays all the same."
)


def _lost_plans_text(lost: Sequence[HeldPlan]) -> str | None:
    """Return the sentence about plans that the replay would take away; None if there are none."""
    if not lost:
        return None
    plans = ", ".join(
        f"{plain(held.plan_code)} ({held.subscriptions}, such as {plain(held.tenant_id)})" for held in lost
    )
    return f"The plans in force lack plans that live subscriptions are on: {plans}. Their tenants would be notified."


def _report(outcome: ReplayReport | DryRunReport | None, *, only_dead: bool, as_json: bool) -> None:
    from billing_core.converters import to_plain
    from billing_core.inbox.replay import ReplayReport

    if outcome is None:
        nothing_matched()
    report = outcome if isinstance(outcome, ReplayReport) else outcome.report
    if as_json:
        dry_run = {} if isinstance(outcome, ReplayReport) else _dry_run_to_json(outcome)
        print_json({"dry_run": bool(dry_run), **to_plain(report), **dry_run})
    else:
        if not isinstance(outcome, ReplayReport):
            _print_dry_run(outcome)
        _print_counts(report, dry_run=not isinstance(outcome, ReplayReport), only_dead=only_dead)
    sys.exit(1 if report.failed else 0)


def _dry_run_to_json(found: DryRunReport) -> dict[str, Any]:
    return {
        "differences": [*map(difference_to_json, found.trial.differences)],
        "would_tell": [json.loads(event.payload) for event in found.trial.events],
        "failures": found.failures,
    }


def _print_dry_run(found: DryRunReport) -> None:
    for change in found.trial.differences:
        click.echo("\n".join(difference_lines(change)))
    for event in found.trial.events:
        summary = json.loads(event.payload)["summary"]
        click.echo(f"message {event.sequence} to {plain(event.tenant_id)}: {event.event_type}, {plain(summary)}")
    for failure in found.failures:
        click.echo(f"{failure.event_id} would fail with {failure.reason}: {plain(failure.error)}", err=True)
    if not found.trial.differences:
        click.echo("No row would change.")
    if not found.trial.events:
        click.echo("No messages would be published.")


def _print_counts(report: ReplayReport, *, dry_run: bool, only_dead: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    for count, meaning in _counts(report, dry_run=dry_run, only_dead=only_dead):
        table.add_row(str(count), meaning)
    if dry_run:
        click.echo("Dry run. Nothing was changed:")
    Console().print(table)
    if report.interrupted:
        click.echo(f"Stopped early: {report.matched - report.seen} events were not processed.", err=True)


def _counts(report: ReplayReport, *, dry_run: bool, only_dead: bool) -> Iterator[tuple[int, str]]:
    """Yield each count with its meaning; those of dead and unconfirmed events by reason."""
    for name, meaning in _MEANINGS.items():
        if (count := getattr(report, name)) or name == "matched":
            yield count, meaning
    verb = "would stay applied" if dry_run else "stay applied"
    for reason, count in sorted(report.not_confirmed_by_reason.items()):
        yield count, f"not confirmed: {reason} ({verb})"
    dead = ("would be dead" if dry_run else "dead") + (" again" if only_dead else "")
    for reason, count in sorted(report.dead_by_reason.items()):
        yield count, f"{dead}: {reason}"


_MEANINGS: Final = {
    "matched": "events matched",
    "changed": "changed the state",
    "confirmed": "confirmed the state",
    "stale": "stale: newer state is known",
    "messages": "messages published",
    "ignored": "ignored",
    "parked": "waiting for a tenant or an object",
    "unfinished": "failed, to be retried by a worker",
    "busy": "skipped: being processed elsewhere",
    "pruned": "cannot be replayed: their bodies were pruned",
}
