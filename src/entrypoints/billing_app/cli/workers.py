"""`billing workers`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from billing_app.cli.lists import Column, Listing, Output
from billing_app.cli.terminal import NOTHING_MATCHED
from billing_app.settings import Settings
from billing_app.spans import span

if TYPE_CHECKING:
    from billing_core.oversight.ports import RunningProcess, SeenProcess


@attrs.frozen
class ListedProcess:
    """A process, and whether it is alive."""

    seen: SeenProcess
    alive: bool

    @property
    def state(self) -> str:
        """`alive` or `silent`."""
        return "alive" if self.alive else "silent"

    @property
    def process(self) -> RunningProcess:
        """The process as it described itself."""
        return self.seen.process


def _to_json(each: ListedProcess) -> Mapping[str, Any]:
    from billing_core.converters import to_plain

    silent_seconds = round(each.seen.silent_for.total_seconds(), 1)
    return {**to_plain(each.process), "silent_seconds": silent_seconds, "alive": each.alive}


PROCESSES: Final = Listing[ListedProcess](
    "processes",
    [
        Column("state", lambda each: each.state, color=lambda each: "green" if each.alive else "red"),
        Column("kind", lambda each: each.process.kind),
        Column("process", lambda each: f"{each.process.host}:{each.process.pid}"),
        Column("version", lambda each: each.process.version),
        Column("does", lambda each: "processes events" if each.process.processes_events else "stores events only"),
        Column("started", lambda each: each.process.started_at),
        Column("silent for", lambda each: span(each.seen.silent_for)),
    ],
    _to_json,
)


@click.command()
@PROCESSES.options
def workers(output: Output[ListedProcess]) -> None:
    """List servers, workers and applications that run, with the time since each last wrote to the database.

    Each writes a heartbeat every five seconds. One that has been silent for 20 seconds is not alive: it was killed, is
    frozen, or cannot write. It is forgotten after an hour.

    \b
    billing workers
    billing workers --output json

    Exit status: 0 done, 3 none is alive.
    """
    from billing_app.doctor.loop import ALIVE

    seen = asyncio.run(_find(Settings.for_command()))
    found = [ListedProcess(each, alive=each.silent_for <= ALIVE) for each in seen]
    output.show(found)
    if not any(each.alive for each in found):
        click.echo("No server or worker is alive. Start `billing serve` and `billing worker`.", err=True)
        raise click.exceptions.Exit(NOTHING_MATCHED)


async def _find(settings: Settings) -> Sequence[SeenProcess]:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.process_register().current()
