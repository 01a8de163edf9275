"""The life of a subscription: payments that activate it or fail, renewals, the ends of trials, and its own end."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account, Task
from billing_stripe.testing.fake_stripe.billing import invoicing
from billing_stripe.testing.fake_stripe.billing.discounts import current_coupon
from billing_stripe.testing.fake_stripe.billing.lines import charges, unused_time, usage_lines
from billing_stripe.testing.fake_stripe.billing.payments import attempt, method_of
from billing_stripe.testing.fake_stripe.billing.settings import settings_of
from billing_stripe.testing.fake_stripe.billing.times import now_on, period_at

LIVE = frozenset({"active", "past_due", "unpaid", "trialing"})
"""Statuses in which periods pass."""


# --- payments ---------------------------------------------------------------------------------------------------


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


# --- time -------------------------------------------------------------------------------------------------------


def due(account: Account, subscription: objects.Subscription) -> Iterator[Task]:
    """Yield the future work for a subscription."""
    if subscription.ended_at is not None or not subscription.items:
        return
    settings = settings_of(account)
    run = _Work(account, subscription.subscription_id)
    if subscription.pending_update is not None:
        yield Task(subscription.pending_update.expires_at, run.expire_pending)
    if subscription.status == "incomplete":
        yield Task(subscription.created_at + settings.incomplete_for, run.expire)
    if subscription.cancel_at is not None:
        yield Task(subscription.cancel_at, run.cancel)
    if subscription.pause_collection is not None and subscription.pause_resumes_at is not None:
        yield Task(subscription.pause_resumes_at, run.resume_collection)
    if subscription.status == "trialing" and subscription.trial is not None:
        trial = subscription.trial
        if subscription.announced_until != trial.end:
            yield Task(max(trial.start, trial.end - settings.trial_end_before), run.announce_trial_end)
        yield Task(trial.end, run.end_trial)
    elif subscription.status in LIVE:
        ends_at = subscription.span.end
        if subscription.announced_until != ends_at and subscription.cancel_at is None:
            yield Task(max(subscription.span.start, ends_at - settings.upcoming_before), run.announce_renewal)
        yield Task(ends_at, run.renew)


@attrs.frozen
class _Work:
    """The work on one subscription, which is read when it is done."""

    account: Account
    subscription_id: str

    @property
    def current(self) -> objects.Subscription:
        return self.account.get(objects.Subscription, self.subscription_id)

    def expire(self) -> None:
        """End a subscription whose first payment did not come."""
        subscription = self.current
        at = now_on(self.account, subscription.test_clock)
        invoice = self.account.find(objects.Invoice, subscription.latest_invoice_id)
        self.account.update(attrs.evolve(subscription, status="incomplete_expired", ended_at=at))
        if invoice is not None and invoice.status == "open":
            invoicing.void(self.account, invoice)

    def expire_pending(self) -> None:
        """Withdraw a change that was not paid."""
        expire_pending(self.account, self.current)

    def cancel(self) -> None:
        """End a subscription at its scheduled time."""
        subscription = self.current
        lines = usage_lines(
            self.account, subscription, subscription.items, subscription.cancel_at or subscription.span.end
        )
        billed = [line for line in lines if line.amount]
        end(self.account, subscription)
        if billed:
            invoicing.create_draft(self.account, subscription, billed, reason="subscription_cycle")

    def resume_collection(self) -> None:
        """Collect payments again."""
        self.account.update(attrs.evolve(self.current, pause_collection=None, pause_resumes_at=None))

    def announce_trial_end(self) -> None:
        """Notify that a trial is about to end."""
        subscription = self.current
        announced = attrs.evolve(
            subscription, announced_until=None if subscription.trial is None else subscription.trial.end
        )
        self.account.put(announced)
        self.account.emit("customer.subscription.trial_will_end", announced)

    def announce_renewal(self) -> None:
        """Notify of the next invoice, which has no id yet."""
        subscription = attrs.evolve(self.current, announced_until=self.current.span.end)
        self.account.put(subscription)
        self.account.emit("invoice.upcoming", upcoming(self.account, subscription))

    def end_trial(self) -> None:
        """Start the first paid period, or what the trial's settings say without a payment method."""
        subscription = self.current
        if not end_without_method(self.account, subscription):
            renew(self.account, attrs.evolve(subscription, billing_cycle_anchor=subscription.span.end), status="active")

    def renew(self) -> None:
        """Begin the next period."""
        renew(self.account, self.current)


def end_without_method(account: Account, subscription: objects.Subscription) -> bool:
    """Cancel or pause a subscription whose trial is over, if its settings say so and there is nothing to charge.

    Returns whether it did.
    """
    customer = account.get(objects.Customer, subscription.customer_id)
    method = method_of(account, subscription.default_payment_method_id, customer.default_payment_method_id)
    if method is not None or subscription.collection_method != "charge_automatically":
        return False
    if subscription.missing_payment_method == "cancel":
        end(account, subscription)
        return True
    if subscription.missing_payment_method == "pause":
        paused = account.update(attrs.evolve(subscription, status="paused"))
        account.emit("customer.subscription.paused", paused)
        return True
    return False


def renew(account: Account, subscription: objects.Subscription, *, status: str | None = None) -> None:
    """Begin the next period of the items whose period has ended, and draft its invoice."""
    at = now_on(account, subscription.test_clock)
    before = subscription.span
    ending = [item for item in subscription.items if item.period.end <= at]
    used = usage_lines(account, subscription, ending, at)
    items = next_periods(subscription, at)
    begun = [item for item in items if item.period.start == at or item not in subscription.items]
    invoice_id = account.new_id("in")
    renewed = attrs.evolve(
        subscription,
        items=items,
        latest_invoice_id=invoice_id,
        status=status or subscription.status,
        coupon_id=None if current_coupon(account, subscription, at) is None else subscription.coupon_id,
    )
    account.update(renewed)
    collecting = renewed.status != "unpaid" and renewed.pause_collection != "keep_as_draft"
    invoicing.create_draft(
        account,
        renewed,
        [*used, *charges(account, renewed, begun)],
        reason="subscription_cycle",
        invoice_id=invoice_id,
        period=objects.Span(before.start, before.end),
        auto_advance=collecting,
    )


def next_periods(subscription: objects.Subscription, at: datetime) -> tuple[objects.Item, ...]:
    """Return the items with those that have ended in their next period."""
    return tuple(
        attrs.evolve(item, period=period_at(subscription.billing_cycle_anchor, item.price, at))
        if item.period.end <= at
        else item
        for item in subscription.items
    )


def upcoming(account: Account, subscription: objects.Subscription, *, with_pending: bool = True) -> objects.Invoice:
    """Return the next invoice of a subscription as a preview: pending items unless unwanted, and the next period."""
    at = subscription.span.end
    next_items = next_periods(subscription, at)
    renewed = attrs.evolve(subscription, items=next_items)
    begun = [item for item, before in zip(next_items, subscription.items, strict=True) if item != before]
    ending = [item for item in subscription.items if item.period.end <= at]
    pending = invoicing.pending_items(account, subscription.customer_id, subscription.subscription_id)
    lines = [
        *(invoicing.line_of(account, item) for item in pending if with_pending),
        *usage_lines(account, subscription, ending, at),
        *charges(account, renewed, begun),
    ]
    return invoicing.describe(account, subscription, lines, reason="upcoming", at=at, period=subscription.span)


def end(
    account: Account,
    subscription: objects.Subscription,
    *,
    reason: str | None = None,
    prorate: bool = False,
    invoice_now: bool = False,
) -> objects.Subscription:
    """End a subscription now: nothing of it is collected any more.

    Args:
        account: of the subscription.
        subscription: one that has not ended.
        reason: why, if not because it was asked for.
        prorate: whether unused time is credited.
        invoice_now: whether usage and pending items are billed at once.
    """
    at = now_on(account, subscription.test_clock)
    credits = unused_time(account, subscription, at) if prorate else []
    ended = attrs.evolve(
        subscription,
        status="canceled",
        canceled_at=subscription.canceled_at or at,
        ended_at=at,
        cancellation_reason=reason,
        pending_update=None,
        resuming_invoice_id=None,
        schedule_id=None,
    )
    account.put(ended)
    schedule = account.find(objects.SubscriptionSchedule, subscription.schedule_id)
    if schedule is not None and schedule.status in ("active", "not_started"):
        account.update(attrs.evolve(schedule, status="canceled", ended_at=at), "subscription_schedule.canceled")
    account.emit("customer.subscription.deleted", ended)
    for invoice in account.all(objects.Invoice):
        if invoice.subscription_id == subscription.subscription_id and invoice.status in ("draft", "open"):
            invoicing.stop_collecting(account, invoice)
    if invoice_now:
        lines = [*usage_lines(account, subscription, subscription.items, at), *credits]
        draft = invoicing.create_draft(account, ended, lines, reason="subscription_update")
        advance_invoice(account, draft)
    elif credits:
        invoicing.add_pending(account, subscription, credits)
    return account.get(objects.Subscription, subscription.subscription_id)


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
