"""`billing serve` and `billing worker`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import attrs
import click

from billing_app.errors import OperatorError, StartRefusedError
from billing_app.settings import Settings, SettingsFault
from billing_app.troubleshooting import SettingTrouble

_metrics_port = click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Port for /metrics, /healthz and /readyz. Default: BILLING_METRICS_PORT.",
)


@click.command()
@click.option("--host", help="Address to listen on. Default: BILLING_HOST, or 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on. Default: BILLING_PORT, or 8080.")
@_metrics_port
@click.option("--no-worker", is_flag=True, help="Store events only, and leave processing to `billing worker`.")
def serve(host: str | None, port: int | None, metrics_port: int | None, no_worker: bool) -> None:
    """Receive webhooks and serve the API, the stream and the activity page.

    Everything that it depends on is checked first. If something is wrong, it lists all of it and exits with status 78.

    Without DATABASE_URL and REDIS_URL, a local Postgres and Valkey are started. SIGTERM shuts the server down
    gracefully.

    \b
    billing serve
    billing serve --host 0.0.0.0 --port 80 --no-worker
    """
    settings, faults = Settings.examine()
    settings = _listening(settings, host=host, port=port, metrics_port=metrics_port)
    if no_worker:
        settings = attrs.evolve(settings, switches=attrs.evolve(settings.switches, retry_worker=False))
    from billing_app import server

    _start(settings, faults, server.serve)


@click.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=1, show_default=True, help="Batches processed concurrently."
)
@_metrics_port
def worker(concurrency: int, metrics_port: int | None) -> None:
    """Process stored events, new ones as well as retries.

    Everything that it depends on is checked first. If something is wrong, it lists all of it and exits with status 78.

    Run as many workers as you need. SIGTERM shuts a worker down gracefully.

    \b
    billing worker --concurrency 2
    """
    settings, faults = Settings.examine()
    settings = _listening(settings, metrics_port=metrics_port)
    from billing_app import server

    _start(settings, faults, partial(server.work, concurrency=concurrency))


def _listening(settings: Settings, **given: str | int | None) -> Settings:
    """Return settings with the addresses that were given as options."""
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return attrs.evolve(settings, server=attrs.evolve(settings.server, **options))


def _start(
    settings: Settings, faults: Sequence[SettingsFault], run: Callable[..., Coroutine[object, object, None]]
) -> None:
    """Run a process if nothing speaks against it. Raises: StartRefusedError."""
    from billing_app import runtime
    from billing_app.container import configure_logging
    from billing_app.doctor import check_start, log_start, log_step
    from billing_core.errors import ConfigurationError

    async def start() -> None:
        log_step("checks settings and what they name: servers, the Stripe key, clocks")
        found = await check_start(settings, faults)
        log_start(settings, found)
        await run(settings, account_id=found.account_id)

    for warning in settings.warnings:
        click.echo(f"billing: {warning}. See {SettingTrouble.SETTING_IS_SUSPICIOUS}.", err=True)
    runtime.forbid_core_dumps()
    configure_logging(settings)
    try:
        runtime.run(start())
    except StartRefusedError:
        raise
    except (ConfigurationError, OperatorError) as exc:
        raise StartRefusedError(f"refusing to start: {exc}") from exc
