"""Writes: one key for every attempt, and the truth about what may have been carried out."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import attrs
import pytest
from aiohttp import web

from billing_core.errors import (
    GatewayCardDeclinedError,
    GatewayConflictError,
    GatewayError,
    GatewayIdempotencyConflictError,
    GatewayInvalidRequestError,
    GatewayNotFoundError,
    GatewayPermissionError,
    GatewayRateLimitedError,
    GatewayUnavailableError,
)
from billing_core.operations.call_limits import UNLIMITED
from billing_core.operations.call_reports import CircuitChange
from billing_stripe.client import (
    Backoff,
    CallPolicy,
    CircuitPolicy,
    GatewayCall,
    LocalCallLimiter,
    StripeClient,
    StripeRequest,
    open_client,
)
from billing_stripe.client.breaker import CircuitBreaker
from billing_stripe.client.limits import CallGate
from billing_stripe.client.transport import Transport
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults

pytestmark = pytest.mark.stripe

VERSION = "2026-10-28.endive"
PATH = "/v1/subscriptions/sub_1"
MOMENT = Backoff(timedelta(milliseconds=1), timedelta(milliseconds=1))
QUICK = CallPolicy(attempts=3, backoff=MOMENT, lock_backoff=MOMENT, load_backoff=MOMENT)
DONE = faults.Answer(status=200, body=b'{"id": "sub_1"}')
UPDATE = StripeRequest(
    operation="update_subscription",
    ids=("sub_1",),
    params={"items": [{"id": "si_1", "price": "price_1", "quantity": 25}]},
    idempotency_key="decision-1",
)


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    async with fake_stripe() as running:
        yield running


@pytest.fixture
async def client(fake: FakeStripe) -> AsyncIterator[StripeClient]:
    async with open_client(secret_key=fake.secret_key, api_version=VERSION, base_url=fake.url, policy=QUICK) as opened:
        yield opened


async def failure(client: StripeClient, request: StripeRequest = UPDATE) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await client.call(request)
    return raised.value


def refusal(status: int, headers: dict[str, str] | None = None, **error: str) -> faults.Answer:
    return faults.Answer(status=status, body=json.dumps({"error": error}).encode(), headers=headers or {})


UNCERTAIN = {
    "reset": faults.Reset(),
    "cut body": faults.DroppedBody(),
    "server error": faults.server_error(),
    "a page instead of an answer": faults.html(),
    "an empty answer": faults.Answer(status=200, body=b""),
    "a list instead of an object": faults.Answer(status=200, body=b"[]"),
    "the key is in use": faults.key_in_use(),
}


@pytest.mark.parametrize("fault", UNCERTAIN.values(), ids=UNCERTAIN.keys())
async def test_every_attempt_sends_the_same_request_with_the_same_key(
    fault: faults.Fault, fake: FakeStripe, client: StripeClient
) -> None:
    """Stripe then carries it out once, whatever became of the earlier attempts."""
    fake.fail(PATH, fault)
    fake.fail(PATH, DONE)
    assert (await client.call(UPDATE)).data == {"id": "sub_1"}
    assert [request.headers["Idempotency-Key"] for request in fake.requests] == ["decision-1"] * 2


@pytest.mark.parametrize("fault", UNCERTAIN.values(), ids=UNCERTAIN.keys())
async def test_the_outcome_of_a_write_without_an_answer_is_unknown(
    fault: faults.Fault, fake: FakeStripe, client: StripeClient
) -> None:
    """The caller has to find out before it decides again; a read has no outcome."""
    fake.fail("*", fault, times=20)
    error = await failure(client)
    assert (error.outcome_unknown, error.retryable) == (True, True)
    assert "may have been carried out" in error.user_text
    read = StripeRequest(operation="fetch_subscription", ids=("sub_1",))
    assert not (await failure(client, read)).outcome_unknown


async def test_a_stored_server_error_ends_the_call(fake: FakeStripe, client: StripeClient) -> None:
    """Every further attempt with this key would get the same answer; reading tells what happened."""
    fake.fail(PATH, faults.stored_error("req_1st"), times=9)
    error = await failure(client)
    assert isinstance(error, GatewayUnavailableError)
    assert (error.outcome_unknown, error.replayed) == (True, True)
    assert len(fake.requests) == 1


async def test_a_stored_server_error_ends_the_call_against_advice(fake: FakeStripe, client: StripeClient) -> None:
    """Stripe says to retry server errors, also where that is of no use."""
    stored = faults.stored_error()
    headers = {**stored.headers, "Stripe-Should-Retry": "true"}
    fake.fail(PATH, attrs.evolve(stored, headers=headers), times=9)
    assert (await failure(client)).replayed
    assert len(fake.requests) == 1


async def test_a_request_that_was_never_sent_was_not_carried_out() -> None:
    """A refused connection leaves nothing open."""
    async with open_client(
        secret_key="sk_test_fake", api_version=VERSION, base_url="http://127.0.0.1:1", policy=QUICK
    ) as client:
        error = await failure(client)
    assert isinstance(error, GatewayUnavailableError)
    assert not error.outcome_unknown


NOT_CARRIED_OUT = {
    "load": faults.rate_limited(),
    "locked": faults.lock_timeout(),
    "a revoked key": refusal(401, type="invalid_request_error"),
    "a missing permission": refusal(403, type="invalid_request_error"),
}


@pytest.mark.parametrize("fault", NOT_CARRIED_OUT.values(), ids=NOT_CARRIED_OUT.keys())
async def test_a_refusal_before_execution_says_nothing_about_earlier_attempts(
    fault: faults.Fault, fake: FakeStripe, client: StripeClient
) -> None:
    """By itself it means that nothing happened."""
    fake.fail(PATH, faults.server_error())
    fake.fail(PATH, fault, times=9)
    assert (await failure(client)).outcome_unknown
    assert not (await failure(client)).outcome_unknown


SETTLED = {
    "a decline": refusal(402, type="card_error", code="card_declined"),
    "an invalid parameter": refusal(400, type="invalid_request_error", param="items[0][price]"),
}


@pytest.mark.parametrize("fault", SETTLED.values(), ids=SETTLED.keys())
async def test_an_answer_for_the_key_settles_earlier_attempts(
    fault: faults.Fault, fake: FakeStripe, client: StripeClient
) -> None:
    """Had one of them been carried out, its result would have been the answer."""
    fake.fail(PATH, faults.server_error())
    fake.fail(PATH, fault)
    assert not (await failure(client)).outcome_unknown


async def test_a_deletion_that_finds_nothing_may_have_been_the_first(fake: FakeStripe, client: StripeClient) -> None:
    """Stripe heeds no keys of DELETE: after a lost answer, the next attempt finds nothing to delete."""
    cancel = StripeRequest(operation="cancel_subscription", ids=("sub_1",), idempotency_key="decision-1")
    missing = refusal(404, type="invalid_request_error", code="resource_missing")
    fake.fail(PATH, faults.DroppedBody())
    fake.fail(PATH, missing, times=2)
    error = await failure(client, cancel)
    assert (type(error), error.outcome_unknown) == (GatewayNotFoundError, True)
    assert not (await failure(client, cancel)).outcome_unknown


async def test_a_write_that_stalls_is_of_unknown_outcome(fake: FakeStripe) -> None:
    """Also when the call's deadline ends it in the middle of an attempt."""
    fake.fail(PATH, faults.Stall(), times=9)
    for policy in (
        attrs.evolve(QUICK, attempts=1, attempt_timeout=timedelta(milliseconds=100)),
        attrs.evolve(QUICK, deadline=timedelta(milliseconds=100)),
    ):
        async with open_client(
            secret_key=fake.secret_key, api_version=VERSION, base_url=fake.url, policy=policy
        ) as client:
            error = await failure(client)
        assert isinstance(error, GatewayUnavailableError)
        assert error.outcome_unknown


async def test_a_bug_in_the_transport_is_not_retried(fake: FakeStripe) -> None:
    """The SDK would wrap it as a lost connection and advise to retry; it arrives as what it is."""

    async def broken(_request: aiohttp.ClientRequest, _send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        raise RuntimeError("a bug")

    calls: list[GatewayCall] = []
    async with aiohttp.ClientSession(middlewares=[broken]) as session:
        transport = Transport(session, secret_key=fake.secret_key, api_version=VERSION, policy=QUICK, base_url=fake.url)
        with pytest.raises(RuntimeError, match="a bug"):
            await StripeClient(
                transport,
                policy=QUICK,
                gate=CallGate(LocalCallLimiter(UNLIMITED)),
                breaker=CircuitBreaker(CircuitPolicy(), list[CircuitChange]().append),
                observe=calls.append,
            ).call(UPDATE)
    assert [(call.result, call.attempts) for call in calls] == [("bug", 1)]


def test_a_client_belongs_to_one_event_loop(fake: FakeStripe) -> None:
    """Elsewhere every call would fail, and the SDK would call it a lost connection."""

    async def open_there() -> StripeClient:
        async with open_client(secret_key=fake.secret_key, api_version=VERSION, base_url=fake.url) as client:
            return client

    async def use_here(client: StripeClient) -> None:
        await client.call(UPDATE)

    client = asyncio.run(open_there())
    with pytest.raises(RuntimeError, match="belongs to the event loop"):
        asyncio.run(use_here(client))


# --- errors -------------------------------------------------------------------------------------------------------


async def test_a_decline_keeps_its_reason(fake: FakeStripe, client: StripeClient) -> None:
    """The text for users names it only where the customer can act on it."""
    fake.fail(PATH, refusal(402, type="card_error", code="card_declined", decline_code="insufficient_funds"))
    error = await failure(client)
    assert isinstance(error, GatewayCardDeclinedError)
    assert (error.code, error.provider_code, error.decline_code) == (
        "card_declined",
        "card_declined",
        "insufficient_funds",
    )
    assert error.user_text == "The card has insufficient funds. Use another card."
    fake.fail(PATH, refusal(402, type="card_error", code="card_declined", decline_code="stolen_card"))
    assert "stolen" not in (await failure(client)).user_text
    fake.fail(PATH, refusal(402, type="card_error", code="expired_card"))
    assert (await failure(client)).user_text == "The card has expired. Use another card."


async def test_a_refused_parameter_is_named(fake: FakeStripe, client: StripeClient) -> None:
    """With Stripe's code, by which `invoice_already_paid` is recognized."""
    fake.fail(PATH, refusal(400, code="resource_missing", param="items[0][price]", message="No such price: 'price_1'"))
    error = await failure(client)
    assert isinstance(error, GatewayInvalidRequestError)
    assert (error.parameter, error.provider_code) == ("items[0][price]", "resource_missing")
    assert str(error) == "update_subscription: 400 resource_missing items[0][price] req_00000000000001"


async def test_a_missing_permission_is_named(fake: FakeStripe, client: StripeClient) -> None:
    """For operators: the name is all that is taken from Stripe's text."""
    message = "The key 'rk_test_***' lacks access. Having the 'rak_subscription_write' permission would allow it."
    fake.fail(PATH, refusal(403, message=message))
    error = await failure(client)
    assert isinstance(error, GatewayPermissionError)
    assert error.permission == "rak_subscription_write"
    assert str(error) == "update_subscription: 403 rak_subscription_write req_00000000000001"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (refusal(404, code="resource_missing"), GatewayNotFoundError),
        (refusal(400, type="idempotency_error"), GatewayIdempotencyConflictError),
        (faults.key_in_use(), GatewayConflictError),
        (faults.lock_timeout(), GatewayRateLimitedError),
        (refusal(400, code="rate_limit"), GatewayRateLimitedError),
        (faults.html(401), GatewayUnavailableError),
    ],
)
async def test_each_outcome_has_an_error_of_its_own(
    fault: faults.Fault, expected: type[GatewayError], fake: FakeStripe, client: StripeClient
) -> None:
    """Callers and operators act on the class, and on its stable code."""
    fake.fail(PATH, fault, times=9)
    assert type(await failure(client)) is expected


@pytest.mark.parametrize("word", ["Sk_live", "zoe@example.com", "a b", "x" * 81, "", 1, None, []])
async def test_codes_and_parameters_have_the_form_of_one(word: object, fake: FakeStripe, client: StripeClient) -> None:
    """Anything else stays out of errors: nothing of a body is repeated that could be a value."""
    body = json.dumps({"error": {"code": word, "param": word, "decline_code": word}}).encode()
    fake.fail(PATH, faults.Answer(status=400, body=body))
    error = await failure(client)
    assert error.provider_code is None
    assert str(error) == "update_subscription: 400 req_00000000000001"


# --- answers ------------------------------------------------------------------------------------------------------


async def test_an_answer_says_whose_it_is_and_when(fake: FakeStripe, client: StripeClient) -> None:
    """A replay names the first request; the date is Stripe's own clock."""
    headers = {
        "Idempotent-Replayed": "true",
        "Original-Request": "req_first",
        "Date": "Sun, 01 Mar 2026 09:30:00 GMT",
    }
    fake.fail(PATH, attrs.evolve(DONE, headers=headers))
    answer = await client.call(UPDATE)
    assert (answer.request_id, answer.original_request, answer.replayed) == ("req_00000000000001", "req_first", True)
    assert answer.answered_at == datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("date", ["", "soon", "Sun, 01 Mar 2026 09:30:00 -0000", "Sun, 99 Mar 2026 09:30:00 GMT"])
async def test_an_answer_without_a_valid_date_has_none(date: str, fake: FakeStripe, client: StripeClient) -> None:
    """Then nothing is ordered by it."""
    fake.fail(PATH, attrs.evolve(DONE, headers={"Date": date, "Original-Request": "<script>"}))
    answer = await client.call(UPDATE)
    assert (answer.answered_at, answer.original_request, answer.replayed) == (None, None, False)


# --- the way it is sent -------------------------------------------------------------------------------------------


class Recorded:
    """An answer that keeps the body of the request."""

    def __init__(self) -> None:
        self.body = ""

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        self.body = await request.text()
        return await DONE.strike(request, closing)


async def test_parameters_are_form_encoded(fake: FakeStripe, client: StripeClient) -> None:
    """Items by id, with price and quantity; an empty value clears."""
    recorded = Recorded()
    fake.fail(PATH, recorded)
    await client.call(attrs.evolve(UPDATE, params={**UPDATE.params, "pause_collection": ""}))
    expected = "items[0][id]=si_1&items[0][price]=price_1&items[0][quantity]=25&pause_collection="
    assert recorded.body == expected


async def test_each_call_names_its_account(fake: FakeStripe, client: StripeClient) -> None:
    """The client itself is bound to none, since a call could not undo that."""
    fake.fail(PATH, DONE, times=3)
    await client.call(attrs.evolve(UPDATE, account="acct_1"))
    await client.call(attrs.evolve(UPDATE, context="acct_2"))
    await client.call(UPDATE)
    scopes = [(each.headers.get("Stripe-Account"), each.headers.get("Stripe-Context")) for each in fake.requests]
    assert scopes == [("acct_1", None), (None, "acct_2"), (None, None)]


async def test_the_key_of_an_organization_needs_a_context() -> None:
    """It opens several accounts, and Stripe would not know which is meant."""
    async with fake_stripe(secret_key="sk_org_test_1") as fake:
        fake.fail(PATH, DONE, times=9)
        async with open_client(secret_key=fake.secret_key, api_version=VERSION, base_url=fake.url) as client:
            for request in (UPDATE, attrs.evolve(UPDATE, account="acct_1")):
                with pytest.raises(ValueError, match="needs a context"):
                    await client.call(request)
            await client.call(attrs.evolve(UPDATE, context="acct_1"))
        async with open_client(
            secret_key=fake.secret_key, api_version=VERSION, base_url=fake.url, context="acct_2"
        ) as client:
            await client.call(UPDATE)
        assert [each.headers.get("Stripe-Context") for each in fake.requests] == ["acct_1", "acct_2"]


async def test_a_redirect_is_not_followed(fake: FakeStripe, client: StripeClient) -> None:
    """The key goes to Stripe's address, and to no other."""
    fake.fail(PATH, faults.Answer(status=307, body=b"", headers={"Location": f"{fake.url}/v1/elsewhere"}), times=9)
    assert isinstance(await failure(client), GatewayUnavailableError)
    assert {request.path for request in fake.requests} == {PATH}


async def test_tools_on_this_machine_are_not_named(
    fake: FakeStripe, client: StripeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK reads the environment for them, and prints notices of Stripe's; a notice changes nothing here."""
    monkeypatch.setenv("CURSOR_AGENT", "1")
    fake.fail(PATH, attrs.evolve(DONE, headers={"Stripe-Notice": "Try our new product."}))
    await client.call(UPDATE)
    (sent,) = fake.requests
    assert "AIAgent" not in sent.headers["User-Agent"]
    assert "ai_agent" not in sent.headers["X-Stripe-Client-User-Agent"]
