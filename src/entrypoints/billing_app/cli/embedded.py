"""`billing embedded`: local servers for development that run until they are stopped."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from billing_app.cli.terminal import json_option, print_json
from billing_app.errors import OperatorError
from billing_app.settings import Settings
from billing_embedded import EmbeddedError, ServerUrls, client
from billing_embedded.data_directory import DataDirectory

_data_dir = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data directory of the servers. Default: BILLING_DATA_DIR, or .billing.",
)


class _LocalServers(click.Group):
    """A command group that reports errors of local servers as operator errors."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EmbeddedError as exc:
            raise OperatorError(str(exc)) from exc


@click.group(cls=_LocalServers)
def embedded() -> None:
    """Start, stop and inspect the local Postgres and Valkey.

    For development: they listen on 127.0.0.1 only and use generated passwords.
    """


@embedded.command()
@_data_dir
@json_option
def start(data_dir: Path | None, as_json: bool) -> None:
    """Start both servers and wait until they are ready.

    \b
    billing embedded start
    """
    directory = _directory(data_dir)
    started = client.start_daemon(directory)
    if as_json:
        print_json({"started": started, **_to_json(client.status(directory))})
        return
    click.echo("Started." if started else "Already running.")
    _describe(client.status(directory))
    click.echo(f"To use them in a shell, run: {_env_command(data_dir)}")


@embedded.command()
@_data_dir
@json_option
def stop(data_dir: Path | None, as_json: bool) -> None:
    """Stop both servers and wait for them to exit.

    \b
    billing embedded stop
    """
    stopped = client.stop_daemon(_directory(data_dir))
    if as_json:
        print_json({"stopped": stopped})
    else:
        click.echo("Stopped." if stopped else "Not running.")


@embedded.command()
@_data_dir
@json_option
@click.pass_context
def status(ctx: click.Context, data_dir: Path | None, as_json: bool) -> None:
    """Show whether the servers are running. The exit status is 0 if both respond, otherwise 1.

    \b
    billing embedded status --json
    """
    found = client.status(_directory(data_dir))
    if as_json:
        print_json(_to_json(found))
    else:
        _describe(found)
    ctx.exit(0 if found.state == "running" else 1)


@embedded.command()
@_data_dir
@json_option
def env(data_dir: Path | None, as_json: bool) -> None:
    """Print DATABASE_URL and REDIS_URL as shell exports, for `eval`. The output contains passwords.

    \b
    eval "$(billing embedded env)" && psql "$DATABASE_URL"
    """
    urls = client.running_urls(_directory(data_dir))
    if as_json:
        print_json({"DATABASE_URL": urls.database_url, "REDIS_URL": urls.redis_url})
    else:
        click.echo(_exports(urls))


def _directory(data_dir: Path | None) -> DataDirectory:
    return DataDirectory.at(data_dir or Settings.for_command().embedded.data_dir)


def _env_command(data_dir: Path | None) -> str:
    option = f" --data-dir {shlex.quote(str(data_dir))}" if data_dir else ""
    return f'eval "$(billing embedded env{option})"'


def _exports(urls: ServerUrls) -> str:
    given = {"DATABASE_URL": urls.database_url, "REDIS_URL": urls.redis_url}
    return "\n".join(f"export {name}={shlex.quote(url)}" for name, url in given.items() if url is not None)


def _to_json(found: client.Status) -> dict[str, Any]:
    from billing_core.converters import to_plain

    return {**to_plain(found), "data_dir": str(found.data_dir)}


def _describe(found: client.Status) -> None:
    owner = f" and stop with process {found.owner} and the last command that uses them" if found.owner else ""
    click.echo(f"The servers in {found.data_dir} are {found.state}{owner}.")
    for name, port in found.ports.items():
        click.echo(f"  {name:<9} 127.0.0.1:{port}  process {found.processes[name]}")
