"""`billing epoch`: which history the numbers of messages belong to."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import click

from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.model.epoch import Epoch


@click.command()
@click.option("--begin", metavar="REASON", help="Begin a new epoch, and say why: `--begin 'disk put back to Monday'`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def epoch(begin: str | None, as_json: bool) -> None:
    """Show the epoch of the database; with --begin start a new one.

    Begin one after the database was put back to an earlier moment by copying its disk. A restored dump, another server
    and a failover are noticed without it. Running servers and workers start anew by themselves within seconds, and
    every client of the stream is told to load its state again.
    """
    if begin is not None and not begin.strip():
        raise click.BadParameter("say why", param_hint="--begin")
    current = asyncio.run(_epoch(Settings.load(), begin))
    if as_json:
        click.echo(json.dumps({"number": current.number, "token": current.token, "begun": begin is not None}))
    else:
        click.echo(f"{'Began epoch' if begin is not None else 'Epoch'} {current.number} ({current.token}).")


async def _epoch(settings: Settings, reason: str | None) -> Epoch:
    from billing_app.container import open_epochs

    async with open_epochs(settings) as epochs:
        return await epochs.enter() if reason is None else await epochs.begin(reason.strip())
