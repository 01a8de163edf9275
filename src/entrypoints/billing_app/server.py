"""`billing serve` and `billing worker`: the long-running processes, from start to orderly end."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import attrs
import structlog
from aiohttp import web

from billing_app.container import Container, open_container
from billing_app.http.access_log import AccessLogger
from billing_app.http.app import create_app, create_probes
from billing_app.http.auth import TenantAuthenticator
from billing_app.http.services import Services
from billing_app.runtime import settle_garbage_collector, termination, until
from billing_app.settings import Settings
from billing_core.errors import ConfigurationError
from billing_core.model.epoch import Epoch
from billing_core.stream.epochs import EpochWatch

log = structlog.get_logger()

_EPOCH_EVERY = timedelta(seconds=5)
_HEADER_TIMEOUT = 10.0
"""Seconds an idle connection may stay; the server's own default is an hour."""


async def serve(settings: Settings, *, authenticator: TenantAuthenticator | None = None) -> None:
    """Take webhooks, serve the API and the stream, and, unless switched off, process events; until SIGTERM.

    Args:
        settings: of this process.
        authenticator: says who may read a tenant's data, in place of our own bearer tokens.
    """
    stop = termination()
    while not stop.is_set():
        await _serve_one_epoch(settings, stop, authenticator)
    log.info("server.stopped")


async def _serve_one_epoch(settings: Settings, stop: asyncio.Event, authenticator: TenantAuthenticator | None) -> None:
    async with (
        open_container(settings, application_name="billing-serve") as container,
        # In this order, so that the end comes in the other: no new webhooks, then what was taken in is processed.
        _loops(settings, container) as failure,
        _revocations(container),
        _listening(settings, create_app(_services(container, authenticator))) as url,
        _epoch_end(container) as over,
    ):
        log.info("server.started", url=url, billing=settings.enable_billing, worker=failure is not None)
        await _run(stop, over, failure)


async def work(settings: Settings, *, concurrency: int) -> None:
    """Process events without taking any in; until SIGTERM."""
    if not settings.enable_billing:
        raise ConfigurationError("ENABLE_BILLING is false: there is nothing to process")
    stop = termination()
    while not stop.is_set():
        await _work_one_epoch(settings, stop, concurrency)
    log.info("worker.stopped")


async def _work_one_epoch(settings: Settings, stop: asyncio.Event, concurrency: int) -> None:
    async with (
        open_container(settings, application_name="billing-worker") as container,
        container.worker().running(concurrency=concurrency, patience=settings.shutdown_timeout) as failure,
        _watched(settings, container) as url,
        _epoch_end(container) as over,
    ):
        log.info("worker.started", concurrency=concurrency, url=url)
        await _run(stop, over, failure)


def _services(container: Container, authenticator: TenantAuthenticator | None) -> Services:
    services = container.services()
    return services if authenticator is None else attrs.evolve(services, authenticator=authenticator)


@asynccontextmanager
async def _epoch_end(container: Container) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the database has begun another epoch.

    Everything that a process holds in memory is of the history before: it closes all of it and opens it anew.
    """
    over = asyncio.Event()
    ours = container.epoch()

    def look(epoch: Epoch) -> None:
        if epoch != ours and not over.is_set():
            log.warning("epoch.changed", number=epoch.number, before=ours.number)
            over.set()

    watch = EpochWatch(log=container.epochs(), every=_EPOCH_EVERY, observe=look)
    async with _beside(watch.run()):
        yield over


@asynccontextmanager
async def _revocations(container: Container) -> AsyncIterator[None]:
    """Inside the block this process knows which tokens were revoked."""
    revoked = container.revoked()
    await revoked.load()
    async with _beside(revoked.run()):
        yield


@asynccontextmanager
async def _beside(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Inside the block the loop runs."""
    running = asyncio.create_task(loop)
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


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


async def _run(stop: asyncio.Event, over: asyncio.Event, failure: "asyncio.Future[None] | None") -> None:
    settle_garbage_collector()
    await until(stop, over, failure=failure or asyncio.get_running_loop().create_future())


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
