"""`billing serve` and `billing worker`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
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
    settings = _listening(settings, host=host, port=port, metrics_port=metrics_port)
    if no_worker:
        settings = attrs.evolve(settings, switches=attrs.evolve(settings.switches, retry_worker=False))
    from billing_app import server
    from billing_app.processes.supervisor import supervise_servers

    _start(settings, faults, processes, server.serve, supervise_servers)


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
    settings = _listening(settings, metrics_port=metrics_port)
    from billing_app import server
    from billing_app.processes.supervisor import supervise_workers

    _start(settings, faults, processes, partial(server.work, concurrency=concurrency), supervise_workers)


def _listening(settings: Settings, **given: str | int | None) -> Settings:
    """Return settings with the addresses that were given as options."""
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return attrs.evolve(settings, server=attrs.evolve(settings.server, **options))


def _start(
    settings: Settings,
    faults: Sequence[SettingsFault],
    processes: int,
    run: Run,
    supervise: Callable[..., Coroutine[object, object, int]],
) -> None:
    """Run one process or several if nothing speaks against it. Raises: StartRefusedError."""
    from billing_app.doctor import check_start, log_start, log_step
    from billing_app.processes.running import run_process

    settings = attrs.evolve(settings, processes=processes)

    async def start() -> int:
        log_step("checks settings and what they name: servers, the Stripe key, clocks")
        found = await check_start(settings, faults)
        log_start(settings, found)
        if processes > 1:
            return await supervise(settings, run, account_id=found.account_id)
        await run(settings, account_id=found.account_id)
        return 0

    for warning in settings.warnings:
        click.echo(f"billing: {warning}. See {SettingTrouble.SETTING_IS_SUSPICIOUS}.", err=True)
    status = run_process(settings, start())
    if status:
        raise click.exceptions.Exit(status)
