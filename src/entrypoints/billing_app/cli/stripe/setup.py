"""`billing stripe setup`: a Stripe account and this directory, from nothing to the first applied event."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Final

import attrs
import click

from billing_app.cli.terminal import confirm, json_option, plain, print_json
from billing_app.troubleshooting import SetupTrouble

_LONGEST_KEY: Final = 1024


@attrs.frozen(kw_only=True)
class _Terminal:
    """A `Dialog` at the terminal."""

    quiet: bool
    interactive: bool

    def say(self, text: str = "") -> None:
        if not self.quiet:
            click.echo(plain(text))

    def ask(self, question: str) -> str:
        return str(click.prompt(question, err=True))

    def ask_secret(self, question: str) -> str:
        return str(click.prompt(question, hide_input=True, err=True))

    def choose(self, question: str, answers: Sequence[str]) -> int:
        click.echo(question, err=True)
        for number, answer in enumerate(answers, start=1):
            click.echo(f"  {number}. {answer}", err=True)
        return int(click.prompt("Number", type=click.IntRange(1, len(answers)), default=1, err=True)) - 1


@click.command()
@click.option("--webhook-url", help="Public address of the server, for an endpoint. Default: BILLING_PUBLIC_URL.")
@click.option("--key-stdin", is_flag=True, help="Read the API key from standard input.")
@click.option("--live", is_flag=True, help="Allow a live key.")
@click.option("--dry-run", is_flag=True, help="Show everything that would be done, and do nothing.")
@click.option("--check", is_flag=True, help="Compare only. The exit status is 1 if the account differs.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.argument("refused", nargs=-1, metavar="")
@click.pass_context
def setup(  # noqa: PLR0917 - click passes them by name
    ctx: click.Context,
    webhook_url: str | None,
    key_stdin: bool,
    live: bool,
    dry_run: bool,
    check: bool,
    yes: bool,
    as_json: bool,
    refused: tuple[str, ...],
) -> None:
    """Make the objects of billing.toml in a Stripe account, record the secrets, and prove that an event is applied.

    The API key is taken from standard input, from STRIPE_SECRET_KEY, from the log-in of the Stripe CLI, or asked for.
    It is never an argument, which other users could see. Nothing is changed before it is shown and confirmed, nothing
    is ever deleted, and a second run changes nothing.

    \b
    billing stripe setup
    billing stripe setup --webhook-url https://billing.example.com --yes --key-stdin < key
    billing stripe setup --check
    """
    from billing_app.setup.flow import SetupOptions, run_setup
    from billing_app.setup.report import to_json

    key = sys.stdin.read(_LONGEST_KEY) if key_stdin else None
    options = SetupOptions(key=key, webhook_url=webhook_url, live=live, dry_run=dry_run, check=check)
    if refused:  # not left to click, which repeats what may be a key
        raise click.UsageError("The command takes no arguments. A key is never one: use --key-stdin.")
    if as_json and not (yes or options.only_compares):
        raise click.UsageError("--json needs --yes, --dry-run or --check: nothing is asked.")
    dialog = _Terminal(quiet=as_json, interactive=sys.stdin.isatty() and not (as_json or check))
    try:
        report = asyncio.run(run_setup(options, dialog, lambda question: confirm(question, yes=yes)))
    except KeyboardInterrupt:
        click.echo("Interrupted. Run the command again: it continues where this run stopped.", err=True)
        raise click.Abort from None
    if as_json:
        print_json(to_json(report))
    elif report.next_steps:
        click.echo("Next:")
        for step in report.next_steps:
            click.echo(f"  {step}")
    if check and report.drift:
        click.echo(f"The account differs from billing.toml. See {SetupTrouble.CATALOG_HAS_DRIFTED}.", err=True)
    ctx.exit(1 if report.plan.problems or not report.complete or (check and report.drift) else 0)
