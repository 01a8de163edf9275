"""Work that is repeated at an interval."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from tests.unit.core.conftest import until

from billing_core.errors import StoreUnavailableError
from billing_core.periodic import Periodic


class Counting(Periodic[int]):
    """Counts its runs; the store is away in the second."""

    def __init__(self, *, every: timedelta, observe: Callable[[int], None]) -> None:
        super().__init__(every=every, observe=observe)
        self.runs = 0

    async def run_once(self) -> int:
        """Return the number of this run."""
        self.runs += 1
        if self.runs == 2:
            raise StoreUnavailableError("run")
        return self.runs


async def test_each_run_is_reported_unless_the_store_was_unavailable() -> None:
    """The next run comes all the same."""
    reports: list[int] = []
    work = Counting(every=timedelta(milliseconds=1), observe=reports.append)
    running = asyncio.create_task(work.run())
    await until(lambda: len(reports) >= 2)
    work.stop()
    await running
    assert reports[:2] == [1, 3]


async def test_a_pause_lasts_until_the_next_run_or_the_end() -> None:
    """The first run comes at once, and stopping interrupts the pause."""
    reports: list[int] = []
    work = Counting(every=timedelta(days=1), observe=reports.append)
    running = asyncio.create_task(work.run())
    await until(lambda: bool(reports))
    for _ in range(10):
        await asyncio.sleep(0)
    work.stop()
    await running
    assert (reports, work.runs) == ([1], 1)


async def test_what_was_stopped_does_not_run() -> None:
    """Also before it began."""
    reports: list[int] = []
    work = Counting(every=timedelta(milliseconds=1), observe=reports.append)
    work.stop()
    await work.run()
    assert (reports, work.runs) == ([], 0)
