"""The contract of DelayTally."""

import asyncio
from datetime import UTC, datetime, timedelta

import attrs

from billing_core.oversight.delays import DELAYS_KEPT, DelayCount
from billing_core.oversight.ports import DelayTally
from billing_core.testing.suite import Suite

MINUTE = timedelta(minutes=1)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUICK = DelayCount(minute=NOW, stage="delivered", bound=0.005, count=20)
SLOW = DelayCount(minute=NOW, stage="delivered", bound=float("inf"), count=1)
STORED = DelayCount(minute=NOW, stage="stored", bound=0.01, count=3)


class DelayTallyContract(Suite):
    """Histograms by stage since a minute. A binding provides `delay_tally`, empty."""

    async def test_counts_add_up_by_stage_and_bucket(self, delay_tally: DelayTally) -> None:
        """Earlier minutes are left out."""
        assert await delay_tally.since(NOW - MINUTE) == {}
        await delay_tally.add([attrs.evolve(QUICK, minute=NOW - MINUTE)])
        await delay_tally.add([QUICK, SLOW, STORED])
        await delay_tally.add([SLOW])
        assert await delay_tally.since(NOW - MINUTE) == {
            "delivered": {0.005: 40, float("inf"): 2},
            "stored": {0.01: 3},
        }
        assert await delay_tally.since(NOW) == {"delivered": {0.005: 20, float("inf"): 2}, "stored": {0.01: 3}}
        assert await delay_tally.since(NOW + MINUTE) == {}

    async def test_nothing_is_added(self, delay_tally: DelayTally) -> None:
        """Then nothing is deleted either."""
        await delay_tally.add([STORED])
        await delay_tally.add([])
        assert await delay_tally.since(NOW) == {"stored": {0.01: 3}}

    async def test_old_minutes_are_deleted(self, delay_tally: DelayTally) -> None:
        """The one that is just young enough is kept."""
        await delay_tally.add([attrs.evolve(QUICK, minute=NOW - DELAYS_KEPT - MINUTE)])
        await delay_tally.add([attrs.evolve(SLOW, minute=NOW - DELAYS_KEPT)])
        await delay_tally.add([STORED])
        assert await delay_tally.since(datetime.min.replace(tzinfo=UTC)) == {
            "delivered": {float("inf"): 1},
            "stored": {0.01: 3},
        }

    async def test_processes_add_at_the_same_time(self, delay_tally: DelayTally) -> None:
        """Nothing is lost, and none waits for another forever."""
        await asyncio.gather(*(delay_tally.add([QUICK, STORED][:: 1 - 2 * (n % 2)]) for n in range(20)))
        assert await delay_tally.since(NOW) == {"delivered": {0.005: 400}, "stored": {0.01: 60}}
