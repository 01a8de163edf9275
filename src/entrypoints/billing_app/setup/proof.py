"""The proof: one of Stripe's own events, signed as webhooks are, is received and applied."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import aiohttp
import attrs

from billing_app.container import Container, configure_logging, open_container
from billing_app.container.provisioning import signed
from billing_app.doctor.dependencies import check_dependencies
from billing_app.doctor.results import CheckStatus
from billing_app.errors import OperatorError
from billing_app.secret import Secret
from billing_app.settings import Settings
from billing_app.settings.server import WEBHOOK_PATH
from billing_app.setup.errors import SetupError
from billing_app.troubleshooting import SetupTrouble
from billing_core.errors import BillingError
from billing_core.events import Disposition
from billing_core.inbox.selection import EventFilter
from billing_core.model import EventId

_TIMEOUT: Final = 30.0
"""Seconds until the event has to be applied, once the servers are up."""
_LEASE: Final = timedelta(minutes=1)
_PENDING: Final = (Disposition.DUE, Disposition.LEASED)


@attrs.frozen(kw_only=True)
class Proof:
    """The end of the event."""

    event_id: str
    event_type: str
    outcome: str
    """`applied`, or `accepted` by a running server, which applies it."""


Prove = Callable[[Settings, Mapping[str, Any]], Awaitable[Proof]]


async def prove(settings: Settings, event: Mapping[str, Any]) -> Proof:
    """Receive an event and wait until it is applied. Received before, it stays as it is.

    Raises: SetupError.
    """
    configure_logging(attrs.evolve(settings, logs=attrs.evolve(settings.logs, level="warning")))
    body = json.dumps(event).encode()
    secret = settings.stripe.webhook_secrets[0]
    try:
        outcome = await _send(settings, body, secret)
        if outcome is None:
            outcome = await _receive(settings, body, secret, EventId(event["id"]))
    except TimeoutError:
        raise _failed(f"it was still waiting after {_TIMEOUT:.0f} seconds") from None
    except (BillingError, OSError, aiohttp.ClientError) as error:
        raise _failed(str(error)) from error
    except OperatorError as error:
        if isinstance(error, SetupError):
            raise
        raise _failed(str(error)) from error
    return Proof(event_id=event["id"], event_type=event["type"], outcome=outcome)


async def _receive(settings: Settings, body: bytes, secret: Secret, event_id: EventId) -> str:
    """Receive and process in this process, as a server and a worker do, if they could start."""
    found = await check_dependencies(settings, local=False)
    faults = [str(result) for result in found.results if result.status is CheckStatus.FAIL]
    if faults:
        raise _failed(" ".join(faults))
    # Without a dispatcher that events are handed over to, so that this event can be claimed at once.
    by_hand = attrs.evolve(settings, switches=attrs.evolve(settings.switches, retry_worker=False))
    async with open_container(by_hand, application_name="billing-setup", needs_bus=False) as container:
        intake = container.intake()
        assert intake is not None
        await intake.receive(body, signed(body, secret))
        async with asyncio.timeout(_TIMEOUT):
            return await _applied(container, event_id)


async def _applied(container: Container, event_id: EventId) -> str:
    """Process due events until this one is applied. Raises: SetupError if it ends in another way."""
    while True:
        (stored,) = await container.event_log().find(EventFilter(ids=(event_id,)), before=None, limit=1)
        if stored.status is Disposition.APPLIED:
            return "applied"
        if stored.status not in _PENDING:
            raise _failed(f"it ended as {stored.status.value}: {stored.reason}")
        claims = await container.queue().claim(limit=1, lease=_LEASE)
        if claims:
            await container.batches().process(claims)
        else:  # another process works on it
            await asyncio.sleep(0.1)


async def _send(settings: Settings, body: bytes, secret: Secret) -> str | None:
    """Send the event to a server that runs at the configured address; None if there is none of ours."""
    if not settings.server.port:
        return None
    headers = {"Stripe-Signature": signed(body, secret), "Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.post(f"{settings.server.local_url}{WEBHOOK_PATH}", data=body, headers=headers) as response,
        ):
            status = response.status
    except (aiohttp.ClientError, TimeoutError):
        return None
    if status == 400:
        raise SetupError(
            "The running server refused the event: it was started with other secrets. Restart `billing serve`, and run "
            f"the command again. See {SetupTrouble.RUNNING_SERVER_IS_OUTDATED}."
        )
    return "accepted" if status == 202 else None


def _failed(why: str) -> SetupError:
    return SetupError(
        f"The event was not applied: {why}. Run `billing doctor`. See {SetupTrouble.EVENT_WAS_NOT_APPLIED}."
    )
