"""The ports of outgoing webhooks. The docstrings are the contracts."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from billing_core.stream.outgoing.values import Delivery, OutgoingWebhook, SigningSecret


@runtime_checkable
class WebhookSender(Protocol):
    """Sends webhooks to services that have no code in this process."""

    async def send(self, url: str, message: OutgoingWebhook, secrets: Sequence[SigningSecret]) -> Delivery:
        """Make one attempt at a message, signed by every secret that has not expired, and return its result.

        The receiver may have received a message whose result is not a success. Never raises for what a receiver, its
        name server or the network does.
        """
        ...
