"""The ports of outgoing webhooks. The docstrings are the contracts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol, runtime_checkable

from billing_core.consumers.values import ConsumerName
from billing_core.outgoing.values import Delivery, OutgoingWebhook, SigningSecret, WebhookEndpoint

QUIET: Final = timedelta(days=2)
"""Time without an attempt after which earlier failures no longer count: longer than any pause between two attempts."""


@runtime_checkable
class WebhookSender(Protocol):
    """Sends webhooks to services that have no code in this process."""

    async def send(self, url: str, message: OutgoingWebhook, secrets: Sequence[SigningSecret]) -> Delivery:
        """Make one attempt at a message, signed by every secret that has not expired, and return its result.

        The receiver may have received a message whose result is not a success. Never raises for what a receiver, its
        name server or the network does.
        """
        ...


@runtime_checkable
class WebhookEndpoints(Protocol):
    """The receivers of a deployment, shared by all processes. Every method raises StoreUnavailableError."""

    async def current(self) -> Sequence[WebhookEndpoint]:
        """Return all receivers by the name of their consumer, with the secrets that have not expired."""
        ...

    async def put(self, consumer: ConsumerName, url: str, secret: SigningSecret | None) -> None:
        """Store the receiver of a consumer, or another URL of a known one.

        A secret replaces all others; without one, a known receiver keeps its own. A new receiver needs one: ValueError.
        Failures of another URL no longer count.
        """
        ...

    async def rotate(self, consumer: ConsumerName, secret: SigningSecret, *, replaced_until: datetime) -> bool:
        """Add a secret, and let the others expire at an instant, unless they do so earlier.

        Return whether the receiver is known. Secrets that have expired by the new one's `created_at` are deleted.
        """
        ...

    async def remove(self, consumer: ConsumerName) -> bool:
        """Delete a receiver with its secrets; return whether it was known."""
        ...

    async def failed(self, consumer: ConsumerName, at: datetime, failure: str) -> datetime | None:
        """Record a failed attempt, and return since when there was no success; None for an unknown receiver.

        That is `at` itself for the first failure since a success, and for one that follows the last failure by more
        than `QUIET`.
        """
        ...

    async def recovered(self, consumer: ConsumerName) -> None:
        """Record a success after failures. Repeating it is harmless."""
        ...
