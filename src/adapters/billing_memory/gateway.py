"""A payment provider in process, with the objects that a test gives it."""

from collections.abc import Mapping
from typing import TypeVar

from billing_core.errors import GatewayError
from billing_core.events import Translation
from billing_core.inbox.ports import FetchedEvent
from billing_core.model import CustomerId, EventId, InvoiceId, SubscriptionId

K = TypeVar("K")
V = TypeVar("V")


class MemoryGateway:
    """A `PaymentGateway` and `ThinEventGateway` that answers from mappings, which tests fill and empty."""

    def __init__(self) -> None:
        self.subscriptions: dict[SubscriptionId, Translation] = {}
        self.invoices: dict[InvoiceId, Translation] = {}
        self.customers: dict[CustomerId, Translation] = {}
        self.entitlements: dict[CustomerId, Translation] = {}
        self.checkout_sessions: dict[str, Translation] = {}
        self.events: dict[EventId, FetchedEvent] = {}
        self.asked: list[str] = []
        """The ids that were fetched, failed calls included."""
        self._failures: list[GatewayError] = []

    def fail(self, error: GatewayError, *, times: int = 1) -> None:
        """Let the next calls fail. Failures queue up: earlier ones are raised first."""
        self._failures += [error] * times

    async def fetch_subscription(self, subscription_id: SubscriptionId) -> Translation | None:
        """Return the stored subscription."""
        return self._answer(self.subscriptions, subscription_id)

    async def fetch_invoice(self, invoice_id: InvoiceId) -> Translation | None:
        """Return the stored invoice."""
        return self._answer(self.invoices, invoice_id)

    async def fetch_customer(self, customer_id: CustomerId) -> Translation | None:
        """Return the stored customer."""
        return self._answer(self.customers, customer_id)

    async def fetch_entitlements(self, customer_id: CustomerId) -> Translation | None:
        """Return the stored features of a customer."""
        return self._answer(self.entitlements, customer_id)

    async def fetch_checkout_session(self, session_id: str) -> Translation | None:
        """Return the stored checkout session."""
        return self._answer(self.checkout_sessions, session_id)

    async def fetch_event(self, event_id: EventId) -> FetchedEvent | None:
        """Return the stored event."""
        return self._answer(self.events, event_id)

    def _answer(self, known: Mapping[K, V], name: K) -> V | None:
        self.asked.append(str(name))
        if self._failures:
            raise self._failures.pop(0)
        return known.get(name)
