"""Notices when the database begins another epoch (`billing_core.model.epoch`)."""

from collections.abc import Callable
from datetime import timedelta

from billing_core.model.epoch import Epoch
from billing_core.periodic import Periodic
from billing_core.stream.ports import EpochLog


class EpochWatch(Periodic[Epoch]):
    """Looks every so often whether the epoch is still the one that a process lives in."""

    def __init__(self, *, log: EpochLog, every: timedelta, observe: Callable[[Epoch], None]) -> None:
        super().__init__(every=every, observe=observe)
        self._log = log

    async def look(self) -> Epoch:
        """The current epoch."""
        return await self._log.enter()
