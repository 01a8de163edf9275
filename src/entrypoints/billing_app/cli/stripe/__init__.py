"""`billing stripe`: work with a Stripe account. To add a command, write its module and add a line to the table."""

from __future__ import annotations

from collections.abc import Mapping

import click

from billing_app.cli.lazy import LazyCommand, LazyGroup

_COMMANDS: Mapping[str, LazyCommand] = {
    "setup": LazyCommand("billing_app.cli.stripe.setup:setup", "Make the plans in an account, and record the secrets."),
    "listen": LazyCommand("billing_app.cli.stripe.listen:listen", "Forward events of a sandbox to the local server."),
    "rotate": LazyCommand(
        "billing_app.cli.stripe.rotate:rotate", "Replace a signing secret or the API key without losing a webhook."
    ),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def stripe() -> None:
    """Set up a Stripe account, receive its events, and replace secrets.

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration.
    """
