"""`billing serve` and `billing worker`: the long-running processes, from start to orderly shutdown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

import structlog
from aiohttp import web

from billing_app.beside import beside, seen, watching_epoch
from billing_app.container import Container, Starting, open_container
from billing_app.garbage import exempt_start
from billing_app.http.app import create_app, create_probes
from billing_app.http.auth import TenantAuthenticator
from billing_app.http.runner import set_up
from billing_app.lifeline import READY, Lifeline
from billing_app.listening import cannot_listen
from billing_app.runtime import termination, until
from billing_app.settings import Settings
from billing_app.shutdown import ShutdownDeadline
from billing_core.errors import ConfigurationError

log = structlog.get_logger()

_IDLE_TIMEOUT = 10.0
"""Seconds that an idle connection stays open; the library's default is an hour."""


async def serve(
    settings: Settings,
    *,
    authenticator: TenantAuthenticator | None = None,
    account_id: str | None = None,
    lifeline: Lifeline | None = None,
) -> None:
    """Receive webhooks, serve the API and the stream and, unless switched off, process events, until SIGTERM.

    Args:
        settings: the configuration of this process.
        authenticator: decides who may read a tenant's data, in place of our own bearer tokens.
        account_id: the account of the API key, if it is known: the database must hold data of no other.
        lifeline: given to a process of a group, which shares its port with the others.
    """
    stop = _ending(lifeline)
    while not stop.is_set():
        await _serve_one_epoch(settings, stop, authenticator, account_id, lifeline)
    log.info("server.stopped")


async def _serve_one_epoch(
    settings: Settings,
    stop: asyncio.Event,
    authenticator: TenantAuthenticator | None,
    account_id: str | None,
    lifeline: Lifeline | None,
) -> None:
    async with (
        open_container(
            settings,
            application_name="billing-serve",
            authenticator=authenticator,
            starts=Starting(account_id=account_id),
        ) as container,
        # Left in reverse order: webhooks are refused first, then those that were accepted are processed.
        seen(container.heartbeat(), container.bus_watch(), container.delay_recorder(), container.deadline()),
        _processing(settings, container) as failure,
        _revocations_known(container),
        _monitored(container) as monitored,
        _listening(
            _public(settings, shared=lifeline is not None), create_app(container.services()), container.deadline()
        ) as url,
        watching_epoch(container.epoch(), container.epochs(), container.deadline()) as over,
    ):
        log.info(
            "server.started",
            url=url,
            metrics=monitored,
            billing=settings.switches.billing,
            worker=failure is not None,
        )
        await _run(stop, over, failure, container.deadline(), lifeline)


async def work(
    settings: Settings, *, concurrency: int, account_id: str | None = None, lifeline: Lifeline | None = None
) -> None:
    """Process events without receiving any, until SIGTERM.

    Args:
        settings: the configuration of this process.
        concurrency: number of batches of due events that are processed at a time.
        account_id: the account of the API key, if it is known: the database must hold data of no other.
        lifeline: given to a process of a group.
    """
    if not settings.switches.billing:
        raise ConfigurationError("ENABLE_BILLING is false: there is nothing to process")
    stop = _ending(lifeline)
    while not stop.is_set():
        await _work_one_epoch(settings, stop, concurrency, account_id, lifeline)
    log.info("worker.stopped")


async def _work_one_epoch(
    settings: Settings, stop: asyncio.Event, concurrency: int, account_id: str | None, lifeline: Lifeline | None
) -> None:
    async with (
        open_container(
            settings, application_name="billing-worker", starts=Starting(account_id=account_id), kind="worker"
        ) as container,
        seen(container.heartbeat(), container.bus_watch(), container.delay_recorder(), container.deadline()),
        container.worker().running(concurrency=concurrency) as failure,
        _monitored(container) as monitored,
        watching_epoch(container.epoch(), container.epochs(), container.deadline()) as over,
    ):
        log.info("worker.started", concurrency=concurrency, metrics=monitored)
        await _run(stop, over, failure, container.deadline(), lifeline)


def _ending(lifeline: Lifeline | None) -> asyncio.Event:
    """Return an event that a signal sets and, in a process of a group, its supervisor."""
    stop = termination()
    if lifeline is not None:
        lifeline.follow(stop)
    return stop


@asynccontextmanager
async def _revocations_known(container: Container) -> AsyncIterator[None]:
    """Keep the list of revoked tokens up to date for the length of the block."""
    revoked = container.revoked()
    await revoked.load()
    async with beside("revocations", revoked.run(), container.deadline()):
        yield


@asynccontextmanager
async def _monitored(container: Container) -> AsyncIterator[str | None]:
    """Serve health and metrics on their own port if one is configured; yield the address."""
    server = container.settings().server
    if server.metrics_port is None:
        yield None
        return
    address = _Address(server.metrics_host, server.metrics_port, "BILLING_METRICS_PORT", server.shutdown_timeout)
    async with _listening(address, create_probes(container.services()), container.deadline()) as url:
        yield url


async def _run(
    stop: asyncio.Event,
    over: asyncio.Event,
    failure: "asyncio.Future[None] | None",
    deadline: ShutdownDeadline,
    lifeline: Lifeline | None,
) -> None:
    exempt_start()
    if lifeline is not None:
        lifeline.report(READY)
    try:
        await until(stop, over, failure=failure or asyncio.get_running_loop().create_future())
    finally:
        deadline.begin()


@asynccontextmanager
async def _processing(settings: Settings, container: Container) -> AsyncIterator["asyncio.Future[None] | None"]:
    """Run a worker inside this process, unless that is switched off."""
    if not (settings.switches.billing and settings.switches.retry_worker):
        yield None
        return
    async with container.worker().running(concurrency=1) as failure:
        yield failure


class _Address(NamedTuple):
    """An address to listen on, the variable of its port, and the time to shut down."""

    host: str
    port: int
    variable: str
    shutdown_timeout: timedelta
    shared: bool = False
    """Whether the kernel spreads connections over all processes of a group that listen on it."""


def _public(settings: Settings, *, shared: bool) -> _Address:
    server = settings.server
    return _Address(server.host, server.port, "BILLING_PORT", server.shutdown_timeout, shared)


@asynccontextmanager
async def _listening(address: _Address, app: web.Application, deadline: ShutdownDeadline) -> AsyncIterator[str]:
    """Run an HTTP server and yield its address. A shutdown refuses new requests and ends the streams at once."""
    # The library waits this long for requests, and as long again once it has canceled them: half of the time in all.
    patience = address.shutdown_timeout.total_seconds() / 4
    runner = await set_up(app, keepalive_timeout=_IDLE_TIMEOUT, shutdown_timeout=patience)
    try:
        # None leaves the choice to the system, and False fails on one that cannot share ports.
        site = web.TCPSite(runner, address.host, address.port, backlog=1024, reuse_port=address.shared or None)
        try:
            await site.start()
        except OSError as exc:
            raise cannot_listen(address.host, address.port, address.variable, exc) from exc
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await deadline.finish("http", runner.cleanup())
