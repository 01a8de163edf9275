"""Monitors: each looks up one thing every so often and hands what it saw to an observer."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import attrs

from billing_core.model import DuplicateSubscriptions
from billing_core.oversight.invariants import Violation
from billing_core.oversight.ports import Backlog, InboxBacklog, InvariantLog, StateUpkeep
from billing_core.periodic import Periodic
from billing_core.stream.ports import Outbox


@attrs.frozen(kw_only=True)
class BacklogReport:
    """What waits at one moment."""

    backlog: Backlog
    oldest_unpublished: timedelta


class BacklogMonitor(Periodic[BacklogReport]):
    """Looks every so often at what waits."""

    def __init__(
        self, *, inbox: InboxBacklog, outbox: Outbox, every: timedelta, observe: Callable[[BacklogReport], None]
    ) -> None:
        super().__init__(every=every, observe=observe)
        self._inbox = inbox
        self._outbox = outbox

    async def look(self) -> BacklogReport:
        """Look once."""
        return BacklogReport(backlog=await self._inbox.backlog(), oldest_unpublished=await self._outbox.oldest())


@attrs.frozen(kw_only=True)
class DuplicateReport:
    """What one audit found; handed to observers also when it found nothing."""

    duplicates: Sequence[DuplicateSubscriptions]


class DuplicateMonitor(Periodic[DuplicateReport]):
    """Audits every so often."""

    def __init__(self, *, upkeep: StateUpkeep, every: timedelta, observe: Callable[[DuplicateReport], None]) -> None:
        super().__init__(every=every, observe=observe)
        self._upkeep = upkeep

    async def look(self) -> DuplicateReport:
        """Audit once."""
        return DuplicateReport(duplicates=await self._upkeep.duplicate_subscriptions())


@attrs.frozen(kw_only=True)
class InvariantReport:
    """What one check came to; handed to observers also when everything holds."""

    violations: Sequence[Violation]


class InvariantMonitor(Periodic[InvariantReport]):
    """Checks every so often: all that waits, the newest events, and some tenants more each time."""

    def __init__(self, *, log: InvariantLog, every: timedelta, observe: Callable[[InvariantReport], None]) -> None:
        super().__init__(every=every, observe=observe)
        self._log = log

    async def look(self) -> InvariantReport:
        """Check once."""
        return InvariantReport(violations=await self._log.sample())
