"""The sender of webhooks: it signs, retries, repeats and reorders."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

import aiohttp
import attrs

from billing_stripe.testing.events import sign
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.journal import Entry


@attrs.frozen(kw_only=True, eq=False)
class Target:
    """One receiver of one event."""

    endpoint_id: str
    url: str
    secret: str = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


Targets = Callable[[Account, Entry], Iterator[Target]]
"""Yields the receivers of an event."""


@attrs.frozen(kw_only=True)
class DeliveryPolicy:
    """How events are sent."""

    copies: int = 1
    """Deliveries of each event, even of one that was accepted."""
    waits: tuple[timedelta, ...] = (timedelta(milliseconds=50), timedelta(milliseconds=200))
    """Before each retry. Stripe waits for hours."""
    parallel: int = 1
    """Deliveries at the same time; with one, they arrive in the order of their creation unless one is retried."""
    timeout: timedelta = timedelta(seconds=10)


@attrs.frozen(kw_only=True)
class Attempt:
    """One delivery that was tried."""

    event_id: str
    event_type: str
    url: str
    status: int | None
    """None if there was no response."""

    @property
    def accepted(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300


@attrs.frozen(eq=False)
class _Delivery:
    account: Account
    entry: Entry
    target: Target


class WebhookSender:
    """Sends the events of accounts to their receivers, within `running`."""

    def __init__(
        self, targets: Iterable[Targets], policy: DeliveryPolicy, sent: Callable[[bytes], None] = lambda body: None
    ) -> None:
        """Create a sender of nothing yet; `sent` is called with the body of every delivery, once."""
        self.policy = policy
        self.attempts: list[Attempt] = []
        self.sent = sent
        self._targets = tuple(targets)
        self._held: list[_Delivery] | None = None
        self._queue: asyncio.Queue[_Delivery] = asyncio.Queue()

    def follow(self, account: Account) -> None:
        """Send the account's events from now on."""
        account.journal.listen(lambda entry: self._receive(account, entry))

    def hold(self) -> None:
        """Keep back what is sent from now on, until `release`."""
        self._held = []

    def release(self, order: Callable[[list[str]], Iterable[str]] | None = None) -> None:
        """Send what was held back, and hold back no more.

        Args:
            order: receives the ids of the held events, oldest first, and returns them in the order of sending;
                an id may come several times, or be left out, so that the event is lost.
        """
        held, self._held = self._held or [], None
        by_event: dict[str, list[_Delivery]] = {}
        for delivery in held:
            by_event.setdefault(delivery.entry.event_id, []).append(delivery)
        for event_id in by_event if order is None else order(list(by_event)):
            for delivery in by_event[event_id]:
                self._queue.put_nowait(delivery)

    async def delivered(self) -> None:
        """Wait until everything that is not held back was accepted or given up."""
        await self._queue.join()

    async def running(self) -> None:
        """Send until canceled."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for _ in range(self.policy.parallel):
                group.create_task(self._work(session))

    def _receive(self, account: Account, entry: Entry) -> None:
        deliveries = [
            _Delivery(account, entry, target)
            for targets in self._targets
            for target in targets(account, entry)
            for _ in range(self.policy.copies)
        ]
        account.journal.expect(entry.event_id, len(deliveries))
        for delivery in deliveries:
            if self._held is None:
                self._queue.put_nowait(delivery)
            else:
                self._held.append(delivery)

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while True:
            delivery = await self._queue.get()
            try:
                await self._deliver(session, delivery)
            finally:
                self._queue.task_done()

    async def _deliver(self, session: aiohttp.ClientSession, delivery: _Delivery) -> None:
        self.sent(delivery.target.body)
        for wait in (timedelta(), *self.policy.waits):
            await asyncio.sleep(wait.total_seconds())
            if (await self._attempt(session, delivery)).accepted:
                delivery.account.journal.expect(delivery.entry.event_id, -1)
                return

    async def _attempt(self, session: aiohttp.ClientSession, delivery: _Delivery) -> Attempt:
        target = delivery.target
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(target.body, target.secret, datetime.now(UTC)),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        timeout = aiohttp.ClientTimeout(total=self.policy.timeout.total_seconds())
        status: int | None = None
        try:
            async with session.post(
                target.url, data=target.body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            pass
        attempt = Attempt(
            event_id=delivery.entry.event_id, event_type=delivery.entry.type, url=target.url, status=status
        )
        self.attempts.append(attempt)
        return attempt
