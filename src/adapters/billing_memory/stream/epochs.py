"""The epochs of a database in memory, which nobody can restore."""

from billing_core.model.epoch import Epoch


class MemoryEpochLog:
    """An `EpochLog`."""

    def __init__(self) -> None:
        self._current = Epoch(number=1, token="memory1")  # noqa: S106 - no secret

    async def enter(self) -> Epoch:
        """See EpochLog."""
        return self._current

    async def begin(self, reason: str) -> Epoch:
        """See EpochLog."""
        number = self._current.number + 1
        self._current = Epoch(number=number, token=f"memory{number}")
        return self._current
