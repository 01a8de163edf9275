"""The client against a Stripe that keeps idempotency keys: each decision is carried out once, whatever fails."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from billing_core.errors import (
    GatewayConflictError,
    GatewayIdempotencyConflictError,
    GatewayInvalidRequestError,
    GatewayUnavailableError,
)
from billing_core.operations.call_limits import UNLIMITED
from billing_stripe.client import Backoff, CallPolicy, LocalCallLimiter, StripeClient, StripeRequest, open_client
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults

pytestmark = pytest.mark.stripe

MOMENT = Backoff(timedelta(milliseconds=10), timedelta(milliseconds=10))
QUICK = CallPolicy(attempts=3, backoff=MOMENT, lock_backoff=MOMENT, load_backoff=MOMENT)
CREATE = StripeRequest(
    operation="create_customer", params={"email": "ada@example.com"}, idempotency_key="decision-1", plan_code="pro"
)


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    async with fake_stripe() as running:
        yield running


@pytest.fixture
async def client(fake: FakeStripe) -> AsyncIterator[StripeClient]:
    async with open_client(
        secret_key=fake.secret_key,
        api_version="2026-10-28.endive",
        base_url=fake.url,
        policy=QUICK,
        limiter=LocalCallLimiter(UNLIMITED),
    ) as opened:
        yield opened


async def customers(client: StripeClient) -> Sequence[str]:
    listed = await client.get("list_customers", params={"email": "ada@example.com"})
    assert listed is not None
    return [customer["id"] for customer in listed["data"]]


@pytest.mark.parametrize("fault", [faults.server_error(503), faults.Reset(), faults.lock_timeout()])
async def test_a_write_that_was_not_carried_out_is_carried_out_by_the_next_attempt(
    fault: faults.Fault, fake: FakeStripe, client: StripeClient
) -> None:
    """The key is still free."""
    fake.fail("/v1/customers", fault, at="before")
    answer = await client.call(CREATE)
    assert (answer.replayed, answer.original_request) == (False, answer.request_id)
    assert await customers(client) == [answer.data["id"]]


@pytest.mark.parametrize("fault", [faults.DroppedBody(), faults.Reset(), faults.html(), faults.server_error(502)])
async def test_an_answer_that_was_lost_is_replayed(fault: faults.Fault, fake: FakeStripe, client: StripeClient) -> None:
    """The next attempt gets the stored answer, with the request that it belongs to."""
    fake.fail("/v1/customers", fault, at="answering")
    answer = await client.call(CREATE)
    assert answer.replayed
    assert answer.original_request not in (None, answer.request_id)
    assert await customers(client) == [answer.data["id"]]


async def test_a_server_error_that_was_stored_is_told_as_unknown(fake: FakeStripe, client: StripeClient) -> None:
    """The customer exists, and the key says that it does not: only reading finds out."""
    fake.fail("/v1/customers", faults.server_error(), at="executed")
    with pytest.raises(GatewayUnavailableError) as raised:
        await client.call(CREATE)
    assert (raised.value.replayed, raised.value.outcome_unknown) == (True, True)
    assert len(fake.requests) == 2
    assert len(await customers(client)) == 1


async def test_two_processes_with_one_decision_carry_it_out_once(fake: FakeStripe, client: StripeClient) -> None:
    """The second one waits while the key is in use, and gets the first one's answer; or it is told of the conflict."""
    fake.fail("/v1/customers", faults.Delay(timedelta(milliseconds=50)), at="executing")
    first, second = await asyncio.gather(client.call(CREATE), client.call(CREATE), return_exceptions=True)
    assert not isinstance(first, BaseException)
    assert isinstance(second, GatewayConflictError) or second.data == first.data
    assert await customers(client) == [first.data["id"]]
    if isinstance(second, GatewayConflictError):
        assert second.outcome_unknown


async def test_a_key_of_another_decision_is_refused(fake: FakeStripe, client: StripeClient) -> None:
    """That is a bug, and it is never retried."""
    await client.call(CREATE)
    with pytest.raises(GatewayIdempotencyConflictError) as raised:
        await client.call(attrs.evolve(CREATE, params={"email": "bob@example.com"}))
    assert not raised.value.outcome_unknown
    assert len(fake.requests) == 2


async def test_a_refused_parameter_leaves_the_key_free(fake: FakeStripe, client: StripeClient) -> None:
    """A refusal before execution is not stored, so a corrected request may use the key."""
    with pytest.raises(GatewayInvalidRequestError) as raised:
        await client.call(attrs.evolve(CREATE, params={"mail": "ada@example.com"}))
    assert raised.value.parameter == "mail"
    assert (await client.call(CREATE)).data["email"] == "ada@example.com"


async def test_an_answer_has_the_clock_of_stripe(fake: FakeStripe, client: StripeClient) -> None:
    """By which it is ordered among events; the clock of this machine may be wrong."""
    before = datetime.now(UTC).replace(microsecond=0)
    answered_at = (await client.call(CREATE)).answered_at
    assert answered_at is not None
    assert before <= answered_at <= datetime.now(UTC)
