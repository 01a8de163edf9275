"""The operations that most applications need, each in one line, for tenants with one subscription."""

import uuid

import attrs

from billing_core.model import SubscriptionId, TenantId
from billing_core.operations.checkouts import CheckoutOperations, CheckoutOptions
from billing_core.operations.commands import Cancellation, CheckoutReturn
from billing_core.operations.decisions.changing import PlanChange, When
from billing_core.operations.decisions.starting import NewSubscription
from billing_core.operations.errors import OperationRefusedError, Refusal
from billing_core.operations.payment_methods import PaymentMethodOperations
from billing_core.operations.requests import Caller
from billing_core.operations.runner import OperationOutcome
from billing_core.operations.subscriptions import SubscriptionOperations

_NO_REASON = Cancellation()


@attrs.frozen(kw_only=True)
class OperationsInShort:
    """The operations that most applications need. Each raises as `OperationRunner.run` does.

    `request_id` names the decision: the same for every repetition of it, such as the id of the submitted form. Without
    one each call is a decision of its own. `actor` is for the record. Where a subscription is changed, it is the
    tenant's only live one unless it is named; ValueError if there are several.
    """

    subscriptions: SubscriptionOperations
    checkout: CheckoutOperations
    payment_methods: PaymentMethodOperations

    async def start_checkout(
        self,
        tenant_id: str,
        plan_code: str,
        *,
        success_url: str,
        cancel_url: str | None = None,
        seats: int | None = None,
        addons: tuple[str, ...] = (),
        email: str | None = None,
        options: CheckoutOptions | None = None,
        request_id: str | None = None,
        actor: str = "application",
    ) -> OperationOutcome:
        """Open the page on which the customer starts a plan; its address is `result.url`."""
        wanted = NewSubscription(plan_code=plan_code, seats=seats, addons=addons)
        returns = CheckoutReturn(success_url=success_url, cancel_url=cancel_url)
        caller = _caller(tenant_id, request_id, actor)
        return await self.checkout.create(caller, wanted, returns, options=options, email=email)

    async def open_portal(
        self, tenant_id: str, *, return_url: str, request_id: str | None = None, actor: str = "application"
    ) -> OperationOutcome:
        """Open the provider's page on which the customer manages its billing; its address is `result.url`."""
        return await self.payment_methods.create_portal_session(
            _caller(tenant_id, request_id, actor), return_url=return_url
        )

    async def change_plan(
        self,
        tenant_id: str,
        plan_code: str,
        *,
        seats: int | None = None,
        when: When = "auto",
        subscription_id: str | None = None,
        request_id: str | None = None,
        actor: str = "application",
    ) -> OperationOutcome:
        """Change the plan: an upgrade now, a downgrade at the end of the period, unless `when` says otherwise."""
        subscription = await self._find(tenant_id, subscription_id)
        wanted = PlanChange(subscription_id=subscription, plan_code=plan_code, seats=seats, when=when)
        return await self.subscriptions.change(_caller(tenant_id, request_id, actor), wanted)

    async def set_seats(
        self,
        tenant_id: str,
        seats: int,
        *,
        subscription_id: str | None = None,
        request_id: str | None = None,
        actor: str = "application",
    ) -> OperationOutcome:
        """Set the number of seats, in absolute numbers."""
        subscription = await self._find(tenant_id, subscription_id)
        return await self.subscriptions.set_seats(_caller(tenant_id, request_id, actor), subscription, seats)

    async def cancel(
        self,
        tenant_id: str,
        *,
        now: bool = False,
        reason: Cancellation = _NO_REASON,
        subscription_id: str | None = None,
        request_id: str | None = None,
        actor: str = "application",
    ) -> OperationOutcome:
        """End the subscription with its period, or at once."""
        subscription = await self._find(tenant_id, subscription_id)
        cancel = self.subscriptions.cancel_now if now else self.subscriptions.cancel_at_period_end
        return await cancel(_caller(tenant_id, request_id, actor), subscription, reason=reason)

    async def keep(
        self,
        tenant_id: str,
        *,
        subscription_id: str | None = None,
        request_id: str | None = None,
        actor: str = "application",
    ) -> OperationOutcome:
        """Withdraw what is scheduled: the end of the subscription, else a change of its plan."""
        subscription = await self._find(tenant_id, subscription_id)
        return await self.subscriptions.undo(_caller(tenant_id, request_id, actor), subscription)

    async def _find(self, tenant_id: str, subscription_id: str | None) -> SubscriptionId:
        """Return the named subscription, or the only one. Raises OperationRefusedError, ValueError."""
        if subscription_id is not None:
            return SubscriptionId(subscription_id)
        account = await self.subscriptions.operator.accounts.load(TenantId(tenant_id))
        if len(account.live) > 1:
            raise ValueError(f"tenant {tenant_id} has {len(account.live)} subscriptions: name one by subscription_id")
        if not account.live:
            raise OperationRefusedError(Refusal.NO_SUBSCRIPTION)
        return account.live[0].subscription_id


def _caller(tenant_id: str, request_id: str | None, actor: str) -> Caller:
    return Caller(tenant_id=TenantId(tenant_id), request_id=request_id or str(uuid.uuid4()), actor=actor)
