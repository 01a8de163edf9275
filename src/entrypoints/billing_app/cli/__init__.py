"""The command line `billing`. Every command lives in a module of its own and is imported when it is invoked."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click

from billing_app.cli.lazy import LazyCommand, LazyGroup
from billing_app.errors import OperatorError

COMMANDS: Mapping[str, LazyCommand] = {
    "serve": LazyCommand("billing_app.cli.serve:serve", "Take webhooks, serve the API, the stream and the page."),
    "worker": LazyCommand("billing_app.cli.serve:worker", "Process stored events without taking any in."),
    "migrate": LazyCommand("billing_app.cli.migrate:migrate", "Bring the database's schema up to date."),
    "tenants": LazyCommand("billing_app.cli.tenants:tenants", "Show and make links between customers and tenants."),
    "doctor": LazyCommand(
        "billing_app.cli.doctor:doctor", "Look at everything that billing needs, and say what to do."
    ),
    "events": LazyCommand("billing_app.cli.events:events", "Find, explain, replay, end and prune stored events."),
    "explain": LazyCommand("billing_app.cli.explain:explain", "Tell why a tenant is in the state it is in."),
    "token": LazyCommand(
        "billing_app.cli.token:token", "Print a token for one tenant's API and stream, or revoke tokens."
    ),
    "epoch": LazyCommand("billing_app.cli.epoch:epoch", "Show which history the database is in, or begin a new one."),
    "demo": LazyCommand("billing_demo.command:demo", "Play believable Stripe traffic through a local server."),
    "embedded": LazyCommand(
        "billing_app.cli.embedded:embedded", "Start, stop and inspect the local Postgres and Valkey."
    ),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="billing-core", prog_name="billing")
def cli() -> None:
    """The billing loop: from a signed webhook to every tenant's screen."""


def main() -> None:
    """Run the command line. An error that the operator can put right is one message on standard error, no traceback.

    Exit status: 0 done, 1 it failed, 2 wrong usage or configuration.
    """
    try:
        cli(prog_name="billing")
    except OperatorError as exc:
        _end(str(exc), exc.exit_code)
    except Exception as exc:
        from billing_core.errors import BillingError, ConfigurationError

        if not isinstance(exc, BillingError):
            raise
        _end(f"{exc.code}: {exc}", 2 if isinstance(exc, ConfigurationError) else 1)


def _end(message: str, status: int) -> None:
    click.echo(f"billing: {message}", err=True)
    sys.exit(status)
