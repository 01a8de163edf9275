"""Checking: the invariants are looked at while the system runs, and reported to whoever rings bells."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import attrs

from billing_core.invariants import Violation
from billing_core.ports import InvariantLog
from billing_core.rounds import Rounds


@attrs.frozen(kw_only=True)
class CheckReport:
    """What one check came to; handed to observers also when everything holds."""

    violations: Sequence[Violation]


class Checker(Rounds[CheckReport]):
    """Checks every so often: all that waits, the newest events, and some tenants more each time."""

    def __init__(self, *, log: InvariantLog, every: timedelta, observe: Callable[[CheckReport], None]) -> None:
        super().__init__(every=every, observe=observe)
        self._log = log

    async def look(self) -> CheckReport:
        """Check once."""
        return CheckReport(violations=await self._log.sample())
