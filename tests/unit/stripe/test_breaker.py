"""The circuit breaker: while Stripe is away or refuses the key, calls fail at once; one reading call finds out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, suppress
from datetime import timedelta

import attrs
import pytest

from billing_core.errors import (
    GatewayAuthenticationError,
    GatewayCardDeclinedError,
    GatewayError,
    GatewayRateLimitedError,
    GatewayUnavailableError,
)
from billing_core.operations.call_limits import UNLIMITED
from billing_core.operations.call_reports import Circuit, CircuitChange, GatewayCall
from billing_stripe.client import (
    Backoff,
    CallPolicy,
    CircuitPolicy,
    LocalCallLimiter,
    StripeClient,
    StripeRequest,
    open_client,
)
from billing_stripe.client.breaker import CircuitBreaker, Passage
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults

pytestmark = pytest.mark.stripe

VERSION = "2026-10-28.endive"
MOMENT = Backoff(timedelta(milliseconds=1), timedelta(milliseconds=1))
ONCE = CallPolicy(attempts=1, backoff=MOMENT)
POLICY = CircuitPolicy(failures=3, pause=timedelta(seconds=10), longest_pause=timedelta(seconds=35))
READ = StripeRequest(operation="fetch_customer", ids=("cus_1",))
WRITE = StripeRequest(operation="create_customer", idempotency_key="k")
DONE = faults.Answer(status=200, body=b'{"id": "cus_1"}')
WRONG_KEY = faults.Answer(status=401, body=b'{"error": {"type": "invalid_request_error"}}')


class Clock:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def changes() -> list[CircuitChange]:
    return []


@pytest.fixture
def breaker(clock: Clock, changes: list[CircuitChange]) -> CircuitBreaker:
    return CircuitBreaker(POLICY, changes.append, monotonic=clock)


def fail(breaker: CircuitBreaker, times: int, error: GatewayError | None = None) -> None:
    for _ in range(times):
        breaker.failed(error or GatewayUnavailableError())


def end_without_result(breaker: CircuitBreaker) -> None:
    with breaker.probing():
        assert breaker.passage() is Passage.BLOCKED
        raise asyncio.CancelledError


# --- the circuit --------------------------------------------------------------------------------------------------


def test_it_opens_after_failures_in_a_row(breaker: CircuitBreaker, changes: list[CircuitChange]) -> None:
    """An answer in between, also a refusal, shows that Stripe is there."""
    fail(breaker, 2)
    breaker.answered()
    fail(breaker, 2)
    breaker.failed(GatewayCardDeclinedError())
    fail(breaker, 2)
    breaker.failed(GatewayRateLimitedError())
    assert breaker.passage() is Passage.FREE
    fail(breaker, 3)
    assert breaker.passage() is Passage.BLOCKED
    assert changes == [CircuitChange(state=Circuit.OPEN, cause="unavailable")]


def test_a_refused_key_opens_it_at_once(breaker: CircuitBreaker, changes: list[CircuitChange]) -> None:
    """The next call would be refused as well."""
    breaker.failed(GatewayAuthenticationError())
    assert changes == [CircuitChange(state=Circuit.OPEN, cause="authentication")]


def test_after_a_pause_one_call_may_find_out(breaker: CircuitBreaker, clock: Clock) -> None:
    """Others wait for what it finds; its end without a result, as by a cancellation, leaves the question open."""
    fail(breaker, 3)
    clock.now = 9.9
    assert breaker.passage() is Passage.BLOCKED
    clock.now = 10
    assert breaker.passage() is Passage.PROBE
    with pytest.raises(asyncio.CancelledError):
        end_without_result(breaker)
    assert breaker.passage() is Passage.PROBE
    with breaker.probing():
        breaker.answered()
    assert breaker.passage() is Passage.FREE


def test_the_pause_doubles_up_to_a_limit(breaker: CircuitBreaker, clock: Clock) -> None:
    """With each probe that fails; the first answer forgets that."""
    fail(breaker, 3)
    pauses = []
    for _ in range(4):
        began = clock.now
        while breaker.passage() is Passage.BLOCKED:
            clock.now += 1
        pauses.append(clock.now - began)
        with breaker.probing():
            fail(breaker, 1)
    assert pauses == [10, 20, 35, 35]
    with breaker.probing():
        breaker.answered()
    fail(breaker, 3)
    clock.now += 10
    assert breaker.passage() is Passage.PROBE


def test_changes_are_reported_once(breaker: CircuitBreaker, changes: list[CircuitChange]) -> None:
    """Failures of calls that were under way change nothing further."""
    fail(breaker, 5)
    with breaker.probing():
        breaker.answered()
    breaker.answered()
    assert [change.state for change in changes] == [Circuit.OPEN, Circuit.HALF_OPEN, Circuit.CLOSED]
    assert [change.cause for change in changes] == ["unavailable", "unavailable", None]


# --- the client ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    async with fake_stripe() as running:
        yield running


def connect(
    fake: FakeStripe, circuit: CircuitPolicy, calls: list[GatewayCall], policy: CallPolicy = ONCE
) -> AbstractAsyncContextManager[StripeClient]:
    return open_client(
        secret_key=fake.secret_key,
        api_version=VERSION,
        base_url=fake.url,
        policy=policy,
        circuit=circuit,
        limiter=LocalCallLimiter(UNLIMITED),
        observe=calls.append,
    )


async def failure(client: StripeClient, request: StripeRequest) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await client.call(request)
    return raised.value


async def test_nothing_is_sent_while_the_circuit_is_open(fake: FakeStripe) -> None:
    """The error is the one that opened it, and says that nothing was carried out."""
    calls: list[GatewayCall] = []
    fake.fail("*", faults.server_error(), times=99)
    async with connect(fake, POLICY, calls) as client:
        assert client.circuit is Circuit.CLOSED
        for _ in range(3):
            await failure(client, READ)
        assert client.circuit is Circuit.OPEN
        for request in (READ, WRITE):
            error = await failure(client, request)
            assert (type(error), error.outcome_unknown) == (GatewayUnavailableError, False)
    assert len(fake.requests) == 3
    assert [(call.result, call.attempts) for call in calls[3:]] == [("unavailable", 0)] * 2


async def test_a_refused_key_stops_all_calls(fake: FakeStripe) -> None:
    """Each of them would only be counted against it."""
    fake.fail("*", WRONG_KEY, times=9)
    async with connect(fake, POLICY, []) as client:
        for request in (READ, WRITE, READ):
            assert type(await failure(client, request)) is GatewayAuthenticationError
    assert len(fake.requests) == 1


async def test_a_call_ends_its_attempts_when_the_circuit_opens(fake: FakeStripe) -> None:
    """With its own error, not with that of the circuit."""
    calls: list[GatewayCall] = []
    fake.fail("*", faults.server_error(), times=99)
    async with connect(fake, POLICY, calls, CallPolicy(attempts=9, backoff=MOMENT)) as client:
        error = await failure(client, WRITE)
    assert error.outcome_unknown
    assert str(error) == "create_customer: 500 req_00000000000003"
    assert [(call.attempts, call.retries) for call in calls] == [(3, ("unavailable", "unavailable"))]


NO_PAUSE = attrs.evolve(POLICY, pause=timedelta(0))


async def test_a_reading_call_finds_out_itself(fake: FakeStripe) -> None:
    """Whether Stripe answers again; what it answers does not matter."""
    fake.fail("*", faults.server_error(), times=4)
    async with connect(fake, NO_PAUSE, []) as client:
        for _ in range(4):
            await failure(client, READ)
        assert client.circuit is Circuit.OPEN
        assert await client.get("fetch_customer", "cus_1") is None
        assert client.circuit is Circuit.CLOSED
    assert len(fake.requests) == 5


async def test_a_write_is_sent_after_a_reading_call_got_an_answer(fake: FakeStripe) -> None:
    """A write that fails may have been carried out, so it is no way to find out."""
    fake.fail("*", faults.server_error(), times=4)
    async with connect(fake, NO_PAUSE, []) as client:
        for _ in range(3):
            await failure(client, READ)
        assert not (await failure(client, WRITE)).outcome_unknown
        fake.fail("/v1/customers", DONE)
        fake.fail("/v1/prices", faults.Answer(status=403, body=b'{"error": {}}'))
        assert (await client.call(WRITE)).data == {"id": "cus_1"}
        assert client.circuit is Circuit.CLOSED
    sent = [(request.method, request.path) for request in fake.requests]
    read = ("GET", "/v1/customers/cus_1")
    assert sent == [read, read, read, ("GET", "/v1/prices"), ("GET", "/v1/prices"), ("POST", "/v1/customers")]


async def test_a_success_is_an_answer_as_well(fake: FakeStripe) -> None:
    """Failures before it no longer count, and after a pause it closes the circuit."""
    async with connect(fake, NO_PAUSE, []) as client:
        for fault in (*[faults.server_error()] * 2, DONE, *[faults.server_error()] * 2):
            fake.fail("*", fault)
        for _ in range(5):
            with suppress(GatewayUnavailableError):
                await client.call(READ)
        assert client.circuit is Circuit.CLOSED
        fake.fail("*", faults.server_error())
        await failure(client, READ)
        assert client.circuit is Circuit.OPEN
        fake.fail("*", DONE)
        await client.call(READ)
        assert client.circuit is Circuit.CLOSED


async def test_only_one_call_finds_out(fake: FakeStripe) -> None:
    """The others fail at once meanwhile."""
    fake.fail("*", faults.server_error(), times=3)
    async with connect(fake, NO_PAUSE, []) as client:
        for _ in range(3):
            await failure(client, READ)
        fake.fail("*", faults.Delay(timedelta(milliseconds=50)), times=9)
        results = await asyncio.gather(
            *(client.get("fetch_customer", "cus_1") for _ in range(5)), return_exceptions=True
        )
    assert [type(result) for result in results].count(GatewayUnavailableError) == 4
    assert len(fake.requests) == 4
