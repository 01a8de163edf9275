"""The contract of StreamQuota."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import count

import attrs

from billing_core.stream_access.ports import QuotaPolicy, StreamQuota
from billing_core.testing.builders import ACME, GLOBEX
from billing_core.testing.suite import Suite

MINUTE = timedelta(minutes=1)
MakeQuota = Callable[[QuotaPolicy], StreamQuota]
OPEN = QuotaPolicy(rate_per_minute=0, concurrent=0, lease=MINUTE)
"""No limit at all."""


class StreamQuotaContract(Suite):
    """Two limits for each tenant, counted over all servers.

    A binding provides `make_quota`, which makes a quota from a policy; all quotas of one test count together.
    """

    async def test_without_limits_every_stream_is_admitted(self, make_quota: MakeQuota) -> None:
        """0 means no limit."""
        quota = make_quota(OPEN)
        assert [await quota.enter(ACME, f"s{number}") for number in range(50)] == [None] * 50
        await quota.keep({ACME: ["s1"]})
        await quota.leave({ACME: ["s1"]})

    async def test_only_so_many_streams_are_open_at_a_time(self, make_quota: MakeQuota) -> None:
        """Counted per tenant over all servers; the slot of a stream that ends is free at once."""
        policy = attrs.evolve(OPEN, concurrent=2)
        here, there = make_quota(policy), make_quota(policy)
        assert await here.enter(ACME, "a") is None
        assert await there.enter(ACME, "b") is None
        refusal = await here.enter(ACME, "c")
        assert refusal is not None
        assert refusal.limit == "concurrent"
        assert timedelta(0) < refusal.retry_after <= MINUTE
        assert await here.enter(GLOBEX, "d") is None
        await here.leave({ACME: ["a", "unknown"], GLOBEX: ["d"]})
        assert await here.enter(ACME, "c") is None
        assert (await here.enter(ACME, "d")) is not None

    async def test_a_stream_whose_server_died_frees_its_slot(self, make_quota: MakeQuota) -> None:
        """It is freed when its lease runs out; a stream that its server keeps alive keeps its slot."""
        quota = make_quota(attrs.evolve(OPEN, concurrent=2, lease=timedelta(seconds=1)))
        assert await quota.enter(ACME, "dead") is None
        assert await quota.enter(ACME, "kept") is None
        names = (f"new{number}" for number in count())
        while await quota.enter(ACME, next(names)) is not None:
            await quota.keep({ACME: ["kept"]})
            await asyncio.sleep(0.01)
        assert await quota.enter(ACME, "one too many") is not None

    async def test_open_streams_are_counted_again_where_the_count_was_lost(self, make_quota: MakeQuota) -> None:
        """Servers keep reporting their open streams, so a lost count is rebuilt."""
        quota = make_quota(attrs.evolve(OPEN, concurrent=2))
        await quota.keep({ACME: ["a", "b"], GLOBEX: ["c"]})
        assert await quota.enter(ACME, "d") is not None
        assert await quota.enter(GLOBEX, "d") is None

    async def test_only_so_many_streams_are_opened_in_a_minute(self, make_quota: MakeQuota) -> None:
        """A minute's number at once, the next after its share of the minute; ending a stream gives no credit."""
        quota = make_quota(attrs.evolve(OPEN, rate_per_minute=3))
        assert [await quota.enter(ACME, f"s{number}") for number in range(3)] == [None] * 3
        await quota.leave({ACME: ["s0", "s1", "s2"]})
        refusal = await quota.enter(ACME, "s3")
        assert refusal is not None
        assert refusal.limit == "rate"
        assert timedelta(seconds=10) < refusal.retry_after <= timedelta(seconds=20)
        assert await quota.enter(GLOBEX, "s0") is None

    async def test_a_refused_stream_is_not_counted(self, make_quota: MakeQuota) -> None:
        """A client that retries too often is not admitted any later for it."""
        quota = make_quota(attrs.evolve(OPEN, rate_per_minute=600))
        assert [await quota.enter(ACME, f"s{number}") for number in range(600)] == [None] * 600
        refusals = 0
        while await quota.enter(ACME, f"n{refusals}") is not None:
            refusals += 1
            await asyncio.sleep(0.01)

    async def test_reporting_no_streams_is_harmless(self, make_quota: MakeQuota) -> None:
        """A server without streams reports that, too."""
        quota = make_quota(attrs.evolve(OPEN, concurrent=1))
        await quota.keep({})
        await quota.leave({})
        assert await quota.enter(ACME, "a") is None
        await quota.beat([])
        await quota.beat([ACME, GLOBEX])


class SharedStreamQuotaContract(StreamQuotaContract):
    """The same, of a count that outlives its servers."""

    async def test_places_of_a_server_that_died_are_free_when_its_life_ends(self, make_quota: MakeQuota) -> None:
        """Long before their leases; a refusal says when. Places of a server that shows its life stay taken."""
        policy = attrs.evolve(OPEN, concurrent=2, life=timedelta(seconds=1))
        died, lives, restarted = make_quota(policy), make_quota(policy), make_quota(policy)
        assert await died.enter(ACME, "a") is None
        assert await lives.enter(ACME, "b") is None
        refusal = await restarted.enter(ACME, "c")
        assert refusal is not None
        assert timedelta(0) < refusal.retry_after <= policy.life
        names = (f"new{number}" for number in count())
        async with asyncio.timeout(MINUTE.total_seconds() / 2):
            while await restarted.enter(ACME, next(names)) is not None:
                await lives.beat([ACME])
                await asyncio.sleep(0.05)
        for _ in range(30):
            await lives.beat([ACME])
            await restarted.beat([ACME])
            assert await died.enter(ACME, "too late") is not None
            await asyncio.sleep(0.05)
