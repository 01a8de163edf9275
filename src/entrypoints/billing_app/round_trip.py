"""A test event on its whole way: signed, through the webhook route of a running server, to the stream of its tenant.

It is about a subscription that exists here alone, which begins and ends: afterwards its tenant has nothing.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import attrs

from billing_app.container.provisioning import signed
from billing_app.errors import OperatorError
from billing_app.http.tokens import issue_token
from billing_app.secret import Secret
from billing_app.settings import Settings
from billing_app.settings.server import WEBHOOK_PATH
from billing_app.troubleshooting import SetupTrouble
from billing_core.model import TenantId

_TOKEN_LIFETIME: Final = timedelta(minutes=10)
_PERIOD: Final = timedelta(days=31)
_PREFIX: Final = "data: "


class RoundTripError(OperatorError):
    """The event did not come through. The message says how far it came, and what to look at."""

    exit_code = 1


@attrs.frozen(kw_only=True)
class Arrival:
    """A message about the test event, as it came over the stream."""

    event_id: str
    sequence: int
    event_type: str
    summary: str
    accepted_ms: float
    """Milliseconds until the server has stored the event and answered."""
    streamed_ms: float
    """Milliseconds until its message was read from the stream."""


async def round_trip(settings: Settings, *, server: str, tenant_id: TenantId, within: timedelta) -> list[Arrival]:
    """Send an event that starts a subscription and one that ends it, and return their messages.

    Raises: OperatorError if the settings do not allow it; RoundTripError.
    """
    key, token = _signing_key(settings), _token(settings, tenant_id)
    number = secrets.token_hex(6)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    try:
        async with (
            asyncio.timeout(within.total_seconds()),
            aiohttp.ClientSession(timeout=timeout) as session,
            _stream(session, server, token) as messages,
        ):
            way = _Way(session=session, server=server, key=key, messages=messages)
            began = datetime.now(UTC) - timedelta(seconds=1)  # the end has to come later than the start
            return [
                await way.send(_event("created", number, tenant_id, began, status="active")),
                await way.send(_event("deleted", number, tenant_id, datetime.now(UTC), status="canceled")),
            ]
    except TimeoutError:
        raise RoundTripError(
            f"No message about the event came over the stream within {within.total_seconds():g} s. "
            f"Is a worker running? See `billing events show evt_test_{number}_created` and `billing doctor`."
        ) from None
    except aiohttp.ClientError as error:
        raise RoundTripError(f"The server at {server} does not answer ({error}). Start `billing serve`.") from error


@attrs.frozen(kw_only=True)
class _Way:
    """An open stream, and the route that events are sent to."""

    session: aiohttp.ClientSession
    server: str
    key: Secret
    messages: AsyncIterator[dict[str, Any]]

    async def send(self, event: dict[str, Any]) -> Arrival:
        """Send an event and wait for its message."""
        body, now = json.dumps(event).encode(), asyncio.get_running_loop().time
        headers = {"Stripe-Signature": signed(body, self.key), "Content-Type": "application/json"}
        sent_at = now()
        async with self.session.post(f"{self.server}{WEBHOOK_PATH}", data=body, headers=headers) as response:
            if response.status != HTTPStatus.ACCEPTED:
                raise _refused(response.status, await response.text())
        accepted_at = now()
        async for message in self.messages:
            if message.get("stripe_event_id") == event["id"]:
                return Arrival(
                    event_id=event["id"],
                    sequence=message["sequence"],
                    event_type=message["event_type"],
                    summary=message["summary"],
                    accepted_ms=(accepted_at - sent_at) * 1000,
                    streamed_ms=(now() - sent_at) * 1000,
                )
        raise RoundTripError("The server closed the stream before the message came. Run the command again.")


@asynccontextmanager
async def _stream(
    session: aiohttp.ClientSession, server: str, token: str
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    headers = {"Authorization": f"Bearer {token}"}
    async with session.get(f"{server}/api/v1/billing/stream", headers=headers) as response:
        if response.status != HTTPStatus.OK:
            raise _refused(response.status, await response.text())
        yield _messages(response)


async def _messages(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    async for line in response.content:
        text = line.decode().rstrip("\n")
        if text.startswith(_PREFIX):
            yield json.loads(text.removeprefix(_PREFIX))


def _refused(status: int, text: str) -> RoundTripError:
    if status == HTTPStatus.BAD_REQUEST:
        return RoundTripError(
            "The server refused the signature: it was started with other secrets. Restart `billing serve`. "
            f"See {SetupTrouble.RUNNING_SERVER_IS_OUTDATED}."
        )
    return RoundTripError(f"The server answered {status}: {text[:300].strip()}")


def _signing_key(settings: Settings) -> Secret:
    """Return the secret that events are signed with. Raises OperatorError."""
    if settings.stripe.livemode is not False:
        raise OperatorError(
            "A test event is an event of test mode, and needs STRIPE_SECRET_KEY of a sandbox: a server with a live key "
            "ignores it. Use the deployment of a sandbox."
        )
    if not settings.stripe.webhook_secrets:
        raise OperatorError("STRIPE_WEBHOOK_SECRET is not set: the event cannot be signed. Run billing stripe setup.")
    return settings.stripe.webhook_secrets[0]


def _token(settings: Settings, tenant_id: TenantId) -> str:
    """Return a token for the tenant's stream. Raises OperatorError."""
    policy = settings.tokens
    if not policy.secrets:
        raise OperatorError("BILLING_JWT_SECRET is not set: the stream cannot be read with a token of ours.")
    return issue_token(
        secret=policy.secrets[0],
        policy=policy,
        tenant_id=tenant_id,
        role=policy.reader_roles[0],
        now=datetime.now(UTC),
        ttl=_TOKEN_LIFETIME,
    )


def _event(verb: str, number: str, tenant_id: TenantId, at: datetime, *, status: str) -> dict[str, Any]:
    """Return an event as Stripe writes it, with as much of the subscription as is read."""
    created = int(at.timestamp())
    period = {"current_period_start": created, "current_period_end": created + int(_PERIOD.total_seconds())}
    price = {"id": "price_test", "object": "price", "product": "prod_test", "currency": "usd", "unit_amount": 100}
    item = {"id": f"si_test_{number}", "object": "subscription_item", "price": price, "quantity": 1, **period}
    ended = {"canceled_at": created, "ended_at": created} if status == "canceled" else {}
    subscription = {
        "id": f"sub_test_{number}",
        "object": "subscription",
        "customer": f"cus_test_{tenant_id}",
        "status": status,
        "created": created,
        "currency": "usd",
        "cancel_at_period_end": False,
        "livemode": False,
        "metadata": {"tenant_id": tenant_id},
        "items": {"object": "list", "data": [item], "has_more": False},
        **ended,
    }
    return {
        "id": f"evt_test_{number}_{verb}",
        "object": "event",
        "type": f"customer.subscription.{verb}",
        "created": created,
        "livemode": False,
        "pending_webhooks": 1,
        "data": {"object": subscription},
    }
