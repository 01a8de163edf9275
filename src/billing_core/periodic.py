"""Work that is done every so often until somebody says stop."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import Generic, TypeVar

from billing_core.errors import StoreUnavailableError

Report = TypeVar("Report")


class Periodic(ABC, Generic[Report]):
    """Looks at something now and after each pause, and hands what it saw to an observer; until stopped."""

    def __init__(self, *, every: timedelta, observe: Callable[[Report], None]) -> None:
        self._every = every
        self._observe = observe
        self._stopping = asyncio.Event()

    @abstractmethod
    async def look(self) -> Report:
        """Look once. Raises StoreUnavailableError."""

    async def run(self) -> None:
        """Look until stopped; while the store is away there is nothing to say."""
        while not self._stopping.is_set():
            with contextlib.suppress(StoreUnavailableError):
                self._observe(await self.look())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._every.total_seconds())

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stopping.set()
