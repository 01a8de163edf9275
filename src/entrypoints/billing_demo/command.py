"""`billing demo`: realistic Stripe traffic for local servers that are started for the run."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from billing_demo.progress import Summary
    from billing_demo.run import RunOptions
    from billing_demo.screen import Screen

_FOLDER = "demo"
_DEFAULT_RATE = 40.0
_SHUFFLE_WINDOW = 2000
"""Window of an endless run with --shuffle, which cannot shuffle all of its events."""
_INTERRUPTED = 130


@click.command()
@click.option("--tenants", type=click.IntRange(1, 1000), default=36, show_default=True, help="Number of tenants.")
@click.option("--events", type=click.IntRange(min=1), help="Send this many events, verify every tenant, and exit.")
@click.option("--seed", help="Seed of the simulation. The same seed gives the same events. [default: random]")
@click.option(
    "--rate", type=click.FloatRange(min=0.1), help="Events per second. [default: 40; unlimited with --events]"
)
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the server. Default: BILLING_PORT, or 8080.")
@click.option("--duplicates", type=click.FloatRange(0, 1), default=0.08, show_default=True, help="Share sent twice.")
@click.option("--shuffle", is_flag=True, help="Deliver events in random order, instead of slightly out of order.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object; requires --events.")
@click.option("--keep", is_flag=True, help="Keep the data directory. One given with --data-dir is always kept.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory. Default: the folder demo in BILLING_DATA_DIR, or .billing/demo.",
)
def demo(
    *,
    tenants: int,
    events: int | None,
    seed: str | None,
    rate: float | None,
    port: int | None,
    duplicates: float,
    shuffle: bool,
    as_json: bool,
    keep: bool,
    data_dir: Path | None,
) -> None:
    """Send realistic Stripe traffic to a local server.

    Starts a local Postgres, Valkey and billing server, simulates tenants with trials, payments, renewals, upgrades,
    failed payments, pauses and cancellations, and delivers their events as Stripe does: signed, out of order and
    sometimes twice. One more customer starts, changes, cancels and keeps a subscription through the API, at a fake
    Stripe. Without --events, the demo runs until Ctrl-C. With --events, it compares every tenant's final state with the
    expected one and exits. While it runs, `billing --data-dir FOLDER` with any command looks into its data.

    \b
    billing demo
    billing demo --events 2000 --json
    billing demo --shuffle --duplicates 0.5 --seed 1

    Exit status: 0 no differences, 1 differences, 2 the demo could not run, for example beside another demo.
    """
    if as_json and events is None:
        raise click.UsageError("--json requires --events: an endless run has no summary.")
    from billing_app.errors import OperatorError
    from billing_app.settings import Settings
    from billing_demo.delivery import DeliveryOptions
    from billing_demo.folder import temporary_folder
    from billing_demo.run import RunOptions
    from billing_demo.screen import LiveScreen, PlainScreen
    from billing_embedded import EmbeddedError

    window = (float("inf") if events is not None else _SHUFFLE_WINDOW) if shuffle else DeliveryOptions().window
    rate = rate if rate is not None or events is not None else _DEFAULT_RATE
    settings, _ = Settings.examine()
    options = RunOptions(
        data_dir=(data_dir or settings.embedded.data_dir / _FOLDER).resolve(),
        seed=seed or secrets.token_hex(4),
        tenants=tenants,
        events=events,
        port=settings.server.port if port is None else port,
        delivery=DeliveryOptions(duplicates=duplicates, window=window, rate=rate),
    )
    try:
        kept = keep or data_dir is not None
        with temporary_folder(options.data_dir, keep=kept):
            if sys.stdout.isatty() and not as_json:
                with LiveScreen() as screen:
                    summary = _run(options, screen)
            else:
                summary = _run(options, PlainScreen())
    except EmbeddedError as exc:
        raise OperatorError(str(exc)) from exc
    _report(summary, options, as_json=as_json, kept=kept)


def _run(options: RunOptions, screen: Screen) -> Summary | None:
    from billing_app import runtime
    from billing_demo.run import run

    outcome: list[Summary | None] = []

    async def execute() -> None:
        outcome.append(await run(options, screen, runtime.termination()))

    screen.log(f"seed {options.seed}, data in {options.data_dir}")
    runtime.run(execute())
    return outcome[0]


def _report(summary: Summary | None, options: RunOptions, *, as_json: bool, kept: bool) -> None:
    stopped = summary is None or not summary.compared
    if summary is not None and not as_json:
        _print_totals(summary, options, kept=kept)
    elif summary is not None and not stopped:
        click.echo(json.dumps(summary.to_json(), indent=2))
    if summary is None or stopped:
        sys.exit(0 if options.events is None else _INTERRUPTED)
    sys.exit(0 if summary.passed else 1)


def _print_totals(summary: Summary, options: RunOptions, *, kept: bool) -> None:
    compared = f"{len(summary.differences)} differences" if summary.compared else "not compared"
    click.echo(
        f"{summary.events} events of {summary.tenants} tenants in {summary.seconds:.1f} s: "
        f"{summary.accepted} accepted, {summary.duplicates} duplicates, {summary.messages} messages, "
        f"{summary.operations} operations, {compared}"
    )
    for line in summary.differences:
        click.echo(f"  {line}")
    click.echo("Next:")
    for command in _next_commands(summary, options, kept=kept):
        click.echo(f"  {command}")


def _next_commands(summary: Summary, options: RunOptions, *, kept: bool) -> Sequence[str]:
    """Return three commands that lead on, in a form that works when they are pasted."""
    from billing_demo.looking import billing, command

    if not kept:
        return [f"{billing()} demo --keep", f"{billing()} stripe setup", f"{billing()} serve"]
    about = [command(options.data_dir, "events list"), command(options.data_dir, f"explain {summary.tenant_id}")]
    return [*about, f"{billing()} stripe setup"]
