"""`billing demo`: believable Stripe traffic, played to a local system that is started for it."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from billing_demo.figures import Summary
    from billing_demo.run import Options
    from billing_demo.screen import Screen

_DEFAULT_FOLDER = Path(".billing") / "demo"
_DEFAULT_RATE = 40.0
_SHUFFLE_WINDOW = 2000
"""How far events are thrown about in a run without an end, where not all of them can be shuffled."""
_INTERRUPTED = 130


@click.command()
@click.option(
    "--tenants", type=click.IntRange(1, 1000), default=36, show_default=True, help="How many tenants there are."
)
@click.option("--events", type=click.IntRange(min=1), help="Play so many events, then check every tenant and end.")
@click.option("--seed", help="The same seed plays the same lives. [default: a random one, which is shown]")
@click.option(
    "--rate", type=click.FloatRange(min=0.1), help="Events per second. [default: 40; unlimited with --events]"
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port of the server.")
@click.option("--duplicates", type=click.FloatRange(0, 1), default=0.08, show_default=True, help="Share sent twice.")
@click.option("--shuffle", is_flag=True, help="Deliver in no order at all, instead of slightly out of order.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on standard output; needs --events.")
@click.option("--keep", is_flag=True, help="Keep the data folder. One that is named with --data-dir is always kept.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Data folder. [default: .billing/demo]"
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
    """Play believable Stripe traffic through a local server.

    Starts a local Postgres and Valkey, and a server that processes events too; lets tenants live through trials,
    payments, renewals, upgrades, failures, pauses and cancellations; and delivers the events as Stripe does: signed,
    late, twice. Without --events it goes on until Ctrl-C. With --events it ends by comparing every tenant with what
    must be true.

    Exit status: 0 all is well, 1 there are differences, 2 it could not run, for example beside another demo.
    """
    if as_json and events is None:
        raise click.UsageError("--json needs --events: without them there is no end to report.")
    from billing_app.errors import OperatorError
    from billing_demo.delivery import Manners
    from billing_demo.folder import removed_afterwards
    from billing_demo.run import Options
    from billing_demo.screen import LiveScreen, PlainScreen
    from billing_embedded import EmbeddedError

    window = (float("inf") if events is not None else _SHUFFLE_WINDOW) if shuffle else Manners().window
    pace = rate if rate is not None or events is not None else _DEFAULT_RATE
    options = Options(
        data_dir=(data_dir or _DEFAULT_FOLDER).resolve(),
        seed=seed or secrets.token_hex(4),
        tenants=tenants,
        events=events,
        port=port,
        manners=Manners(duplicates=duplicates, window=window, pace=pace),
    )
    try:
        with removed_afterwards(options.data_dir, unless=keep or data_dir is not None):
            if sys.stdout.isatty() and not as_json:
                with LiveScreen() as screen:
                    summary = _run(options, screen)
            else:
                summary = _run(options, PlainScreen())
    except EmbeddedError as exc:
        raise OperatorError(str(exc)) from exc
    _report(summary, options, as_json=as_json)


def _run(options: Options, screen: Screen) -> Summary | None:
    from billing_app import runtime
    from billing_demo.run import run

    outcome: list[Summary | None] = []

    async def play() -> None:
        outcome.append(await run(options, screen, runtime.termination()))

    screen.say(f"seed {options.seed}, data in {options.data_dir}")
    runtime.run(play())
    return outcome[0]


def _report(summary: Summary | None, options: Options, *, as_json: bool) -> None:
    if summary is None:
        sys.exit(0 if options.events is None else _INTERRUPTED)
    if as_json:
        click.echo(json.dumps(summary.to_json(), indent=2))
    else:
        click.echo(
            f"{summary.events} events of {summary.tenants} tenants in {summary.seconds:.1f} s: "
            f"{summary.accepted} accepted, {summary.duplicates} duplicates, {summary.messages} messages, "
            f"{len(summary.differences)} differences"
        )
        for line in summary.differences:
            click.echo(f"  {line}")
    sys.exit(0 if summary.right else 1)
