"""The delays that a process measures, added to the store at an interval for all processes to see."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from billing_core.errors import StoreUnavailableError
from billing_core.oversight.delays import DELAY_BOUNDS, DelayCount, MeasuredStage
from billing_core.oversight.ports import DelayTally
from billing_core.state.ports import Clock

_LAST_WRITE_SECONDS: Final = 1.0
"""Longest time that the end of a process waits for the tally."""


class DelayRecorder:
    """Adds what was measured since the last time to the tally. A killed process loses its last interval."""

    def __init__(
        self,
        *,
        tally: DelayTally,
        read: Callable[[], Mapping[MeasuredStage, Sequence[int]]],
        clock: Clock,
        every: timedelta,
    ) -> None:
        """Read the counts since the process began, one for each of `DELAY_BOUNDS` and one above them."""
        self._tally = tally
        self._read = read
        self._clock = clock
        self._every = every.total_seconds()
        self._written: Mapping[MeasuredStage, Sequence[int]] = {}

    async def run(self) -> None:
        """Record until cancelled; then record the rest."""
        try:
            while True:
                await asyncio.sleep(self._every)
                await self.record()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WRITE_SECONDS):
                    await self.record()

    async def record(self) -> None:
        """Add what is new; without the store it is added the next time, to the minute of then."""
        read = {stage: tuple(counts) for stage, counts in self._read().items()}
        minute = self._clock.now().replace(second=0, microsecond=0)
        fresh = [
            DelayCount(minute=minute, stage=stage, bound=bound, count=count - before)
            for stage, counts in read.items()
            for bound, count, before in zip(_BOUNDS, counts, self._written.get(stage, _NONE), strict=True)
            if count > before
        ]
        if fresh:
            with suppress(StoreUnavailableError):
                await self._tally.add(fresh)
                self._written = read


_BOUNDS: Final = (*DELAY_BOUNDS, float("inf"))
_NONE: Final = (0,) * len(_BOUNDS)
