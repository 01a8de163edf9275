"""Delete old operations, at an interval.

Any number of processes may do this at once.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import attrs

from billing_core.operations.ports import OperationLog
from billing_core.periodic import Periodic

_AT_ONCE: Final = 1000
"""Rows of a kind that are deleted in one transaction."""


@attrs.frozen(kw_only=True)
class PruningReport:
    """The result of one run; also reported when nothing was old enough."""

    deleted: int


class OperationPruner(Periodic[PruningReport]):
    """Deletes operations that were resolved long ago, a bounded number at a time."""

    def __init__(
        self, *, log: OperationLog, older_than: timedelta, every: timedelta, observe: Callable[[PruningReport], None]
    ) -> None:
        super().__init__(every=every, observe=observe)
        self._log = log
        self._older_than = older_than

    async def run_once(self) -> PruningReport:
        """Delete everything that is old enough now."""
        deleted = 0
        while not self._stopping.is_set():
            step = await self._log.prune(older_than=self._older_than, limit=_AT_ONCE)
            if not step:
                break
            deleted += step
        return PruningReport(deleted=deleted)
