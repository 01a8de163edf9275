"""Monitors: each checks one thing at an interval and passes its report to an observer."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import attrs

from billing_core.model import DuplicateSubscriptions
from billing_core.oversight.invariants import Violation
from billing_core.oversight.ports import (
    SILENT_AFTER,
    Backlog,
    InboxBacklog,
    InvariantLog,
    ProcessRegister,
    RunningProcess,
    StateUpkeep,
    UnmappedPrice,
)
from billing_core.periodic import Periodic
from billing_core.state.ports import UncertainObjects
from billing_core.stream.ports import Outbox


@attrs.frozen(kw_only=True)
class BacklogReport:
    """The events, messages and uncertain objects that are waiting at one moment."""

    backlog: Backlog
    oldest_unpublished: timedelta
    uncertain: Mapping[str, int] = attrs.field(factory=dict)
    """Objects that need a refetch, by kind."""


class BacklogMonitor(Periodic[BacklogReport]):
    """Measures the backlog of the inbox, the outbox and refetches."""

    def __init__(
        self,
        *,
        inbox: InboxBacklog,
        outbox: Outbox,
        objects: UncertainObjects,
        every: timedelta,
        observe: Callable[[BacklogReport], None],
    ) -> None:
        super().__init__(every=every, observe=observe)
        self._inbox = inbox
        self._outbox = outbox
        self._objects = objects

    async def run_once(self) -> BacklogReport:
        """Measure the backlog now."""
        return BacklogReport(
            backlog=await self._inbox.backlog(),
            oldest_unpublished=await self._outbox.oldest(),
            uncertain=await self._objects.count_uncertain(),
        )


@attrs.frozen(kw_only=True)
class DuplicateReport:
    """The result of one check for duplicate subscriptions; also reported when there are none."""

    duplicates: Sequence[DuplicateSubscriptions]


class DuplicateMonitor(Periodic[DuplicateReport]):
    """Looks for tenants that have more than one live subscription to the same plan."""

    def __init__(self, *, upkeep: StateUpkeep, every: timedelta, observe: Callable[[DuplicateReport], None]) -> None:
        super().__init__(every=every, observe=observe)
        self._upkeep = upkeep

    async def run_once(self) -> DuplicateReport:
        """Check all subscriptions now."""
        return DuplicateReport(duplicates=await self._upkeep.duplicate_subscriptions())


@attrs.frozen(kw_only=True)
class UnmappedReport:
    """The result of one check for prices that belong to no plan; also reported when there are none."""

    prices: Sequence[UnmappedPrice]


class UnmappedMonitor(Periodic[UnmappedReport]):
    """Looks for live subscriptions to prices that belong to no plan."""

    def __init__(self, *, upkeep: StateUpkeep, every: timedelta, observe: Callable[[UnmappedReport], None]) -> None:
        super().__init__(every=every, observe=observe)
        self._upkeep = upkeep

    async def run_once(self) -> UnmappedReport:
        """Check now."""
        return UnmappedReport(prices=await self._upkeep.unmapped_prices())


@attrs.frozen(kw_only=True)
class ProcessesReport:
    """The processes that are alive at one moment."""

    alive: Sequence[RunningProcess]


class ProcessMonitor(Periodic[ProcessesReport]):
    """Looks which processes are alive."""

    def __init__(
        self, *, register: ProcessRegister, every: timedelta, observe: Callable[[ProcessesReport], None]
    ) -> None:
        super().__init__(every=every, observe=observe)
        self._register = register

    async def run_once(self) -> ProcessesReport:
        """Look now."""
        seen = await self._register.current()
        return ProcessesReport(alive=[each.process for each in seen if each.silent_for <= SILENT_AFTER])


@attrs.frozen(kw_only=True)
class InvariantReport:
    """The result of one check of the invariants; also reported when all of them hold."""

    violations: Sequence[Violation]


class InvariantMonitor(Periodic[InvariantReport]):
    """Checks the invariants of all waiting rows, the newest events, and another sample of tenants each time."""

    def __init__(self, *, log: InvariantLog, every: timedelta, observe: Callable[[InvariantReport], None]) -> None:
        super().__init__(every=every, observe=observe)
        self._log = log

    async def run_once(self) -> InvariantReport:
        """Check a sample now."""
        return InvariantReport(violations=await self._log.sample())
