"""`billing demo`: realistic Stripe traffic for local servers that are started for the run."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from billing_demo.progress import Summary
    from billing_demo.run import RunOptions
    from billing_demo.screen import Screen

_DEFAULT_FOLDER = Path(".billing") / "demo"
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
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port of the server.")
@click.option("--duplicates", type=click.FloatRange(0, 1), default=0.08, show_default=True, help="Share sent twice.")
@click.option("--shuffle", is_flag=True, help="Deliver events in random order, instead of slightly out of order.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object; requires --events.")
@click.option("--keep", is_flag=True, help="Keep the data directory. One given with --data-dir is always kept.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Data directory. [default: .billing/demo]"
)
def demo(
    *,
    tenants: int,
    events: int | None,
    seed: str | None,
    rate: float | None,
    port: int,
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
    expected one and exits.

    Exit status: 0 no differences, 1 differences, 2 the demo could not run, for example beside another demo.
    """
    if as_json and events is None:
        raise click.UsageError("--json requires --events: an endless run has no summary.")
    from billing_app.errors import OperatorError
    from billing_demo.delivery import DeliveryOptions
    from billing_demo.folder import temporary_folder
    from billing_demo.run import RunOptions
    from billing_demo.screen import LiveScreen, PlainScreen
    from billing_embedded import EmbeddedError

    window = (float("inf") if events is not None else _SHUFFLE_WINDOW) if shuffle else DeliveryOptions().window
    rate = rate if rate is not None or events is not None else _DEFAULT_RATE
    options = RunOptions(
        data_dir=(data_dir or _DEFAULT_FOLDER).resolve(),
        seed=seed or secrets.token_hex(4),
        tenants=tenants,
        events=events,
        port=port,
        delivery=DeliveryOptions(duplicates=duplicates, window=window, rate=rate),
    )
    try:
        with temporary_folder(options.data_dir, keep=keep or data_dir is not None):
            if sys.stdout.isatty() and not as_json:
                with LiveScreen() as screen:
                    summary = _run(options, screen)
            else:
                summary = _run(options, PlainScreen())
    except EmbeddedError as exc:
        raise OperatorError(str(exc)) from exc
    _report(summary, options, as_json=as_json)


def _run(options: RunOptions, screen: Screen) -> Summary | None:
    from billing_app import runtime
    from billing_demo.run import run

    outcome: list[Summary | None] = []

    async def execute() -> None:
        outcome.append(await run(options, screen, runtime.termination()))

    screen.log(f"seed {options.seed}, data in {options.data_dir}")
    runtime.run(execute())
    return outcome[0]


def _report(summary: Summary | None, options: RunOptions, *, as_json: bool) -> None:
    if summary is None:
        sys.exit(0 if options.events is None else _INTERRUPTED)
    if as_json:
        click.echo(json.dumps(summary.to_json(), indent=2))
    else:
        click.echo(
            f"{summary.events} events of {summary.tenants} tenants in {summary.seconds:.1f} s: "
            f"{summary.accepted} accepted, {summary.duplicates} duplicates, {summary.messages} messages, "
            f"{summary.operations} operations, {len(summary.differences)} differences"
        )
        for line in summary.differences:
            click.echo(f"  {line}")
    sys.exit(0 if summary.passed else 1)
