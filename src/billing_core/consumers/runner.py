"""Hands messages to consumers: each tenant's in order, many tenants at a time, and again until they are handled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final

import attrs

from billing_core.consumers.capacity import Capacity
from billing_core.consumers.delivery import Delivery, DeliveryReport
from billing_core.consumers.handlers import Handler, ReadHandler, read_handler
from billing_core.consumers.ports import ConsumerClaim, ConsumerQueue, ConsumerRegister, Progress, Waiting, Want
from billing_core.consumers.settling import ProgressWriter
from billing_core.consumers.threads import Threads
from billing_core.consumers.values import Consumer, ConsumerName
from billing_core.errors import StoreUnavailableError
from billing_core.events import BillingEvent
from billing_core.waiting import first_of, wait_at_most

_NO_PAUSE: Final = timedelta(0)


@attrs.frozen(kw_only=True)
class ConsumerPolicy:
    """Limits of the work on consumers in one process."""

    tenants: int = 16
    """Tenants of one consumer that are worked on at a time, without a transaction."""
    transactions: int = 4
    """Tenants of all consumers together whose handlers hold a transaction, each with a connection of the database."""
    messages: int = 100
    """Messages of one tenant that are handled before others get their chance."""
    lease: timedelta = timedelta(seconds=60)
    """Of a claim, renewed with each message; longer where a consumer's timeout needs it."""
    poll: timedelta = timedelta(seconds=1)
    catch_up: int = 1000
    """Tenants looked up at a time for a consumer that starts in the past."""

    @property
    def connections(self) -> int:
        """The connections that are used at most: for the transactions of handlers, for claims and for positions."""
        return self.transactions + 2


@attrs.frozen
class _Subscriber:
    consumer: Consumer
    handler: ReadHandler
    threads: Threads


class ConsumerRunner:
    """Runs the handlers of this process. Others may run the same: one at a time has a tenant of a consumer."""

    def __init__(
        self,
        *,
        register: ConsumerRegister,
        queue: ConsumerQueue,
        policy: ConsumerPolicy,
        observe: Callable[[DeliveryReport], None],
    ) -> None:
        self._register = register
        self._queue = queue
        self._policy = policy
        self._observe = observe
        self._subscribers: dict[ConsumerName, _Subscriber] = {}
        self._unregistered: dict[ConsumerName, Consumer] = {}
        self._capacity = Capacity(tenants=policy.tenants, transactions=policy.transactions)
        self._transactions = asyncio.Semaphore(policy.transactions)
        self._attempts = 0
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    # --- subscriptions ------------------------------------------------------------------------------------------

    def subscribe(self, consumer: Consumer, handler: Handler, *, registered: bool = False) -> None:
        """Have a consumer's messages handled in this process; also while it runs.

        The consumer is registered first, unless it is `registered`: one that an operator removes must not come back.

        Raises: TypeError if the function is no handler; ValueError if the name has another handler.
        """
        if consumer.name in self._subscribers:
            raise ValueError(f"consumer {consumer.name} has a handler already: give each handler a name of its own")
        self._subscribers[consumer.name] = _Subscriber(consumer, read_handler(handler), Threads(self._policy.tenants))
        if not registered:
            self._unregistered[consumer.name] = consumer
        self._wake.set()

    def handles(self, name: ConsumerName) -> bool:
        """Return whether a consumer has a handler in this process."""
        return name in self._subscribers

    def unsubscribe(self, name: ConsumerName) -> None:
        """Claim nothing more for a consumer. Messages that are being handled are finished."""
        self._subscribers.pop(name, None)
        self._unregistered.pop(name, None)

    # --- loops --------------------------------------------------------------------------------------------------

    def offer(self, events: Sequence[BillingEvent]) -> None:
        """Notice messages that were committed just now, so that they do not wait for the next poll."""
        types = {event.event_type for event in events}
        if any(each.consumer.wants(event_type) for each in self._subscribers.values() for event_type in types):
            self._wake.set()

    async def register(self) -> None:
        """Register new subscribers: the messages that are numbered afterwards are theirs.

        Raises StoreUnavailableError. `run` does it, too; a host that calls this first knows when it is done.
        """
        for name, consumer in list(self._unregistered.items()):
            await self._register.register(consumer)
            if self._unregistered.get(name) is consumer:
                del self._unregistered[name]

    async def run(self) -> None:
        """Handle messages until stopped; messages in progress are finished."""
        async with self._writing() as writer, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._catch_up())
            tasks.create_task(self._deliver(tasks, writer))

    async def run_once(self) -> int:
        """Handle what is due now and return the number of attempts, for a host's tests. Not beside `run`.

        Raises StoreUnavailableError, once the messages in progress are finished.
        """
        before = self._attempts
        await self.register()
        while await self._queue.catch_up(self._ready(), limit=self._policy.catch_up):
            pass
        # Raised below: a task group would cancel what is in progress, and raise a group.
        unavailable: StoreUnavailableError | None = None
        async with self._writing() as writer:
            more = True
            while more:
                async with asyncio.TaskGroup() as tasks:
                    try:
                        more = await self._claim(tasks, writer)
                    except StoreUnavailableError as error:
                        unavailable, more = error, False
        if unavailable is not None:
            raise unavailable
        return self._attempts - before

    def stop(self) -> None:
        """Ask `run` to return after the messages in progress."""
        self._stopping.set()
        self._wake.set()

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[ProgressWriter]:
        """Write positions for the length of the block, and the last ones at its end."""
        writer = ProgressWriter(self._queue, pause=self._policy.poll)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(writer.run())
            try:
                yield writer
            finally:
                writer.stop()

    async def _deliver(self, tasks: asyncio.TaskGroup, writer: ProgressWriter) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                await self.register()
                claimed = await self._claim(tasks, writer)
            except StoreUnavailableError:
                await wait_at_most(self._stopping, self._policy.poll)
                continue
            if not claimed:
                await first_of(self._queue.wait(at_most=self._policy.poll), self._wake.wait())

    async def _claim(self, tasks: asyncio.TaskGroup, writer: ProgressWriter) -> bool:
        """Begin with the tenants that are due and that this process can take on; return whether there were any."""
        found = False
        for limits in self._capacity.limits(*self._plain_and_transactional()):
            wants = [self._want(name, limit) for name, limit in limits.items() if name in self._subscribers]
            found |= await self._begin(wants, tasks, writer)
        return found

    async def _begin(self, wants: Sequence[Want], tasks: asyncio.TaskGroup, writer: ProgressWriter) -> bool:
        """Begin with tenants of one claim; return whether there were any."""
        claims = await self._queue.claim(wants) if wants else []
        if not claims:
            return False
        try:
            waiting = await self._queue.messages(claims, limit=self._policy.messages)
        except StoreUnavailableError:
            for claim in claims:
                tasks.create_task(self._give_back(claim, writer))
            raise
        for claim, messages in zip(claims, waiting, strict=True):
            delivery = self._delivery(claim, messages, writer)
            if delivery is not None:
                transactional = delivery.handler.transactional
                self._capacity.take(claim.consumer, transactional=transactional)
                free = partial(self._free, claim.consumer, transactional)
                tasks.create_task(delivery.run()).add_done_callback(free)
        return True

    def _delivery(self, claim: ConsumerClaim, waiting: Waiting, writer: ProgressWriter) -> Delivery | None:
        """Return the work on a claim; None if its handler was taken away meanwhile: the claim runs out."""
        subscriber = self._subscribers.get(claim.consumer)
        if subscriber is None:
            return None
        return Delivery(
            consumer=subscriber.consumer,
            handler=subscriber.handler,
            claim=claim,
            waiting=waiting,
            lease=self._lease(subscriber.consumer),
            queue=self._queue,
            writer=writer,
            observe=self._note,
            stopping=self._stopping.is_set,
            transactions=self._transactions,
            threads=subscriber.threads,
        )

    async def _give_back(self, claim: ConsumerClaim, writer: ProgressWriter) -> None:
        """Make a tenant due again whose messages could not be read, instead of waiting for the end of its lease."""
        with contextlib.suppress(StoreUnavailableError):
            await writer.write(Progress.untried(claim), lease=self._policy.lease)

    def _note(self, report: DeliveryReport) -> None:
        self._attempts += 1
        self._observe(report)

    def _free(self, name: ConsumerName, transactional: bool, _task: object) -> None:
        self._capacity.free(name, transactional=transactional)
        self._wake.set()

    def _ready(self) -> Collection[ConsumerName]:
        return [name for name in self._subscribers if name not in self._unregistered]

    def _plain_and_transactional(self) -> tuple[list[ConsumerName], list[ConsumerName]]:
        found: tuple[list[ConsumerName], list[ConsumerName]] = ([], [])
        for name in self._ready():
            found[self._subscribers[name].handler.transactional].append(name)
        return found

    def _want(self, name: ConsumerName, limit: int) -> Want:
        return Want(consumer=name, limit=limit, lease=self._lease(self._subscribers[name].consumer))

    def _lease(self, consumer: Consumer) -> timedelta:
        """Return a lease that does not end during an attempt and the storing of its end."""
        return max(self._policy.lease, 2 * consumer.timeout)

    async def _catch_up(self) -> None:
        """Find the tenants of consumers that start in the past. Nearly always there is no such consumer."""
        while not self._stopping.is_set():
            unfinished: Collection[ConsumerName] = ()
            with contextlib.suppress(StoreUnavailableError):
                unfinished = await self._queue.catch_up(self._ready(), limit=self._policy.catch_up)
            if unfinished:
                self._wake.set()
            await wait_at_most(self._stopping, _NO_PAUSE if unfinished else self._policy.poll)
