"""The whole loop in one process, on memory adapters and fed with Stripe's bytes: for examples and tests."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from billing_core.events import BillingEvent
from billing_core.inbox.batch import ProcessingReport
from billing_core.inbox.dispatch import Dispatcher
from billing_core.inbox.intake import Intake
from billing_core.inbox.policy import DispatchPolicy, Scope
from billing_core.model import AccessPolicy, PlanCatalog
from billing_core.state.ports import Clock
from billing_core.state.service import BillingService
from billing_memory.database import MemoryDatabase
from billing_memory.inbox.event_inbox import MemoryEventInbox
from billing_memory.state.repository import MemoryRepository
from billing_stripe.signature import StripeWebhookVerifier
from billing_stripe.testing import sign
from billing_stripe.translate import StripeTranslator

_SECRET: Final = "whsec_of_no_endpoint"  # noqa: S105 - it signs what never leaves this module


def _ignore(_report: ProcessingReport) -> None:
    pass


class MemoryLoop:
    """Receiver of webhooks that processes them on demand."""

    def __init__(
        self,
        database: MemoryDatabase,
        clock: Clock,
        *,
        plans: PlanCatalog | None = None,
        observe: Callable[[ProcessingReport], None] = _ignore,
    ) -> None:
        self._clock = clock
        self._store = MemoryEventInbox(database, clock)
        self.repository = MemoryRepository(database, clock)
        self.messages: list[BillingEvent] = []
        """Return everything published so far."""
        translator = StripeTranslator()
        service = BillingService(
            unit_of_work=self.repository,
            translator=translator,
            catalog=plans or PlanCatalog(),
            policy=AccessPolicy(),
            clock=clock,
        )
        self._dispatcher = Dispatcher(
            queue=self._store,
            translator=translator,
            service=service,
            scope=Scope(livemode=False),
            policy=DispatchPolicy(),
            publish=self.messages.extend,
            observe=observe,
        )
        verifier = StripeWebhookVerifier([_SECRET], tolerance=timedelta(minutes=5), clock=clock)
        self._intake = Intake(verifier=verifier, inbox=self._store)

    async def receive(self, body: bytes) -> None:
        """Receive one webhook, signed now."""
        await self._intake.receive(body, sign(body, _SECRET, self._clock.now()))

    async def process(self) -> None:
        """Process all due events, and those that become due by it."""
        while claims := await self._store.claim(limit=50, lease=timedelta(minutes=1)):
            await self._dispatcher.process(claims)
