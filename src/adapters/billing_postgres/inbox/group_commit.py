"""Group commit: many concurrent inserts, few commits. Each batch is everything queued while the previous commit ran.

There is no waiting window. A lone request is flushed at once; under load the database's own pace forms the batches. A
window of 2 ms would cost a lone request nine tenths of its speed and gain nothing.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Generic, TypeVar

import attrs

from billing_core.errors import StoreUnavailableError

Item = TypeVar("Item")
Result = TypeVar("Result")
Write = Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]


@attrs.define(eq=False)
class _Entry(Generic[Item, Result]):
    """One item, the future of its result, and its deadline."""

    item: Item
    result: asyncio.Future[Result]
    deadline: float


class Flusher(Generic[Item, Result]):
    """A queue whose items go in batches to `writers`; each writer handles one batch at a time.

    A writer returns results in the order of its batch, or raises and fails this batch only. Unless the error is a
    StoreUnavailableError, an item caused it: each item is then tried alone, so that only that one fails.
    """

    def __init__(
        self,
        writers: Sequence[Write[Item, Result]],
        *,
        batch: int,
        queue_limit: int,
        timeout: float,
        abandoned: Callable[[Result], None],
    ) -> None:
        """A caller waits at most `timeout` seconds; `abandoned` gets the results of callers that are gone by then."""
        self._idle = list(writers)
        self._batch = batch
        self._queue_limit = queue_limit
        self._timeout = timeout
        self._abandoned = abandoned
        self._queue: deque[_Entry[Item, Result]] = deque()
        self._writing: list[Sequence[_Entry[Item, Result]]] = []
        self._flushes: set[asyncio.Task[None]] = set()
        self._starting = False
        self._closed = False
        self._alarm: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """Kept from the first use on: getting it takes a system call each time."""

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Queue an item. The result comes once its batch is committed; StoreUnavailableError if it takes too long.

        Raises StoreUnavailableError at once when the queue is full or closed.
        """
        if self._closed:
            raise StoreUnavailableError("record: shutting down")
        if len(self._queue) >= self._queue_limit:
            raise StoreUnavailableError("record: the queue is full")
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        entry: _Entry[Item, Result] = _Entry(item, loop.create_future(), loop.time() + self._timeout)
        self._queue.append(entry)
        if self._alarm is None:
            self._alarm = loop.call_at(entry.deadline, self._expire)
        self._start_flush()
        return entry.result

    async def aclose(self) -> None:
        """Write what is queued, and accept nothing more."""
        self._closed = True
        while self._flushes:
            await asyncio.wait(self._flushes)
        if self._alarm is not None:
            self._alarm.cancel()

    def _start_flush(self) -> None:
        """Start one idle writer. It takes its batch, with all that is queued by then, in the loop's next iteration."""
        if self._queue and self._idle and not self._starting:
            self._starting = True
            task = asyncio.get_running_loop().create_task(self._flush(self._idle.pop()))
            self._flushes.add(task)
            task.add_done_callback(self._flushes.discard)

    async def _flush(self, write: Write[Item, Result]) -> None:
        self._starting = False
        try:
            while batch := self._take():
                self._start_flush()  # when one batch could not hold everything
                self._writing.append(batch)
                try:
                    await self._write(write, batch)
                finally:
                    self._writing.remove(batch)
        finally:
            self._idle.append(write)

    def _take(self) -> Sequence[_Entry[Item, Result]]:
        """Return the next batch, without items whose callers are gone: they would not get the result."""
        batch: list[_Entry[Item, Result]] = []
        while self._queue and len(batch) < self._batch:
            entry = self._queue.popleft()
            if not entry.result.done():
                batch.append(entry)
        return batch

    async def _write(self, write: Write[Item, Result], batch: Sequence[_Entry[Item, Result]]) -> None:
        try:
            results = await write([entry.item for entry in batch])
        except StoreUnavailableError as exc:
            for entry in batch:
                _fail(entry, exc)
        except Exception as exc:
            if len(batch) > 1:
                for entry in batch:
                    await self._write(write, [entry])
            elif not batch[0].result.done():
                batch[0].result.set_exception(exc)
        else:
            for entry, result in zip(batch, results, strict=True):
                if entry.result.done():
                    self._abandoned(result)
                else:
                    entry.result.set_result(result)

    def _expire(self) -> None:
        """Fail callers past their deadline. One timer for all: a timer for each would cost as much as the rest."""
        loop = asyncio.get_running_loop()
        now, next_deadline = loop.time(), None
        for entry in chain(*self._writing, self._queue):
            if entry.result.done():
                continue
            if entry.deadline <= now:
                entry.result.set_exception(StoreUnavailableError("record: no answer in time"))
            elif next_deadline is None or entry.deadline < next_deadline:
                next_deadline = entry.deadline
        self._alarm = None if next_deadline is None else loop.call_at(next_deadline, self._expire)


def _fail(entry: _Entry[Item, Result], exc: StoreUnavailableError) -> None:
    """Give the caller an error of its own: one raised by many tasks would collect the tracebacks of all of them."""
    if not entry.result.done():
        mine = StoreUnavailableError(*exc.args)
        mine.__cause__ = exc
        entry.result.set_exception(mine)
