"""POST /webhooks/stripe: which requests are accepted or refused, and with which response."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from unittest.mock import Mock

import aiohttp
import attrs
import pytest
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from billing_app.http.accepted import accept
from billing_app.settings import Switches, WebhookSettings
from billing_core.errors import SignatureFault, StoreUnavailableError
from billing_core.events import Receipt
from billing_stripe.testing.events import sign

PATH = "/webhooks/stripe"
SECRET = "whsec_" + "w" * 32
if TYPE_CHECKING:
    from tests.unit.http.conftest import MakeWorld, RawRequest, World

pytestmark = pytest.mark.stripe


def body(number: int = 1, **extra: object) -> bytes:
    envelope = {
        "id": f"evt_{number}",
        "object": "event",
        "type": "customer.created",
        "created": int(datetime.now(UTC).timestamp()),
        "livemode": False,
        "api_version": "2025-03-31.basil",
        "data": {"object": {"id": "cus_1", "object": "customer"}},
    }
    return json.dumps({**envelope, **extra}).encode()


def signed(content: bytes, at: datetime | None = None) -> dict[str, str]:
    return {"Stripe-Signature": sign(content, SECRET, at or datetime.now(UTC))}


async def test_a_signed_event_is_stored_and_accepted_once(world: World, http: aiohttp.ClientSession) -> None:
    """The first delivery is accepted, each further one is a duplicate; both are answered 202."""
    content = body()
    for status in ("accepted", "duplicate", "duplicate"):
        async with http.post(world.url + PATH, data=content, headers=signed(content)) as answer:
            assert answer.status == 202
            assert answer.content_type == "application/json"
            assert await answer.json() == {"status": status, "event_id": "evt_1"}
    (claim,) = await world.container.queue().claim(limit=10, lease=timedelta(seconds=1))
    assert claim.event.body == content
    assert world.sample("billing_webhook_responses_total", status="2xx") == 3
    assert world.sample("billing_received_to_stored_seconds_count") == 1
    assert abs(world.sample("billing_clock_skew_seconds", reference="stripe")) < 60


async def test_every_client_gets_the_same_answer(world: World, raw_request: RawRequest) -> None:
    """Written in one piece, built by the library, or routed because the client waits for permission to go on."""
    content = body()

    def request(version: str, **fields: str) -> bytes:
        headers = {"Host": "x", "Content-Length": str(len(content)), **signed(content), **fields}
        lines = [f"POST {PATH} HTTP/{version}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode() + content

    requests = (request("1.1"), request("1.1", Expect="100-continue"), request("1.1", Connection="close"))
    first, _, others = (await raw_request(world, b"".join(requests))).partition(b"HTTP/1.1 100 Continue\r\n\r\n")
    _, *answers = (first + others + await raw_request(world, request("1.0"))).split(b"HTTP/1.")
    assert others
    heads = []
    for answer in answers:
        head, _, text = answer.partition(b"\r\n\r\n")
        status, *fields = head.decode().split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        assert headers.pop("Content-Length") == str(len(text))
        assert parsedate_to_datetime(headers.pop("Date")) <= datetime.now(UTC)
        heads.append((status.partition(" ")[2], {**headers, "Connection": ""}, json.loads(text)["event_id"]))
    assert heads == [heads[0]] * 4
    assert heads[0][0] == "202 Accepted"


async def test_nothing_is_written_to_a_client_that_has_left() -> None:
    """The server takes that for the end of the connection, not for a fault of its own."""
    transport = Mock()
    request = make_mocked_request("POST", PATH, transport=transport)
    transport.is_closing.return_value = True
    with pytest.raises(ConnectionError):
        await accept(request, b"{}").prepare(request)
    transport.write.assert_not_called()


async def test_a_chunked_body_is_accepted(world: World, http: aiohttp.ClientSession) -> None:
    """Only the bytes matter, not how a proxy frames them."""
    content = body(pad="x" * 100_000)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 10_000):
            yield content[start : start + 10_000]

    async with http.post(world.url + PATH, data=pieces(), headers=signed(content)) as answer:
        assert answer.status == 202


BAD_SIGNATURES: dict[str, dict[str, str]] = {
    "none": {},
    "empty": {"Stripe-Signature": ""},
    "garbage": {"Stripe-Signature": "hello"},
    "wrong": {"Stripe-Signature": f"t={int(datetime.now(UTC).timestamp())},v1={'0' * 64}"},
    "not ascii": {"Stripe-Signature": "t=1,v1=é"},
    "scheme v0": {"Stripe-Signature": sign(body(), SECRET, datetime.now(UTC)).replace("v1=", "v0=")},
    "of another body": signed(b"{}"),
    "old": signed(body(), datetime.now(UTC) - timedelta(hours=1)),
    "of the future": signed(body(), datetime.now(UTC) + timedelta(hours=1)),
}


@pytest.mark.parametrize("name", BAD_SIGNATURES)
async def test_every_bad_signature_gets_the_same_response(world: World, http: aiohttp.ClientSession, name: str) -> None:
    """400, nothing is stored, and the response does not say which part was wrong."""
    async with http.post(world.url + PATH, data=body(), headers=BAD_SIGNATURES[name]) as answer:
        assert answer.status == 400
        assert await answer.json() == {
            "error": {"code": "bad_webhook", "message": "The signature or the event is not valid."}
        }
    assert await world.container.queue().claim(limit=10, lease=timedelta(seconds=1)) == []
    reasons = {name: world.sample("stripe_webhook_events_total", event_type="unknown", result=name) for name in REASONS}
    assert sum(reasons.values()) == 1
    assert (
        sum(world.sample("stripe_webhook_signature_failures_total", cause=each.value) for each in SignatureFault) == 1
    )
    assert sum(world.sample("stripe_webhook_refused_bytes_count", reason=each) for each in REASONS) == 1


REASONS = ("bad_signature", "stale_signature", "malformed_event")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"[" * 100_000, b'{"id":"x"}', b"\xff\xfe"])
async def test_signed_garbage_gets_that_response_too(world: World, http: aiohttp.ClientSession, content: bytes) -> None:
    """It is counted, since it is signed; the sender learns no more than a forger."""
    async with http.post(world.url + PATH, data=content, headers=signed(content)) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "bad_webhook"
    assert world.sample("stripe_webhook_events_total", event_type="unknown", result="malformed_event") == 1


async def test_two_signature_headers_are_refused(world: World, raw_request: RawRequest) -> None:
    """A proxy could have added either."""
    content = body()
    header = f"Stripe-Signature: {signed(content)['Stripe-Signature']}\r\n"
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(content)}\r\n"
    assert (await raw_request(world, f"{head}{header}{header}\r\n".encode() + content)).startswith(b"HTTP/1.1 400 ")
    assert world.sample("stripe_webhook_signature_failures_total", cause="repeated") == 1
    assert (await raw_request(world, f"{head}{header}\r\n".encode() + content)).startswith(b"HTTP/1.1 202 ")


async def test_a_compressed_body_is_refused_before_it_is_read(world: World, http: aiohttp.ClientSession) -> None:
    """The signature covers the bytes as sent, not the decompressed ones."""
    content = gzip.compress(body())
    for encoded in (content, b"no gzip at all"):
        headers = {"Content-Encoding": "gzip", **signed(body())}
        async with http.post(world.url + PATH, data=encoded, headers=headers) as answer:
            assert answer.status == 415


async def test_a_body_announced_as_too_large_is_refused_before_it_is_sent(
    make_world: MakeWorld, raw_request: RawRequest
) -> None:
    """Content-Length decides, before any byte of the body arrives."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"
    async with make_world().serving(lingering_time=0.1) as world:
        answer = await raw_request(world, head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"too_large"' in answer


async def test_an_event_as_large_as_the_provider_allows_is_accepted(world: World, http: aiohttp.ClientSession) -> None:
    """Ten lines with fifty metadata keys of full length each, in the object and again in `previous_attributes`."""
    metadata = {f"{number:040}": "x" * 500 for number in range(50)}
    lines = {"data": [{"id": f"il_{number}", "metadata": metadata} for number in range(10)]}
    shown = {"id": "in_1", "object": "invoice", "lines": lines}
    content = body(type="invoice.updated", data={"object": shown, "previous_attributes": {"lines": lines}})
    assert len(content) > 512 * 1024
    async with http.post(world.url + PATH, data=content, headers=signed(content)) as answer:
        assert answer.status == 202


async def test_the_log_says_how_large_a_refused_body_is(world: World, http: aiohttp.ClientSession) -> None:
    """An operator sees from it how far to raise the limit; the metric counts it."""
    size = world.settings.webhooks.body_limit + 1
    with capture_logs() as lines:
        async with http.post(world.url + PATH, data=io.BytesIO(b"x" * size)) as answer:
            assert answer.status == 413
    (line,) = [line for line in lines if line["event"] == "webhook.refused"]
    assert (line["reason"], line["size"]) == ("too_large", size)
    assert world.sample("stripe_webhook_events_total", event_type="unknown", result="too_large") == 1


async def test_a_chunked_body_that_grows_too_large_is_cut_off(world: World, http: aiohttp.ClientSession) -> None:
    """The limit holds without a Content-Length, and is inclusive."""
    limit = world.settings.webhooks.body_limit
    for size, status in ((limit, 400), (limit + 1, 413)):

        async def pieces(total: int = size) -> AsyncIterator[bytes]:
            yield b"x" * total

        async with http.post(world.url + PATH, data=pieces()) as answer:
            assert answer.status == status


async def test_a_body_that_stalls_is_refused(make_world: MakeWorld, raw_request: RawRequest) -> None:
    """408, and the connection is closed."""
    async with make_world(webhooks=WebhookSettings(read_timeout=timedelta(milliseconds=50))).serving(
        lingering_time=0.1
    ) as world:
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"
        answer = await raw_request(world, head.encode())
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert world.sample("stripe_webhook_events_total", event_type="unknown", result="read_timeout") == 1


async def test_invalid_framing_is_answered_400(world: World, raw_request: RawRequest) -> None:
    """An invalid chunk is the sender's fault, never a 500."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await raw_request(world, f"{head}5\r\nabc\r\nzz\r\n\r\n".encode())
    assert answer.split(maxsplit=2)[1] == b"400"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_other_methods_are_refused(world: World, http: aiohttp.ClientSession, method: str) -> None:
    """405 with the allowed method."""
    async with http.request(method, world.url + PATH) as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "POST"


async def test_a_path_that_is_almost_right_is_not_redirected(world: World, http: aiohttp.ClientSession) -> None:
    """Stripe counts a redirect as a failure."""
    for path in ("/webhooks/stripe/", "/webhooks", "//webhooks/stripe"):
        async with http.post(world.url + path, data=b"x", allow_redirects=False) as answer:
            assert answer.status == 404
            assert (await answer.json())["error"]["code"] == "not_found"


@attrs.frozen
class FailingIntake:
    """An intake that raises an error."""

    error: Exception

    async def receive(self, body: bytes, signature: str) -> Receipt:
        raise self.error


async def test_an_event_that_cannot_be_stored_is_answered_503(
    make_world: MakeWorld, http: aiohttp.ClientSession
) -> None:
    """With a Retry-After, and without a detail of the database."""
    world = make_world()
    world.replace(intake=FailingIntake(StoreUnavailableError("connection to 10.0.0.1 refused")))
    async with world.serving(), http.post(world.url + PATH, data=body(), headers=signed(body())) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "10.0.0.1" not in await answer.text()
    assert world.sample("billing_webhook_responses_total", status="5xx") == 1


async def test_a_bug_is_a_500_without_details(make_world: MakeWorld, http: aiohttp.ClientSession) -> None:
    """The error is in the log; the sender gets a code."""
    world = make_world()
    world.replace(intake=FailingIntake(RuntimeError("password=hunter2")))
    async with world.serving(), http.post(world.url + PATH, data=body(), headers=signed(body())) as answer:
        assert answer.status == 500
        assert await answer.json() == {
            "error": {"code": "internal_error", "message": "An internal error occurred. Try again later."}
        }
    assert world.sample("billing_webhook_responses_total", status="5xx") == 1


async def test_a_webhook_whose_sender_disconnects_is_canceled(make_world: MakeWorld) -> None:
    """At once: nothing was promised, and no other request waits for it."""
    world = make_world()
    entered, canceled = asyncio.Event(), asyncio.Event()

    class StuckIntake:
        async def receive(self, body: bytes, signature: str) -> Receipt:
            entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                canceled.set()
            raise StoreUnavailableError

    world.replace(intake=StuckIntake())
    async with world.serving(), asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", world.port)
        with closing(writer):
            writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode())
            await entered.wait()
            writer.transport.abort()
        await canceled.wait()
    assert world.sample("billing_webhook_response_seconds_count") == 0


async def test_disabled_billing_answers_why(make_world: MakeWorld, http: aiohttp.ClientSession) -> None:
    """The response names the setting."""
    async with make_world(switches=Switches(billing=False)).serving() as world:
        for method, path in (
            ("POST", PATH),
            ("GET", "/api/v1/billing/tenants/acme/state"),
            ("GET", "/api/v1/billing/stream"),
        ):
            async with http.request(method, world.url + path) as answer:
                assert (answer.status, answer.content_type) == (404, "application/problem+json")
                problem = await answer.json(content_type=None)
                assert problem["code"] == "billing_disabled"
                assert "ENABLE_BILLING" in problem["detail"]
