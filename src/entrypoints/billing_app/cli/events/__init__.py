"""`billing events`: inspect and repair the inbox. To add a command, write its module and add a line to the table."""

from __future__ import annotations

from collections.abc import Mapping

import click

from billing_app.cli.lazy import LazyCommand, LazyGroup

_COMMANDS: Mapping[str, LazyCommand] = {
    "list": LazyCommand("billing_app.cli.events.listing:list_", "List stored events, newest first."),
    "tail": LazyCommand("billing_app.cli.events.tail:tail", "Show the newest events, and follow them with -f."),
    "stats": LazyCommand("billing_app.cli.events.stats:stats", "Count events by status, type or hour."),
    "send-test": LazyCommand(
        "billing_app.cli.events.sending:send_test", "Send a test event and follow it to the stream."
    ),
    "show": LazyCommand("billing_app.cli.events.showing:show", "Show an event, its attempts and its changes."),
    "replay": LazyCommand("billing_app.cli.events.replaying:replay", "Process stored events again."),
    "replays": LazyCommand("billing_app.cli.events.replays:replays", "List past replays and their results."),
    "ignore": LazyCommand("billing_app.cli.events.ignoring:ignore", "Mark events as ignored."),
    "prune": LazyCommand("billing_app.cli.events.pruning:prune", "Delete the stored bodies of old events."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def events() -> None:
    """List, inspect, replay, ignore and prune stored events.

    Exit status: 0 done, 1 some failed, 2 wrong usage or configuration, 3 nothing matched.
    """
