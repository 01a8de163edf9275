"""Webhook delivery as Stripe does it: over several connections, out of order, more than once, with retries.

Source: https://docs.stripe.com/webhooks#event-delivery-behaviors
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Final

import aiohttp
import attrs

from billing_app.errors import OperatorError
from billing_app.secret import Secret
from billing_demo.scenario import DemoEvent
from billing_stripe.testing import sign

_BACKOFF_BASE: Final = 0.1
_BACKOFF_CAP: Final = 3.0
_ATTEMPT_SECONDS: Final = 15.0
GIVE_UP_AFTER: Final = 60.0
"""Seconds without an accepted event. Stripe retries for three days; here a user is waiting."""


class DeliveryError(OperatorError):
    """No event has been accepted for too long."""

    exit_code = 1


@attrs.frozen(kw_only=True)
class DeliveryOptions:
    """How unreliable the simulated delivery is."""

    duplicates: float = 0.08
    """Share of events that are sent a second time."""
    other_version: float = 0.5
    """Share of those duplicates that use the other API version, as during the upgrade of an endpoint."""
    window: float = 40
    """Number of later events that may overtake an event; infinite for a random order."""
    connections: int = 8
    rate: float | None = None
    """Deliveries per second; None for as many as the server accepts."""


@attrs.frozen
class Delivery:
    """One event sent once, in one API version."""

    event: DemoEvent
    api_version: str


@attrs.define
class DeliveryCounts:
    """The results of all deliveries so far."""

    events: int = 0
    posted: int = 0
    """HTTP requests, retries included."""
    accepted: int = 0
    duplicates: int = 0
    """Responses that said the event was known."""
    failed: int = 0
    """Requests without a 2xx response; they are retried."""


def plan_deliveries(events: Iterable[DemoEvent], options: DeliveryOptions, rng: Random) -> Iterator[Delivery]:
    """Yield the deliveries in sending order, each at most `window` places from its event's.

    A duplicate is sent after the first delivery or before it.
    """
    waiting: list[tuple[float, int, Delivery]] = []
    for number, event in enumerate(events):
        deliveries = [Delivery(event, event.api_version)]
        if rng.random() < options.duplicates:
            other = rng.random() < options.other_version
            deliveries.append(Delivery(event, event.other_version if other else event.api_version))
        for copy, delivery in enumerate(deliveries):
            position = rng.random() if options.window == float("inf") else number + rng.random() * options.window
            heapq.heappush(waiting, (position, 2 * number + copy, delivery))
        while waiting and options.window != float("inf") and waiting[0][0] <= number:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]


class WebhookSender:
    """Posts deliveries to the webhook endpoint and retries each until the response is 2xx."""

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession,
        url: str,
        secret: Secret,
        options: DeliveryOptions,
        counts: DeliveryCounts,
        give_up_after: float = GIVE_UP_AFTER,
    ) -> None:
        self._session = session
        self._url = url
        self._secret = secret
        self._options = options
        self._counts = counts
        self._give_up_after = give_up_after
        self._accepted_at = 0.0
        self._jitter = Random()  # noqa: S311 - spreads retries, decides nothing

    async def send(self, deliveries: Iterable[Delivery]) -> None:
        """Send all deliveries and return when the last one was accepted. Raises DeliveryError."""
        self._accepted_at = asyncio.get_running_loop().time()
        try:
            await self._send_all(deliveries)
        except ExceptionGroup as failures:
            # All connections give up for the same reason.
            raise failures.exceptions[0] from None

    async def _send_all(self, deliveries: Iterable[Delivery]) -> None:
        queue: asyncio.Queue[Delivery | None] = asyncio.Queue(maxsize=self._options.connections)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._options.connections):
                tasks.create_task(self._connection(queue))
            async for delivery in self._paced(deliveries):
                await queue.put(delivery)
            for _ in range(self._options.connections):
                await queue.put(None)

    async def _paced(self, deliveries: Iterable[Delivery]) -> AsyncIterator[Delivery]:
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        for delivery in deliveries:
            yield delivery
            if self._options.rate is not None:
                next_at = max(next_at + 1 / self._options.rate, loop.time() - 1)
                await asyncio.sleep(next_at - loop.time())

    async def _connection(self, queue: "asyncio.Queue[Delivery | None]") -> None:
        while (delivery := await queue.get()) is not None:
            await self._send_with_retries(delivery.event.body(delivery.api_version))

    async def _send_with_retries(self, body: bytes) -> None:
        attempt = 0
        loop = asyncio.get_running_loop()
        while not await self._post(body):
            if loop.time() - self._accepted_at > self._give_up_after:
                raise DeliveryError(f"{self._url} has not accepted any event for {self._give_up_after:.0f} s.")
            wait = min(_BACKOFF_CAP, _BACKOFF_BASE * 2**attempt)
            attempt += 1
            await asyncio.sleep(wait * self._jitter.uniform(0.5, 1))

    async def _post(self, body: bytes) -> bool:
        """Sign and send the event once; return whether the response was 2xx."""
        self._counts.posted += 1
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(body, self._secret.reveal(), datetime.now(UTC)),
        }
        timeout = aiohttp.ClientTimeout(total=_ATTEMPT_SECONDS)
        try:
            async with self._session.post(self._url, data=body, headers=headers, timeout=timeout) as response:
                if 200 <= response.status < 300:
                    self._count((await response.json())["status"])
                    self._accepted_at = asyncio.get_running_loop().time()
                    return True
        except (aiohttp.ClientError, TimeoutError):
            pass  # the server is down or shutting down: counted below and retried
        self._counts.failed += 1
        return False

    def _count(self, status: str) -> None:
        if status == "duplicate":
            self._counts.duplicates += 1
        else:
            self._counts.accepted += 1
