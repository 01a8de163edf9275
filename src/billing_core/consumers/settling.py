"""Stores the positions of many tenants together: those that arrive during one commit share the next."""

import asyncio
import contextlib
import time
from collections import deque
from datetime import timedelta
from typing import Final

import attrs

from billing_core.consumers.ports import ConsumerQueue, Progress
from billing_core.errors import StoreUnavailableError

_BATCH: Final = 500


@attrs.frozen(eq=False)
class _Request:
    progress: Progress
    until: float
    held: "asyncio.Future[bool]"


class ProgressWriter:
    """Writes to a queue, and waits for one that is unavailable: an effect outside must not happen again for that."""

    def __init__(self, queue: ConsumerQueue, *, pause: timedelta) -> None:
        """`pause`: how long to wait before an unavailable store is tried again."""
        self._queue = queue
        self._pause = pause
        self._requests: deque[_Request] = deque()
        self._arrived = asyncio.Event()
        self._stopping = False

    async def write(self, progress: Progress, *, lease: timedelta) -> bool:
        """Store a position; return whether the claim still held.

        Raises: StoreUnavailableError if the store did not come back before the lease ran out.
        """
        held: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._requests.append(_Request(progress, time.monotonic() + lease.total_seconds(), held))
        self._arrived.set()
        return await held

    async def run(self) -> None:
        """Write until stopped and nothing is left to write."""
        while self._requests or not self._stopping:
            if not self._requests:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            batch = [self._requests.popleft() for _ in range(min(len(self._requests), _BATCH))]
            try:
                results = await self._queue.settle([each.progress for each in batch])
            except StoreUnavailableError as error:
                self._put_back(batch, error)
                await asyncio.sleep(self._pause.total_seconds())
            else:
                for request, held in zip(batch, results, strict=True):
                    with contextlib.suppress(asyncio.InvalidStateError):  # canceled meanwhile: stored all the same
                        request.held.set_result(held)

    def stop(self) -> None:
        """Ask `run` to return once everything is written."""
        self._stopping = True
        self._arrived.set()

    def _put_back(self, batch: list[_Request], error: StoreUnavailableError) -> None:
        now = time.monotonic()
        for request in reversed(batch):
            if request.held.done():
                continue
            if request.until > now:
                self._requests.appendleft(request)
            else:
                request.held.set_exception(error)
