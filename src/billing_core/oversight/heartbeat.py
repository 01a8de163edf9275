"""The heartbeat of a process: a committed write every few seconds shows that it is alive and that writes are possible.

A read would not notice a database that refuses writes, and a write that is rolled back none whose disk is full.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs

from billing_core.errors import BillingError, StoreUnavailableError
from billing_core.oversight.ports import ProcessRegister, RunningProcess


class SchemaBehindError(BillingError):
    """The database lacks migrations that this code needs: run `billing migrate`."""

    code = "migrations_pending"


@attrs.frozen(kw_only=True)
class HeartbeatReport:
    """The result of one heartbeat."""

    failure: StoreUnavailableError | None = None
    pending: int = 0
    """Migrations that the schema lacks."""
    ahead: timedelta | None = None
    """How far the clock of this process is ahead of the store's; None if the heartbeat failed."""


class Heartbeat:
    """Confirms at an interval that this process is alive, and remembers whether the last write was accepted."""

    def __init__(
        self,
        *,
        register: ProcessRegister,
        process: RunningProcess,
        every: timedelta,
        observe: Callable[[HeartbeatReport], None],
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._register = register
        self._process = process
        self._every = every.total_seconds()
        self._observe = observe
        self._now = now
        self._clock = clock
        self._succeeded_at = float("-inf")
        self._pending = 0

    async def run(self) -> None:
        """Confirm until cancelled; the process is then taken off the list."""
        try:
            while True:
                with contextlib.suppress(StoreUnavailableError):
                    await self.beat()
                await asyncio.sleep(self._every)
        finally:
            with contextlib.suppress(StoreUnavailableError):
                await self._register.leave(self._process.process_id)

    def note_processing(self, processes_events: bool) -> None:
        """Let the list say, from the next beat on, whether this process processes events."""
        self._process = attrs.evolve(self._process, processes_events=processes_events)

    async def beat(self) -> None:
        """Confirm now. Raises StoreUnavailableError."""
        began = self._now()
        try:
            beat = await self._register.beat(self._process)
        except StoreUnavailableError as exc:
            self._succeeded_at = float("-inf")
            self._observe(HeartbeatReport(failure=exc))
            raise
        self._succeeded_at, self._pending = self._clock(), beat.pending
        halfway = began + (self._now() - began) / 2
        self._observe(HeartbeatReport(pending=beat.pending, ahead=halfway - beat.at))

    async def check(self) -> None:
        """Return if a write was accepted within two intervals, or is now. Raises StoreUnavailableError."""
        if self._clock() - self._succeeded_at > 2 * self._every:
            await self.beat()

    async def check_schema(self) -> None:
        """Return if the schema has every migration that this code needs. Raises SchemaBehindError, or as `check`."""
        await self.check()
        if self._pending:
            raise SchemaBehindError(f"the database lacks {self._pending} migrations: run `billing migrate`")
