"""`billing migrate`."""

from __future__ import annotations

import asyncio
import sys

import click

from billing_app.cli.terminal import json_option, print_json
from billing_app.settings import Settings


@click.command()
@click.option("--check", is_flag=True, help="Change nothing. The exit status is 1 if a migration is pending.")
@json_option
def migrate(check: bool, as_json: bool) -> None:
    """Apply pending migrations to DATABASE_URL, or to the local Postgres if it is not set.

    Each migration runs in one transaction. The command is safe to repeat and to run from several processes at once.

    \b
    billing migrate
    billing migrate --check
    """
    from billing_app.container import bring_schema_up_to_date

    report = asyncio.run(bring_schema_up_to_date(Settings.for_command(), check=check))
    if as_json:
        print_json({"applied": report.applied, "pending": report.pending, "ahead": report.ahead})
    else:
        for name in report.applied:
            click.echo(f"Applied {name}.")
        for name in report.pending:
            click.echo(f"Pending: {name}.")
        if report.pending:
            click.echo("Run `billing migrate` to apply them.")
        if not report.applied and not report.pending:
            click.echo("The schema is up to date.")
        if report.ahead:
            click.echo(
                f"Applied by a newer release: {', '.join(report.ahead)}. This release is older than the schema.",
                err=True,
            )
    sys.exit(1 if report.pending else 0)
