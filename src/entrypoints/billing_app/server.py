"""`billing serve` and `billing worker`: the long-running processes, from start to orderly end."""

import asyncio
import contextlib
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
from billing_app.runtime import settle_garbage_collector, termination, until
from billing_app.settings import ServerSettings, Settings
from billing_app.shutdown import UNWINDING, ShutdownDeadline
from billing_core.errors import ConfigurationError
from billing_core.model.epoch import Epoch
from billing_core.stream.epochs import EpochMonitor

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
        open_container(settings, application_name="billing-serve", authenticator=authenticator) as container,
        # Left in reverse order: first no new webhooks, then those that were accepted are processed.
        _loops(settings, container) as failure,
        _revocations(container),
        _listening(settings.server, create_app(container.services()), container.deadline()) as url,
        _epoch_end(container) as over,
    ):
        log.info("server.started", url=url, billing=settings.switches.billing, worker=failure is not None)
        await _run(stop, over, failure, container.deadline())


async def work(settings: Settings, *, concurrency: int) -> None:
    """Process events without taking any in; until SIGTERM."""
    if not settings.switches.billing:
        raise ConfigurationError("ENABLE_BILLING is false: there is nothing to process")
    stop = termination()
    while not stop.is_set():
        await _work_one_epoch(settings, stop, concurrency)
    log.info("worker.stopped")


async def _work_one_epoch(settings: Settings, stop: asyncio.Event, concurrency: int) -> None:
    async with (
        open_container(settings, application_name="billing-worker") as container,
        container.worker().running(concurrency=concurrency) as failure,
        _watched(settings, container) as url,
        _epoch_end(container) as over,
    ):
        log.info("worker.started", concurrency=concurrency, url=url)
        await _run(stop, over, failure, container.deadline())


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

    watch = EpochMonitor(log=container.epochs(), every=_EPOCH_EVERY, observe=look)
    async with _beside("epoch_watch", watch.run(), container.deadline()):
        yield over


@asynccontextmanager
async def _revocations(container: Container) -> AsyncIterator[None]:
    """Inside the block this process knows which tokens were revoked."""
    revoked = container.revoked()
    await revoked.load()
    async with _beside("revocations", revoked.run(), container.deadline()):
        yield


@asynccontextmanager
async def _beside(name: str, loop: Coroutine[Any, Any, None], deadline: ShutdownDeadline) -> AsyncIterator[None]:
    """Run a loop that has nothing to finish, for the length of the block."""
    running = asyncio.create_task(loop, name=name)
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(Exception):  # what it failed by was in the log
            await deadline.finish(name, running, at_most=UNWINDING)


@asynccontextmanager
async def _watched(settings: Settings, container: Container) -> AsyncIterator[str | None]:
    """Health and metrics of a worker, where it is to show them."""
    if settings.server.worker_port is None:
        yield None
        return
    worker = attrs.evolve(settings.server, port=settings.server.worker_port)
    async with _listening(worker, create_probes(container.services()), container.deadline()) as url:
        yield url


async def _run(
    stop: asyncio.Event, over: asyncio.Event, failure: "asyncio.Future[None] | None", deadline: ShutdownDeadline
) -> None:
    settle_garbage_collector()
    try:
        await until(stop, over, failure=failure or asyncio.get_running_loop().create_future())
    finally:
        deadline.begin()


@asynccontextmanager
async def _loops(settings: Settings, container: Container) -> AsyncIterator["asyncio.Future[None] | None"]:
    """The worker's loops, where this process runs them."""
    if not (settings.switches.billing and settings.switches.retry_worker):
        yield None
        return
    async with container.worker().running(concurrency=1) as failure:
        yield failure


@asynccontextmanager
async def _listening(settings: ServerSettings, app: web.Application, deadline: ShutdownDeadline) -> AsyncIterator[str]:
    """Run the HTTP server and yield its address. At the end it accepts nothing new and ends the streams at once."""
    options: dict[str, Any] = {"keepalive_timeout": _HEADER_TIMEOUT, "access_log_class": AccessLogger}
    # The server waits this long for its requests, and again after it has canceled them: half of the time in all.
    patience = settings.shutdown_timeout.total_seconds() / 4
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=patience, **options)
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
        await deadline.finish("http", runner.cleanup())
