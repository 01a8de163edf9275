"""`billing events`: the inbox, for whoever is on call. Every command lives in a module of its own."""

from __future__ import annotations

from collections.abc import Mapping

import click

from billing_app.cli.lazy import LazyCommand, LazyGroup

_COMMANDS: Mapping[str, LazyCommand] = {
    "list": LazyCommand("billing_app.cli.events.listing:list_", "List stored events, latest first."),
    "show": LazyCommand("billing_app.cli.events.showing:show", "Show everything that is known of an event."),
    "replay": LazyCommand("billing_app.cli.events.replaying:replay", "Process stored events once more."),
    "replays": LazyCommand("billing_app.cli.events.replays:replays", "List what was replayed, by whom and why."),
    "ignore": LazyCommand("billing_app.cli.events.ignoring:ignore", "End events that will never be applied."),
    "prune": LazyCommand("billing_app.cli.events.pruning:prune", "Let go the bodies of old events."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def events() -> None:
    """Find, explain, replay, end and prune stored events.

    Exit status: 0 done, 1 some failed, 2 wrong usage or configuration, 3 nothing matched.
    """
