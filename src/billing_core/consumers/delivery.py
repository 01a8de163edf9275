"""The messages of one claim, handed to a handler one after another until one of them fails."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

import attrs

from billing_core.consumers.handlers import ReadHandler
from billing_core.consumers.ports import ConsumerClaim, ConsumerQueue, Progress, Step, Waiting
from billing_core.consumers.settling import ProgressWriter
from billing_core.consumers.threads import Threads
from billing_core.consumers.values import Consumer, ConsumerMessage, OnDead, RetryLater, Undeliverable
from billing_core.errors import ClaimLostError, StoreUnavailableError, TransactionLostError, text_of

Result: TypeAlias = Literal["handled", "retried", "dead", "skipped", "lost"]
"""A closed set, because it is a metric label."""

_ERROR_LENGTH: Final = 500
_STORE_PAUSE: Final = timedelta(seconds=1)


@attrs.frozen(kw_only=True)
class DeliveryReport:
    """One attempt at one message."""

    consumer: Consumer
    message: ConsumerMessage
    result: Result
    """`dead` holds its tenant back, and `skipped` was passed over after its last attempt. `lost` means that another
    process took over, which handles the message again."""
    error: str | None = None
    retry_after: timedelta | None = None
    seconds: float = 0.0


@attrs.frozen(kw_only=True)
class _Failure:
    error: str
    counted: bool = True
    final: bool = False
    after: timedelta | None = None


@attrs.define(kw_only=True)
class Delivery:
    """The work on one claim."""

    consumer: Consumer
    handler: ReadHandler
    claim: ConsumerClaim
    waiting: Waiting
    lease: timedelta
    queue: ConsumerQueue
    writer: ProgressWriter
    observe: Callable[[DeliveryReport], None]
    stopping: Callable[[], bool]
    transactions: asyncio.Semaphore
    """Taken for the length of a transaction."""
    threads: Threads
    """For plain functions of this consumer."""

    async def run(self) -> None:
        """Handle the messages. A claim whose position cannot be stored runs out, and the messages come again."""
        messages = self.waiting.messages
        try:
            for number, message in enumerate(messages, start=1):
                if self.stopping():
                    await self._write(Progress.untried(self.claim))
                    return
                attempt = attrs.evolve(message, attempt=self.claim.attempt)
                if not await self._deliver(attempt, final=number == len(messages)):
                    return
            if not messages:
                await self._write(self._done())
        except (ClaimLostError, StoreUnavailableError):
            return

    async def _deliver(self, message: ConsumerMessage, *, final: bool) -> bool:
        """Make one attempt; return whether the next message may follow."""
        started = time.monotonic()
        handled = self._done() if final else self._moved(Step.CONTINUE, message.sequence)
        try:
            failure = self._worn_out(message) or await self._attempt(message, handled)
            if failure is None:
                report = await self._note_handled(message, handled)
            else:
                report = await self._note_failed(message, failure)
        except (ClaimLostError, StoreUnavailableError) as error:
            report = self._report(message, "lost", error=str(error))
        self.observe(attrs.evolve(report, seconds=time.monotonic() - started))
        if final and report.result == "skipped":
            await self._write(self._done())
        return not final and report.result in ("handled", "skipped")

    # --- attempts -----------------------------------------------------------------------------------------------

    def _worn_out(self, message: ConsumerMessage) -> _Failure | None:
        """Return a failure if the last attempt began before: it never ended, so it may have ended its process."""
        if message.attempt <= self.consumer.attempts:
            return None
        return _Failure(error=f"the end of attempt {message.attempt - 1} is unknown: its process was killed or froze")

    async def _attempt(self, message: ConsumerMessage, handled: Progress) -> _Failure | None:
        scope = asyncio.timeout(None)
        try:
            if self.handler.transactional:
                async with self.transactions, self._limited(scope), self._settling(handled) as transaction:
                    await self.handler.function(message, transaction)
            elif self.handler.in_thread:
                await self._reserve_thread()
                async with self._limited(scope):
                    await self.threads.run(self.handler.function, message)
            else:
                async with self._limited(scope):
                    await self.handler.function(message)
        except ClaimLostError:
            raise
        except RetryLater as later:
            return _Failure(error=str(later), counted=later.counted, after=later.after)
        except Undeliverable as error:
            return _Failure(error=str(error) or "the handler gave the message up", final=True)
        except StoreUnavailableError as error:  # ours: the message is not to blame
            return _Failure(error=str(error), counted=False, after=_STORE_PAUSE)
        except TransactionLostError as error:  # counts: the handler ran, and may be the reason
            return _Failure(error=str(error))
        except (
            Exception,
            SystemExit,
            asyncio.CancelledError,
        ) as error:  # whatever a handler raises is a failed attempt
            if isinstance(error, asyncio.CancelledError) and _is_canceled():
                raise
            too_long = isinstance(error, TimeoutError) and scope.expired()
            limit = f"{self.consumer.timeout.total_seconds():g} s"
            return _Failure(error=f"took longer than {limit}" if too_long else _text(error))
        return None

    async def _reserve_thread(self) -> None:
        """Wait for a thread before the time of the attempt begins, and not so long that the lease runs out."""
        try:
            await self.threads.reserve(at_most=self.consumer.timeout / 2)
        except TimeoutError as error:
            text = "all threads are held by earlier attempts, which run on after their timeout"
            raise RetryLater(self.consumer.backoff(1), text, counted=False) from error

    def _settling(self, handled: Progress) -> AbstractAsyncContextManager[Any]:
        return self.queue.settling(handled, limit=self.consumer.timeout)

    @asynccontextmanager
    async def _limited(self, scope: asyncio.Timeout) -> AsyncIterator[None]:
        """Limit the time of one attempt, from here on."""
        async with scope:
            scope.reschedule(asyncio.get_running_loop().time() + self.consumer.timeout.total_seconds())
            yield

    # --- results ------------------------------------------------------------------------------------------------

    async def _note_handled(self, message: ConsumerMessage, handled: Progress) -> DeliveryReport:
        if not self.handler.transactional:
            await self._write(handled)
        self._go_on(message)
        return self._report(message, "handled")

    async def _note_failed(self, message: ConsumerMessage, failure: _Failure) -> DeliveryReport:
        used = message.attempt if failure.counted else message.attempt - 1
        if not failure.final and used < self.consumer.attempts:
            after = self.consumer.backoff(message.attempt) if failure.after is None else failure.after
            before = message.sequence - 1
            await self._write(self._moved(Step.RETRY, before, attempts=used, after=after, error=failure.error))
            return self._report(message, "retried", error=failure.error, retry_after=after)
        if self.consumer.on_dead is OnDead.HOLD:
            await self._write(self._moved(Step.HOLD, message.sequence - 1, attempts=used, error=failure.error))
            return self._report(message, "dead", error=failure.error)
        await self._write(self._moved(Step.SKIP, message.sequence, attempts=used, error=failure.error))
        self._go_on(message)
        return self._report(message, "skipped", error=failure.error)

    def _go_on(self, message: ConsumerMessage) -> None:
        self.claim = attrs.evolve(self.claim, position=message.sequence, attempt=1)

    def _report(self, message: ConsumerMessage, result: Result, **fields: Any) -> DeliveryReport:
        return DeliveryReport(consumer=self.consumer, message=message, result=result, **fields)

    # --- positions ----------------------------------------------------------------------------------------------

    async def _write(self, progress: Progress) -> None:
        if not await self.writer.write(progress, lease=self.lease):
            raise ClaimLostError(f"another process has {progress.claim.tenant_id} of {self.consumer.name}")

    def _done(self) -> Progress:
        return self._moved(Step.DONE, self.waiting.until)

    def _moved(self, step: Step, position: int, **fields: Any) -> Progress:
        return Progress(claim=self.claim, step=step, position=position, **{"after": self.lease, **fields})


def _is_canceled() -> bool:
    """Return whether the running task is to end. A handler may raise CancelledError of another one that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _text(error: BaseException) -> str:
    """Return the type of an error and the start of its text; of a group, those of its first error."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return text_of(error)[:_ERROR_LENGTH].removesuffix(": ")
