"""Sessions of Stripe's command line: `stripe listen` receives events over a WebSocket and posts them to a local URL.

Source: https://github.com/stripe/stripe-cli, pkg/stripeauth and pkg/websocket.
"""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import attrs
from aiohttp import WSMsgType, web

from billing_stripe.testing.events import encode, make_id, sign
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.errors import Json
from billing_stripe.testing.fake_stripe.forms import TEXT, Form, Listed, Required
from billing_stripe.testing.fake_stripe.journal import Entry
from billing_stripe.testing.fake_stripe.routing import Call, PageRoute, Resource, Route
from billing_stripe.testing.fake_stripe.thinning import thin_of
from billing_stripe.testing.fake_stripe.webhooks import Attempt
from billing_stripe.testing.thin import ThinEvent, notification

if TYPE_CHECKING:
    from billing_stripe.testing.fake_stripe.server import FakeStripe

PROTOCOL: Final = "stripecli-devproxy-v1"
RECONNECT_SECONDS: Final = 3600

SNAPSHOTS: Final = "webhooks"
THIN_EVENTS: Final = "v2_events"
"""Features that a session asks for; one that names none gets snapshots."""

_SESSIONS: Final = "stripe_cli.sessions"
CREATE = Form(
    device_name=Required(TEXT),
    websocket_features=Listed(TEXT),
    filters=TEXT,
    forward_to_url=TEXT,
    forward_connect_to_url=TEXT,
    forward_thin_to_url=TEXT,
    forward_thin_connect_to_url=TEXT,
)


@attrs.define(eq=False)
class Session:
    """One `stripe listen`, with the events that it has not received yet; it receives none from before it connected."""

    session_id: str
    account: Account
    secret: str = attrs.field(repr=False)
    features: frozenset[str]
    messages: asyncio.Queue[Entry | ThinEvent] | None = None
    """None while it is not connected."""

    def receive(self, entry: Entry) -> None:
        """Queue an event in the forms that the session asked for."""
        if SNAPSHOTS in self.features and entry.exists_in(self.account.api_version):
            self.put(entry)
        if THIN_EVENTS in self.features:
            self.put(thin_of(entry))

    def put(self, message: Entry | ThinEvent) -> None:
        """Queue a message if the session is connected."""
        if self.messages is not None:
            self.messages.put_nowait(message)


def create(call: Call) -> Json:
    """POST /v1/stripecli/sessions; a device has the same signing secret in all its sessions."""
    account = call.account
    session = Session(
        session_id=account.new_id("cliws"),
        account=account,
        secret=make_id("whsec", account.account_id, call.params["device_name"]),
        features=frozenset(call.params.get("websocket_features") or (SNAPSHOTS,)),
    )
    account.settings.setdefault(_SESSIONS, {})[session.session_id] = session
    account.journal.listen(session.receive)
    return {
        "websocket_url": f"{call.origin.replace('http', 'ws', 1)}/subscribe/{account.account_id}",
        "websocket_id": session.session_id,
        "websocket_authorized_feature": SNAPSHOTS if SNAPSHOTS in session.features else THIN_EVENTS,
        "secret": session.secret,
        "reconnect_delay": RECONNECT_SECONDS,
        "default_version": account.api_version,
        "latest_version": account.api_version,
        "device_token": "",
        "display_connect_filter_warning": False,
    }


async def subscribe(fake: "FakeStripe", request: web.Request) -> web.StreamResponse:
    """Send the events of an account to a session until it disconnects."""
    account = fake.accounts.get(request.match_info["account"])
    sessions: dict[str, Session] = {} if account is None else account.settings.get(_SESSIONS, {})
    session = sessions.get(request.headers.get("Websocket-Id", ""))
    if session is None:
        return web.json_response({"error": {"message": "Unknown WebSocket ID."}}, status=400)
    socket = web.WebSocketResponse(protocols=[PROTOCOL])
    await socket.prepare(request)
    session.messages = asyncio.Queue()
    sending = asyncio.create_task(_send(socket, fake, session, session.messages))
    closing = asyncio.create_task(_close(socket, fake))
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                _note(fake, session, json.loads(message.data))
    finally:
        session.messages = None
        for task in (sending, closing):
            task.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await task
    return socket


def send_thin(account: Account, thin: ThinEvent) -> None:
    """Send a thin event that a test has made to all sessions that asked for thin events."""
    for session in account.settings.get(_SESSIONS, {}).values():
        if THIN_EVENTS in session.features:
            session.put(thin)


async def _send(
    socket: web.WebSocketResponse, fake: "FakeStripe", session: Session, messages: asyncio.Queue[Entry | ThinEvent]
) -> None:
    while True:
        message = await messages.get()
        await socket.send_json(
            _thin(session, message) if isinstance(message, ThinEvent) else _snapshot(fake, session, message)
        )


def _snapshot(fake: "FakeStripe", session: Session, entry: Entry) -> Json:
    body = encode(entry.render(session.account.api_version, pending_webhooks=1))
    fake.webhooks.sent(body)
    return {
        "type": "webhook_event",
        "webhook_id": session.session_id,
        "webhook_conversation_id": entry.event_id,
        "event_payload": body.decode(),
        "http_headers": _signed(session, body),
        "endpoint": {"api_version": None},
    }


def _thin(session: Session, thin: ThinEvent) -> Json:
    body = encode(notification(thin))
    return {
        "type": "v2_event",
        "payload": body.decode(),
        "http_headers": _signed(session, body),
        "destination_id": session.session_id,
    }


def _signed(session: Session, body: bytes) -> Json:
    return {"Stripe-Signature": sign(body, session.secret, datetime.now(UTC))}


async def _close(socket: web.WebSocketResponse, fake: "FakeStripe") -> None:
    await fake.closed.wait()
    await socket.close()


def _note(fake: "FakeStripe", session: Session, message: dict[str, Any]) -> None:
    """Keep what the local URL answered beside the deliveries to endpoints."""
    if message.get("type") != "webhook_response":
        return
    event_id = str(message.get("webhook_conversation_id") or message["notification_id"])
    entry = next((entry for entry in session.account.journal.entries if entry.event_id == event_id), None)
    event_type = json.loads(message["request_body"])["type"] if entry is None else entry.type
    fake.webhooks.attempts.append(
        Attempt(event_id=event_id, event_type=event_type, url=message["forward_url"], status=message["status"])
    )


RESOURCE = Resource(
    routes=[Route("POST", "/v1/stripecli/sessions", create, CREATE)],
    pages=[PageRoute("GET", "/subscribe/{account}", subscribe)],
)
