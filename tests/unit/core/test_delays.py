"""Delays of all processes: histograms that are added up, and percentiles of the sum."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import timedelta

import attrs
import pytest

from billing_core.errors import StoreUnavailableError
from billing_core.oversight.delay_recorder import DelayRecorder
from billing_core.oversight.delays import DELAY_BOUNDS, DelayCount, Histogram, MeasuredStage, added, percentile
from billing_core.testing.builders import AT
from billing_memory.clock import ManualClock
from billing_memory.oversight.delays import MemoryDelayTally

INFINITE = float("inf")


@pytest.mark.parametrize(
    ("histogram", "p50", "p95"),
    [
        ({0.001: 1}, 0.0005, 0.00095),
        ({0.005: 50, 0.1: 50}, 0.005, 0.0975),
        ({0.005: 90, 0.01: 0, 0.1: 10}, 0.0025 + 0.0025 * 50 / 90, 0.0875),
        ({INFINITE: 3}, 3600, 3600),
    ],
)
def test_percentiles_are_interpolated_in_their_bucket(histogram: dict[float, int], p50: float, p95: float) -> None:
    """As dashboards do; above the last bound nothing is known."""
    for fraction, expected in ((0.5, p50), (0.95, p95)):
        found = percentile(histogram, fraction)
        assert found is not None
        assert found.total_seconds() == pytest.approx(expected, abs=2e-6)


def test_nothing_has_no_percentile() -> None:
    """Empty buckets are nothing."""
    assert percentile({}, 0.95) is None
    assert percentile({0.005: 0}, 0.95) is None


def test_two_processes_have_the_percentiles_of_all_their_delays() -> None:
    """A quick one with many delays and a slow one with few: the mean of their percentiles would be another number."""
    quick = DelayCount(minute=AT, stage="delivered", bound=0.005, count=970)
    slow = attrs.evolve(quick, bound=2.5, count=30)
    histogram = added([quick, slow])["delivered"]
    found = percentile(histogram, 0.95)
    assert found is not None
    assert found < timedelta(milliseconds=5)


class FlakyTally(MemoryDelayTally):
    """A tally that refuses on demand."""

    refuses = False

    async def add(self, counted: Collection[DelayCount]) -> None:
        """See DelayTally."""
        if self.refuses:
            raise StoreUnavailableError("add")
        await super().add(counted)


class World:
    """A process that measures, and a tally that can be away."""

    def __init__(self) -> None:
        self.stored = [0] * (len(DELAY_BOUNDS) + 1)
        self.tally = FlakyTally()
        self.recorder = DelayRecorder(
            tally=self.tally, read=self.read, clock=ManualClock(AT), every=timedelta(seconds=10)
        )

    def read(self) -> Mapping[MeasuredStage, list[int]]:
        return {"stored": self.stored}

    async def added(self) -> Mapping[MeasuredStage, Histogram]:
        return await self.tally.since(AT.replace(second=0, microsecond=0))


async def test_only_what_is_new_is_added() -> None:
    """The counts of a process only grow; the tally adds them up."""
    world = World()
    await world.recorder.record()
    world.stored[0] += 2
    await world.recorder.record()
    await world.recorder.record()
    world.stored[0] += 1
    world.stored[-1] += 1
    await world.recorder.record()
    assert await world.added() == {"stored": {0.001: 3, INFINITE: 1}}


async def test_what_could_not_be_added_is_added_later() -> None:
    """The store may be away for a while."""
    world = World()
    world.stored[0] += 2
    world.tally.refuses = True
    await world.recorder.record()
    world.tally.refuses = False
    world.stored[0] += 1
    await world.recorder.record()
    assert await world.added() == {"stored": {0.001: 3}}


async def test_the_rest_is_added_when_the_process_ends() -> None:
    """A deployment loses nothing of the minute in which it happens."""
    world = World()
    running = asyncio.create_task(world.recorder.run())
    await asyncio.sleep(0)
    world.stored[0] += 1
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert await world.added() == {"stored": {0.001: 1}}
