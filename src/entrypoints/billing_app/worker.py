"""The loops that turn stored events into state and state into messages, and their orderly end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from billing_app.shutdown import UNWINDING, ShutdownDeadline
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
    deadline: ShutdownDeadline

    @asynccontextmanager
    async def running(self, *, concurrency: int) -> AsyncIterator["asyncio.Future[None]"]:
        """Run all loops for the length of the block; yields a future that fails if a loop ends with an error.

        At the end each loop finishes the work in hand until the deadline. Events of a loop that is cut off are
        processed again when their leases have run out.

        Args:
            concurrency: batches of due events that are processed at a time.
        """
        dispatching = asyncio.create_task(self.dispatcher.run(concurrency=concurrency), name="dispatcher")
        publishing = asyncio.create_task(self.publisher.run(), name="publisher")
        looking_after = {
            asyncio.create_task(carer.run(), name=type(carer).__name__.lower()): carer
            for carer in (self.backlog_monitor, self.duplicate_monitor, self.invariant_monitor, self.refetcher)
            if carer is not None
        }
        backfill = asyncio.create_task(_backfill(self.backfiller), name="backfiller")
        failure = _first_failure(dispatching, publishing, backfill, *looking_after)
        try:
            yield failure
        finally:
            backfill.cancel()
            self.dispatcher.stop()
            for carer in looking_after.values():
                carer.stop()
            await _finish(dispatching, self.deadline)
            # Objects that the provider has not returned by now are fetched again after the next sweep of any worker.
            for task in looking_after:
                task.cancel()
            canceled = asyncio.gather(*looking_after, return_exceptions=True)
            await self.deadline.finish("monitors", canceled, at_most=UNWINDING)
            # Last, because the last batch has only now offered its messages.
            self.publisher.stop()
            await _finish(publishing, self.deadline)
            failure.cancel()


@asynccontextmanager
async def publishing(publisher: Publisher, deadline: ShutdownDeadline) -> AsyncIterator[None]:
    """Publish what is committed inside the block. What cannot be sent by its end stays in the outbox."""
    task = asyncio.create_task(publisher.run(), name="publisher")
    try:
        yield
    finally:
        publisher.stop()
        await _finish(task, deadline)


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


async def _finish(task: "asyncio.Task[None]", deadline: ShutdownDeadline) -> None:
    with contextlib.suppress(Exception):  # `_first_failure` has reported it
        await deadline.finish(task.get_name(), task)
