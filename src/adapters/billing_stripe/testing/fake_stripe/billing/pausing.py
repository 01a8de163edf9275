"""Pauses of subscriptions, and their ends."""

from datetime import datetime

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing import invoicing
from billing_stripe.testing.fake_stripe.billing.collection import advance_invoice
from billing_stripe.testing.fake_stripe.billing.lines import charges, prorations, unused_time, usage_lines
from billing_stripe.testing.fake_stripe.billing.times import now_on, period_at
from billing_stripe.testing.fake_stripe.errors import refused


def pause(
    account: Account, subscription: objects.Subscription, *, unused_from: str, bill_usage: bool, invoice: bool
) -> objects.Subscription:
    """Pause a subscription: no period passes until it is resumed.

    Args:
        account: of the subscription.
        subscription: one in flexible billing mode, without a schedule.
        unused_from: from when unused time is credited: `now`, `item_current_period_start`, or `none`.
        bill_usage: whether metered usage of the current periods is billed.
        invoice: whether all that is invoiced now, rather than with the next invoice.

    Raises: StripeError for any other subscription.
    """
    if not subscription.flexible_billing:
        raise refused("Only subscriptions with `billing_mode[type]=flexible` can be paused.")
    if subscription.schedule_id is not None:
        raise refused("Subscriptions that are managed by a subscription schedule cannot be paused.")
    if subscription.status not in ("active", "past_due", "trialing"):
        raise refused(f"Subscriptions with status `{subscription.status}` cannot be paused.")
    now = now_on(account, subscription.test_clock)
    start_at = subscription.span.start if unused_from == "item_current_period_start" else now
    lines = [] if unused_from == "none" else _credits(account, subscription, start_at)
    if bill_usage:
        lines += [line for line in usage_lines(account, subscription, subscription.items, now) if line.amount]
    stopped = tuple(
        attrs.evolve(item, period=objects.Span(item.period.start, max(item.period.start, now)))
        for item in subscription.items
    )
    paused = account.update(attrs.evolve(subscription, status="paused", items=stopped, paused_at=now))
    account.emit("customer.subscription.paused", paused)
    if invoice and lines:
        draft = invoicing.create_draft(account, paused, lines, reason="subscription_update")
        advance_invoice(account, draft)
    else:
        invoicing.add_pending(account, paused, lines)
    return account.get(objects.Subscription, subscription.subscription_id)


def resume(
    account: Account, subscription: objects.Subscription, *, keep_anchor: bool, only_if_paid: bool
) -> objects.Subscription:
    """End a pause: the next period begins now and is invoiced.

    Args:
        account: of the subscription.
        subscription: one that is paused.
        keep_anchor: whether the periods keep their day, so that the first one is shorter and prorated.
        only_if_paid: whether it stays paused until that invoice is paid; after one attempt otherwise.
    """
    now = now_on(account, subscription.test_clock)
    anchor = subscription.billing_cycle_anchor if keep_anchor else now
    periods = {item.item_id: period_at(anchor, item.price, now) for item in subscription.items}
    items = tuple(attrs.evolve(item, period=periods[item.item_id]) for item in subscription.items)
    invoice_id = account.new_id("in")
    started = attrs.evolve(
        subscription, items=items, billing_cycle_anchor=anchor, latest_invoice_id=invoice_id, pending_update=None
    )
    nothing_before = attrs.evolve(started, items=())
    lines = prorations(account, nothing_before, items, now) if keep_anchor else charges(account, started, items)
    if only_if_paid:
        account.update(attrs.evolve(started, resuming_invoice_id=invoice_id))
    else:
        resumed = account.update(attrs.evolve(started, status="active", paused_at=None))
        account.emit("customer.subscription.resumed", resumed)
    draft = invoicing.create_draft(account, started, lines, reason="subscription_update", invoice_id=invoice_id)
    advance_invoice(account, draft)
    return account.get(objects.Subscription, subscription.subscription_id)


def _credits(account: Account, subscription: objects.Subscription, at: datetime) -> list[objects.InvoiceLine]:
    """Return the credits for the time of a subscription that is unused from an instant on; none within a trial."""
    return [] if subscription.status == "trialing" else unused_time(account, subscription, at)
