"""The loops that turn stored events into state and state into messages, and their orderly shutdown."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from billing_app.shutdown import UNWINDING, ShutdownDeadline
from billing_core.consumers.monitor import ConsumerMonitor
from billing_core.consumers.runner import ConsumerRunner
from billing_core.inbox.dispatch import Dispatcher
from billing_core.operations.pruning import OperationPruner
from billing_core.operations.settling import OperationSettler
from billing_core.outgoing.following import ReceiverFollower
from billing_core.oversight.monitors import (
    BacklogMonitor,
    DuplicateMonitor,
    InvariantMonitor,
    ProcessMonitor,
    UnmappedMonitor,
)
from billing_core.state.access_review import AccessReviewer
from billing_core.state.following_products import ProductFollower
from billing_core.state.following_rules import RulesFollower
from billing_core.state.refetch import Refetcher
from billing_core.stream.backfill import Backfiller
from billing_core.stream.publisher import Publisher
from billing_core.stream.rewrite import LogRewriter


@attrs.frozen(kw_only=True)
class Worker:
    """The loops of one process: dispatcher, publisher of its messages, consumers, upkeep and monitors."""

    dispatcher: Dispatcher
    publisher: Publisher | None
    """None if the process publishes without its worker, too."""
    backlog_monitor: BacklogMonitor
    process_monitor: ProcessMonitor
    duplicate_monitor: DuplicateMonitor
    unmapped_monitor: UnmappedMonitor
    invariant_monitor: InvariantMonitor
    access_reviewer: AccessReviewer
    product_follower: ProductFollower
    rules_follower: RulesFollower
    refetcher: Refetcher | None
    """None if the provider cannot be asked."""
    operation_settler: OperationSettler | None
    """None if the provider cannot be asked."""
    operation_pruner: OperationPruner
    backfiller: Backfiller | None
    """None if the bus is not filled when a process starts."""
    log_rewriter: LogRewriter
    consumer_runner: ConsumerRunner
    consumer_monitor: ConsumerMonitor
    receiver_follower: ReceiverFollower | None
    """None if this process sends no outgoing webhooks."""
    deadline: ShutdownDeadline

    @asynccontextmanager
    async def running(self, *, concurrency: int) -> AsyncIterator["asyncio.Future[None]"]:
        """Run all loops for the length of the block; yield a future that fails if a loop ends with an error.

        A shutdown lets each loop finish its current work until the deadline. Events whose processing is cut off are
        processed again once their leases have run out.

        Args:
            concurrency: number of batches of due events that are processed at a time.
        """
        dispatching = asyncio.create_task(self.dispatcher.run(concurrency=concurrency), name="dispatcher")
        publishing = asyncio.create_task(_publish(self.publisher), name="publisher")
        consuming = asyncio.create_task(self.consumer_runner.run(), name="consumers")
        upkeep = {
            asyncio.create_task(loop.run(), name=type(loop).__name__.lower()): loop
            for loop in (
                self.backlog_monitor,
                self.consumer_monitor,
                self.receiver_follower,
                self.process_monitor,
                self.duplicate_monitor,
                self.unmapped_monitor,
                self.invariant_monitor,
                self.access_reviewer,
                self.product_follower,
                self.rules_follower,
                self.log_rewriter,
                self.refetcher,
                self.operation_settler,
                self.operation_pruner,
            )
            if loop is not None
        }
        backfill = asyncio.create_task(_backfill(self.backfiller), name="backfiller")
        failure = _first_failure(dispatching, publishing, consuming, backfill, *upkeep)
        try:
            yield failure
        finally:
            backfill.cancel()
            self.dispatcher.stop()
            self.consumer_runner.stop()
            for loop in upkeep.values():
                loop.stop()
            await _finish(dispatching, self.deadline)
            # Objects that the provider has not returned by now are fetched again after the next sweep of any worker.
            for task in upkeep:
                task.cancel()
            canceled = asyncio.gather(*upkeep, return_exceptions=True)
            await self.deadline.finish("upkeep", canceled, at_most=UNWINDING)
            # Last, because the last batch has only now offered its messages.
            if self.publisher is not None:
                self.publisher.stop()
            await _finish(publishing, self.deadline)
            await _finish(consuming, self.deadline)
            failure.cancel()


@asynccontextmanager
async def publishing(publisher: Publisher, deadline: ShutdownDeadline) -> AsyncIterator[None]:
    """Publish the messages committed inside the block. Those that cannot be sent in time stay in the outbox."""
    task = asyncio.create_task(publisher.run(), name="publisher")
    try:
        yield
    finally:
        publisher.stop()
        await _finish(task, deadline)


async def _publish(publisher: Publisher | None) -> None:
    if publisher is not None:
        await publisher.run()


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
