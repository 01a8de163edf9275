"""Subscriptions as time passes: trials, renewals and what was scheduled."""

from collections.abc import Iterator
from datetime import datetime

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account, Task
from billing_stripe.testing.fake_stripe.billing import invoicing
from billing_stripe.testing.fake_stripe.billing.collection import expire_pending
from billing_stripe.testing.fake_stripe.billing.discounts import current_coupon
from billing_stripe.testing.fake_stripe.billing.ending import end
from billing_stripe.testing.fake_stripe.billing.lines import charges, usage_lines
from billing_stripe.testing.fake_stripe.billing.payments import method_of
from billing_stripe.testing.fake_stripe.billing.settings import settings_of
from billing_stripe.testing.fake_stripe.billing.times import now_on, period_at

LIVE = frozenset({"active", "past_due", "unpaid", "trialing"})
"""Statuses in which periods pass."""


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
