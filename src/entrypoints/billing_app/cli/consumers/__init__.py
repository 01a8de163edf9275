"""`billing consumers`: handlers and receivers of messages. To add a command, add a line to the table."""

from __future__ import annotations

from collections.abc import Mapping

import click

from billing_app.cli.lazy import LazyCommand, LazyGroup

_HERE = "billing_app.cli.consumers"
_COMMANDS: Mapping[str, LazyCommand] = {
    "list": LazyCommand(f"{_HERE}.listing:list_", "List consumers, and what waits for each."),
    "show": LazyCommand(f"{_HERE}.listing:show", "Show a consumer, and the tenants that wait for it."),
    "retry": LazyCommand(f"{_HERE}.positions:retry", "Try dead messages again."),
    "skip": LazyCommand(f"{_HERE}.positions:skip", "Pass over the dead message of a tenant."),
    "rewind": LazyCommand(f"{_HERE}.positions:rewind", "Hand messages over again, or pass over what waits."),
    "add": LazyCommand(f"{_HERE}.receivers:add", "Send messages to a URL as signed webhooks."),
    "rotate-secret": LazyCommand(f"{_HERE}.receivers:rotate_secret", "Replace the secret that signs webhooks."),
    "test": LazyCommand(f"{_HERE}.receivers:test", "Send a test message to a receiver."),
    "enable": LazyCommand(f"{_HERE}.switching:enable", "Hand messages to a disabled consumer again."),
    "disable": LazyCommand(f"{_HERE}.switching:disable", "Hand nothing to a consumer; its messages wait."),
    "remove": LazyCommand(f"{_HERE}.switching:remove", "Remove a consumer with its positions."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def consumers() -> None:
    """Inspect and operate consumers: handlers in code, and receivers of outgoing webhooks.

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 nothing matched.
    """
