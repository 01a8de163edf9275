"""Calls wait for room before Stripe has to refuse them: in order, interactive ones first, Redis or not."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import attrs
import pytest

from billing_core.errors import EventBusUnavailableError, GatewayRateLimitedError, GatewayUnavailableError
from billing_core.operations.call_limits import UNLIMITED, CallLimits, CallRefusal, Priority
from billing_core.operations.call_reports import GatewayCall
from billing_core.operations.ports import CallLimiter
from billing_stripe.client import (
    Backoff,
    CallPolicy,
    FallbackCallLimiter,
    LocalCallLimiter,
    StripeClient,
    StripeRequest,
    open_client,
)
from billing_stripe.client.limits import CallGate
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults
from billing_stripe.testing.fake_stripe.limits import SANDBOX

pytestmark = pytest.mark.stripe

VERSION = "2026-10-28.endive"
PATH = "/v1/customers/cus_1"
FETCH = "GET /v1/customers/{customer}"
MOMENT = Backoff(timedelta(milliseconds=1), timedelta(milliseconds=1))
QUICK = CallPolicy(backoff=MOMENT, lock_backoff=MOMENT, load_backoff=MOMENT)
DONE = faults.Answer(status=200, body=b'{"id": "cus_1"}')
READ = StripeRequest(operation="fetch_customer", ids=("cus_1",))


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    async with fake_stripe() as running:
        yield running


def connect(
    fake: FakeStripe,
    limiter: CallLimiter | None = None,
    *,
    policy: CallPolicy = QUICK,
    observe: Callable[[GatewayCall], None] = lambda _call: None,
) -> AbstractAsyncContextManager[StripeClient]:
    return open_client(
        secret_key=fake.secret_key,
        api_version=VERSION,
        base_url=fake.url,
        policy=policy,
        limiter=limiter,
        observe=observe,
    )


async def wait_for(gate: CallGate, endpoint: str, priority: Priority, waited: list[CallRefusal]) -> None:
    """Pass the gate and stay in flight for a moment."""
    async with gate.passed(endpoint, priority, waited.append):
        await asyncio.sleep(0)


# --- against Stripe -----------------------------------------------------------------------------------------------


async def test_none_of_sixty_calls_at_once_fails(fake: FakeStripe) -> None:
    """The fake sheds above 30 in flight and above 25 in a second; without limits of ours, retries do not help."""
    fake.limits = SANDBOX
    sixty = [f"cus_{number}" for number in range(60)]
    async with connect(fake) as client:
        assert await asyncio.gather(*(client.get("fetch_customer", each) for each in sixty)) == [None] * 60
    async with connect(fake, LocalCallLimiter(UNLIMITED)) as client:
        calls = (client.get("fetch_customer", each) for each in sixty)
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert GatewayRateLimitedError in {type(result) for result in results}


async def test_a_refusal_for_load_slows_the_endpoint_down(fake: FakeStripe) -> None:
    """The report has Stripe's reason; a locked object says nothing about load."""
    slowed: list[str | None] = []

    class Recording(LocalCallLimiter):
        async def slow_down(self, endpoint: str | None) -> None:
            slowed.append(endpoint)

    calls: list[GatewayCall] = []
    async with connect(fake, Recording(UNLIMITED), observe=calls.append) as client:
        for fault in (
            faults.rate_limited(),
            faults.lock_timeout(),
            attrs.evolve(faults.rate_limited(), headers={"Stripe-Rate-Limited-Reason": "global-rate"}),
            attrs.evolve(faults.rate_limited(), headers={"Stripe-Rate-Limited-Reason": "of-tomorrow"}),
        ):
            fake.fail(PATH, fault)
            fake.fail(PATH, DONE)
            await client.call(READ)
    reasons = [call.limited for call in calls]
    assert reasons == [("endpoint-rate",), ("lock_timeout",), ("global-rate",), ("other",)]
    assert slowed == [FETCH, None, FETCH]
    assert [call.retries for call in calls] == [("rate_limited",)] * 4


async def test_a_call_that_finds_no_room_in_time_was_not_sent(fake: FakeStripe) -> None:
    """Nothing is open about it, and Stripe is not to blame."""
    limiter = LocalCallLimiter(attrs.evolve(UNLIMITED, rate=0.01))
    write = StripeRequest(operation="create_customer", idempotency_key="k")
    async with connect(fake, limiter, policy=CallPolicy(deadline=timedelta(milliseconds=50))) as client:
        fake.fail("*", DONE, times=9)
        for _ in range(2):
            await client.call(write)
        with pytest.raises(GatewayRateLimitedError) as raised:
            await client.call(write)
    assert not raised.value.outcome_unknown
    assert len(fake.requests) == 2


async def test_background_calls_may_wait_longer(fake: FakeStripe) -> None:
    """A thousand of them can be started at once."""
    policy = CallPolicy(deadline=timedelta(milliseconds=1), background_deadline=timedelta(minutes=1))
    fake.fail(PATH, faults.Delay(timedelta(milliseconds=20)), times=2)
    async with connect(fake, policy=policy) as client:
        assert await client.get("fetch_customer", "cus_1", priority="background") is None
        with pytest.raises(GatewayUnavailableError):
            await client.get("fetch_customer", "cus_1")


async def test_attempts_wait_for_room_each(fake: FakeStripe) -> None:
    """A call that waits before its next attempt is not in flight."""
    limiter = LocalCallLimiter(attrs.evolve(UNLIMITED, in_flight=1))
    pause = Backoff(timedelta(seconds=30), timedelta(seconds=30))
    fake.fail(PATH, faults.server_error())
    fake.fail(PATH, DONE)
    async with connect(fake, limiter, policy=attrs.evolve(QUICK, backoff=pause)) as client:
        waiting = asyncio.create_task(client.call(READ))
        while not fake.requests:  # noqa: ASYNC110 - the first attempt is made
            await asyncio.sleep(0.001)
        assert (await client.call(READ)).data == {"id": "cus_1"}
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


# --- the lines ----------------------------------------------------------------------------------------------------


async def test_calls_to_one_endpoint_pass_in_order() -> None:
    """The first one that asked is the first one to be sent."""
    gate = CallGate(LocalCallLimiter(attrs.evolve(UNLIMITED, in_flight=1)))
    passed: list[int] = []

    async def call(number: int) -> None:
        async with gate.passed(FETCH, "interactive", list[CallRefusal]().append):
            passed.append(number)
            await asyncio.sleep(0.001)

    await asyncio.gather(*(call(number) for number in range(10)))
    assert passed == list(range(10))
    assert gate.in_flight == 0


async def test_only_the_first_of_a_line_asks_for_room() -> None:
    """However many wait, Redis is asked as if one did."""
    asked: list[str] = []

    class Full(LocalCallLimiter):
        async def enter(self, call: str, endpoint: str, priority: Priority) -> CallRefusal | None:
            asked.append(call)
            return CallRefusal(limit="rate", retry_after=timedelta(milliseconds=1))

    gate = CallGate(Full(UNLIMITED))
    waiting = [asyncio.create_task(wait_for(gate, FETCH, "interactive", [])) for _ in range(10)]
    while len(asked) < 5:  # noqa: ASYNC110 - it asks again and again
        await asyncio.sleep(0.001)
    assert len(set(asked)) == 1
    for task in waiting:
        task.cancel()


async def test_an_interactive_call_overtakes_waiting_background_calls() -> None:
    """They wait until there is room for two; it needs room for one."""
    gate = CallGate(LocalCallLimiter(attrs.evolve(UNLIMITED, endpoint_rate=0.01)))
    waited: list[CallRefusal] = []
    await wait_for(gate, FETCH, "background", waited)
    background = [asyncio.create_task(wait_for(gate, FETCH, "background", waited)) for _ in range(5)]
    while not waited:  # noqa: ASYNC110 - the first of them waits
        await asyncio.sleep(0)
    await wait_for(gate, FETCH, "interactive", waited)
    assert not any(task.done() for task in background)
    for task in background:
        task.cancel()


async def test_a_place_is_free_again_whatever_ends_the_call() -> None:
    """An error, or a cancellation while it waits or is in flight."""
    gate = CallGate(LocalCallLimiter(attrs.evolve(UNLIMITED, in_flight=1)))
    waited: list[CallRefusal] = []
    with pytest.raises(ZeroDivisionError):
        async with gate.passed(FETCH, "interactive", waited.append):
            raise ZeroDivisionError
    entered = asyncio.Event()

    async def stay() -> None:
        async with gate.passed(FETCH, "interactive", waited.append):
            entered.set()
            await asyncio.Event().wait()

    first, second = asyncio.create_task(stay()), asyncio.create_task(stay())
    await entered.wait()
    while not waited:  # noqa: ASYNC110 - the second one waits
        await asyncio.sleep(0)
    second.cancel()
    first.cancel()
    await wait_for(gate, FETCH, "interactive", waited)
    assert gate.in_flight == 0


# --- while Redis is away ------------------------------------------------------------------------------------------


class Away(LocalCallLimiter):
    """A shared limiter that may be away."""

    def __init__(self, limits: CallLimits) -> None:
        super().__init__(limits)
        self.away = True
        self.asked = 0

    async def enter(self, call: str, endpoint: str, priority: Priority) -> CallRefusal | None:
        self._answer()
        return await super().enter(call, endpoint, priority)

    async def leave(self, call: str, endpoint: str) -> None:
        self._answer()
        await super().leave(call, endpoint)

    async def slow_down(self, endpoint: str | None) -> None:
        self._answer()
        await super().slow_down(endpoint)

    def _answer(self) -> None:
        self.asked += 1
        if self.away:
            raise EventBusUnavailableError("away")


async def admitted(limiter: CallLimiter, calls: int) -> int:
    """Enter so many calls; return how many are admitted."""
    refusals = [await limiter.enter(f"call-{number}", FETCH, "interactive") for number in range(calls)]
    return refusals.count(None)


async def test_a_process_keeps_to_its_share_while_redis_is_away() -> None:
    """No call fails for it, and Redis is not asked for every call."""
    limits = attrs.evolve(UNLIMITED, in_flight=8)
    now = itertools.chain([0.0] * 30, itertools.repeat(60.0))
    shared = Away(limits)
    limiter = FallbackCallLimiter(shared, LocalCallLimiter(limits.share(4)), monotonic=lambda: next(now))
    assert [await limiter.enter(f"a{number}", FETCH, "interactive") is None for number in range(3)] == [
        True,
        True,
        False,
    ]
    await limiter.leave("call-0", FETCH)
    await limiter.slow_down(FETCH)
    assert shared.asked == 1
    shared.away = False
    for _ in range(30):
        next(now)
    assert [await limiter.enter(f"b{number}", FETCH, "interactive") is None for number in range(9)] == [True] * 8 + [
        False
    ]


def test_shares_add_up_to_the_limits() -> None:
    """Of so many processes; each may make one call at a time at least."""
    limits = CallLimits(rate=80, endpoint_rate=20, in_flight=20)
    share = limits.share(4)
    assert (share.rate, share.endpoint_rate, share.in_flight) == (20, 5, 5)
    assert limits.share(100).in_flight == 1
