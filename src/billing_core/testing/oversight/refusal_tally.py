"""The contract of RefusalTally."""

import asyncio
from datetime import UTC, datetime, timedelta

import attrs

from billing_core.oversight.ports import REFUSALS_KEPT, RefusalTally, RefusedWebhooks
from billing_core.testing.suite import Suite

HOUR = timedelta(hours=1)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LARGE = RefusedWebhooks(hour=NOW, reason="too_large", count=2, largest=3_000_000_000)
FORGED = RefusedWebhooks(hour=NOW, reason="bad_signature", count=1, largest=0)


class RefusalTallyContract(Suite):
    """Counts by hour and reason. A binding provides `refusal_tally`, empty."""

    async def test_counts_add_up_and_the_largest_size_is_kept(self, refusal_tally: RefusalTally) -> None:
        """Each reason and each hour is counted for itself."""
        earlier = attrs.evolve(LARGE, hour=NOW - HOUR, count=7)
        assert await refusal_tally.since(NOW - HOUR) == []
        await refusal_tally.add([earlier])
        await refusal_tally.add([LARGE, FORGED])
        await refusal_tally.add([attrs.evolve(LARGE, largest=2), attrs.evolve(FORGED, largest=9)])
        found = [attrs.evolve(FORGED, count=2, largest=9), attrs.evolve(LARGE, count=4)]
        assert await refusal_tally.since(NOW) == found
        assert await refusal_tally.since(NOW - HOUR) == [earlier, *found]
        assert await refusal_tally.since(NOW + HOUR) == []

    async def test_nothing_is_added(self, refusal_tally: RefusalTally) -> None:
        """An empty collection changes nothing."""
        await refusal_tally.add([LARGE])
        await refusal_tally.add([])
        assert await refusal_tally.since(NOW) == [LARGE]

    async def test_old_hours_are_deleted(self, refusal_tally: RefusalTally) -> None:
        """By the newest hour that is added, not by the time of the store."""
        await refusal_tally.add([attrs.evolve(LARGE, hour=NOW - REFUSALS_KEPT - HOUR)])
        last_kept = attrs.evolve(LARGE, hour=NOW - REFUSALS_KEPT)
        await refusal_tally.add([last_kept])
        await refusal_tally.add([LARGE, attrs.evolve(FORGED, hour=NOW - HOUR)])
        assert await refusal_tally.since(datetime.min.replace(tzinfo=UTC)) == [
            last_kept,
            attrs.evolve(FORGED, hour=NOW - HOUR),
            LARGE,
        ]

    async def test_servers_count_at_the_same_time(self, refusal_tally: RefusalTally) -> None:
        """No count is lost, and they do not block each other."""
        await asyncio.gather(*(refusal_tally.add([LARGE, FORGED][:: 1 - 2 * (n % 2)]) for n in range(20)))
        assert [each.count for each in await refusal_tally.since(NOW)] == [20, 40]
