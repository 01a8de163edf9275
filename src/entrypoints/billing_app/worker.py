"""The loops that turn stored events into state and state into messages, and their orderly end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import attrs

from billing_core.inbox.dispatch import Dispatcher
from billing_core.oversight.monitors import BacklogMonitor, DuplicateMonitor, InvariantMonitor
from billing_core.state.refetch import Refetcher
from billing_core.stream.backfill import Backfiller
from billing_core.stream.publisher import Publisher


@attrs.frozen(kw_only=True)
class Worker:
    """A dispatcher, the publisher of what it commits, and those who look after what is committed."""

    dispatcher: Dispatcher
    publisher: Publisher
    backlog_monitor: BacklogMonitor
    duplicate_monitor: DuplicateMonitor
    invariant_monitor: InvariantMonitor
    refetcher: Refetcher | None
    """None where the provider cannot be asked."""
    backfiller: Backfiller | None
    """None where the bus is not to be filled when a process starts."""

    @asynccontextmanager
    async def running(self, *, concurrency: int, patience: timedelta) -> AsyncIterator["asyncio.Future[None]"]:
        """Run all loops for the length of the block; yields a future that fails should a loop end by an error.

        Args:
            concurrency: batches of due events that are worked on at a time.
            patience: how long each loop may take to finish what it has in hand. Then it is cut off: the leases of its
                events run out and somebody else takes them.
        """
        dispatching = asyncio.create_task(self.dispatcher.run(concurrency=concurrency), name="dispatcher")
        publishing = asyncio.create_task(self.publisher.run(), name="publisher")
        looking_after = {
            asyncio.create_task(carer.run(), name=type(carer).__name__.lower()): carer
            for carer in (self.backlog_monitor, self.duplicate_monitor, self.invariant_monitor, self.refetcher)
            if carer is not None
        }
        backfill = asyncio.create_task(_backfill(self.backfiller), name="refiller")
        failure = _first_failure(dispatching, publishing, backfill, *looking_after)
        try:
            yield failure
        finally:
            backfill.cancel()
            self.dispatcher.stop()
            for carer in looking_after.values():
                carer.stop()
            await _finish(dispatching, patience)
            for task in looking_after:
                # What the provider has not answered by now is asked for again by whoever sweeps next.
                task.cancel()
                await _finish(task, patience)
            # Only now: the last batch has handed its messages over.
            self.publisher.stop()
            await _finish(publishing, patience)
            failure.cancel()


@asynccontextmanager
async def publishing(publisher: Publisher, *, patience: timedelta) -> AsyncIterator[None]:
    """Publish what is committed inside the block. What cannot be sent by its end stays in the outbox."""
    task = asyncio.create_task(publisher.run(), name="publisher")
    try:
        yield
    finally:
        publisher.stop()
        await _finish(task, patience)


async def _backfill(backfiller: Backfiller | None) -> None:
    if backfiller is not None:
        await backfiller.run()


def _first_failure(*tasks: "asyncio.Task[None]") -> "asyncio.Future[None]":
    failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def watch(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None and not failure.done():
            failure.set_exception(task.exception() or RuntimeError())

    for task in tasks:
        task.add_done_callback(watch)
    return failure


async def _finish(task: "asyncio.Task[None]", patience: timedelta) -> None:
    await asyncio.wait([task], timeout=patience.total_seconds())
    if not task.done():
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
