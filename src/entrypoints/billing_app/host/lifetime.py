"""The container of an application while billing is open; opened again when the database begins another history."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

import attrs
import structlog

from billing_app.beside import beside, seen, watching_epoch
from billing_app.container import Container
from billing_app.host.errors import NotOpenError
from billing_app.http.refusals import RefusalCounts
from billing_app.runtime import until
from billing_app.shutdown import ShutdownDeadline
from billing_app.worker import publishing
from billing_core.errors import StoreUnavailableError
from billing_core.inbox.intake import Intake
from billing_core.waiting import first_of

log = structlog.get_logger()

_LONGEST_PAUSE: Final = 30.0

OpenContainer = Callable[[], AbstractAsyncContextManager[Container]]


@attrs.frozen(kw_only=True)
class Opened:
    """The objects of an application within one epoch of the database."""

    container: Container
    intake: Intake
    refusals: RefusalCounts


class Lifetime:
    """Keeps a container open, one per epoch of the database, and runs a worker in it while one is wanted.

    Everything is opened and closed by one task of its own. A worker that fails closes the container, and the next one
    is opened after a pause, as a supervisor would start the process again.
    """

    def __init__(self, open_container: OpenContainer, *, prepare: Callable[[Container], Awaitable[None]]) -> None:
        """Take what opens a container, and what has to be done before anything else happens in it."""
        self._open_container = open_container
        self._prepare = prepare
        self._opened: Opened | None = None
        self._is_open = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._concurrency = 1
        self._wanted = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.closing = asyncio.Event()
        """Set when the end begins."""

    async def open(self) -> None:
        """Open everything. Raises what the container raises, with nothing left open."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(ready), name="billing")
        try:
            await ready
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the streams and the worker, then close everything in reverse."""
        self.closing.set()
        if self._task is not None:
            await self._task

    @property
    def opened(self) -> Opened:
        """The objects that are open. Raises NotOpenError; StoreUnavailableError while they are being opened again."""
        if self._opened is None:
            if self._task is None or self.closing.is_set():
                raise NotOpenError
            raise StoreUnavailableError("billing is being opened again: try in a moment")
        return self._opened

    async def opened_again(self) -> None:
        """Wait until something is open, or billing closes."""
        await first_of(self._is_open.wait(), self.closing.wait())

    @asynccontextmanager
    async def working(self, *, concurrency: int) -> AsyncIterator[None]:
        """Process stored events for the length of the block; at its end, wait for what is being processed."""
        if self._wanted.is_set():
            raise RuntimeError("a worker runs already")
        self._concurrency = concurrency
        self._unwanted.clear()
        self._wanted.set()
        try:
            yield
        finally:
            self._wanted.clear()
            self._unwanted.set()
            await self._idle.wait()

    async def _run(self, ready: "asyncio.Future[None]") -> None:
        pause = 0.5
        while not self.closing.is_set():
            try:
                await self._run_one_epoch(ready)
                pause = 0.5
            except Exception as exc:
                if not ready.done():
                    ready.set_exception(exc)
                    return
                log.exception("billing.failed", opens_again_after=pause)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.closing.wait(), pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _run_one_epoch(self, ready: "asyncio.Future[None]") -> None:
        async with AsyncExitStack() as stack:
            container = await stack.enter_async_context(self._open_container())
            deadline = container.deadline()
            await self._prepare(container)
            refusals = RefusalCounts(container.refusal_tally(), container.clock())
            for context in (
                publishing(container.publisher(), deadline),
                seen(container.heartbeat(), container.bus_watch(), container.delay_recorder(), deadline),
                beside("refusals", refusals.run(), deadline),
                beside("streams", container.hub().run(), deadline),
                beside("entitlements", container.entitlements().run(), deadline),
            ):
                await stack.enter_async_context(context)
            stack.callback(container.hub().close)
            over = await stack.enter_async_context(watching_epoch(container.epoch(), container.epochs(), deadline))
            self._opened = Opened(container=container, intake=_intake(container), refusals=refusals)
            self._is_open.set()
            try:
                if not ready.done():
                    ready.set_result(None)
                await self._work_while_wanted(container, over)
            finally:
                self._opened = None
                self._is_open.clear()
                deadline.begin()

    async def _work_while_wanted(self, container: Container, over: asyncio.Event) -> None:
        """Return when these objects are to be closed: at the end, in another epoch, or for a second worker."""
        quiet: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await until(self.closing, over, self._wanted, failure=quiet)
        if self._wanted.is_set() and not over.is_set():
            await self._work(container, over)
            await until(self.closing, over, self._wanted, failure=quiet)

    async def _work(self, container: Container, over: asyncio.Event) -> None:
        self._idle.clear()
        container.heartbeat().note_processing(True)
        try:
            # The publisher runs without a worker, too, and the time for closing begins when that does.
            limit = container.settings().server.shutdown_timeout
            worker = attrs.evolve(container.worker(), publisher=None, deadline=ShutdownDeadline(limit))
            async with worker.running(concurrency=self._concurrency) as failure:
                await until(self.closing, over, self._unwanted, failure=failure)
        finally:
            container.heartbeat().note_processing(False)
            self._idle.set()


def _intake(container: Container) -> Intake:
    """Return the way in for webhooks, which exists because billing is on."""
    intake = container.intake()
    assert intake is not None
    return intake
