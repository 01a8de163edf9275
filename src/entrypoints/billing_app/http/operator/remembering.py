"""Answers that are remembered for a moment, so that many pages that ask for the same cost as much as one."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from datetime import timedelta
from time import monotonic
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Values by key. Of concurrent requests for one key, one reads and the others wait for its value."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._values: dict[K, tuple[float, V]] = {}
        self._locks: dict[K, asyncio.Lock] = {}

    async def get(self, key: K, read: Callable[[], Awaitable[V]], *, life: timedelta) -> V:
        """Return the value of a key, read again if it is older than `life`. An error is raised and not remembered."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            found = self._values.get(key)
            if found is not None and self._clock() - found[0] < life.total_seconds():
                return found[1]
            value = await read()
            self._values[key] = (self._clock(), value)
            return value
