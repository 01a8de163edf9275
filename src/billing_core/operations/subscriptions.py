"""Subscriptions: start, change, seats, end, pause."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import attrs

from billing_core.model import CustomerId, PriceSnapshot, SubscriptionId, TenantId
from billing_core.operations.account import Account
from billing_core.operations.commands import Cancellation, Command, Proration
from billing_core.operations.customers import CustomerOperations
from billing_core.operations.decisions import ending
from billing_core.operations.decisions.changing import PlanChange, decide_change, decide_seats
from billing_core.operations.decisions.ending import CollectionPause, Scheduled
from billing_core.operations.decisions.starting import NewSubscription, decide_start
from billing_core.operations.errors import OperationRefusedError, Refusal
from billing_core.operations.ports import BillingReader, PreviewGateway
from billing_core.operations.previews import ChangePreview, Previewed, describe, preview_id, proration_date_of
from billing_core.operations.requests import Caller, Operator, refused_as
from billing_core.operations.results import CommandPreview
from billing_core.operations.runner import Decide, OperationOutcome
from billing_core.state.ports import TenantReader

Payment = Literal["on_file", "confirm", "off_session"]
"""As of `StartSubscription.payment`."""

_NO_REASON: Final = Cancellation()
_NOT_YET: Final = CustomerId("")
"""In place of a customer that is created once everything else is decided."""


@attrs.frozen(kw_only=True)
class SubscriptionOperations:
    """Operations on subscriptions. Each raises as `OperationRunner.run` does.

    A repeated call with the same request id returns the first outcome; a new decision needs a new request id.
    """

    operator: Operator
    customers: CustomerOperations
    reader: BillingReader
    previews: PreviewGateway
    stored: TenantReader

    async def start(
        self,
        caller: Caller,
        wanted: NewSubscription,
        *,
        payment: Payment = "confirm",
        promotion_code: str | None = None,
        email: str | None = None,
        name: str | None = None,
        payer: CustomerId | None = None,
    ) -> OperationOutcome:
        """Start a subscription; the tenant's customer is created if there is none, with this email and name.

        A tenant has one trial ever, and one live subscription per group of plans: a checkout of the tenant that is
        still open is expired. The result has the client secret if
        the customer has to confirm something in the browser. `payer` names the customer where one pays for several
        tenants: the application vouches that it may.
        """

        async def decide() -> Command:
            account = await self.operator.accounts.load(caller.tenant_id)
            customer_id = account.payer(payer)
            if customer_id is not None:
                account = account.beside(await self.reader.subscriptions_of(customer_id, caller.tenant_id))
            promotion = await find_promotion(self.reader, promotion_code, customer_id)
            # Decided before the customer is created, so that a refusal leaves none behind.
            command = decide_start(
                account, wanted, customer_id=customer_id or _NOT_YET, payment=payment, promotion_code_id=promotion
            )
            opened: Sequence[str] = ()
            if customer_id is None:
                customer_id = await self.customers.ensure(caller, email=email, name=name)
            else:
                opened = await self.reader.open_checkout_sessions(customer_id, caller.tenant_id)
            return attrs.evolve(command, customer_id=customer_id, expire=tuple(opened))

        subject = subscriptions_subject(caller.tenant_id)
        arguments = {
            "wanted": wanted,
            "payment": payment,
            "promotion_code": promotion_code,
            "email": email,
            "name": name,
            "payer": payer,
        }
        with refused_as(Refusal.ALREADY_SUBSCRIBED, parameter="expire"):
            return await self.operator.run(caller, "start", subject, arguments, decide)

    async def preview_start(
        self, tenant_id: TenantId, wanted: NewSubscription, *, promotion_code: str | None = None
    ) -> CommandPreview:
        """Return the invoices of a start, for a tenant that has a customer. Nothing is stored. Raises: GatewayError."""
        account = await self.operator.accounts.load(tenant_id)
        customer_id = account.require_customer()
        promotion = await find_promotion(self.reader, promotion_code, customer_id)
        command = decide_start(account, wanted, customer_id=customer_id, promotion_code_id=promotion)
        return await self.previews.preview(command)

    # --- plan and seats -----------------------------------------------------------------------------------------

    async def preview_change(
        self, tenant_id: TenantId, wanted: PlanChange, *, proration: Proration = "invoice_now"
    ) -> ChangePreview:
        """Return what a change would cost, with the id to confirm it by. Nothing is stored."""
        account, amounts = await self._load(tenant_id, wanted)
        date = account.now(account.require_subscription(wanted.subscription_id))
        command = decide_change(account, wanted, proration=proration, proration_date=date, amounts=amounts)
        return await self._describe(account, wanted.subscription_id, command)

    async def change(
        self, caller: Caller, wanted: PlanChange, *, preview: str | None = None, proration: Proration = "invoice_now"
    ) -> OperationOutcome:
        """Change plan, interval or seats: now, or at the end of the period.

        With the id of a preview it is refused as `preview_outdated` if anything in the preview has moved since. The
        result is `pending` while a change waits for its payment or for the end of the period.
        """

        async def decide() -> Command:
            account, amounts = await self._load(caller.tenant_id, wanted)
            date = _date_of(account, wanted.subscription_id, preview)
            command = decide_change(account, wanted, proration=proration, proration_date=date, amounts=amounts)
            await self._confirm(account, wanted.subscription_id, command, preview)
            return command

        arguments = {"wanted": wanted, "preview": preview, "proration": proration}
        return await self._run(caller, "change", wanted.subscription_id, arguments, decide)

    async def preview_seats(
        self, tenant_id: TenantId, subscription_id: SubscriptionId, seats: int, *, proration: Proration = "next_invoice"
    ) -> ChangePreview:
        """Return what another number of seats would cost. Raises: OperationRefusedError, GatewayError."""
        account = await self.operator.accounts.load(tenant_id)
        date = account.now(account.require_subscription(subscription_id))
        command = decide_seats(account, subscription_id, seats, proration=proration, proration_date=date)
        return await self._describe(account, subscription_id, command)

    async def set_seats(
        self,
        caller: Caller,
        subscription_id: SubscriptionId,
        seats: int,
        *,
        preview: str | None = None,
        proration: Proration = "next_invoice",
    ) -> OperationOutcome:
        """Set the number of seats, in absolute numbers. See `change` for the preview."""

        async def decide() -> Command:
            account = await self.operator.accounts.load(caller.tenant_id)
            date = _date_of(account, subscription_id, preview)
            command = decide_seats(account, subscription_id, seats, proration=proration, proration_date=date)
            await self._confirm(account, subscription_id, command, preview)
            return command

        arguments = {"seats": seats, "preview": preview, "proration": proration}
        return await self._run(caller, "set_seats", subscription_id, arguments, decide)

    async def apply_promotion_code(
        self, caller: Caller, subscription_id: SubscriptionId, code: str
    ) -> OperationOutcome:
        """Give a subscription the discount of a code that the customer entered, beside those it has.

        A code that it has already changes nothing.
        """

        async def decide() -> Command:
            account = await self.operator.accounts.load(caller.tenant_id)
            seen = account.require_subscription(subscription_id)
            promotion = await find_promotion(self.reader, code, seen.customer_id)
            return ending.decide_promotion(account, subscription_id, promotion or "")

        with refused_as(Refusal.TOO_MANY_DISCOUNTS, parameter="discounts"):
            return await self._run(caller, "apply_promotion_code", subscription_id, {"code": code}, decide)

    # --- ends and pauses ----------------------------------------------------------------------------------------

    async def cancel_now(
        self,
        caller: Caller,
        subscription_id: SubscriptionId,
        *,
        reason: Cancellation = _NO_REASON,
        invoice_usage: bool = True,
        credit_unused_time: bool = False,
    ) -> OperationOutcome:
        """End a subscription at once."""
        arguments = {
            "at": "now",
            "reason": reason,
            "invoice_usage": invoice_usage,
            "credit_unused_time": credit_unused_time,
        }
        return await self._by_account(
            caller,
            "cancel",
            subscription_id,
            arguments,
            lambda account: ending.decide_cancel_now(
                account,
                subscription_id,
                reason=reason,
                invoice_usage=invoice_usage,
                credit_unused_time=credit_unused_time,
            ),
        )

    async def cancel_at_period_end(
        self, caller: Caller, subscription_id: SubscriptionId, *, reason: Cancellation = _NO_REASON
    ) -> OperationOutcome:
        """Let a subscription end with its period. A scheduled change is withdrawn."""
        return await self._by_account(
            caller,
            "cancel",
            subscription_id,
            {"at": "period_end", "reason": reason},
            lambda account: ending.decide_cancel_at_period_end(account, subscription_id, reason=reason),
        )

    async def undo(
        self, caller: Caller, subscription_id: SubscriptionId, what: Scheduled | None = None
    ) -> OperationOutcome:
        """Withdraw what is scheduled: a named kind of `scheduled_changes`, else an end, a change, an unpaid update."""
        return await self._by_account(
            caller,
            "undo",
            subscription_id,
            {"what": what},
            lambda account: ending.decide_undo(account, subscription_id, what),
        )

    async def pause(
        self,
        caller: Caller,
        subscription_id: SubscriptionId,
        *,
        invoice_usage: bool = True,
        credit_unused_time: bool = True,
    ) -> OperationOutcome:
        """Pause a subscription and everything that it gives. Needs the flexible billing mode."""
        arguments = {"invoice_usage": invoice_usage, "credit_unused_time": credit_unused_time}
        # Nothing of the request is the customer's to correct: the subscription is in classic billing mode.
        with refused_as(Refusal.NOT_PAUSABLE):
            return await self._by_account(
                caller,
                "pause",
                subscription_id,
                arguments,
                lambda account: ending.decide_pause(
                    account, subscription_id, invoice_usage=invoice_usage, credit_unused_time=credit_unused_time
                ),
            )

    async def resume(
        self,
        caller: Caller,
        subscription_id: SubscriptionId,
        *,
        period: Literal["new", "continued"] = "new",
        only_if_paid: bool = True,
    ) -> OperationOutcome:
        """Resume a paused subscription."""
        return await self._by_account(
            caller,
            "resume",
            subscription_id,
            {"period": period, "only_if_paid": only_if_paid},
            lambda account: ending.decide_resume(account, subscription_id, period=period, only_if_paid=only_if_paid),
        )

    async def pause_collection(
        self,
        caller: Caller,
        subscription_id: SubscriptionId,
        *,
        behavior: CollectionPause = "keep_as_draft",
        resumes_at: datetime | None = None,
    ) -> OperationOutcome:
        """Keep a subscription running, and stop collecting payments for it; until a date, or until it is resumed."""
        return await self._by_account(
            caller,
            "pause_collection",
            subscription_id,
            {"behavior": behavior, "resumes_at": resumes_at},
            lambda account: ending.decide_pause_collection(
                account, subscription_id, behavior=behavior, resumes_at=resumes_at
            ),
        )

    async def resume_collection(self, caller: Caller, subscription_id: SubscriptionId) -> OperationOutcome:
        """Collect payments again."""
        return await self._by_account(
            caller,
            "resume_collection",
            subscription_id,
            {},
            lambda account: ending.decide_resume_collection(account, subscription_id),
        )

    async def _by_account(
        self,
        caller: Caller,
        operation: str,
        subscription_id: SubscriptionId,
        arguments: Mapping[str, object],
        choose: Callable[[Account], Command],
    ) -> OperationOutcome:
        """Run an operation that is decided by the account alone."""

        async def decide() -> Command:
            return choose(await self.operator.accounts.load(caller.tenant_id))

        return await self._run(caller, operation, subscription_id, arguments, decide)

    async def _run(
        self,
        caller: Caller,
        operation: str,
        subscription_id: SubscriptionId,
        arguments: Mapping[str, object],
        decide: Decide,
    ) -> OperationOutcome:
        subject = subscriptions_subject(caller.tenant_id)
        return await self.operator.run(
            caller, operation, subject, {"subscription": subscription_id, **arguments}, decide
        )

    async def _load(self, tenant_id: TenantId, wanted: PlanChange) -> tuple[Account, Mapping[str, int]]:
        """Return the account, and the amounts of prices by which a change is up or down."""
        account = await self.operator.accounts.load(tenant_id)
        if wanted.when != "auto":
            return account, {}
        amounts: dict[str, int] = {}
        for record in await self.stored.catalog():
            price = record.snapshot
            if isinstance(price, PriceSnapshot) and price.unit_amount is not None:
                names = (price.price_id, price.lookup_key)
                amounts |= dict.fromkeys((name for name in names if name is not None), price.unit_amount)
        return account, amounts

    async def _describe(self, account: Account, subscription_id: SubscriptionId, command: Previewed) -> ChangePreview:
        seen = account.require_subscription(subscription_id)
        return describe(account, seen, command, await self.previews.preview(command))

    async def _confirm(
        self, account: Account, subscription_id: SubscriptionId, command: Previewed, preview: str | None
    ) -> None:
        """Refuse a command whose preview says something else by now."""
        if preview is None:
            return
        seen = account.require_subscription(subscription_id)
        if preview != preview_id(account, seen, command, await self.previews.preview(command)):
            raise OperationRefusedError(Refusal.PREVIEW_OUTDATED)


def _date_of(account: Account, subscription_id: SubscriptionId, preview: str | None) -> datetime | None:
    """Return the instant for which a preview was calculated; None without one, or if it depends on none."""
    if preview is None:
        return None
    return proration_date_of(preview, now=account.now(account.require_subscription(subscription_id)))


def subscriptions_subject(tenant_id: TenantId) -> str:
    """Return the subject of all operations on a tenant's subscriptions.

    They depend on each other: a tenant has one trial, and one live subscription per group of plans, to which a start, a
    checkout and a change of plan can lead.
    """
    return f"subscriptions:{tenant_id}"


async def find_promotion(reader: BillingReader, code: str | None, customer_id: CustomerId | None) -> str | None:
    """Return the provider's id of a promotion code; None if none was entered.

    Raises: OperationRefusedError if it is unknown or can no longer be used; GatewayError.
    """
    if code is None:
        return None
    found = await reader.promotion_code(code, customer_id)
    if found is None or not found.usable:
        raise OperationRefusedError(Refusal.UNKNOWN_PROMOTION_CODE)
    return found.promotion_code_id
