"""Many concurrent inserts, few commits: what queued up while the last commit ran goes into the next one.

There is no waiting window. A lone request is flushed at once; under load the database's own pace makes the batches. A
window of 2 ms would cost a lone request two thirds of its speed and help nobody.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from billing_core.errors import StoreUnavailableError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Flusher(Generic[Item, Result]):
    """Hands queued items in batches to `writers`, each of which works on one batch at a time.

    A writer answers with results in the order of its batch, or raises and fails this batch only. When what it raises is
    not StoreUnavailableError, an item is at fault: each is then tried alone, so that it fails nobody else.
    """

    def __init__(
        self,
        writers: Sequence[Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]],
        *,
        batch: int,
        queue_limit: int,
        abandoned: Callable[[Result], None],
    ) -> None:
        """`abandoned` gets every result whose caller has gone meanwhile."""
        self._idle = list(writers)
        self._batch = batch
        self._queue_limit = queue_limit
        self._abandoned = abandoned
        self._queue: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._flushes: set[asyncio.Task[None]] = set()
        self._starting = False
        self._closed = False

    async def submit(self, item: Item) -> Result:
        """Queue an item and return its result once its batch is committed. StoreUnavailableError when it is full."""
        if self._closed:
            raise StoreUnavailableError("record: shutting down")
        if len(self._queue) >= self._queue_limit:
            raise StoreUnavailableError("record: the queue is full")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        self._start_flush()
        return await future

    async def aclose(self) -> None:
        """Take nothing more, and write what is queued."""
        self._closed = True
        while self._flushes:
            await asyncio.wait(self._flushes)

    def _start_flush(self) -> None:
        """Put one idle writer to work. It takes its batch in the next round of the loop, with all that came by then."""
        if self._queue and self._idle and not self._starting:
            self._starting = True
            task = asyncio.get_running_loop().create_task(self._flush(self._idle.pop()))
            self._flushes.add(task)
            task.add_done_callback(self._flushes.discard)

    async def _flush(self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]) -> None:
        self._starting = False
        try:
            while batch := self._take():
                self._start_flush()  # more than one batch is waiting, or comes while this one is written
                await self._write(write, batch)
        finally:
            self._idle.append(write)

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        """The next batch, without those whose callers have given up: they would not learn of the result."""
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._queue and len(batch) < self._batch:
            item, future = self._queue.popleft()
            if not future.done():
                batch.append((item, future))
        return batch

    async def _write(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        batch: Sequence[tuple[Item, asyncio.Future[Result]]],
    ) -> None:
        try:
            results = await write([item for item, _ in batch])
        except StoreUnavailableError as exc:
            for _, future in batch:
                _fail(future, exc)
        except Exception as exc:
            if len(batch) > 1:
                for one in batch:
                    await self._write(write, [one])
            elif not batch[0][1].done():
                batch[0][1].set_exception(exc)
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    self._abandoned(result)
                else:
                    future.set_result(result)


def _fail(future: asyncio.Future[Result], exc: StoreUnavailableError) -> None:
    """Give the caller an error of its own: one that many tasks raise would collect the tracebacks of all of them."""
    if not future.done():
        mine = StoreUnavailableError(*exc.args)
        mine.__cause__ = exc
        future.set_exception(mine)
