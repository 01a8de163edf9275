"""`billing epoch`: the history that message numbers belong to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from billing_app.cli.terminal import json_option, print_json
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.model.epoch import Epoch


@click.command()
@click.option("--begin", metavar="REASON", help="Begin a new epoch for this reason, such as 'disk restored to Monday'.")
@json_option
def epoch(begin: str | None, as_json: bool) -> None:
    """Show the epoch of the database, or begin a new one with --begin.

    Begin a new epoch after restoring the database's disk or volume to an earlier point in time. A restored dump, a
    different server and a failover are detected automatically. Running servers and workers switch to the new epoch
    within seconds, and every stream client is asked to reload its state.

    \b
    billing epoch
    billing epoch --begin 'disk restored to Monday'
    """
    if begin is not None and not begin.strip():
        raise click.BadParameter("the reason must not be empty", param_hint="--begin")
    current = asyncio.run(_epoch(Settings.for_command(), begin))
    if as_json:
        print_json({"number": current.number, "token": current.token, "begun": begin is not None})
    else:
        click.echo(f"{'Began epoch' if begin is not None else 'Epoch'} {current.number} ({current.token}).")


async def _epoch(settings: Settings, reason: str | None) -> Epoch:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        epochs = tools.epochs()
        return await epochs.enter() if reason is None else await epochs.begin(reason.strip())
