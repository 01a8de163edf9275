"""Refused webhooks, counted inside one process."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from billing_core.oversight.ports import REFUSALS_KEPT, RefusedWebhooks


class MemoryRefusalTally:
    """A `RefusalTally`."""

    def __init__(self) -> None:
        self._counted: dict[tuple[datetime, str], RefusedWebhooks] = {}

    async def add(self, refused: Collection[RefusedWebhooks]) -> None:
        """Add to what is counted, and delete what is old."""
        for each in refused:
            key = (each.hour, each.reason)
            known = self._counted.get(key)
            self._counted[key] = each if known is None else known.plus(each)
        newest = max((each.hour for each in refused), default=datetime.min.replace(tzinfo=UTC) + REFUSALS_KEPT)
        self._counted = {key: each for key, each in self._counted.items() if each.hour >= newest - REFUSALS_KEPT}

    async def since(self, instant: datetime) -> Sequence[RefusedWebhooks]:
        """Return what was counted since an hour, by hour and reason."""
        return [each for key, each in sorted(self._counted.items()) if key[0] >= instant]
