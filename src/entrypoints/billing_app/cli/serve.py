"""`billing serve` and `billing worker`."""

from __future__ import annotations

import attrs
import click

from billing_app.settings import Settings


@click.command()
@click.option("--host", help="Address to listen on. Default: BILLING_HOST, or 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on. Default: BILLING_PORT, or 8080.")
@click.option("--no-worker", is_flag=True, help="Store events only, and leave processing to `billing worker`.")
def serve(host: str | None, port: int | None, no_worker: bool) -> None:
    """Receive webhooks and serve the API, the stream and the activity page.

    Without DATABASE_URL and REDIS_URL, a local Postgres and Valkey are started. SIGTERM shuts the server down
    gracefully.
    """
    settings = Settings.load()
    if host is not None:
        settings = attrs.evolve(settings, server=attrs.evolve(settings.server, host=host))
    if port is not None:
        settings = attrs.evolve(settings, server=attrs.evolve(settings.server, port=port))
    if no_worker:
        settings = attrs.evolve(settings, switches=attrs.evolve(settings.switches, retry_worker=False))
    _configure(settings)
    from billing_app import runtime, server

    runtime.run(server.serve(settings))


@click.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=1, show_default=True, help="Batches processed concurrently."
)
def worker(concurrency: int) -> None:
    """Process stored events, new ones as well as retries.

    Run as many workers as you need. SIGTERM shuts a worker down gracefully.
    """
    settings = Settings.load()
    _configure(settings)
    from billing_app import runtime, server

    runtime.run(server.work(settings, concurrency=concurrency))


def _configure(settings: Settings) -> None:
    for warning in settings.warnings:
        click.echo(f"billing: {warning}", err=True)
    from billing_app.container import configure_logging

    configure_logging(settings)
