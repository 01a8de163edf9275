"""Invoices as they are collected, and what a payment or its failure means to a subscription."""

from collections.abc import Iterator
from functools import partial

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account, Task
from billing_stripe.testing.fake_stripe.billing import invoicing
from billing_stripe.testing.fake_stripe.billing.ending import end
from billing_stripe.testing.fake_stripe.billing.lines import usage_lines
from billing_stripe.testing.fake_stripe.billing.payments import attempt, method_of
from billing_stripe.testing.fake_stripe.billing.settings import settings_of
from billing_stripe.testing.fake_stripe.billing.times import now_on


def due_invoice(account: Account, invoice: objects.Invoice) -> Iterator[Task]:
    """Yield the future work for an invoice."""
    invoice_id = invoice.invoice_id or ""
    if invoice.status == "draft" and invoice.finalizes_at is not None:
        yield Task(invoice.finalizes_at, partial(_advance, account, invoice_id))
    if invoice.status == "open":
        if invoice.next_payment_attempt_at is not None:
            yield Task(invoice.next_payment_attempt_at, partial(_retry, account, invoice_id))
        if invoice.due_at is not None and not invoice.overdue:
            yield Task(invoice.due_at, partial(_overdue, account, invoice_id))


def advance_invoice(account: Account, invoice: objects.Invoice) -> objects.Invoice:
    """Finalize a draft and collect it, as far as its subscription lets it be collected."""
    finalized = invoicing.finalize(account, invoice)
    subscription = account.find(objects.Subscription, invoice.subscription_id)
    if finalized.status == "paid":
        after_payment(account, finalized)
        return finalized
    behavior = None if subscription is None else subscription.pause_collection
    if behavior == "void":
        return invoicing.void(account, finalized)
    if behavior == "mark_uncollectible":
        return invoicing.mark_uncollectible(account, finalized)
    if finalized.collection_method == "send_invoice" or finalized.auto_advance is False:
        return finalized
    return collect(account, finalized)


def collect(
    account: Account,
    invoice: objects.Invoice,
    method: objects.PaymentMethod | None = None,
    *,
    authenticated: bool = False,
    automatic: bool = True,
) -> objects.Invoice:
    """Try to collect an open invoice, and let its subscription follow.

    Args:
        account: of the invoice.
        invoice: an open or uncollectible one.
        method: what to charge; the default payment method if None.
        authenticated: whether the customer has confirmed this payment.
        automatic: whether Stripe does it by itself, so that a failure is followed by retries.
    """
    method = method or default_method(account, invoice)
    intent = account.get(objects.PaymentIntent, invoice.payment_id or "")
    if method is not None:
        intent = attempt(account, intent, method, authenticated=authenticated)
    if intent.status == "succeeded":
        return settle(account, invoice)
    return _failed(account, invoice, action=intent.status == "requires_action", automatic=automatic)


def settle(account: Account, invoice: objects.Invoice, *, out_of_band: bool = False) -> objects.Invoice:
    """Mark an invoice as paid, and let its subscription follow."""
    if out_of_band:
        invoicing.cancel_payment(account, invoice)
    paid = invoicing.mark_paid(account, invoice, out_of_band=out_of_band)
    customer = account.get(objects.Customer, invoice.customer_id)
    if customer.delinquent:
        account.update(attrs.evolve(customer, delinquent=False))
    after_payment(account, paid)
    return paid


def after_payment(account: Account, paid: objects.Invoice) -> None:
    """Let a subscription follow the payment of its invoice."""
    subscription = account.find(objects.Subscription, paid.subscription_id)
    if subscription is None or subscription.ended_at is not None:
        return
    if subscription.save_default_payment_method:
        intent = account.find(objects.PaymentIntent, paid.payment_id)
        if intent is not None and intent.payment_method_id is not None:
            subscription = attrs.evolve(subscription, default_payment_method_id=intent.payment_method_id)
    pending = subscription.pending_update
    if pending is not None and pending.invoice_id == paid.invoice_id:
        apply_pending(account, subscription, pending)
        return
    if subscription.resuming_invoice_id == paid.invoice_id:
        resumed = attrs.evolve(subscription, status="active", resuming_invoice_id=None, paused_at=None)
        account.update(resumed)
        account.emit("customer.subscription.resumed", resumed)
        return
    if paid.invoice_id == subscription.latest_invoice_id and subscription.status in (
        "incomplete",
        "past_due",
        "unpaid",
    ):
        subscription = attrs.evolve(subscription, status="active", pending_setup_intent_id=None)
    account.update(subscription)


def default_method(account: Account, invoice: objects.Invoice) -> objects.PaymentMethod | None:
    """Return the payment method that is charged: the invoice's, its subscription's, or the customer's."""
    subscription = account.find(objects.Subscription, invoice.subscription_id)
    customer = account.get(objects.Customer, invoice.customer_id)
    own = None if subscription is None else subscription.default_payment_method_id
    return method_of(account, invoice.default_payment_method_id, own, customer.default_payment_method_id)


def apply_pending(account: Account, subscription: objects.Subscription, pending: objects.PendingUpdate) -> None:
    """Make a paid change take effect."""
    applied = attrs.evolve(
        subscription,
        items=pending.items,
        billing_cycle_anchor=pending.billing_cycle_anchor or subscription.billing_cycle_anchor,
        metadata=subscription.metadata if pending.metadata is None else pending.metadata,
        pending_update=None,
    )
    account.update(applied)
    account.emit("customer.subscription.pending_update_applied", applied)


def expire_pending(account: Account, subscription: objects.Subscription) -> objects.Subscription:
    """Withdraw a change that was not paid; its invoice is voided."""
    pending = subscription.pending_update
    if pending is None:
        return subscription
    invoice = account.find(objects.Invoice, pending.invoice_id)
    expired = account.update(attrs.evolve(subscription, pending_update=None))
    account.emit("customer.subscription.pending_update_expired", expired)
    if invoice is not None and invoice.status == "open":
        invoicing.void(account, invoice)
    return expired


def bill_end(account: Account, ended: objects.Subscription) -> None:
    """Invoice and collect what a subscription that has ended still owes: its usage, and the pending items."""
    at = now_on(account, ended.test_clock)
    lines = usage_lines(account, ended, ended.items, at)
    draft = invoicing.create_draft(account, ended, lines, reason="subscription_update")
    advance_invoice(account, draft)


def _failed(account: Account, invoice: objects.Invoice, *, action: bool, automatic: bool) -> objects.Invoice:
    """Count a failed attempt, plan the next one, and let the subscription follow."""
    settings = settings_of(account)
    subscription = account.find(objects.Subscription, invoice.subscription_id)
    attempts = invoice.attempt_count + 1
    starting = subscription is None or subscription.status == "incomplete"
    updating = subscription is not None and subscription.pending_update is not None
    retried = automatic and not starting and not updating and attempts <= len(settings.retry_after)
    next_at = invoice.next_payment_attempt_at
    if automatic:
        now = now_on(account, invoice.test_clock)
        next_at = now + settings.retry_after[attempts - 1] if retried else None
    failed = account.update(attrs.evolve(invoice, attempt_count=attempts, next_payment_attempt_at=next_at))
    account.emit("invoice.payment_failed", failed)
    if action:
        account.emit("invoice.payment_action_required", failed)
    if not starting:
        customer = account.get(objects.Customer, invoice.customer_id)
        account.update(attrs.evolve(customer, delinquent=True))
    if subscription is not None and not starting and not updating:
        given_up = automatic and not retried
        _miss_payment(account, subscription, settings.after_retries if given_up else "past_due")
    return account.get(objects.Invoice, failed.invoice_id or "")


def _miss_payment(account: Account, subscription: objects.Subscription, fate: str) -> None:
    if fate == "cancel":
        end(account, subscription, reason="payment_failed")
    elif subscription.status in ("active", "past_due"):
        account.update(attrs.evolve(subscription, status=fate))


def _advance(account: Account, invoice_id: str) -> None:
    advance_invoice(account, account.get(objects.Invoice, invoice_id))


def _retry(account: Account, invoice_id: str) -> None:
    collect(account, account.get(objects.Invoice, invoice_id))


def _overdue(account: Account, invoice_id: str) -> None:
    invoice = attrs.evolve(account.get(objects.Invoice, invoice_id), overdue=True)
    account.put(invoice)
    account.emit("invoice.overdue", invoice)
    subscription = account.find(objects.Subscription, invoice.subscription_id)
    if subscription is not None and subscription.status == "active":
        account.update(attrs.evolve(subscription, status="past_due"))
