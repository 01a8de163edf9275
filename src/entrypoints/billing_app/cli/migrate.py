"""`billing migrate`: bring the database's schema up to date."""

from __future__ import annotations

import asyncio
import json
import sys

import click

from billing_app.settings import Settings


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 when something is pending.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def migrate(check: bool, as_json: bool) -> None:
    """Bring the schema of DATABASE_URL up to date; without it, that of the local Postgres.

    Safe to run from any number of processes at once, and again at any time. Each migration is one transaction.
    """
    from billing_app.container import bring_schema_up_to_date

    report = asyncio.run(bring_schema_up_to_date(Settings.load(), check=check))
    if as_json:
        click.echo(json.dumps({"applied": report.applied, "pending": report.pending, "ahead": report.ahead}))
    else:
        for name in report.applied:
            click.echo(f"Applied {name}.")
        for name in report.pending:
            click.echo(f"Pending: {name}. Run `billing migrate`.")
        if not report.applied and not report.pending:
            click.echo("The schema is up to date.")
        if report.ahead:
            click.echo(f"Newer code has applied {', '.join(report.ahead)}: this code is the older one.", err=True)
    sys.exit(1 if report.pending else 0)
