"""The epochs of a database in memory, which cannot be restored."""

from billing_core.model.epoch import Epoch


class MemoryEpochLog:
    """An `EpochLog`."""

    def __init__(self) -> None:
        self._current = Epoch(number=1, token="memory1")  # noqa: S106 - no secret

    async def enter(self) -> Epoch:
        """Return the current epoch."""
        return self._current

    async def begin(self, reason: str) -> Epoch:
        """Begin a new epoch."""
        number = self._current.number + 1
        self._current = Epoch(number=number, token=f"memory{number}")
        return self._current
