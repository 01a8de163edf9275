"""Loops that run beside what a process does, for as long as it does it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import structlog

from billing_app.bus_watch import BusWatch
from billing_app.shutdown import UNWINDING, ShutdownDeadline
from billing_core.model.epoch import Epoch
from billing_core.oversight.delay_recorder import DelayRecorder
from billing_core.oversight.heartbeat import Heartbeat
from billing_core.stream.epochs import EpochMonitor
from billing_core.stream.ports import EpochLog

log = structlog.get_logger()

_EPOCH_EVERY: Final = timedelta(seconds=5)


@asynccontextmanager
async def beside(name: str, loop: Coroutine[Any, Any, None], deadline: ShutdownDeadline) -> AsyncIterator[None]:
    """Run a loop that has nothing to finish for the length of the block."""
    running = asyncio.create_task(loop, name=name)
    try:
        yield
    finally:
        running.cancel()
        try:
            await deadline.finish(name, running, at_most=UNWINDING)
        except Exception:
            log.exception("loop.failed", loop=name)


@asynccontextmanager
async def watching_epoch(ours: Epoch, epochs: EpochLog, deadline: ShutdownDeadline) -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set when the database has begun another epoch than ours.

    Everything that a process holds in memory belongs to the previous history, so it closes and reopens all of it.
    """
    over = asyncio.Event()

    def look(epoch: Epoch) -> None:
        if epoch != ours and not over.is_set():
            log.warning("epoch.changed", number=epoch.number, before=ours.number)
            over.set()

    monitor = EpochMonitor(log=epochs, every=_EPOCH_EVERY, observe=look)
    async with beside("epoch_monitor", monitor.run(), deadline):
        yield over


@asynccontextmanager
async def seen(
    heartbeat: Heartbeat, bus_watch: BusWatch, delays: DelayRecorder, deadline: ShutdownDeadline
) -> AsyncIterator[None]:
    """Show that this process is alive and what it measures; find out whether the database and the bus take writes."""
    async with (
        beside("delays", delays.run(), deadline),
        beside("heartbeat", heartbeat.run(), deadline),
        beside("bus_watch", bus_watch.run(), deadline),
    ):
        yield
