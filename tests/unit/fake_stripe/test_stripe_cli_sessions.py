"""The protocol of Stripe's command line, spoken without it: what `stripe listen` asks, receives and reports."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from billing_stripe.signature import StripeWebhookVerifier
from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import Attempt, FakeStripe, fake_stripe
from billing_stripe.testing.fake_stripe.resources.stripe_cli import PROTOCOL


class RealTime:
    """The time at which a signature is checked."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    """A Stripe without objects."""
    async with fake_stripe() as running:
        yield running


@pytest.fixture
async def session(fake: FakeStripe) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of it with the right key."""
    async with aiohttp.ClientSession(fake.url, headers={"Authorization": f"Bearer {fake.secret_key}"}) as client:
        yield client


async def open_session(session: aiohttp.ClientSession, device: str = "laptop") -> dict[str, Any]:
    """Create a session, as `stripe listen` does first."""
    form = {"device_name": device, "websocket_features[]": "webhooks"}
    async with session.post("/v1/stripecli/sessions", data=form) as response:
        assert response.status == 200
        opened: dict[str, Any] = await response.json()
        return opened


def connect(session: aiohttp.ClientSession, opened: dict[str, Any], **changes: str) -> Any:
    """Connect to a session."""
    headers = {"Websocket-Id": opened["websocket_id"]} | changes
    return session.ws_connect(opened["websocket_url"], protocols=[PROTOCOL], headers=headers)


def create_customer(fake: FakeStripe, customer_id: str) -> None:
    """Make something happen."""
    with fake.account.transaction():
        fake.account.create(objects.Customer(customer_id=customer_id, created_at=fake.account.now))


async def test_events_come_signed_and_what_was_answered_is_noted(
    fake: FakeStripe, session: aiohttp.ClientSession
) -> None:
    """A session receives what happens from its connection on, and reports the status of the local URL."""
    opened = await open_session(session)
    create_customer(fake, "cus_before")
    async with connect(session, opened) as socket:
        assert socket.protocol == PROTOCOL
        create_customer(fake, "cus_after")
        message = await socket.receive_json(timeout=10)
        body = message["event_payload"].encode()
        verifier = StripeWebhookVerifier((opened["secret"],), tolerance=timedelta(minutes=5), clock=RealTime())
        event = verifier.verify(body, message["http_headers"]["Stripe-Signature"])
        assert json.loads(body)["data"]["object"]["id"] == "cus_after"
        conversation = message["webhook_conversation_id"]
        await socket.send_json(
            {"type": "event_ack", "event_id": event.event_id, "webhook_conversation_id": conversation}
        )
        await socket.send_json(
            {
                "type": "webhook_response",
                "webhook_conversation_id": conversation,
                "forward_url": "http://localhost/hooks",
                "status": 202,
            }
        )
        async with asyncio.timeout(10):
            while True:
                if fake.webhooks.attempts:
                    break
                await asyncio.sleep(0.01)
    assert fake.webhooks.attempts == [
        Attempt(event_id=event.event_id, event_type="customer.created", url="http://localhost/hooks", status=202)
    ]


async def test_a_device_keeps_its_secret(session: aiohttp.ClientSession) -> None:
    """Another session of the same device signs with the same secret; another device has another."""
    first, second = await open_session(session), await open_session(session)
    assert first["websocket_id"] != second["websocket_id"]
    assert first["secret"] == second["secret"]
    assert (await open_session(session, "server"))["secret"] != first["secret"]


async def test_an_unknown_session_is_refused(session: aiohttp.ClientSession) -> None:
    """The command line opens a new one when it reads this message."""
    opened = await open_session(session)
    with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
        await connect(session, opened, **{"Websocket-Id": "cliws_unknown"})
    async with session.get(opened["websocket_url"].replace("ws", "http", 1)) as response:
        assert (await response.json())["error"]["message"] == "Unknown WebSocket ID."
