"""Delivery of messages to receivers, with the pauses between attempts and the end of attempts."""

import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

import attrs

from billing_core.consumers.ports import ConsumerRegister
from billing_core.consumers.values import ConsumerMessage, ConsumerName, RetryLater
from billing_core.errors import StoreUnavailableError
from billing_core.outgoing.ports import WebhookEndpoints, WebhookSender
from billing_core.outgoing.values import Delivery, DeliveryResult, OutgoingWebhook, WebhookEndpoint
from billing_core.state.ports import Clock

_TOO_MANY_REQUESTS: Final = 429


@attrs.frozen(kw_only=True)
class WebhookPolicy:
    """Patience with receivers."""

    disable_after: timedelta = timedelta(days=3)
    """Time without one success after which a receiver is disabled; at least an hour."""
    shortest_pause: timedelta = timedelta(seconds=5)
    longest_pause: timedelta = timedelta(minutes=10)
    """Limits of the pause between attempts at a receiver that takes nothing."""


@attrs.frozen(kw_only=True)
class WebhookReport:
    """One attempt at one message."""

    consumer: ConsumerName
    delivery: Delivery
    disabled: str | None = None
    """Why the receiver was disabled just now, if it was."""


class WebhookDeliverer:
    """Hands messages to receivers: the handlers of the consumers that have one.

    A message runs out of attempts only at a receiver that takes others meanwhile: then the message is to blame. While
    a receiver takes nothing, attempts do not count, so that an outage costs no message; it ends with a success, or
    with the receiver disabled.
    """

    def __init__(
        self,
        *,
        endpoints: WebhookEndpoints,
        register: ConsumerRegister,
        sender: WebhookSender,
        clock: Clock,
        policy: WebhookPolicy,
        observe: Callable[[WebhookReport], None],
    ) -> None:
        self._endpoints = endpoints
        self._register = register
        self._sender = sender
        self._clock = clock
        self._policy = policy
        self._observe = observe
        self._known: dict[ConsumerName, WebhookEndpoint] = {}
        self._failing: set[ConsumerName] = set()

    def learn(self, endpoints: Iterable[WebhookEndpoint]) -> None:
        """Use these receivers from now on."""
        self._known = {each.consumer: each for each in endpoints}
        self._failing = {name for name, each in self._known.items() if each.failing_since is not None}

    def handler(self, consumer: ConsumerName) -> Callable[[ConsumerMessage], Awaitable[None]]:
        """Return the handler of a consumer."""

        async def deliver(message: ConsumerMessage) -> None:
            await self.deliver(consumer, message)

        return deliver

    async def deliver(self, consumer: ConsumerName, message: ConsumerMessage) -> None:
        """Make one attempt at a message. Raises RetryLater unless the receiver took it; StoreUnavailableError."""
        endpoint = self._known.get(consumer)
        if endpoint is None:
            raise RetryLater(self._policy.shortest_pause, "the receiver was removed", counted=False)
        delivery = await self._sender.send(endpoint.url, outgoing_webhook(message), endpoint.secrets)
        if delivery.delivered:
            await self._note_success(consumer)
            self._observe(WebhookReport(consumer=consumer, delivery=delivery))
            return
        now = self._clock.now()
        failing_since = await self._endpoints.failed(consumer, now, delivery.detail) or now
        self._failing.add(consumer)
        disabled = await self._disable(consumer, delivery, now - failing_since)
        self._observe(WebhookReport(consumer=consumer, delivery=delivery, disabled=disabled))
        raise self._later(delivery, now - failing_since)

    async def _note_success(self, consumer: ConsumerName) -> None:
        """Record the end of failures. If that fails, the message is delivered all the same, and the next one does."""
        if consumer in self._failing:
            with contextlib.suppress(StoreUnavailableError):
                await self._endpoints.recovered(consumer)
                self._failing.discard(consumer)

    async def _disable(self, consumer: ConsumerName, delivery: Delivery, failing: timedelta) -> str | None:
        if delivery.result is DeliveryResult.GONE:
            reason = f"The receiver {delivery.detail}."
        elif failing >= self._policy.disable_after:
            reason = f"The receiver took no message for {_span(failing)}. The last failure: {delivery.detail}."
        else:
            return None
        return reason if await self._register.disable(consumer, reason=reason) else None

    def _later(self, delivery: Delivery, failing: timedelta) -> RetryLater:
        """Return when to try again. The pause is as long as the receiver has been failing, within limits."""
        longest = min(max(failing, self._policy.shortest_pause), self._policy.longest_pause)
        pause = longest * random.uniform(0.5, 1)  # noqa: S311 - spreads load
        counted = failing == timedelta(0) and not _asks_for_time(delivery)
        return RetryLater(max(pause, delivery.retry_after or pause), delivery.detail, counted=counted)


def _asks_for_time(delivery: Delivery) -> bool:
    """Return whether a receiver is overloaded by its own word. A bare 503 is also a proxy's about one that crashed."""
    return delivery.result is DeliveryResult.LIMITED and (
        delivery.status == _TOO_MANY_REQUESTS or delivery.retry_after is not None
    )


def outgoing_webhook(message: ConsumerMessage) -> OutgoingWebhook:
    """Return a message as it is sent."""
    return OutgoingWebhook(
        message_id=str(message.id),
        event_type=message.event_type,
        occurred_at=message.event.occurred_at,
        payload=message.event.payload,
    )


def probe_webhook(consumer: ConsumerName, now: datetime) -> OutgoingWebhook:
    """Return a message without a tenant, by which an operator finds out whether a receiver works."""
    return OutgoingWebhook(
        message_id=f"test:{consumer}:{int(now.timestamp())}", event_type="test", occurred_at=now, payload="{}"
    )


def _span(span: timedelta) -> str:
    hours = span // timedelta(hours=1)
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours"
