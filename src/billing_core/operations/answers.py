"""Keep what the provider answers to an operation."""

import attrs

from billing_core.model import CustomerSnapshot
from billing_core.operations.commands import CreateCustomer
from billing_core.operations.results import Performed
from billing_core.operations.stored import StoredOperation
from billing_core.state.service import BillingService


@attrs.frozen(kw_only=True)
class AnswerKeeper:
    """Shows answers to the tenants at once, through the single writer."""

    service: BillingService

    async def keep(self, operation: StoredOperation, performed: Performed) -> None:
        """Link the customer that was created for a tenant.

        Raises: StoreUnavailableError; TenantConflictError if the customer became another tenant's meanwhile.
        """
        seen, request = performed.snapshot, operation.request
        if isinstance(operation.command, CreateCustomer) and isinstance(seen, CustomerSnapshot):
            await self.service.link(seen.customer_id, request.tenant_id, actor=request.actor)
