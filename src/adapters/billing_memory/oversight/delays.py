"""Measured delays, counted inside one process."""

from collections.abc import Collection, Mapping
from datetime import datetime

from billing_core.oversight.delays import DELAYS_KEPT, DelayCount, Histogram, MeasuredStage, added


class MemoryDelayTally:
    """A `DelayTally`."""

    def __init__(self) -> None:
        self._counted: list[DelayCount] = []

    async def add(self, counted: Collection[DelayCount]) -> None:
        """Add to what is counted, and delete what is old."""
        self._counted += counted
        if counted:
            oldest = max(each.minute for each in counted) - DELAYS_KEPT
            self._counted = [each for each in self._counted if each.minute >= oldest]

    async def since(self, instant: datetime) -> Mapping[MeasuredStage, Histogram]:
        """Return the histogram of each stage."""
        return added(each for each in self._counted if each.minute >= instant)
