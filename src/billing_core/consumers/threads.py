"""Threads in which the plain functions of one consumer run."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Threads:
    """A number of threads of one consumer's own. Those of the event loop are few, and others need them, too.

    Idle threads end when this object is no longer used.
    """

    def __init__(self, size: int) -> None:
        self._free = asyncio.Semaphore(size)
        self._executor = ThreadPoolExecutor(size, thread_name_prefix="billing-consumer")

    async def reserve(self, *, at_most: timedelta) -> None:
        """Wait for a thread that is free, for `run`. Raises TimeoutError: calls whose time is over still hold them."""
        async with asyncio.timeout(at_most.total_seconds()):
            await self._free.acquire()

    async def run(self, function: Callable[[T], R], argument: T) -> R:
        """Call a function in the reserved thread, which is free again when the function ends, canceled or not."""
        loop = asyncio.get_running_loop()

        def release(_: "Future[R]") -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed before the function ended
                loop.call_soon_threadsafe(self._free.release)

        called = self._executor.submit(copy_context().run, function, argument)
        called.add_done_callback(release)
        return await asyncio.wrap_future(called)
