"""Refused webhooks, counted inside one process."""

from collections.abc import Collection, Sequence
from datetime import date

from billing_core.oversight.ports import REFUSALS_KEPT, RefusedWebhooks


class MemoryRefusalTally:
    """A `RefusalTally`."""

    def __init__(self) -> None:
        self._counted: dict[tuple[date, str], RefusedWebhooks] = {}

    async def add(self, refused: Collection[RefusedWebhooks]) -> None:
        """Add to what is counted, and delete what is old."""
        for each in refused:
            key = (each.day, each.reason)
            known = self._counted.get(key)
            self._counted[key] = each if known is None else known.plus(each)
        newest = max((each.day for each in refused), default=date.min + REFUSALS_KEPT)
        self._counted = {key: each for key, each in self._counted.items() if each.day >= newest - REFUSALS_KEPT}

    async def since(self, day: date) -> Sequence[RefusedWebhooks]:
        """Return what was counted since a day, by day and reason."""
        return [each for key, each in sorted(self._counted.items()) if key[0] >= day]
