"""The contract of CallLimiter."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import count

import attrs

from billing_core.operations.call_limits import UNLIMITED, CallLimits, CallRefusal, Priority
from billing_core.operations.ports import CallLimiter
from billing_core.testing.suite import Suite

MakeLimiter = Callable[[CallLimits], CallLimiter]

FETCH = "GET /v1/subscriptions/{subscription}"
LIST = "GET /v1/subscriptions"
HOUR = timedelta(hours=1)
SLOW = 0.01
"""A rate at which no second call beyond the burst of two begins during a test."""

_names = (f"call-{number}" for number in count())


async def _enter(limiter: CallLimiter, endpoint: str = FETCH, priority: Priority = "interactive") -> CallRefusal | None:
    return await limiter.enter(next(_names), endpoint, priority)


async def _admitted(
    limiter: CallLimiter, endpoint: str = FETCH, priority: Priority = "interactive"
) -> tuple[int, CallRefusal]:
    """Enter until refused; return the number of calls and the refusal."""
    for number in count():
        refusal = await _enter(limiter, endpoint, priority)
        if refusal is not None:
            return number, refusal
    raise AssertionError("count never ends")


async def _admitted_in_the_end(limiter: CallLimiter, endpoint: str = FETCH) -> None:
    """Enter again and again."""
    for _ in count():
        if await _enter(limiter, endpoint) is None:
            return
        await asyncio.sleep(0.01)


class CallLimiterContract(Suite):
    """Rates and calls in flight, counted over all processes.

    A binding provides `make_limiter`, which makes a limiter from limits; all limiters of one test count together.
    """

    async def test_a_call_within_the_limits_is_admitted(self, make_limiter: MakeLimiter) -> None:
        """However many there are."""
        limiter = make_limiter(UNLIMITED)
        assert [await _enter(limiter) for _ in range(50)] == [None] * 50

    async def test_so_many_calls_to_one_endpoint_are_in_flight(self, make_limiter: MakeLimiter) -> None:
        """Over all processes; the place of a call that ends is free at once, and other endpoints have their own."""
        limits = attrs.evolve(UNLIMITED, in_flight=2)
        here, there = make_limiter(limits), make_limiter(limits)
        assert await here.enter("a", FETCH, "interactive") is None
        assert await there.enter("b", FETCH, "interactive") is None
        refusal = await here.enter("c", FETCH, "interactive")
        assert refusal is not None
        assert refusal.limit == "in_flight"
        assert refusal.retry_after > timedelta(0)
        assert await here.enter("d", LIST, "interactive") is None
        await there.leave("a", FETCH)
        await there.leave("unknown", FETCH)
        assert await here.enter("c", FETCH, "interactive") is None
        assert await here.enter("e", FETCH, "interactive") is not None

    async def test_a_call_whose_process_died_stops_counting(self, make_limiter: MakeLimiter) -> None:
        """When its lease runs out."""
        limiter = make_limiter(attrs.evolve(UNLIMITED, in_flight=1, lease=timedelta(milliseconds=200)))
        assert await _enter(limiter) is None
        await _admitted_in_the_end(limiter)

    async def test_a_quarter_of_a_seconds_calls_begins_at_once(self, make_limiter: MakeLimiter) -> None:
        """The next one when its time has come; its end gives nothing back."""
        limiter = make_limiter(attrs.evolve(UNLIMITED, endpoint_rate=40))
        number, refusal = await _admitted(limiter)
        assert number >= 10
        assert refusal.limit == "endpoint_rate"
        assert timedelta(0) < refusal.retry_after <= timedelta(milliseconds=26)
        await _admitted_in_the_end(limiter)

    async def test_each_endpoint_has_a_rate_and_all_have_one(self, make_limiter: MakeLimiter) -> None:
        """Counted over all processes."""
        limits = attrs.evolve(UNLIMITED, endpoint_rate=SLOW, rate=12)
        here, there = make_limiter(limits), make_limiter(limits)
        assert await _enter(here) is None
        assert await _enter(there) is None
        refusal = await _enter(here)
        assert refusal is not None
        assert refusal.limit == "endpoint_rate"
        assert await _enter(there, LIST) is None
        limits = attrs.evolve(UNLIMITED, rate=SLOW)
        one, other = make_limiter(limits), make_limiter(limits)
        await _admitted(one)
        _, refusal = await _admitted(other, LIST)
        assert refusal.limit == "rate"

    async def test_background_calls_leave_half_to_interactive_ones(self, make_limiter: MakeLimiter) -> None:
        """Of the calls in flight and of those that begin at once."""
        limiter = make_limiter(attrs.evolve(UNLIMITED, in_flight=10))
        assert (await _admitted(limiter, priority="background"))[0] == 5
        assert (await _admitted(limiter))[0] == 5
        limiter = make_limiter(attrs.evolve(UNLIMITED, endpoint_rate=SLOW))
        assert (await _admitted(limiter, LIST, "background"))[0] == 1
        assert (await _admitted(limiter, LIST))[0] == 1

    async def test_a_refusal_says_when_there_will_be_room(self, make_limiter: MakeLimiter) -> None:
        """For a background call that is later."""
        limiter = make_limiter(attrs.evolve(UNLIMITED, endpoint_rate=SLOW))
        _, refusal = await _admitted(limiter)
        assert timedelta(seconds=50) < refusal.retry_after <= timedelta(seconds=100)
        refused = await _enter(limiter, priority="background")
        assert refused is not None
        assert timedelta(seconds=150) < refused.retry_after <= timedelta(seconds=200)

    async def test_a_refused_call_counts_towards_no_limit(self, make_limiter: MakeLimiter) -> None:
        """One limit that has no room uses up nothing of the others."""
        limits = attrs.evolve(UNLIMITED, in_flight=1, endpoint_rate=SLOW)
        limiter = make_limiter(limits)
        assert await limiter.enter("a", FETCH, "interactive") is None
        for _ in range(10):
            assert await _enter(limiter) is not None
        await limiter.leave("a", FETCH)
        assert await _enter(limiter) is None

    async def test_limits_are_halved_after_a_refusal_by_the_provider(self, make_limiter: MakeLimiter) -> None:
        """The endpoint's: in flight and in a second. Several refusals within a second are one."""
        limiter = make_limiter(attrs.evolve(UNLIMITED, in_flight=8, slowed_for=HOUR))
        for _ in range(2):
            await limiter.slow_down(FETCH)
        assert (await _admitted(limiter))[0] == 4
        assert (await _admitted(limiter, LIST))[0] == 8
        limiter = make_limiter(attrs.evolve(UNLIMITED, endpoint_rate=SLOW, slowed_for=HOUR))
        await limiter.slow_down("POST /v1/subscriptions")
        _, refusal = await _admitted(limiter, "POST /v1/subscriptions")
        assert refusal.retry_after > timedelta(seconds=150)

    async def test_the_rate_of_all_calls_is_halved_alone(self, make_limiter: MakeLimiter) -> None:
        """When the provider refused a call for the load of all."""
        limiter = make_limiter(attrs.evolve(UNLIMITED, in_flight=8, rate=SLOW, slowed_for=HOUR))
        await limiter.slow_down(None)
        number, refusal = await _admitted(limiter)
        assert number == 2
        assert refusal.limit == "rate"
        assert refusal.retry_after > timedelta(seconds=150)

    async def test_halved_limits_become_whole_again(self, make_limiter: MakeLimiter) -> None:
        """After a while without a further refusal."""
        limiter = make_limiter(attrs.evolve(UNLIMITED, in_flight=2, slowed_for=timedelta(milliseconds=200)))
        await limiter.slow_down(FETCH)
        assert await _enter(limiter) is None
        await _admitted_in_the_end(limiter)
