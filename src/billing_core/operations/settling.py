"""Settle operations whose outcome is unknown, at an interval.

Any number of processes may do this at once: each operation is leased to one of them.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import attrs

from billing_core.errors import StoreUnavailableError
from billing_core.operations.performing import OperationPerformer, OperationPolicy, Settlement
from billing_core.operations.ports import OperationLog
from billing_core.operations.stored import OperationBacklog, StoredOperation
from billing_core.periodic import Periodic

_AT_ONCE: Final = 1
"""Operations that are leased together: a lease runs while it waits for the ones before it."""


@attrs.frozen(kw_only=True)
class SettlingReport:
    """The result of one run; also reported when nothing was due."""

    settlements: Sequence[Settlement] = ()
    """One for each operation that was due."""
    backlog: OperationBacklog = attrs.field(factory=OperationBacklog)
    """The operations that are unresolved afterwards."""


class OperationSettler(Periodic[SettlingReport]):
    """Performs unresolved operations again as they fall due, with their keys, or finds out what became of them."""

    def __init__(
        self,
        *,
        log: OperationLog,
        performer: OperationPerformer,
        policy: OperationPolicy,
        every: timedelta,
        observe: Callable[[SettlingReport], None],
    ) -> None:
        super().__init__(every=every, observe=observe)
        self._log = log
        self._performer = performer
        self._policy = policy

    async def run_once(self) -> SettlingReport:
        """Settle all operations that are due now."""
        settlements = []
        while not self._stopping.is_set():
            due = await self._log.claim_due(lease=self._policy.lease, limit=_AT_ONCE)
            if not due:
                break
            settlements += [await self._settle(operation) for operation in due]
        return SettlingReport(settlements=tuple(settlements), backlog=await self._log.backlog())

    async def _settle(self, operation: StoredOperation) -> Settlement:
        try:
            return await self._performer.settle(operation)
        except StoreUnavailableError:
            raise
        except Exception as bug:  # about one operation, which must not hold up all the others
            self._performer.report_bug(operation, bug)
            due_in = self._policy.pause(operation.attempts)
            await self._log.release(operation, due_in=due_in, error=type(bug).__name__)
            return Settlement(operation=operation, result="bug")
