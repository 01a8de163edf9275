"""Receivers of outgoing webhooks inside one process."""

from collections.abc import Sequence
from datetime import datetime

import attrs

from billing_core.consumers.values import ConsumerName
from billing_core.outgoing.ports import QUIET
from billing_core.outgoing.values import SigningSecret, WebhookEndpoint
from billing_core.state.ports import Clock


class MemoryReceivers:
    """A `WebhookEndpoints`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[ConsumerName, WebhookEndpoint] = {}
        self._failed_at: dict[ConsumerName, datetime] = {}

    async def current(self) -> Sequence[WebhookEndpoint]:
        """Return all receivers by name."""
        now = self._clock.now()
        return [
            attrs.evolve(each, secrets=tuple(secret for secret in each.secrets if secret.signs(now)))
            for _, each in sorted(self._known.items())
        ]

    async def put(self, consumer: ConsumerName, url: str, secret: SigningSecret | None) -> None:
        """Store a receiver."""
        known = self._known.get(consumer)
        if secret is not None:
            self._known[consumer] = WebhookEndpoint(consumer=consumer, url=url, secrets=(secret,))
        elif known is not None and url != known.url:
            self._known[consumer] = attrs.evolve(known, url=url, failing_since=None, failure=None)
        elif known is None:
            raise ValueError(f"the receiver of {consumer} is new and needs a secret")

    async def rotate(self, consumer: ConsumerName, secret: SigningSecret, *, replaced_until: datetime) -> bool:
        """Add a secret, and let the others expire."""
        known = self._known.get(consumer)
        if known is None:
            return False
        others = (each for each in known.secrets if each.text != secret.text and each.signs(secret.created_at))
        replaced = (
            attrs.evolve(each, expires_at=min(each.expires_at or replaced_until, replaced_until)) for each in others
        )
        self._known[consumer] = attrs.evolve(known, secrets=(secret, *replaced))
        return True

    async def remove(self, consumer: ConsumerName) -> bool:
        """Delete a receiver with its secrets."""
        return self._known.pop(consumer, None) is not None

    async def failed(self, consumer: ConsumerName, at: datetime, failure: str) -> datetime | None:
        """Record a failure."""
        known = self._known.get(consumer)
        if known is None:
            return None
        last = self._failed_at.get(consumer, at)
        continues = known.failing_since is not None and at - last <= QUIET
        since = known.failing_since if continues else at
        self._failed_at[consumer] = max(last, at)
        self._known[consumer] = attrs.evolve(known, failing_since=since, failure=failure)
        return since

    async def recovered(self, consumer: ConsumerName) -> None:
        """Record the end of failures."""
        if (known := self._known.get(consumer)) is not None:
            self._known[consumer] = attrs.evolve(known, failing_since=None, failure=None)
