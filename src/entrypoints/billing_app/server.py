"""`billing serve` and `billing worker`: the long-running processes, from start to orderly end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import structlog
from aiohttp import web

from billing_app.container import Container, open_container
from billing_app.http.access_log import AccessLogger
from billing_app.http.app import create_app, create_probes
from billing_app.process import settle_garbage_collector, termination, until
from billing_app.settings import Settings
from billing_core.errors import ConfigurationError

log = structlog.get_logger()

_HEADER_TIMEOUT = 10.0
"""Seconds an idle connection may stay; the server's own default is an hour."""


async def serve(settings: Settings) -> None:
    """Take webhooks, serve the API and the stream, and, unless switched off, process events; until SIGTERM."""
    stop = termination()
    async with open_container(settings, application_name="billing-serve") as container:
        # In this order, so that the end comes in the other: no new webhooks, then what was taken in is processed.
        async with (
            _loops(settings, container) as failure,
            _listening(settings, create_app(container.services())) as url,
        ):
            log.info("server.started", url=url, billing=settings.enable_billing, worker=failure is not None)
            await _run(stop, failure)
        log.info("server.stopped")


async def work(settings: Settings, *, concurrency: int) -> None:
    """Process events without taking any in; until SIGTERM."""
    if not settings.enable_billing:
        raise ConfigurationError("ENABLE_BILLING is false: there is nothing to process")
    stop = termination()
    async with open_container(settings, application_name="billing-worker") as container:
        patience = settings.shutdown_timeout
        async with (
            container.worker().running(concurrency=concurrency, patience=patience) as failure,
            _watched(settings, container) as url,
        ):
            log.info("worker.started", concurrency=concurrency, url=url)
            await _run(stop, failure)
        log.info("worker.stopped")


@asynccontextmanager
async def _watched(settings: Settings, container: Container) -> AsyncIterator[str | None]:
    """Health and metrics of a worker, where it is to show them."""
    if settings.worker_port is None:
        yield None
        return
    async with _listening(
        attrs.evolve(settings, port=settings.worker_port), create_probes(container.services())
    ) as url:
        yield url


async def _run(stop: asyncio.Event, failure: "asyncio.Future[None] | None") -> None:
    settle_garbage_collector()
    await until(stop, failure or asyncio.get_running_loop().create_future())


@asynccontextmanager
async def _loops(settings: Settings, container: Container) -> AsyncIterator["asyncio.Future[None] | None"]:
    """The worker's loops, where this process runs them."""
    if not (settings.enable_billing and settings.enable_retry_worker):
        yield None
        return
    async with container.worker().running(concurrency=1, patience=settings.shutdown_timeout) as failure:
        yield failure


@asynccontextmanager
async def _listening(settings: Settings, app: web.Application) -> AsyncIterator[str]:
    """The HTTP server; yields its address. At the end it takes nothing new and ends the streams at once."""
    options: dict[str, Any] = {"keepalive_timeout": _HEADER_TIMEOUT, "access_log_class": AccessLogger}
    runner = web.AppRunner(
        app, handler_cancellation=True, shutdown_timeout=settings.shutdown_timeout.total_seconds(), **options
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=1024)
        try:
            await site.start()
        except OSError as exc:
            raise ConfigurationError(
                f"cannot listen on {settings.host}:{settings.port} ({exc.strerror}): "
                "set BILLING_PORT, or BILLING_WORKER_PORT of a worker, to a free port"
            ) from exc
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
