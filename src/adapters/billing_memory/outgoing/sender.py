"""A sender of outgoing webhooks that keeps them, for tests of everything around it."""

from collections import defaultdict
from collections.abc import Sequence

from billing_core.outgoing.values import Delivery, DeliveryResult, OutgoingWebhook, SigningSecret

_ACCEPTED = Delivery(result=DeliveryResult.DELIVERED, detail="answered 200", seconds=0.0, status=200)


class MemoryWebhookSender:
    """A `WebhookSender` whose receivers answer what a test says, by URL."""

    def __init__(self) -> None:
        self.answers: dict[str, Delivery] = {}
        """Of receivers that answer something else than 200."""
        self.received: defaultdict[str, list[OutgoingWebhook]] = defaultdict(list)
        """Every attempt, by URL."""

    async def send(self, url: str, message: OutgoingWebhook, secrets: Sequence[SigningSecret]) -> Delivery:
        """Keep a message, and return the answer of its receiver."""
        if not secrets:
            raise ValueError("a webhook needs a secret that signs it")
        self.received[url].append(message)
        return self.answers.get(url, _ACCEPTED)
