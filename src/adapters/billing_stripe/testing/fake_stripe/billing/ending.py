"""The end of a subscription."""

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing import invoicing
from billing_stripe.testing.fake_stripe.billing.lines import unused_time
from billing_stripe.testing.fake_stripe.billing.times import now_on


def end(
    account: Account,
    subscription: objects.Subscription,
    *,
    reason: str | None = None,
    prorate: bool = False,
) -> objects.Subscription:
    """End a subscription now: nothing of it is collected any more.

    Args:
        account: of the subscription.
        subscription: one that has not ended.
        reason: why, if not because it was asked for.
        prorate: whether unused time is credited, to the next invoice.
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
    invoicing.add_pending(account, subscription, credits)
    return account.get(objects.Subscription, subscription.subscription_id)
