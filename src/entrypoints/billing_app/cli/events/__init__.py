"""`billing events`: inspect and repair the inbox. To add a command, write its module and add a line to the table."""

from __future__ import annotations

from collections.abc import Mapping

import click

from billing_app.cli.lazy import LazyCommand, LazyGroup

_COMMANDS: Mapping[str, LazyCommand] = {
    "list": LazyCommand("billing_app.cli.events.listing:list_", "List stored events, newest first."),
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
