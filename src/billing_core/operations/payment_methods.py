"""Payment methods: list, add, choose, remove; and the provider's page for all of it."""

from collections.abc import Sequence
from typing import Literal

import attrs

from billing_core.model import CustomerId, SubscriptionId, TenantId
from billing_core.operations.commands import (
    Command,
    CreatePortalSession,
    CreateSetupIntent,
    DetachPaymentMethod,
    OwnDefault,
    SetDefaultPaymentMethod,
)
from billing_core.operations.customers import CustomerOperations
from billing_core.operations.errors import OperationRefusedError, Refusal
from billing_core.operations.ports import BillingReader
from billing_core.operations.requests import Caller, Operator, refused_as
from billing_core.operations.results import CustomerPaymentMethod
from billing_core.operations.runner import OperationOutcome

PortalFlow = Literal["payment_method_update", "subscription_cancel", "subscription_update"]


@attrs.frozen(kw_only=True)
class PaymentMethodOperations:
    """Operations on the ways to pay of a tenant. Each raises as `OperationRunner.run` does."""

    operator: Operator
    customers: CustomerOperations
    reader: BillingReader
    portal_configuration: str | None = None
    """The configuration of the portal that set-up made."""

    async def list(self, tenant_id: TenantId) -> Sequence[CustomerPaymentMethod]:
        """Return the payment methods of a tenant, the default one first; () if it has no customer yet."""
        account = await self.operator.accounts.load(tenant_id)
        return () if account.customer_id is None else await self.reader.payment_methods(account.customer_id)

    async def create_setup_intent(self, caller: Caller) -> OperationOutcome:
        """Prepare that the customer adds a payment method in the browser; the result has the client secret."""

        async def decide() -> Command:
            known = (await self.operator.accounts.load(caller.tenant_id)).payer(None)
            return CreateSetupIntent(customer_id=known or await self.customers.ensure(caller))

        return await self.operator.run(caller, "create_setup_intent", f"setup:{caller.tenant_id}", {}, decide)

    async def set_default(self, caller: Caller, payment_method_id: str) -> OperationOutcome:
        """Charge a payment method from now on, also where a subscription has a default of its own."""
        account = await self.operator.accounts.load(caller.tenant_id)
        customer_id = account.require_customer()

        async def decide() -> Command:
            account = await self.operator.accounts.load(caller.tenant_id)
            known = await self._require(customer_id, payment_method_id)
            return SetDefaultPaymentMethod(
                customer_id=customer_id,
                payment_method_id=payment_method_id,
                former=next((each.payment_method_id for each in known if each.default), None),
                outranking=tuple(
                    OwnDefault(subscription_id=seen.subscription_id, payment_method_id=seen.payment_method_id)
                    for seen in account.live
                    if seen.customer_id == customer_id and seen.payment_method_id is not None
                ),
            )

        arguments = {"payment_method": payment_method_id}
        return await self.operator.run(caller, "set_default_payment_method", customer_id, arguments, decide)

    async def detach(self, caller: Caller, payment_method_id: str) -> OperationOutcome:
        """Remove a payment method for good."""
        customer_id = (await self.operator.accounts.load(caller.tenant_id)).require_customer()

        async def decide() -> Command:
            await self._require(customer_id, payment_method_id)
            return DetachPaymentMethod(customer_id=customer_id, payment_method_id=payment_method_id)

        arguments = {"payment_method": payment_method_id}
        return await self.operator.run(caller, "detach_payment_method", customer_id, arguments, decide)

    async def create_portal_session(
        self,
        caller: Caller,
        *,
        return_url: str,
        flow: PortalFlow | None = None,
        subscription_id: SubscriptionId | None = None,
    ) -> OperationOutcome:
        """Open the provider's page on which the customer manages its billing; the result has its URL.

        A flow about a subscription needs its id.
        """

        async def decide() -> Command:
            account = await self.operator.accounts.load(caller.tenant_id)
            customer_id = account.require_customer()
            if subscription_id is not None:
                account.require_subscription(subscription_id)
            elif flow in ("subscription_cancel", "subscription_update"):
                raise OperationRefusedError(Refusal.NO_SUBSCRIPTION)
            return CreatePortalSession(
                customer_id=customer_id,
                return_url=return_url,
                flow=flow,
                subscription_id=subscription_id,
                configuration=self.portal_configuration,
            )

        subject = f"portal:{caller.tenant_id}:{caller.request_id}"
        arguments = {"return_url": return_url, "flow": flow, "subscription": subscription_id}
        with refused_as(Refusal.PORTAL_NOT_CONFIGURED, parameter="configuration"):
            return await self.operator.run(caller, "create_portal_session", subject, arguments, decide)

    async def _require(self, customer_id: CustomerId, payment_method_id: str) -> Sequence[CustomerPaymentMethod]:
        """Return the payment methods of a customer; refuse one that is another customer's, or is gone."""
        known = await self.reader.payment_methods(customer_id)
        if payment_method_id not in {each.payment_method_id for each in known}:
            raise OperationRefusedError(Refusal.UNKNOWN_PAYMENT_METHOD)
        return known
