"""Work that is repeated at an interval until it is stopped."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import Generic, TypeVar

from billing_core.errors import StoreUnavailableError
from billing_core.waiting import wait_at_most

Report = TypeVar("Report")


class Periodic(ABC, Generic[Report]):
    """A task that runs now and again after each pause, and passes every report to an observer."""

    def __init__(self, *, every: timedelta, observe: Callable[[Report], None]) -> None:
        self._every = every
        self._observe = observe
        self._stopping = asyncio.Event()

    @abstractmethod
    async def run_once(self) -> Report:
        """Do the work once and report the result. Raises StoreUnavailableError."""

    async def run(self) -> None:
        """Repeat until stopped. A run that finds the store unavailable reports nothing."""
        while not self._stopping.is_set():
            with contextlib.suppress(StoreUnavailableError):
                self._observe(await self.run_once())
            await wait_at_most(self._stopping, self._every)

    def stop(self) -> None:
        """Ask `run` to return."""
        self._stopping.set()
