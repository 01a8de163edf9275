"""Keep what the provider answers to an operation."""

from collections.abc import Callable, Sequence

import attrs

from billing_core.events import BillingEvent
from billing_core.model import CustomerSnapshot, InvoiceSnapshot, SubscriptionSnapshot, Uncertainty
from billing_core.operations.commands import CreateCustomer
from billing_core.operations.results import Performed
from billing_core.operations.stored import StoredOperation
from billing_core.state.provisional import ProvisionalBasis
from billing_core.state.results import Ingested
from billing_core.state.service import BillingService


@attrs.frozen(kw_only=True)
class AnswerKeeper:
    """Shows answers to the tenants at once, through the single writer."""

    service: BillingService
    publish: Callable[[Sequence[BillingEvent]], None]
    refetch: Callable[[Sequence[Uncertainty]], None] | None
    """None if objects are refetched elsewhere."""

    async def keep(self, operation: StoredOperation, performed: Performed) -> None:
        """Show a subscription or an invoice as the answer does, or link the customer that was created.

        Raises: StoreUnavailableError; TenantConflictError if the object became another tenant's meanwhile.
        """
        seen, request = performed.snapshot, operation.request
        basis = ProvisionalBasis(
            tenant_id=request.tenant_id, operation_key=operation.key, answered_at=performed.answered_at
        )
        match seen:
            case SubscriptionSnapshot():
                self.show(await self.service.ingest_subscription_snapshot(seen, basis))
            case InvoiceSnapshot():
                self.show(await self.service.ingest_invoice_snapshot(seen, basis))
            case CustomerSnapshot() if isinstance(operation.command, CreateCustomer):
                reason = f"created by operation {operation.key}"
                await self.service.link(seen.customer_id, request.tenant_id, actor=request.actor, reason=reason)

    def show(self, ingested: Ingested) -> None:
        """Publish the messages about an answer, and have fetched again what it leaves open."""
        self.publish(ingested.events)
        if self.refetch is not None and ingested.uncertainties:
            self.refetch(ingested.uncertainties)
