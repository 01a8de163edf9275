"""Checking: the invariants are looked at while the system runs, and reported to whoever rings bells."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import attrs

from billing_core.invariants import Violation
from billing_core.ports import InvariantLog
from billing_core.rounds import go_rounds


@attrs.frozen(kw_only=True)
class CheckReport:
    """What one check came to; handed to observers also when everything holds."""

    violations: Sequence[Violation]


class Checker:
    """Checks every so often until stopped: all that waits, the newest events, and some tenants more each time."""

    def __init__(self, *, log: InvariantLog, every: timedelta, observe: Callable[[CheckReport], None]) -> None:
        self._log = log
        self._every = every
        self._observe = observe
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Check until stopped; while the store is away there is nothing to say."""
        await go_rounds(self._report, every=self._every, stopping=self._stopping)

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stopping.set()

    async def _report(self) -> None:
        self._observe(CheckReport(violations=await self._log.sample()))
