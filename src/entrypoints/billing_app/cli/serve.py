"""`billing serve` and `billing worker`."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import click

from billing_app.settings import Settings, SettingsFault
from billing_app.troubleshooting import SettingTrouble

if TYPE_CHECKING:
    from billing_app.processes.assignment import Run

_metrics_port = click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Port for /metrics, /healthz and /readyz. Default: BILLING_METRICS_PORT.",
)
_processes = click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes under one supervisor. Each has a port for metrics: the first the one that is set, and so on.",
)


@click.command()
@click.option("--host", help="Address to listen on. Default: BILLING_HOST, or 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on. Default: BILLING_PORT, or 8080.")
@_metrics_port
@click.option("--no-worker", is_flag=True, help="Store events only, and leave processing to `billing worker`.")
@_processes
def serve(host: str | None, port: int | None, metrics_port: int | None, no_worker: bool, processes: int) -> None:
    """Receive webhooks and serve the API, the stream and the activity page.

    Everything that it depends on is checked first. If something is wrong, it lists all of it and exits with status 78.

    Without DATABASE_URL and REDIS_URL, a local Postgres and Valkey are started. SIGTERM shuts the server down
    gracefully.

    With --processes, several share the port, one that ends is started again, and all end together.

    \b
    billing serve
    billing serve --processes 4 --metrics-port 9464
    billing serve --host 0.0.0.0 --port 80 --no-worker
    """
    settings, faults = Settings.examine()
    settings = _with_options(settings, processes, host=host, port=port, metrics_port=metrics_port)
    if no_worker:
        settings = attrs.evolve(settings, switches=attrs.evolve(settings.switches, retry_worker=False))
    from billing_app.processes import tasks
    from billing_app.processes.supervisor import supervise_servers

    if processes > 1:
        _run(settings, supervise_servers(settings, faults))
    else:
        _run(settings, _checked(settings, faults, tasks.serve))


@click.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=1, show_default=True, help="Batches processed concurrently."
)
@_metrics_port
@_processes
def worker(concurrency: int, metrics_port: int | None, processes: int) -> None:
    """Process stored events, new ones as well as retries.

    Everything that it depends on is checked first. If something is wrong, it lists all of it and exits with status 78.

    Run as many workers as you need. SIGTERM shuts a worker down gracefully.

    With --processes, one that ends is started again, and all end together.

    \b
    billing worker --concurrency 2
    billing worker --processes 2 --metrics-port 9471
    """
    settings, faults = Settings.examine()
    settings = _with_options(settings, processes, metrics_port=metrics_port)
    from billing_app.processes import tasks
    from billing_app.processes.supervisor import supervise_workers

    if processes > 1:
        _run(settings, supervise_workers(settings, faults, concurrency=concurrency))
    else:
        _run(settings, _checked(settings, faults, partial(tasks.work, concurrency=concurrency)))


def _with_options(settings: Settings, processes: int, **given: str | int | None) -> Settings:
    """Return settings with the number of processes and the addresses that were given as options."""
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return attrs.evolve(settings, processes=processes, server=attrs.evolve(settings.server, **options))


async def _checked(settings: Settings, faults: Sequence[SettingsFault], run: Run) -> None:
    """Run one process if nothing speaks against it. Raises: StartRefusedError."""
    from billing_app.processes import tasks

    await run(settings, account_id=await tasks.check(settings, faults))


def _run(settings: Settings, main: Coroutine[Any, Any, int | None]) -> None:
    """Run a process or a supervisor to its end, and exit with its status. Raises: StartRefusedError."""
    from billing_app.processes.running import run_process

    for warning in settings.warnings:
        click.echo(f"billing: {warning}. See {SettingTrouble.SETTING_IS_SUSPICIOUS}.", err=True)
    status = run_process(settings, main)
    if status:
        raise click.exceptions.Exit(status)
