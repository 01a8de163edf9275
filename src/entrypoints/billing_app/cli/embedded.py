"""`billing embedded`: local servers that run until they are stopped, for development."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import attrs
import click

from billing_app.errors import OperatorError
from billing_app.settings import Settings
from billing_embedded import EmbeddedError, ServerUrls, client
from billing_embedded.home import Home

_data_dir = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the servers. Default: BILLING_DATA_DIR, else .billing.",
)


class _LocalServers(click.Group):
    """A group whose commands fail as others do when a local server cannot be used."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EmbeddedError as exc:
            raise OperatorError(str(exc)) from exc


@click.group(cls=_LocalServers)
def embedded() -> None:
    """Start, stop and inspect the local Postgres and Valkey.

    They listen on 127.0.0.1 only, with generated passwords, and are meant for development.
    """


@embedded.command()
@_data_dir
def start(data_dir: Path | None) -> None:
    """Start both servers and return when they answer."""
    home = _home(data_dir)
    started = client.start_daemon(home)
    click.echo("Started." if started else "Already running.")
    _describe(client.status(home))
    click.echo(f"Use them from a shell: {_env_command(data_dir)}")


@embedded.command()
@_data_dir
def stop(data_dir: Path | None) -> None:
    """Stop both servers and wait until they have ended."""
    stopped = client.stop_daemon(_home(data_dir))
    click.echo("Stopped." if stopped else "Not running.")


@embedded.command()
@_data_dir
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def status(ctx: click.Context, data_dir: Path | None, as_json: bool) -> None:
    """Say whether the servers run. The exit status is 0 when both answer, else 1."""
    found = client.status(_home(data_dir))
    if as_json:
        click.echo(json.dumps({**attrs.asdict(found), "data_dir": str(found.data_dir)}))
    else:
        _describe(found)
    ctx.exit(0 if found.state == "running" else 1)


@embedded.command()
@_data_dir
def env(data_dir: Path | None) -> None:
    """Print DATABASE_URL and REDIS_URL, passwords included, as shell commands for `eval`."""
    urls = client.daemon_urls(_home(data_dir))
    click.echo(_exports(urls))


def _home(data_dir: Path | None) -> Home:
    return Home.at(data_dir or Settings.load().data_dir)


def _env_command(data_dir: Path | None) -> str:
    option = f" --data-dir {shlex.quote(str(data_dir))}" if data_dir else ""
    return f'eval "$(billing embedded env{option})"'


def _exports(urls: ServerUrls) -> str:
    given = {"DATABASE_URL": urls.database_url, "REDIS_URL": urls.redis_url}
    return "\n".join(f"export {name}={shlex.quote(url)}" for name, url in given.items() if url is not None)


def _describe(found: client.Status) -> None:
    owner = f", and end with process {found.owner}" if found.owner else ""
    click.echo(f"The servers in {found.data_dir} are {found.state}{owner}.")
    for name, port in found.ports.items():
        click.echo(f"  {name:<9} 127.0.0.1:{port}  process {found.processes[name]}")
