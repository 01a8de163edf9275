"""Intake: from signed bytes to a durable row, and nothing else. Processing follows outside this call."""

from datetime import timedelta
from typing import Protocol, runtime_checkable

from billing_core.events import Claim, Receipt
from billing_core.inbox.ports import EventInbox, WebhookVerifier


@runtime_checkable
class Handoff(Protocol):
    """A dispatcher in the same process that takes a stored event at once, without claiming it from the store."""

    def lease(self) -> timedelta | None:
        """Return the lease for the next event; None while the dispatcher has enough to do."""
        ...

    def offer(self, claim: Claim) -> None:
        """Take over a claim made with that lease."""
        ...


class Intake:
    """Receives webhooks."""

    def __init__(self, *, verifier: WebhookVerifier, inbox: EventInbox, handoff: Handoff | None = None) -> None:
        self._verifier = verifier
        self._inbox = inbox
        self._handoff = handoff

    async def receive(self, body: bytes, signature: str) -> Receipt:
        """Verify and durably store one provider webhook.

        Returns: ACCEPTED, or DUPLICATE when this event was already stored. Raises: WebhookError before anything is
        stored; StoreUnavailableError if it could not be stored, or the outcome is unknown.
        """
        event = self._verifier.verify(body, signature)
        lease = self._handoff.lease() if self._handoff else None
        receipt = await self._inbox.record(event, lease=lease)
        if self._handoff and receipt.claim:
            self._handoff.offer(receipt.claim)
        return receipt

    def is_plausible(self, signature: str) -> bool:
        """Return whether a webhook with this signature header is worth reading."""
        return self._verifier.is_plausible(signature)
