"""Intake: from signed bytes to a durable row, and nothing else. Processing follows outside this call."""

from datetime import timedelta
from typing import Protocol, runtime_checkable

from billing_core.events import Claim, Receipt
from billing_core.inbox.ports import EventInbox, WebhookVerifier


@runtime_checkable
class Handoff(Protocol):
    """A dispatcher in the same process that can take a stored event at once, without asking the store for it."""

    def lease(self) -> timedelta | None:
        """How long it wants to hold the next event; None while it has enough to do."""
        ...

    def offer(self, claim: Claim) -> None:
        """Take over a claim made with that lease."""
        ...


class Intake:
    """Takes webhooks in."""

    def __init__(self, *, verifier: WebhookVerifier, inbox: EventInbox, handoff: Handoff | None = None) -> None:
        self._verifier = verifier
        self._inbox = inbox
        self._handoff = handoff

    async def receive(self, body: bytes, signature: str) -> Receipt:
        """Verify and durably store one provider webhook.

        Returns: ACCEPTED, or DUPLICATE when this event was already stored. Raises: WebhookError before anything is
        stored; StoreUnavailableError if it cannot be stored, or nobody knows whether it was.
        """
        event = self._verifier.verify(body, signature)
        lease = self._handoff.lease() if self._handoff else None
        receipt = await self._inbox.record(event, lease=lease)
        if self._handoff and receipt.claim:
            self._handoff.offer(receipt.claim)
        return receipt
