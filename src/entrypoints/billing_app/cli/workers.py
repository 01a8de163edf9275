"""`billing workers`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from billing_app.cli.terminal import NOTHING_MATCHED, json_option, moment, plain, print_json
from billing_app.settings import Settings
from billing_app.spans import span

if TYPE_CHECKING:
    from billing_core.oversight.ports import SeenProcess


@click.command()
@json_option
def workers(as_json: bool) -> None:
    """List servers, workers and applications that run, with the time since each last wrote to the database.

    Each writes a heartbeat every five seconds. One that has been silent for 20 seconds is not alive: it was killed, is
    frozen, or cannot write. It is forgotten after an hour.

    \b
    billing workers

    Exit status: 0 done, 3 none is alive.
    """
    found = asyncio.run(_find(Settings.load()))
    from billing_app.doctor.loop import ALIVE

    alive = [seen for seen in found if seen.silent_for <= ALIVE]
    if as_json:
        print_json({"processes": [_to_json(seen, alive=seen in alive) for seen in found]})
    else:
        _print_table(found, alive)
    if not alive:
        click.echo("No server or worker is alive. Start `billing serve` and `billing worker`.", err=True)
        raise click.exceptions.Exit(NOTHING_MATCHED)


async def _find(settings: Settings) -> Sequence[SeenProcess]:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.process_register().current()


def _to_json(seen: SeenProcess, *, alive: bool) -> dict[str, Any]:
    from billing_core.converters import to_plain

    silent_seconds = round(seen.silent_for.total_seconds(), 1)
    return {**to_plain(seen.process), "silent_seconds": silent_seconds, "alive": alive}


def _print_table(found: Sequence[SeenProcess], alive: Sequence[SeenProcess]) -> None:
    for seen in found:
        process = seen.process
        state = "alive" if seen in alive else "silent"
        role = "processes events" if process.processes_events else "stores events only"
        click.echo(
            f"{state:<6}  {process.kind:<11}  {plain(process.host)}:{process.pid}  {plain(process.version)}  {role}  "
            f"since {moment(process.started_at)}  last heartbeat {span(seen.silent_for)} ago"
        )
