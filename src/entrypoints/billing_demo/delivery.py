"""Delivery as Stripe does it: over several connections, out of order, more than once, and again until it is answered.

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
from billing_demo.scenario import PlayedEvent
from billing_stripe.testing import sign

_BACKOFF_BASE: Final = 0.1
_BACKOFF_CAP: Final = 3.0
_ATTEMPT_SECONDS: Final = 15.0
PATIENCE: Final = 60.0
"""Stripe goes on for three days; here somebody is waiting."""


class DeliveryError(OperatorError):
    """Nothing has been accepted for so long that going on makes no sense."""

    exit_code = 1


@attrs.frozen(kw_only=True)
class Manners:
    """How badly the network and Stripe behave."""

    duplicates: float = 0.08
    """Share of events that are sent a second time."""
    both_shapes: float = 0.5
    """Share of the second sendings that come in the other API shape, as while an endpoint is being upgraded."""
    window: float = 40
    """How many later events may overtake one; infinite for no order at all."""
    connections: int = 8
    pace: float | None = None
    """Sendings per second; None for as fast as they are answered."""


@attrs.frozen
class Parcel:
    """One sending of one event, in one API version."""

    event: PlayedEvent
    api_version: str


@attrs.define
class Tally:
    """What became of the sendings so far."""

    events: int = 0
    posted: int = 0
    """HTTP requests, repeated ones included."""
    accepted: int = 0
    duplicates: int = 0
    """Answers that the event was known."""
    failed: int = 0
    """Requests without a 2xx answer: sent again."""


def parcels(events: Iterable[PlayedEvent], manners: Manners, rng: Random) -> Iterator[Parcel]:
    """The sendings of the events in the order in which they leave, each at most `window` sendings from its place.

    A second sending leaves some time after the first, or overtakes it.
    """
    waiting: list[tuple[float, int, Parcel]] = []
    for number, event in enumerate(events):
        sendings = [Parcel(event, event.api_version)]
        if rng.random() < manners.duplicates:
            other = rng.random() < manners.both_shapes
            sendings.append(Parcel(event, event.other_version if other else event.api_version))
        for copy, parcel in enumerate(sendings):
            position = rng.random() if manners.window == float("inf") else number + rng.random() * manners.window
            heapq.heappush(waiting, (position, 2 * number + copy, parcel))
        while waiting and manners.window != float("inf") and waiting[0][0] <= number:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]


class Courier:
    """Posts parcels to the webhook endpoint; keeps at each until it is answered with a 2xx."""

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession,
        url: str,
        secret: Secret,
        manners: Manners,
        tally: Tally,
        patience: float = PATIENCE,
    ) -> None:
        self._session = session
        self._url = url
        self._secret = secret
        self._manners = manners
        self._tally = tally
        self._patience = patience
        self._accepted_at = 0.0
        self._jitter = Random()  # noqa: S311 - spreads retries, decides nothing

    async def deliver(self, source: Iterable[Parcel]) -> None:
        """Deliver all parcels; returns when the last one is answered. Raises DeliveryError."""
        self._accepted_at = asyncio.get_running_loop().time()
        try:
            await self._deliver_all(source)
        except ExceptionGroup as failures:
            # All connections give up for the same reason.
            raise failures.exceptions[0] from None

    async def _deliver_all(self, source: Iterable[Parcel]) -> None:
        queue: asyncio.Queue[Parcel | None] = asyncio.Queue(maxsize=self._manners.connections)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._manners.connections):
                tasks.create_task(self._connection(queue))
            async for parcel in self._paced(source):
                await queue.put(parcel)
            for _ in range(self._manners.connections):
                await queue.put(None)

    async def _paced(self, source: Iterable[Parcel]) -> AsyncIterator[Parcel]:
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        for parcel in source:
            yield parcel
            if self._manners.pace is not None:
                next_at = max(next_at + 1 / self._manners.pace, loop.time() - 1)
                await asyncio.sleep(next_at - loop.time())

    async def _connection(self, queue: "asyncio.Queue[Parcel | None]") -> None:
        while (parcel := await queue.get()) is not None:
            await self._deliver_one(parcel.event.body(parcel.api_version))

    async def _deliver_one(self, body: bytes) -> None:
        attempt = 0
        loop = asyncio.get_running_loop()
        while not await self._post(body):
            if loop.time() - self._accepted_at > self._patience:
                raise DeliveryError(f"{self._url} has not accepted anything for {self._patience:.0f} s.")
            wait = min(_BACKOFF_CAP, _BACKOFF_BASE * 2**attempt)
            attempt += 1
            await asyncio.sleep(wait * self._jitter.uniform(0.5, 1))

    async def _post(self, body: bytes) -> bool:
        """Send once, freshly signed. Whether it was answered with a 2xx."""
        self._tally.posted += 1
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
            pass  # the server is away or on its way out: counted below, and tried again
        self._tally.failed += 1
        return False

    def _count(self, status: str) -> None:
        if status == "duplicate":
            self._tally.duplicates += 1
        else:
            self._tally.accepted += 1
