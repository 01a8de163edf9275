"""The handlers of operations: each turns a request into one call of the facade."""

import re
from typing import Any, Final

from billing_app.http.auth import role_refusal
from billing_app.http.operations import bodies
from billing_app.http.operations.answers import (
    LinkAnswer,
    OperationAnswer,
    PaymentMethodsAnswer,
    PlansAnswer,
    UpcomingAnswer,
    operation_answer,
)
from billing_app.http.operations.calling import Call
from billing_app.http.operations.problems import Problem
from billing_core.model import InvoiceId, SubscriptionId
from billing_core.operations.checkouts import CheckoutOptions, ConfirmedCheckout
from billing_core.operations.commands import Cancellation, CheckoutReturn, CreditTerms, Proration
from billing_core.operations.decisions.changing import PlanChange
from billing_core.operations.decisions.starting import NewSubscription
from billing_core.operations.items import Terms
from billing_core.operations.previews import ChangePreview
from billing_core.operations.results import BillingContact, CommandPreview, CreditBalance, PromotionCode

_CURRENCY: Final = re.compile(r"[a-z]{3}").fullmatch

# --- plans and subscriptions ------------------------------------------------------------------------------------


async def list_plans(call: Call[None]) -> PlansAnswer:
    """List the plans in force."""
    return PlansAnswer(plans=tuple(await call.operations.plans.list()))


async def start(call: Call[bodies.StartBody]) -> OperationAnswer:
    """Start a subscription."""
    body = call.body
    return operation_answer(
        await call.operations.subscriptions.start(
            call.caller,
            _wanted(body),
            payment=body.payment,
            promotion_code=body.promotion_code,
            email=body.email,
            name=body.name,
        )
    )


async def preview_start(call: Call[bodies.PlanWanted]) -> CommandPreview:
    """Preview a start."""
    wanted, code = _wanted(call.body), call.body.promotion_code
    return await call.operations.subscriptions.preview_start(call.tenant_id, wanted, promotion_code=code)


async def preview_change(call: Call[bodies.ChangeWanted]) -> ChangePreview:
    """Preview a change."""
    wanted, proration = _change(call), _proration(call)
    return await call.operations.subscriptions.preview_change(call.tenant_id, wanted, proration=proration)


async def change_plan(call: Call[bodies.ChangeBody]) -> OperationAnswer:
    """Change plan, interval or seats."""
    return operation_answer(
        await call.operations.subscriptions.change(
            call.caller, _change(call), preview=call.body.preview_id, proration=_proration(call)
        )
    )


async def preview_seats(call: Call[bodies.SeatsWanted]) -> ChangePreview:
    """Preview a number of seats."""
    seats, proration = call.body.seats, _proration(call)
    return await call.operations.subscriptions.preview_seats(
        call.tenant_id, _subscription(call), seats, proration=proration
    )


async def set_seats(call: Call[bodies.SeatsBody]) -> OperationAnswer:
    """Set the number of seats."""
    body = call.body
    return operation_answer(
        await call.operations.subscriptions.set_seats(
            call.caller, _subscription(call), body.seats, preview=body.preview_id, proration=_proration(call)
        )
    )


async def cancel(call: Call[bodies.CancelBody]) -> OperationAnswer:
    """End a subscription, at once or with its period."""
    body, subscriptions = call.body, call.operations.subscriptions
    if not body.invoice_usage or body.credit_unused_time:
        _require_operator(call, "waive usage, or give credit for unused time")
    reason = Cancellation(feedback=body.feedback, comment=body.comment)
    if body.at == "period_end":
        outcome = await subscriptions.cancel_at_period_end(call.caller, _subscription(call), reason=reason)
    else:
        outcome = await subscriptions.cancel_now(
            call.caller,
            _subscription(call),
            reason=reason,
            invoice_usage=body.invoice_usage,
            credit_unused_time=body.credit_unused_time,
        )
    return operation_answer(outcome)


async def undo(call: Call[bodies.UndoBody]) -> OperationAnswer:
    """Withdraw what is scheduled."""
    return operation_answer(
        await call.operations.subscriptions.undo(call.caller, _subscription(call), what=call.body.kind)
    )


async def pause(call: Call[bodies.PauseBody]) -> OperationAnswer:
    """Pause a subscription."""
    body = call.body
    if not body.invoice_usage:
        _require_operator(call, "waive usage")
    return operation_answer(
        await call.operations.subscriptions.pause(
            call.caller,
            _subscription(call),
            invoice_usage=body.invoice_usage,
            credit_unused_time=body.credit_unused_time,
        )
    )


async def resume(call: Call[bodies.ResumeBody]) -> OperationAnswer:
    """End a pause."""
    body = call.body
    return operation_answer(
        await call.operations.subscriptions.resume(
            call.caller, _subscription(call), period=body.period, only_if_paid=body.only_if_paid
        )
    )


async def pause_collection(call: Call[bodies.PauseCollectionBody]) -> OperationAnswer:
    """Stop collecting payments."""
    body = call.body
    return operation_answer(
        await call.operations.subscriptions.pause_collection(
            call.caller, _subscription(call), behavior=body.behavior, resumes_at=body.resumes_at
        )
    )


async def resume_collection(call: Call[bodies.EmptyBody]) -> OperationAnswer:
    """Collect payments again."""
    return operation_answer(await call.operations.subscriptions.resume_collection(call.caller, _subscription(call)))


async def apply_promotion_code(call: Call[bodies.PromotionCodeBody]) -> OperationAnswer:
    """Apply a promotion code to a subscription."""
    return operation_answer(
        await call.operations.subscriptions.apply_promotion_code(call.caller, _subscription(call), call.body.code)
    )


# --- checkout, portal, payment methods --------------------------------------------------------------------------


async def create_checkout(call: Call[bodies.CheckoutBody]) -> OperationAnswer:
    """Open a checkout."""
    body = call.body
    if (body.success_url is None) == (body.return_url is None):
        raise Problem(400, "bad_request", "Send either a success_url, or a return_url for an embedded page.")
    return operation_answer(
        await call.operations.checkout.create(
            call.caller,
            _wanted(body),
            CheckoutReturn(success_url=body.success_url, cancel_url=body.cancel_url, return_url=body.return_url),
            options=CheckoutOptions(
                promotion_code=body.promotion_code,
                allow_promotion_codes=body.allow_promotion_codes,
                payment_method=body.payment_method,
                automatic_tax=body.automatic_tax,
                collect_tax_id=body.collect_tax_id,
                locale=body.locale,
            ),
            email=body.email,
            name=body.name,
        )
    )


async def expire_checkout(call: Call[bodies.EmptyBody]) -> OperationAnswer:
    """Close an open checkout."""
    return operation_answer(await call.operations.checkout.expire(call.caller, call.ids["session_id"]))


async def confirm_checkout(call: Call[bodies.ConfirmBody]) -> ConfirmedCheckout:
    """Show the subscription of a checkout."""
    return await call.operations.checkout.confirm(call.tenant_id, call.body.session_id, actor=call.actor)


async def open_portal(call: Call[bodies.PortalBody]) -> OperationAnswer:
    """Open the portal."""
    body = call.body
    subscription_id = None if body.subscription_id is None else SubscriptionId(body.subscription_id)
    return operation_answer(
        await call.operations.payment_methods.create_portal_session(
            call.caller, return_url=body.return_url, flow=body.flow, subscription_id=subscription_id
        )
    )


async def list_payment_methods(call: Call[None]) -> PaymentMethodsAnswer:
    """List the saved payment methods."""
    return PaymentMethodsAnswer(payment_methods=tuple(await call.operations.payment_methods.list(call.tenant_id)))


async def create_setup_intent(call: Call[bodies.EmptyBody]) -> OperationAnswer:
    """Prepare that the browser adds a payment method."""
    return operation_answer(await call.operations.payment_methods.create_setup_intent(call.caller))


async def set_default(call: Call[bodies.EmptyBody]) -> OperationAnswer:
    """Charge a method from now on."""
    method = call.ids["payment_method_id"]
    return operation_answer(await call.operations.payment_methods.set_default(call.caller, method))


async def detach(call: Call[None]) -> OperationAnswer:
    """Remove a payment method."""
    method = call.ids["payment_method_id"]
    return operation_answer(await call.operations.payment_methods.detach(call.caller, method))


# --- invoices, credit, contact ----------------------------------------------------------------------------------


async def upcoming_invoice(call: Call[None]) -> UpcomingAnswer:
    """Preview the next invoice of a subscription."""
    return UpcomingAnswer(invoice=await call.operations.invoices.upcoming(call.tenant_id, _subscription(call)))


async def invoice_pdf(call: Call[None]) -> LinkAnswer:
    """Return a link to the PDF of an invoice."""
    return LinkAnswer(url=await call.operations.invoices.pdf(call.tenant_id, InvoiceId(call.ids["invoice_id"])))


async def pay_invoice(call: Call[bodies.PayBody]) -> OperationAnswer:
    """Try a payment again."""
    body = call.body
    return operation_answer(
        await call.operations.invoices.pay(
            call.caller,
            InvoiceId(call.ids["invoice_id"]),
            payment_method_id=body.payment_method_id,
            off_session=not body.customer_present,
        )
    )


async def credit_balance(call: Call[None]) -> CreditBalance:
    """Return the credit of a tenant."""
    return await call.operations.credits.balance(call.tenant_id, call.query["currency"])


async def give_credit(call: Call[bodies.CreditBody]) -> OperationAnswer:
    """Give a tenant credit."""
    body = call.body
    if body.amount < 1 or not _CURRENCY(body.currency):
        raise Problem(
            400, "bad_request", "The amount must be above zero, and the currency an ISO code in small letters."
        )
    terms = CreditTerms(category=body.category, expires_at=body.expires_at, name=body.name)
    return operation_answer(
        await call.operations.credits.give(call.caller, amount=body.amount, currency=body.currency, terms=terms)
    )


async def promotion_code(call: Call[None]) -> PromotionCode:
    """Return the discount that a code gives."""
    found = await call.operations.credits.promotion_code(call.tenant_id, call.ids["code"])
    if found is None:
        raise Problem(404, "unknown_promotion_code", "The promotion code is unknown.")
    return found


async def contact(call: Call[None]) -> BillingContact:
    """Return the receiver of invoices."""
    return await call.operations.customers.contact(call.tenant_id)


async def set_contact(call: Call[bodies.ContactBody]) -> OperationAnswer:
    """Set the receiver of invoices."""
    body = call.body
    return operation_answer(
        await call.operations.customers.set_contact(
            call.caller,
            email=body.email,
            name=body.name,
            phone=body.phone,
            address=body.address,
            add_tax_ids=body.add_tax_ids,
            remove_tax_ids=body.remove_tax_ids,
        )
    )


def _wanted(body: bodies.PlanWanted) -> NewSubscription:
    return NewSubscription(
        plan_code=body.plan_code, terms=_terms(body), seats=body.seats, addons=body.addons, trial=body.trial
    )


def _terms(body: bodies.PlanWanted | bodies.ChangeWanted) -> Terms:
    return Terms(interval=body.interval, interval_count=body.interval_count, currency=body.currency)


def _change(call: Call[Any]) -> PlanChange:
    body: bodies.ChangeWanted = call.body
    return PlanChange(
        subscription_id=_subscription(call),
        plan_code=body.plan_code,
        terms=_terms(body),
        seats=body.seats,
        when=body.when,
    )


def _proration(call: Call[Any]) -> Proration:
    """Return the proration that is wanted. Without any, a tenant would have a dearer plan for nothing."""
    body: bodies.ChangeWanted | bodies.SeatsWanted = call.body
    if body.proration == "none":
        _require_operator(call, "waive the difference in price")
    return body.proration


def _require_operator(call: Call[Any], doing: str) -> None:
    if not call.operates:
        detail = role_refusal(call.principal.role, doing, "BILLING_JWT_OPERATOR_ROLES")
        raise Problem(403, "forbidden_role", detail)


def _subscription(call: Call[Any]) -> SubscriptionId:
    return SubscriptionId(call.ids["subscription_id"])
