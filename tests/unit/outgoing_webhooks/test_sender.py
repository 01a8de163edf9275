"""Sending to a real server on loopback: signatures, the meaning of answers, and hosts that must not be reached."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError
from tests.tls import Authority
from tests.unit.outgoing_webhooks.receiver import LOOPBACK, NOW, NameServer, Receiver, receiving, secret, webhook

from billing_core.outgoing.values import DeliveryResult, SigningSecret
from billing_memory.clock import ManualClock, SystemClock
from billing_webhooks.sender import HttpWebhookSender, SenderPolicy

LOCAL = SenderPolicy(allowed_networks=LOOPBACK)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def sender() -> AsyncIterator[HttpWebhookSender]:
    async with HttpWebhookSender.open(ManualClock(NOW), LOCAL) as sender:
        yield sender


# --- what is sent -----------------------------------------------------------------------------------------------------


async def test_a_receiver_verifies_the_signature_with_the_library(receiver: Receiver) -> None:
    """The headers and the body are those that Standard Webhooks describes."""
    signing = secret()
    async with HttpWebhookSender.open(SystemClock(), LOCAL) as sender:
        delivery = await sender.send(receiver.url(), webhook(), [signing])
    assert delivery.delivered
    ((headers, body),) = receiver.requests
    assert Webhook(signing.text).verify(body, headers) == json.loads(webhook().body)
    assert headers["webhook-id"] == "first:acme:7"
    assert headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret().text).verify(body, headers)


async def test_during_a_rotation_both_secrets_verify(receiver: Receiver) -> None:
    """A receiver may switch to the new one at any time of the overlap; an expired one signs no more."""
    current, replaced, expired = secret(), secret(), secret()
    now = datetime.now(UTC)
    secrets = [
        current,
        attrs.evolve(replaced, expires_at=now + timedelta(hours=1)),
        attrs.evolve(expired, expires_at=now),
    ]
    async with HttpWebhookSender.open(SystemClock(), LOCAL) as sender:
        await sender.send(receiver.url(), webhook(), secrets)
    ((headers, body),) = receiver.requests
    Webhook(current.text).verify(body, headers)
    Webhook(replaced.text).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(expired.text).verify(body, headers)


async def test_a_tenant_with_any_letters_is_delivered(receiver: Receiver) -> None:
    """The signature covers the id as the header carries it."""
    signing = secret()
    async with HttpWebhookSender.open(SystemClock(), LOCAL) as sender:
        assert (await sender.send(receiver.url(), webhook("first:Müller & Söhne:7"), [signing])).delivered
    ((headers, body),) = receiver.requests
    Webhook(signing.text).verify(body, headers)


# --- the meaning of answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, DeliveryResult.DELIVERED),
        (202, DeliveryResult.DELIVERED),
        (204, DeliveryResult.DELIVERED),
        (299, DeliveryResult.DELIVERED),
        (301, DeliveryResult.REFUSED),
        (400, DeliveryResult.REFUSED),
        (404, DeliveryResult.REFUSED),
        (410, DeliveryResult.GONE),
        (429, DeliveryResult.LIMITED),
        (500, DeliveryResult.REFUSED),
        (503, DeliveryResult.LIMITED),
    ],
)
async def test_only_2xx_counts_as_delivered(
    receiver: Receiver, sender: HttpWebhookSender, status: int, result: DeliveryResult
) -> None:
    """Every other answer is a failure with its status."""
    receiver.answers(status)
    delivery = await sender.send(receiver.url(), webhook(), [secret()])
    assert (delivery.result, delivery.status) == (result, status)
    assert str(status) in delivery.detail


@pytest.mark.parametrize(
    ("status", "text", "wait"),
    [
        (429, "120", timedelta(seconds=120)),
        (503, " 0 ", timedelta(0)),
        (503, "Sun, 29 Nov 2026 12:10:00 GMT", timedelta(minutes=10)),
        (503, "Sun, 29 Nov 2020 12:10:00 GMT", timedelta(0)),
        (503, "9" * 300, timedelta(days=1)),
        (503, "Sun, 29 Nov 9999 12:10:00 GMT", timedelta(days=1)),
        (503, "soon", None),
        (503, "-5", None),
        (503, "٣", None),
        (500, "120", None),
    ],
)
async def test_retry_after_is_honored_up_to_a_day(
    receiver: Receiver, sender: HttpWebhookSender, status: int, text: str, wait: timedelta | None
) -> None:
    """In both forms of the header, of answers that may carry it; nonsense is no wait."""
    receiver.answers(status, Retry_After=text)
    delivery = await sender.send(receiver.url(), webhook(), [secret()])
    assert delivery.retry_after == wait


async def test_a_redirect_is_not_followed(receiver: Receiver, sender: HttpWebhookSender) -> None:
    """It could lead to the metadata service of the cloud, with our message and signature."""
    async with receiving() as elsewhere:
        for location in (elsewhere.url(), "http://169.254.169.254/latest/meta-data/"):
            receiver.answers(307, Location=location)
            delivery = await sender.send(receiver.url(), webhook(), [secret()])
            assert delivery.result is DeliveryResult.REFUSED
            assert delivery.detail == "answered 307: redirects are not followed"
        assert elsewhere.requests == []
    assert len(receiver.requests) == 2


# --- slow and hostile receivers ---------------------------------------------------------------------------------------


async def test_a_receiver_that_does_not_answer_is_left_after_the_timeout(receiver: Receiver) -> None:
    """The whole attempt counts, not the time between two packets."""

    async def never(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    receiver.answer = never
    policy = attrs.evolve(LOCAL, timeout=timedelta(seconds=0.3))
    async with HttpWebhookSender.open(ManualClock(NOW), policy) as sender:
        delivery = await asyncio.wait_for(sender.send(receiver.url(), webhook(), [secret()]), 10)
    assert delivery.result is DeliveryResult.TIMED_OUT
    assert delivery.detail == "no answer within 0.3 s"


async def test_a_header_that_arrives_byte_by_byte_ends_with_the_timeout() -> None:
    """A receiver that sends a little every moment would hold a connection for hours otherwise."""

    left = asyncio.Event()

    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000:
            if writer.is_closing():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        writer.close()
        left.set()

    policy = attrs.evolve(LOCAL, timeout=timedelta(seconds=0.4))
    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with HttpWebhookSender.open(ManualClock(NOW), policy) as sender:
            delivery = await asyncio.wait_for(sender.send(url, webhook(), [secret()]), 10)
            await asyncio.wait_for(left.wait(), 10)  # the connection is closed, not kept
    assert delivery.result is DeliveryResult.TIMED_OUT


async def test_an_endless_body_is_not_read(receiver: Receiver, sender: HttpWebhookSender) -> None:
    """The status has decided, so that neither the size nor the speed of the body matters."""
    sent = 0
    ended = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while sent < 1 << 30:
                await response.write(bytes(65536))
                sent += 65536
        finally:
            ended.set()
        return response

    receiver.answer = endless
    delivery = await asyncio.wait_for(sender.send(receiver.url(), webhook(), [secret()]), 10)
    assert delivery.delivered
    await asyncio.wait_for(ended.wait(), 10)
    assert sent < 1 << 26  # what fits into the buffers of two sockets


async def test_an_endless_header_is_refused(receiver: Receiver, sender: HttpWebhookSender) -> None:
    """The client's own limit of a header holds."""
    receiver.answers(200, X_Huge="a" * 100_000)
    delivery = await sender.send(receiver.url(), webhook(), [secret()])
    assert delivery.result is DeliveryResult.UNREACHABLE
    assert "aaaa" not in delivery.detail


async def test_an_answer_that_is_not_http_is_a_failure() -> None:
    """The attempt ends with a result, and none of the bytes are shown."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com SECRET\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with HttpWebhookSender.open(ManualClock(NOW), LOCAL) as sender:
            delivery = await sender.send(url, webhook(), [secret()])
    assert delivery.result is DeliveryResult.UNREACHABLE
    assert "SECRET" not in delivery.detail


async def test_a_cookie_is_not_kept(receiver: Receiver, sender: HttpWebhookSender) -> None:
    """Receivers cannot recognize one delivery by another."""
    receiver.answers(200, Set_Cookie="session=1; Path=/")
    for _ in range(2):
        await sender.send(receiver.url(), webhook(), [secret()])
    assert not any("cookie" in headers for headers, _ in receiver.requests)


async def test_a_closed_port_is_unreachable(sender: HttpWebhookSender) -> None:
    """The reason is the operating system's."""
    async with receiving() as receiver:
        url = receiver.url()
    delivery = await sender.send(url, webhook(), [secret()])
    assert delivery.result is DeliveryResult.UNREACHABLE
    assert delivery.detail.startswith("no connection: ")


# --- addresses --------------------------------------------------------------------------------------------------------


async def send_by(names: NameServer, url: str, policy: SenderPolicy = LOCAL) -> tuple[DeliveryResult, str]:
    async with HttpWebhookSender.open(ManualClock(NOW), policy, resolver=names) as sender:
        delivery = await sender.send(url, webhook(), [secret()])
    return delivery.result, delivery.detail


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "[::1]"])
async def test_an_address_in_the_url_is_checked(receiver: Receiver, host: str) -> None:
    """No lookup happens for it, so that the check of the socket has to refuse it."""
    async with HttpWebhookSender.open(ManualClock(NOW), SenderPolicy()) as sender:
        for scheme in ("http", "https"):
            delivery = await sender.send(receiver.url(host, scheme), webhook(), [secret()])
            assert delivery.result is DeliveryResult.ADDRESS_REFUSED
            assert "is not a public address" in delivery.detail
    assert receiver.requests == []


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f000001", "0177.0.0.1", "localhost"])
async def test_other_notations_of_loopback_reach_nothing(receiver: Receiver, host: str) -> None:
    """Whether the client refuses the notation, or the system resolves it to a checked address."""
    async with HttpWebhookSender.open(ManualClock(NOW), SenderPolicy()) as sender:
        delivery = await sender.send(receiver.url(host), webhook(), [secret()])
    assert delivery.result in (DeliveryResult.ADDRESS_REFUSED, DeliveryResult.UNREACHABLE)
    assert receiver.requests == []


@pytest.mark.parametrize("address", ["169.254.169.254", "10.0.0.8", "::ffff:169.254.169.254", "fd00:ec2::254"])
async def test_a_name_with_a_private_address_is_refused(address: str) -> None:
    """The text names the address and says what it is, for the operator who has to allow it."""
    result, detail = await send_by(NameServer([address]), "https://crm.example.com/")
    assert result is DeliveryResult.ADDRESS_REFUSED
    assert detail == f"crm.example.com has the address {address}, which is not a public address"


async def test_an_answer_that_changes_to_a_private_address_reaches_nothing(receiver: Receiver) -> None:
    """DNS rebinding: each connection has a lookup of its own, and goes to a checked address of that lookup."""
    names = NameServer(["127.0.0.1"], ["127.0.0.2", "10.0.0.8"], ["10.0.0.8"])
    policy = attrs.evolve(LOCAL, connect_timeout=timedelta(seconds=0.5))
    receiver.answers(200, Connection="close")
    async with HttpWebhookSender.open(ManualClock(NOW), policy, resolver=names) as sender:
        url = receiver.url("crm.example.com")
        assert (await sender.send(url, webhook(), [secret()])).delivered
        mixed = await sender.send(url, webhook(), [secret()])
        assert mixed.result is DeliveryResult.UNREACHABLE  # 127.0.0.2 is permitted and has no server; 10.0.0.8 is not
        assert "10.0.0.8" not in mixed.detail
        refused = await sender.send(url, webhook(), [secret()])
        assert refused.result is DeliveryResult.ADDRESS_REFUSED
    assert (names.lookups, len(receiver.requests)) == (3, 1)
    assert names.closed


async def test_the_socket_is_checked_even_if_the_lookup_was_not(receiver: Receiver) -> None:
    """A name server that answers the check with one address and the connection with another reaches nothing."""

    class Changing(dict[str, object]):
        """Shows a public address when it is looked at first, and loopback from then on."""

        seen = 0

        def __getitem__(self, key: str) -> object:
            if key == "host":
                self.seen += 1
                return "93.184.216.34" if self.seen == 1 else "127.0.0.1"
            return super().__getitem__(key)

    class Hostile(NameServer):
        async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[object]:  # type: ignore[override]
            (answer,) = await super().resolve(host, port)
            return [Changing(answer)]

    result, detail = await send_by(Hostile(["93.184.216.34"]), receiver.url("crm.example.com", "https"), SenderPolicy())
    assert result is DeliveryResult.ADDRESS_REFUSED
    assert detail == "127.0.0.1 is not a public address"
    assert receiver.requests == []


async def test_plain_http_reaches_allowed_networks_only() -> None:
    """Over the internet a message and its signature would be readable."""
    result, detail = await send_by(NameServer(["93.184.216.34"]), "http://crm.example.com/")
    assert result is DeliveryResult.ADDRESS_REFUSED
    assert detail == "crm.example.com has the address 93.184.216.34, which is public and takes https"


@pytest.mark.parametrize("host", ["crm.example.com", "a..b", "a" * 64 + ".example.com", "-"])
async def test_a_name_without_addresses_is_unreachable(host: str) -> None:
    """A name that cannot even be looked up is a failed attempt like any other."""
    result, _ = await send_by(NameServer([]), f"https://{host}/")
    assert result is DeliveryResult.UNREACHABLE
    async with HttpWebhookSender.open(ManualClock(NOW), SenderPolicy()) as sender:
        assert not (await sender.send(f"https://{host}.invalid/", webhook(), [secret()])).delivered


# --- TLS --------------------------------------------------------------------------------------------------------------


async def test_a_receiver_proves_who_it_is(tmp_path: Path) -> None:
    """With a certificate of a trusted authority for its name; anything else is unreachable and receives nothing."""
    trusted, other = Authority(tmp_path, "trusted"), Authority(tmp_path, "other")
    tls = ssl.create_default_context(cafile=str(trusted.file))

    async def send_to(certificate: ssl.SSLContext) -> tuple[DeliveryResult, str, int]:
        async with (
            receiving(certificate) as receiver,
            HttpWebhookSender.open(ManualClock(NOW), LOCAL, resolver=NameServer(["127.0.0.1"]), tls=tls) as sender,
        ):
            delivery = await sender.send(receiver.url("crm.example.com", "https"), webhook(), [secret()])
            return delivery.result, delivery.detail, len(receiver.requests)

    assert await send_to(trusted.certify("crm.example.com")) == (DeliveryResult.DELIVERED, "answered 204", 1)
    for certificate in (trusted.certify("other.example.com"), other.certify("crm.example.com")):
        result, detail, received = await send_to(certificate)
        assert (result, received) == (DeliveryResult.UNREACHABLE, 0)
        assert detail.startswith("its certificate is not trusted")


async def test_texts_show_no_secret(receiver: Receiver, sender: HttpWebhookSender) -> None:
    """Neither the secret nor the message appears in what an operator reads about an attempt."""
    signing: SigningSecret = secret()
    receiver.answers(500)
    delivery = await sender.send(receiver.url(), webhook(), [signing])
    assert signing.text not in repr(delivery)
    assert "sequence" not in repr(delivery)
