"""Detection of a new database epoch (`billing_core.model.epoch`)."""

from collections.abc import Callable
from datetime import timedelta

from billing_core.model.epoch import Epoch
from billing_core.periodic import Periodic
from billing_core.stream.ports import EpochLog


class EpochMonitor(Periodic[Epoch]):
    """Reports the database's current epoch at an interval, so that a process notices when its own has ended."""

    def __init__(self, *, log: EpochLog, every: timedelta, observe: Callable[[Epoch], None]) -> None:
        super().__init__(every=every, observe=observe)
        self._log = log

    async def run_once(self) -> Epoch:
        """Return the current epoch."""
        return await self._log.enter()
