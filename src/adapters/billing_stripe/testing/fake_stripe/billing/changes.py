"""Changes of a subscription's items: what they cost, computed without making them, so that a preview says the same."""

from collections.abc import Sequence
from datetime import datetime

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing import invoicing
from billing_stripe.testing.fake_stripe.billing.collection import collect
from billing_stripe.testing.fake_stripe.billing.items import changed_items, check_intervals
from billing_stripe.testing.fake_stripe.billing.lines import amount_of, charges, prorations, usage_lines
from billing_stripe.testing.fake_stripe.billing.payments import outcome
from billing_stripe.testing.fake_stripe.billing.periods import end_without_method, renew, upcoming
from billing_stripe.testing.fake_stripe.billing.settings import settings_of
from billing_stripe.testing.fake_stripe.billing.times import now_on, period_at
from billing_stripe.testing.fake_stripe.errors import StripeError
from billing_stripe.testing.fake_stripe.forms import Params


@attrs.frozen(kw_only=True)
class Change:
    """A change of items, and what it costs."""

    before: objects.Subscription
    after: objects.Subscription
    prorations: tuple[objects.InvoiceLine, ...] = ()
    """For the time before the end of the current periods."""
    charges: tuple[objects.InvoiceLine, ...] = ()
    """For periods that begin with the change, and for usage that ends with it."""
    at_once: bool = False
    """Whether it is invoiced now, rather than with the next period."""

    @property
    def lines(self) -> tuple[objects.InvoiceLine, ...]:
        """All lines."""
        return (*self.prorations, *self.charges)


def plan(account: Account, subscription: objects.Subscription, params: Params, param: str = "items") -> Change:
    """Compute the change that the parameters of an update describe; nothing is changed.

    Reads `items`, `billing_cycle_anchor`, `proration_behavior` and `proration_date`.
    """
    now = now_on(account, subscription.test_clock)
    at: datetime = params.get("proration_date", now)
    items = changed_items(account, subscription, params.get("items", []), now, param)
    check_intervals(items, flexible=bool(subscription.flexible_billing), param=param)
    restarts = params.get("billing_cycle_anchor") == "now" or _restarts(subscription, items)
    behavior = params.get("proration_behavior", "create_prorations")
    if subscription.status in ("trialing", "paused", "incomplete"):
        return Change(before=subscription, after=attrs.evolve(subscription, items=items))
    if not restarts:
        lines = [] if behavior == "none" else prorations(account, subscription, items, at)
        after = attrs.evolve(subscription, items=items)
        return Change(before=subscription, after=after, prorations=tuple(lines), at_once=behavior == "always_invoice")
    begun = tuple(attrs.evolve(item, period=period_at(now, item.price, now)) for item in items)
    after = attrs.evolve(subscription, items=begun, billing_cycle_anchor=now)
    credits = [] if behavior == "none" else prorations(account, subscription, (), at)
    used = [line for line in usage_lines(account, subscription, subscription.items, now) if line.amount]
    return Change(
        before=subscription,
        after=after,
        prorations=tuple(credits),
        charges=(*used, *charges(account, after, begun)),
        at_once=True,
    )


def make(account: Account, change: Change, *, payment: str) -> objects.Subscription:
    """Make a change and bill it.

    Args:
        account: of the subscription.
        change: as planned.
        payment: the `payment_behavior`, which says what a failed payment means.

    Raises: StripeError 402 if the payment fails and the behavior is `error_if_incomplete`; nothing is changed then.
    """
    if not change.lines or not change.at_once:
        changed = account.update(change.after)
        invoicing.add_pending(account, changed, change.lines)
        return changed
    if payment == "pending_if_incomplete" and change.before.collection_method == "charge_automatically":
        return _make_if_paid(account, change)
    invoice_id = account.new_id("in")
    account.update(attrs.evolve(change.after, latest_invoice_id=invoice_id))
    invoice = _invoice(account, change, change.after, invoice_id)
    if invoice.status == "open" and invoice.collection_method == "charge_automatically":
        if payment == "default_incomplete":
            _await_payment(account, change.after.subscription_id)
        else:
            invoice = collect(account, invoice)
    if payment == "error_if_incomplete" and invoice.status == "open":
        raise _unpaid(account, invoice)
    return account.get(objects.Subscription, change.after.subscription_id)


def _make_if_paid(account: Account, change: Change) -> objects.Subscription:
    """Invoice a change, and make it only if that is paid; it waits otherwise."""
    before = change.before
    invoice_id = account.new_id("in")
    now = now_on(account, before.test_clock)
    same_anchor = change.after.billing_cycle_anchor == before.billing_cycle_anchor
    waiting = objects.PendingUpdate(
        items=change.after.items,
        expires_at=now + settings_of(account).incomplete_for,
        invoice_id=invoice_id,
        billing_cycle_anchor=None if same_anchor else change.after.billing_cycle_anchor,
        metadata=change.after.metadata if change.after.metadata != before.metadata else None,
    )
    invoice = _invoice(account, change, before, invoice_id)
    method = None if invoice.status != "open" else default_of(account, before)
    if invoice.status == "paid" or outcome(method) == "succeeded":
        account.update(attrs.evolve(change.after, latest_invoice_id=invoice_id))
        if invoice.status == "open":
            collect(account, invoice)
    else:
        account.update(attrs.evolve(before, latest_invoice_id=invoice_id, pending_update=waiting))
        collect(account, invoice, automatic=False)
    return account.get(objects.Subscription, before.subscription_id)


def default_of(account: Account, subscription: objects.Subscription) -> objects.PaymentMethod | None:
    """Return the payment method that a subscription is charged to."""
    customer = account.get(objects.Customer, subscription.customer_id)
    own = account.find(objects.PaymentMethod, subscription.default_payment_method_id)
    return own or account.find(objects.PaymentMethod, customer.default_payment_method_id)


def _invoice(account: Account, change: Change, subscription: objects.Subscription, invoice_id: str) -> objects.Invoice:
    """Create and finalize the invoice of a change that is billed at once."""
    draft = invoicing.create_draft(
        account, subscription, change.lines, reason="subscription_update", invoice_id=invoice_id
    )
    return invoicing.finalize(account, draft)


def preview(account: Account, change: Change) -> objects.Invoice:
    """Return the invoice that a change leads to: its own if it is billed at once, else the next one."""
    at = now_on(account, change.before.test_clock)
    if change.at_once and change.lines:
        pending = invoicing.pending_items(account, change.before.customer_id, change.before.subscription_id)
        lines = [*(invoicing.line_of(account, item) for item in pending), *change.lines]
        return invoicing.describe(account, change.after, lines, reason="subscription_update", at=at)
    following = upcoming(account, change.after)
    return invoicing.describe(
        account,
        change.after,
        [*change.lines, *following.lines],
        reason="upcoming",
        at=following.created_at,
        period=following.period,
    )


def end_trial_now(account: Account, subscription: objects.Subscription) -> objects.Subscription:
    """End a trial before its time and begin the first paid period, which is invoiced and collected at once."""
    now = now_on(account, subscription.test_clock)
    trial = subscription.trial
    items = tuple(attrs.evolve(item, period=objects.Span(item.period.start, now)) for item in subscription.items)
    ended = attrs.evolve(
        subscription,
        items=items,
        trial=None if trial is None else objects.Span(trial.start, now),
        billing_cycle_anchor=now,
    )
    if end_without_method(account, ended):
        return account.get(objects.Subscription, subscription.subscription_id)
    renew(account, ended, status="active")
    started = account.get(objects.Subscription, subscription.subscription_id)
    draft = account.get(objects.Invoice, started.latest_invoice_id or "")
    invoice = invoicing.finalize(account, draft)
    if invoice.status == "open" and invoice.collection_method == "charge_automatically":
        collect(account, invoice)
    return account.get(objects.Subscription, subscription.subscription_id)


def _restarts(subscription: objects.Subscription, items: Sequence[objects.Item]) -> bool:
    """Return whether a change begins new periods: another interval, or the first price that costs anything."""
    intervals = {item.item_id: (item.price.interval, item.price.interval_count) for item in subscription.items}
    for item in items:
        known = intervals.get(item.item_id)
        if known is not None and known != (item.price.interval, item.price.interval_count):
            return True
    licensed = [item for item in subscription.items if not item.price.metered]
    was_free = bool(licensed) and not any(amount_of(item.price, item.quantity) for item in licensed)
    return was_free and any(amount_of(item.price, item.quantity) for item in items if not item.price.metered)


def _await_payment(account: Account, subscription_id: str) -> None:
    subscription = account.get(objects.Subscription, subscription_id)
    if subscription.status == "active":
        account.update(attrs.evolve(subscription, status="past_due"))


def _unpaid(account: Account, invoice: objects.Invoice) -> StripeError:
    """Return the error of a change that is not made because its payment failed."""
    intent = account.get(objects.PaymentIntent, invoice.payment_id or "")
    return unpaid(intent)


def unpaid(intent: objects.PaymentIntent) -> StripeError:
    """Return the error of a request that demands a payment which failed."""
    if intent.status == "requires_action":
        return StripeError(
            402,
            "Payment for this subscription requires additional user action before it can be completed successfully.",
            type="card_error",
            code="subscription_payment_intent_requires_action",
        )
    error = intent.error or {}
    return StripeError(
        402,
        str(error.get("message", "This customer has no attached payment source or default payment method.")),
        type="card_error",
        code=str(error.get("code", "card_declined")),
        decline_code=error.get("decline_code"),
    )
