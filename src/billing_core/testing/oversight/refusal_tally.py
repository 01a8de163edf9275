"""The contract of RefusalTally."""

import asyncio
from datetime import date, timedelta

import attrs

from billing_core.oversight.ports import REFUSALS_KEPT, RefusalTally, RefusedWebhooks

DAY = timedelta(days=1)
TODAY = date(2026, 3, 1)
LARGE = RefusedWebhooks(day=TODAY, reason="too_large", count=2, largest=3_000_000_000)
FORGED = RefusedWebhooks(day=TODAY, reason="bad_signature", count=1, largest=0)


class RefusalTallyContract:
    """Counts by day and reason. A binding provides `refusal_tally`, empty."""

    async def test_counts_add_up_and_the_largest_size_is_kept(self, refusal_tally: RefusalTally) -> None:
        """Each reason and each day is counted for itself."""
        yesterday = attrs.evolve(LARGE, day=TODAY - DAY, count=7)
        assert await refusal_tally.since(TODAY - DAY) == []
        await refusal_tally.add([yesterday])
        await refusal_tally.add([LARGE, FORGED])
        await refusal_tally.add([attrs.evolve(LARGE, largest=2), attrs.evolve(FORGED, largest=9)])
        found = [attrs.evolve(FORGED, count=2, largest=9), attrs.evolve(LARGE, count=4)]
        assert await refusal_tally.since(TODAY) == found
        assert await refusal_tally.since(TODAY - DAY) == [yesterday, *found]
        assert await refusal_tally.since(TODAY + DAY) == []

    async def test_nothing_is_added(self, refusal_tally: RefusalTally) -> None:
        """An empty collection changes nothing."""
        await refusal_tally.add([LARGE])
        await refusal_tally.add([])
        assert await refusal_tally.since(TODAY) == [LARGE]

    async def test_old_days_are_deleted(self, refusal_tally: RefusalTally) -> None:
        """By the newest day that is added, not by the time of the store."""
        await refusal_tally.add([attrs.evolve(LARGE, day=TODAY - REFUSALS_KEPT - DAY)])
        last_kept = attrs.evolve(LARGE, day=TODAY - REFUSALS_KEPT)
        await refusal_tally.add([last_kept])
        await refusal_tally.add([LARGE, attrs.evolve(FORGED, day=TODAY - DAY)])
        assert await refusal_tally.since(date.min) == [last_kept, attrs.evolve(FORGED, day=TODAY - DAY), LARGE]

    async def test_servers_count_at_the_same_time(self, refusal_tally: RefusalTally) -> None:
        """No count is lost, and they do not block each other."""
        await asyncio.gather(*(refusal_tally.add([LARGE, FORGED][:: 1 - 2 * (n % 2)]) for n in range(20)))
        assert [each.count for each in await refusal_tally.since(TODAY)] == [20, 40]
