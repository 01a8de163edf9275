"""One deadline for a whole shutdown: each stage gets the time that the stages before it have left."""

import asyncio
import contextlib
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Final

import structlog

log = structlog.get_logger()

UNWINDING: Final = timedelta(seconds=0.5)
"""Time for canceled work to release what it holds. Work that waits for a frozen server may never get there."""


class ShutdownDeadline:
    """The instant at which a process has to be gone, set when its shutdown begins.

    Stages that are still busy then are canceled, and those that follow get no time. All of them together may overrun
    it by `UNWINDING`, once.
    """

    def __init__(self, limit: timedelta) -> None:
        self._limit = limit.total_seconds()
        self._at: float | None = None

    def begin(self) -> None:
        """Start the clock. Later calls change nothing."""
        if self._at is None:
            self._at = asyncio.get_running_loop().time() + self._limit

    def remaining(self) -> float:
        """Return the seconds that are left, 0 when the time is up. Begins the shutdown if nothing has."""
        return max(0.0, self._left())

    async def finish(
        self, stage: str, work: "Coroutine[Any, Any, object] | asyncio.Future[Any]", *, at_most: timedelta | None = None
    ) -> bool:
        """Wait for the end of a stage, no longer than until the deadline; then cancel it.

        Args:
            stage: its name in the log.
            work: a task that was asked to stop, or what closes something.
            at_most: a limit of this stage alone, for work that is not worth the whole time.

        Returns: whether it ended in time.
        Raises: the error that it ends with in time.
        """
        task = asyncio.ensure_future(work)
        left = self.remaining() if at_most is None else min(self.remaining(), at_most.total_seconds())
        try:
            await asyncio.wait([task], timeout=left)
            if not task.done():
                log.warning("shutdown.cut_off", stage=stage)
                await self._cancel(task)
                return False
        finally:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            task.result()
        return True

    async def _cancel(self, task: "asyncio.Future[Any]") -> None:
        task.add_done_callback(_retrieve)
        task.cancel()
        grace = UNWINDING.total_seconds()
        await asyncio.wait([task], timeout=max(0.0, min(grace, self._left() + grace)))

    def _left(self) -> float:
        self.begin()
        assert self._at is not None
        return self._at - asyncio.get_running_loop().time()


def _retrieve(task: "asyncio.Future[Any]") -> None:
    """Look at the error of work that was given up, so that the event loop does not report it as overlooked."""
    if not task.cancelled():
        task.exception()
