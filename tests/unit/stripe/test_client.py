"""The client's behavior for every kind of failure between here and Stripe."""

import asyncio
import contextlib
import json
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
import stamina.instrumentation
from aiohttp import web

from billing_core.errors import (
    GatewayAuthenticationError,
    GatewayCardDeclinedError,
    GatewayError,
    GatewayInvalidRequestError,
    GatewayPermissionError,
    GatewayRateLimitedError,
    GatewayUnavailableError,
)
from billing_stripe.client import Backoff, CallPolicy, GatewayCall, StripeClient, open_client
from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults

pytestmark = pytest.mark.stripe

KEY = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"
VERSION = "2026-10-28.endive"
PATH = "/v1/customers/cus_1"
MOMENT = Backoff(timedelta(milliseconds=1), timedelta(milliseconds=1))
QUICK = CallPolicy(attempts=3, backoff=MOMENT, lock_backoff=MOMENT, load_backoff=MOMENT)


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    """A fake Stripe with one customer."""
    async with fake_stripe(secret_key=KEY) as running:
        running.put(objects.Customer(customer_id="cus_1", created_at=datetime(2026, 1, 1, tzinfo=UTC)))
        yield running


@pytest.fixture
def calls() -> list[GatewayCall]:
    """The outcomes reported to the observer."""
    return []


@pytest.fixture
async def client(fake: FakeStripe, calls: list[GatewayCall]) -> AsyncIterator[StripeClient]:
    """A client with short waits between attempts."""
    async with connect(fake, QUICK, calls) as connected:
        yield connected


def connect(
    fake: FakeStripe, policy: CallPolicy, calls: list[GatewayCall] | None = None, *, key: str = KEY
) -> AbstractAsyncContextManager[StripeClient]:
    """A client of the fake with the test's own policy."""
    observe = calls.append if calls is not None else list[GatewayCall]().append
    return open_client(secret_key=key, api_version=VERSION, base_url=fake.url, policy=policy, observe=observe)


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """The waits between attempts in seconds, as the retry loop reports them."""
    seen: list[float] = []
    stamina.instrumentation.set_on_retry_hooks([lambda details: seen.append(details.wait_for)])
    yield seen
    stamina.instrumentation.set_on_retry_hooks(None)


async def fetch(client: StripeClient) -> Mapping[str, Any] | None:
    return await client.get("fetch_customer", "cus_1")


async def failure(client: StripeClient) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        await fetch(client)
    return raised.value


def outcomes(calls: list[GatewayCall]) -> list[tuple[str, str, int]]:
    return [(call.operation, call.result, call.attempts) for call in calls]


TRANSIENT = {
    "an error of Stripe's own": faults.server_error(),
    "a gateway that is down": faults.server_error(503),
    "a proxy's error page": faults.Answer(status=502, body=b"<html>Bad gateway</html>"),
    "a lock": faults.conflict(),
    "a rate limit": faults.rate_limited(),
    "a rate limit that ends at once": faults.rate_limited(retry_after=0),
    "a body that breaks off": faults.DroppedBody(),
    "a body that is no JSON": faults.Answer(status=200, body=b'{"id": "cus'),
    "a body that is no object": faults.Answer(status=200, body=b'["cus_1"]'),
    "a body that is no text": faults.Answer(status=200, body=b"\xff\xfe"),
    "a page that is no answer": faults.html(),
    "an empty body": faults.Answer(status=200, body=b""),
    "a locked object": faults.lock_timeout(),
    "a key in use": faults.key_in_use(),
    "an error without content": faults.Answer(status=500, body=b'{"error": null}'),
}


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT.keys())
async def test_temporary_failures_are_retried(
    fault: faults.Fault, fake: FakeStripe, client: StripeClient, calls: list[GatewayCall]
) -> None:
    """The caller gets the response of the successful attempt."""
    fake.fail(PATH, fault, times=2)
    answer = await fetch(client)
    assert answer is not None
    assert answer["id"] == "cus_1"
    assert len(fake.requests) == 3
    assert outcomes(calls) == [("fetch_customer", "ok", 3)]


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT.keys())
async def test_attempts_are_limited(
    fault: faults.Fault, fake: FakeStripe, client: StripeClient, calls: list[GatewayCall]
) -> None:
    """A persistent failure ends in a retryable error."""
    fake.fail(PATH, fault, times=10)
    error = await failure(client)
    assert error.retryable
    assert len(fake.requests) == 3
    assert outcomes(calls) == [("fetch_customer", error.code, 3)]


async def test_a_connection_that_is_reset_is_opened_again(
    fake: FakeStripe, client: StripeClient, calls: list[GatewayCall]
) -> None:
    """The number of requests depends on aiohttp, too, which repeats a lost one by itself."""
    fake.fail(PATH, faults.Reset(), times=2)
    assert await fetch(client) is not None
    fake.fail(PATH, faults.Reset(), times=10)
    assert type(await failure(client)) is GatewayUnavailableError
    assert outcomes(calls)[1] == ("fetch_customer", "unavailable", 3)


FINAL = {
    "a bad request": (400, "parameter_invalid_empty", GatewayInvalidRequestError),
    "an unknown address": (404, None, GatewayInvalidRequestError),
    "a wrong key": (401, None, GatewayAuthenticationError),
    "a missing permission": (403, None, GatewayPermissionError),
    "a failed payment": (402, "card_declined", GatewayCardDeclinedError),
}


@pytest.mark.parametrize(("status", "code", "expected"), FINAL.values(), ids=FINAL.keys())
async def test_a_refusal_is_final(
    status: int, code: str | None, expected: type[GatewayError], fake: FakeStripe, client: StripeClient
) -> None:
    """A repeated request would be refused again."""
    body = json.dumps({"error": {"type": "invalid_request_error", "code": code, "message": "No."}}).encode()
    fake.fail(PATH, faults.Answer(status=status, body=body), times=10)
    assert type(await failure(client)) is expected
    assert len(fake.requests) == 1


@pytest.mark.parametrize("code", ["resource_missing", "not_found"])
async def test_a_missing_object_is_a_result(
    code: str, fake: FakeStripe, client: StripeClient, calls: list[GatewayCall]
) -> None:
    """With the error of either API generation, as opposed to a wrong address."""
    body = json.dumps({"error": {"code": code, "message": "No such customer"}}).encode()
    fake.fail(PATH, faults.Answer(status=404, body=body))
    assert await fetch(client) is None
    assert outcomes(calls) == [("fetch_customer", "not_found", 1)]


async def test_stripes_advice_not_to_retry_is_followed(fake: FakeStripe, client: StripeClient) -> None:
    """Stripe knows when a retry would only repeat the outcome; the error itself stays retryable."""
    fake.fail(PATH, faults.server_error(headers={"Stripe-Should-Retry": "false"}), times=10)
    error = await failure(client)
    assert type(error) is GatewayUnavailableError
    assert len(fake.requests) == 1


async def test_stripes_advice_to_retry_is_followed(fake: FakeStripe, client: StripeClient) -> None:
    """For any status."""
    body = b'{"error": {"type": "invalid_request_error"}}'
    fake.fail(PATH, faults.Answer(status=400, body=body, headers={"Stripe-Should-Retry": "true"}))
    assert await fetch(client) is not None
    assert len(fake.requests) == 2


async def test_retry_after_is_respected(fake: FakeStripe, client: StripeClient, waits: list[float]) -> None:
    """At least as long as Stripe asks for, and only a little longer."""
    fake.fail(PATH, faults.rate_limited(retry_after=1))
    assert await fetch(client) is not None
    assert len(waits) == 1
    assert 1 <= waits[0] <= 1 + MOMENT.maximum.total_seconds()


async def test_a_long_retry_after_is_left_to_the_caller(fake: FakeStripe, client: StripeClient) -> None:
    """A worker should not sleep for a minute while it holds an event."""
    fake.fail(PATH, faults.rate_limited(retry_after=60))
    error = await failure(client)
    assert isinstance(error, GatewayRateLimitedError)
    assert error.retry_after == timedelta(minutes=1)
    assert len(fake.requests) == 1


@pytest.mark.parametrize("text", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "soon", "", "١"])
async def test_a_retry_after_that_is_not_a_number_is_ignored(text: str, fake: FakeStripe, client: StripeClient) -> None:
    """The usual waits apply."""
    fault = faults.rate_limited()
    headers = {"Retry-After": text}
    fake.fail(PATH, faults.Answer(status=fault.status, body=fault.body, headers=headers))
    assert await fetch(client) is not None


async def test_an_attempt_that_hangs_times_out(fake: FakeStripe, calls: list[GatewayCall]) -> None:
    """It is then retried like any failed attempt."""
    fake.fail(PATH, faults.Hang())
    async with connect(fake, CallPolicy(attempt_timeout=timedelta(seconds=1)), calls) as client:
        assert await fetch(client) is not None
    assert outcomes(calls) == [("fetch_customer", "ok", 2)]


async def test_a_call_ends_at_its_deadline(fake: FakeStripe, calls: list[GatewayCall]) -> None:
    """Also if its attempts would be allowed more time."""
    fake.fail(PATH, faults.Hang(), times=10)
    async with connect(fake, CallPolicy(deadline=timedelta(seconds=0.2)), calls) as client:
        error = await failure(client)
    assert type(error) is GatewayUnavailableError
    assert outcomes(calls) == [("fetch_customer", "unavailable", 1)]


async def test_a_late_response_within_the_limit_is_used(fake: FakeStripe, client: StripeClient) -> None:
    """A response within the time limit needs no retry."""
    fake.fail(PATH, faults.Delay(timedelta(milliseconds=50)))
    assert await fetch(client) is not None
    assert len(fake.requests) == 1


class Announced:
    """A request without a response, which signals its arrival."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
        self.arrived.set()
        return await faults.Hang().strike(request, closing)


async def test_a_canceled_call_ends_at_once_and_is_reported(
    fake: FakeStripe, client: StripeClient, calls: list[GatewayCall]
) -> None:
    """A cancellation is neither a failure nor a reason to retry."""
    fault = Announced()
    fake.fail(PATH, fault, times=10)
    call = asyncio.create_task(fetch(client))
    await fault.arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert outcomes(calls) == [("fetch_customer", "canceled", 1)]
    assert len(fake.requests) == 1


async def test_a_refused_connection_is_unavailable() -> None:
    """The error keeps its cause, which says why the connection failed."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with open_client(secret_key=KEY, api_version=VERSION, base_url=url, policy=QUICK) as client:
            error = await failure(client)
    assert type(error) is GatewayUnavailableError
    assert isinstance(error.__cause__, aiohttp.ClientConnectorError)


async def test_a_deleted_cursor_means_reading_the_list_again(fake: FakeStripe, client: StripeClient) -> None:
    """The list changed while it was read: retrying the same page is useless, reading the list again is not."""
    body = b'{"error": {"code": "resource_missing", "param": "starting_after", "message": "No such line"}}'
    fake.fail(PATH, faults.Answer(status=400, body=body), times=10)
    error = await failure(client)
    assert type(error) is GatewayUnavailableError
    assert len(fake.requests) == 1


HOSTILE = [b"", b"null", b"[]", b'"error"', b'{"error": null}', b'{"error": []}', b'{"error": "x"}', b"{", b"\xff"]


@pytest.mark.parametrize("status", [400, 401, 404, 409, 429, 500])
@pytest.mark.parametrize("body", HOSTILE)
async def test_every_bad_response_becomes_a_gateway_error(status: int, body: bytes, fake: FakeStripe) -> None:
    """Callers catch one family of errors."""
    fake.fail(PATH, faults.Answer(status=status, body=body))
    async with connect(fake, CallPolicy(attempts=1)) as client:
        await failure(client)


async def test_requests_name_the_pinned_version_and_nothing_about_the_machine(
    fake: FakeStripe, client: StripeClient
) -> None:
    """No telemetry, no machine name, and no idempotency key for a read."""
    await fetch(client)
    await fetch(client)
    for request in fake.requests:
        assert request.headers["Stripe-Version"] == VERSION
        assert "X-Stripe-Client-Telemetry" not in request.headers
        assert "Idempotency-Key" not in request.headers
        assert json.loads(request.headers["X-Stripe-Client-User-Agent"]).keys().isdisjoint({"telemetry_id", "platform"})


LEAKS = {
    "wrong key": faults.Answer(status=401, body=f'{{"error": {{"message": "Invalid API Key: {KEY}"}}}}'.encode()),
    "bad request": faults.Answer(status=400, body=f'{{"error": {{"message": "zoe@example.com {KEY}"}}}}'.encode()),
    "server error": faults.Answer(status=500, body=f'{{"error": {{"message": "zoe@example.com {KEY}"}}}}'.encode()),
    "no JSON": faults.Answer(status=200, body=f"zoe@example.com {KEY}".encode()),
    "no error": faults.Answer(status=500, body=f'{{"zoe@example.com": "{KEY}"}}'.encode()),
    "broken body": faults.DroppedBody(),
    "reset": faults.Reset(),
}


@pytest.mark.parametrize("fault", LEAKS.values(), ids=LEAKS.keys())
async def test_neither_errors_nor_logs_repeat_what_stripe_wrote(
    fault: faults.Fault,
    fake: FakeStripe,
    client: StripeClient,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Stripe's messages quote keys and people; neither a traceback nor a retry hook's log line contains them."""
    caplog.set_level(logging.DEBUG)
    stamina.instrumentation.set_on_retry_hooks(None)  # the default ones, which log what they see
    fake.fail(PATH, fault, times=10)
    error = await failure(client)
    printed = capfd.readouterr()
    traces = "".join(traceback.format_exception(error))
    shown = [caplog.text, printed.out, printed.err, traces, repr(error), repr(client), repr(fake.requests)]
    for text in shown:
        assert KEY not in text
        assert "zoe@example.com" not in text


async def test_an_error_names_operation_status_and_request(fake: FakeStripe, client: StripeClient) -> None:
    """Support needs these."""
    fake.fail(PATH, faults.server_error(), times=10)
    assert str(await failure(client)) == "fetch_customer: 500 req_00000000000003"


async def test_a_level_set_for_the_sdks_log_is_kept(fake: FakeStripe) -> None:
    """By default only warnings are logged, since lower levels contain ids and messages."""
    log = logging.getLogger("stripe")
    before = log.level
    try:
        for asked, expected in ((logging.NOTSET, logging.WARNING), (logging.DEBUG, logging.DEBUG)):
            log.setLevel(asked)
            async with connect(fake, QUICK):
                assert log.level == expected
    finally:
        log.setLevel(before)


async def test_connections_are_closed_with_the_client(fake: FakeStripe) -> None:
    """A call after that fails like one without a network."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect(fake, QUICK))
        assert await fetch(client) is not None
    assert type(await failure(client)) is GatewayUnavailableError
    assert len(fake.requests) == 1
