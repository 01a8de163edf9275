"""The provider's page on which a customer starts a subscription."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Literal

import attrs

from billing_core.errors import TenantConflictError
from billing_core.model import CustomerId, SubscriptionId, TenantId
from billing_core.operations.account import Account
from billing_core.operations.answers import AnswerKeeper
from billing_core.operations.commands import CheckoutReturn, Command, CreateCheckoutSession, ExpireCheckoutSession
from billing_core.operations.customers import CustomerOperations
from billing_core.operations.decisions.starting import NewSubscription, decide_opening
from billing_core.operations.errors import OperationRefusedError, Refusal
from billing_core.operations.ports import BillingReader
from billing_core.operations.requests import Caller, Operator, refused_as
from billing_core.operations.results import Checkout
from billing_core.operations.runner import OperationOutcome
from billing_core.operations.stored import OperationRequest, operation_key
from billing_core.operations.subscriptions import find_promotion, subscriptions_subject
from billing_core.state.ports import Clock
from billing_core.state.provisional import ProvisionalBasis

OPEN_FOR: Final = timedelta(hours=1)
"""How long a checkout stays open. The provider allows 30 minutes to 24 hours."""


@attrs.frozen(kw_only=True)
class CheckoutOptions:
    """Choices for the page beside the plan."""

    promotion_code: str | None = None
    """A discount that applies from the start; then the customer cannot enter another code."""
    allow_promotion_codes: bool = False
    payment_method: Literal["always", "if_required"] = "always"
    """Whether a payment method is collected where nothing is due yet."""
    automatic_tax: bool = False
    collect_tax_id: bool = False
    locale: str | None = None
    open_for: timedelta = OPEN_FOR


@attrs.frozen(kw_only=True)
class ConfirmedCheckout:
    """A checkout that the customer came back from."""

    status: Literal["open", "complete", "expired"]
    subscription_id: SubscriptionId | None = None


@attrs.frozen(kw_only=True)
class CheckoutOperations:
    """Operations on checkouts."""

    operator: Operator
    customers: CustomerOperations
    reader: BillingReader
    answers: AnswerKeeper
    clock: Clock

    async def create(
        self,
        caller: Caller,
        wanted: NewSubscription,
        returns: CheckoutReturn,
        *,
        options: CheckoutOptions | None = None,
        email: str | None = None,
        name: str | None = None,
        payer: CustomerId | None = None,
    ) -> OperationOutcome:
        """Open a checkout; an earlier one of the tenant that is still open is expired. The result has its URL.

        The tenant's customer is created if there is none, with this email and name; `payer` names it where one customer
        pays for several tenants. Raises: as `OperationRunner.run`.
        """
        options = options or CheckoutOptions()

        async def decide() -> Command:
            account = await self.operator.accounts.load(caller.tenant_id)
            customer_id = account.payer(payer)
            if customer_id is not None:
                account = account.beside(await self.reader.subscriptions_of(customer_id, caller.tenant_id))
            opening = decide_opening(account, wanted)
            promotion = await find_promotion(self.reader, options.promotion_code, customer_id)
            earlier: Sequence[str] = ()
            if customer_id is not None:
                earlier = await self.reader.open_checkout_sessions(customer_id, caller.tenant_id)
            if customer_id is None:
                customer_id = await self.customers.ensure(caller, email=email, name=name)
            return CreateCheckoutSession(
                tenant_id=caller.tenant_id,
                customer_id=customer_id,
                items=opening.items,
                returns=returns,
                expires_at=self.clock.now().replace(microsecond=0) + options.open_for,
                expire=tuple(earlier),
                trial=opening.trial,
                promotion_code_id=promotion,
                allow_promotion_codes=options.allow_promotion_codes and promotion is None,
                payment_method=options.payment_method,
                automatic_tax=options.automatic_tax,
                collect_tax_id=options.collect_tax_id,
                locale=options.locale,
            )

        subject = subscriptions_subject(caller.tenant_id)
        chosen = {**attrs.asdict(options), "open_for": options.open_for.total_seconds()}
        arguments = {
            "wanted": wanted,
            "returns": returns,
            "options": chosen,
            "email": email,
            "name": name,
            "payer": payer,
        }
        with refused_as(Refusal.ALREADY_SUBSCRIBED, parameter="expire"):
            return await self.operator.run(caller, "create_checkout", subject, arguments, decide)

    async def expire(self, caller: Caller, session_id: str) -> OperationOutcome:
        """Close an open checkout of the tenant. Raises: as `OperationRunner.run`."""

        async def decide() -> Command:
            account = await self.operator.accounts.load(caller.tenant_id)
            open_ones = await self.reader.open_checkout_sessions(account.require_customer(), caller.tenant_id)
            if session_id not in open_ones:
                raise OperationRefusedError(Refusal.UNKNOWN_CHECKOUT)
            return ExpireCheckoutSession(session_id=session_id)

        arguments = {"session": session_id}
        return await self.operator.run(caller, "expire_checkout", f"checkout:{session_id}", arguments, decide)

    async def confirm(self, tenant_id: TenantId, session_id: str, *, actor: str) -> ConfirmedCheckout:
        """Show the subscription of a checkout that the customer came back from, also before its webhook arrives.

        The session has to be the tenant's, by its metadata, or by its customer if that names none: a customer may pay
        for several tenants. Repeating it is harmless.
        Raises: OperationRefusedError, GatewayError, StoreUnavailableError.
        """
        found = await self.reader.checkout(session_id)
        account = await self.operator.accounts.load(tenant_id)
        if found is None or not _belongs(found, account):
            raise OperationRefusedError(Refusal.UNKNOWN_CHECKOUT)
        if found.status != "complete":
            return ConfirmedCheckout(status=found.status)
        try:
            await self._link(account, found, actor)
            await self._show(account, found)
        except TenantConflictError:
            raise OperationRefusedError(Refusal.UNKNOWN_CHECKOUT) from None
        started = None if found.subscription is None else found.subscription.subscription_id
        return ConfirmedCheckout(status="complete", subscription_id=started)

    async def _link(self, account: Account, found: Checkout, actor: str) -> None:
        shared = account.rules.tenants.link != "customer"
        if found.customer_id is not None and not shared and found.customer_id not in _customers(account):
            reason = f"returned from checkout {found.session_id}"
            await self.answers.service.link(found.customer_id, account.tenant_id, actor=actor, reason=reason)

    async def _show(self, account: Account, found: Checkout) -> None:
        if found.subscription is None:
            return
        basis = ProvisionalBasis(
            tenant_id=account.tenant_id,
            operation_key=_key(account.tenant_id, found.session_id),
            answered_at=found.answered_at,
        )
        self.answers.show(await self.answers.service.ingest_subscription_snapshot(found.subscription, basis))


def _belongs(found: Checkout, account: Account) -> bool:
    if found.tenant_id is not None:
        return found.tenant_id == account.tenant_id
    return found.customer_id in _customers(account)


def _customers(account: Account) -> frozenset[CustomerId]:
    return frozenset({each.customer_id for each in account.customers} | {each.customer_id for each in account.live})


def _key(tenant_id: TenantId, session_id: str) -> str:
    """Return the key under which the subscription of a checkout is shown: the same whenever it is confirmed."""
    request = OperationRequest(
        tenant_id=tenant_id,
        operation="confirm_checkout",
        request_id=session_id,
        subject=session_id,
        arguments_hash="",
        actor="",
    )
    return operation_key(request, 1)
