"""The command line `billing`. To add a command, write its module and add a line to the table below."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from billing_app.cli.lazy import LazyCommand, LazyGroup
from billing_app.exit_status import errors_end_the_program
from billing_app.garbage import collected_seldom
from billing_app.is_program import IS_PROGRAM

COMMANDS: Mapping[str, LazyCommand] = {
    "serve": LazyCommand("billing_app.cli.serve:serve", "Receive webhooks and serve the API, the stream and the page."),
    "worker": LazyCommand("billing_app.cli.serve:worker", "Process stored events without receiving webhooks."),
    "workers": LazyCommand("billing_app.cli.workers:workers", "List the servers and workers that run."),
    "migrate": LazyCommand("billing_app.cli.migrate:migrate", "Apply pending database migrations."),
    "config": LazyCommand("billing_app.cli.config:config", "Check settings and billing.toml before they are deployed."),
    "tenants": LazyCommand(
        "billing_app.cli.tenants:tenants", "List, show and erase tenants, link customers, correct links."
    ),
    "plans": LazyCommand("billing_app.cli.plans:plans", "List plans, and the prices that belong to none."),
    "subscriptions": LazyCommand(
        "billing_app.cli.subscriptions:subscriptions", "List, start, change and end subscriptions of tenants."
    ),
    "grants": LazyCommand("billing_app.cli.grants:grants", "Grant tenants access beside what they pay for."),
    "entitlements": LazyCommand(
        "billing_app.cli.entitlements:entitlements",
        "Show the features that a tenant may use, and what is left of them.",
    ),
    "consumers": LazyCommand(
        "billing_app.cli.consumers:consumers", "Operate handlers of messages, and receivers of outgoing webhooks."
    ),
    "gateway": LazyCommand("billing_app.cli.gateway:gateway", "Inspect operations on their way to Stripe."),
    "status": LazyCommand("billing_app.cli.status:status", "Show on one screen how things are."),
    "completion": LazyCommand("billing_app.cli.completion:completion", "Let bash, zsh or fish complete commands."),
    "doctor": LazyCommand(
        "billing_app.cli.doctor:doctor", "Check settings, servers, Stripe and backlog, and say what to fix."
    ),
    "events": LazyCommand("billing_app.cli.events:events", "List, inspect, replay, ignore and prune stored events."),
    "stripe": LazyCommand(
        "billing_app.cli.stripe:stripe", "Set up a Stripe account, receive its events, and replace secrets."
    ),
    "explain": LazyCommand("billing_app.cli.explain:explain", "Explain how a tenant came to its current state."),
    "token": LazyCommand(
        "billing_app.cli.token:token", "Issue a token for one tenant's API and stream, or revoke tokens."
    ),
    "epoch": LazyCommand("billing_app.cli.epoch:epoch", "Show the epoch of the message history, or begin a new one."),
    "demo": LazyCommand("billing_demo.command:demo", "Send realistic Stripe traffic to a local server."),
    "fake-stripe": LazyCommand("billing_demo.fake_command:fake_stripe", "Run a Stripe for tests on this machine."),
    "embedded": LazyCommand(
        "billing_app.cli.embedded:embedded", "Start, stop and inspect the local Postgres and Valkey."
    ),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="billing-core", prog_name="billing")
@click.option(
    "--data-dir",
    type=click.Path(exists=True, file_okay=False),
    help="Run as in this folder: with its .env.local, and with the local servers whose data it holds.",
)
def cli(data_dir: str | None) -> None:
    """Stripe billing: receive webhooks, keep each tenant's state, and stream its changes.

    \b
    billing demo                                        # see it run, without an account
    billing stripe setup                                # set up your Stripe account and this folder
    billing serve                                       # receive webhooks; in other terminals:
    billing status
    billing events tail -f
    billing --data-dir .billing/demo events list        # look into a running demo
    """
    if data_dir is not None:
        _enter(data_dir)


def _enter(folder: str) -> None:
    """Use the settings and the local servers of a folder, whatever servers the environment names."""
    os.chdir(folder)
    os.environ["BILLING_DATA_DIR"] = os.getcwd()
    for name in ("DATABASE_URL", "DATABASE_DIRECT_URL", "REDIS_URL"):
        os.environ.pop(name, None)


def main() -> None:
    """Run the command line. An error that the operator can fix is one line on standard error, without a traceback.

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 nothing matched, 4 warnings with --strict, 78 for a
    server or worker that refuses to start.
    """
    IS_PROGRAM.set(True)
    with collected_seldom(), errors_end_the_program():
        cli(prog_name="billing")
