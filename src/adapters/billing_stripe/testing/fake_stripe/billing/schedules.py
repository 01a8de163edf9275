"""Subscription schedules: phases that replace a subscription's items as time passes."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account, Task
from billing_stripe.testing.fake_stripe.billing import changes, ending, invoicing
from billing_stripe.testing.fake_stripe.billing.items import new_items
from billing_stripe.testing.fake_stripe.billing.lines import charges, prorations
from billing_stripe.testing.fake_stripe.billing.times import now_on

EXPIRING_BEFORE: Final = timedelta(days=7)
"""Time before the end of a schedule at which it is announced."""


def begin(account: Account, schedule: objects.SubscriptionSchedule) -> objects.SubscriptionSchedule:
    """Start the subscription of a schedule that has none yet. Its first invoice is a draft for a while."""
    phase = schedule.phases[0]
    now = now_on(account, schedule.test_clock)
    items = _items(account, (), phase, anchor=now, at=now)
    invoice_id = account.new_id("in")
    subscription = account.create(
        objects.Subscription(
            subscription_id=account.new_id("sub"),
            customer_id=schedule.customer_id,
            status="active",
            created_at=now,
            items=items,
            metadata=phase.metadata,
            latest_invoice_id=invoice_id,
            flexible_billing=schedule.flexible_billing,
            schedule_id=schedule.schedule_id,
            default_payment_method_id=None,
            missing_payment_method="create_invoice",
            test_clock=schedule.test_clock,
        )
    )
    lines = charges(account, subscription, items)
    invoicing.create_draft(account, subscription, lines, reason="subscription_create", invoice_id=invoice_id)
    return account.update(attrs.evolve(schedule, status="active", subscription_id=subscription.subscription_id))


def enter(account: Account, schedule: objects.SubscriptionSchedule, *, proration: str) -> None:
    """Give the subscription the items of the current phase.

    Args:
        account: of both.
        schedule: an active one.
        proration: what happens to the current periods: the `proration_behavior`.
    """
    subscription = account.get(objects.Subscription, schedule.subscription_id or "", "subscription")
    phase = schedule.phases[schedule.current_phase]
    now = now_on(account, schedule.test_clock)
    restarts = _restarts(account, subscription, phase)
    anchor = now if restarts else subscription.billing_cycle_anchor
    items = _items(account, subscription.items, phase, anchor=anchor, at=now)
    after = attrs.evolve(
        subscription,
        items=items,
        billing_cycle_anchor=anchor,
        metadata={**subscription.metadata, **phase.metadata},
        cancel_at=schedule.phases[-1].period.end if schedule.end_behavior == "cancel" else None,
        announced_until=None,
    )
    lines = [] if proration == "none" else prorations(account, subscription, items, now)
    begun = charges(account, after, [item for item in items if restarts and item.period.start == now])
    change = changes.Change(
        before=subscription,
        after=after,
        prorations=tuple(lines),
        charges=tuple(begun),
        at_once=proration == "always_invoice" or bool(begun),
    )
    changes.make(account, change, payment="allow_incomplete")


def release(
    account: Account, schedule: objects.SubscriptionSchedule, *, keep_cancellation: bool = False
) -> objects.SubscriptionSchedule:
    """Let the subscription continue without its schedule."""
    subscription = account.find(objects.Subscription, schedule.subscription_id)
    released = attrs.evolve(schedule, status="released", ended_at=now_on(account, schedule.test_clock))
    account.put(released)
    if subscription is not None:
        free = attrs.evolve(subscription, schedule_id=None)
        if not keep_cancellation and schedule.end_behavior == "cancel":
            free = attrs.evolve(free, cancel_at=None, canceled_at=None)
        account.update(free)
    account.emit("subscription_schedule.released", released)
    return released


def due(account: Account, schedule: objects.SubscriptionSchedule) -> Iterator[Task]:
    """Yield the future work for a schedule."""
    if not schedule.phases:
        return
    if schedule.status == "not_started":
        yield Task(schedule.phases[0].period.start, partial(_begin, account, schedule.schedule_id))
    elif schedule.status == "active":
        phase = schedule.phases[schedule.current_phase]
        if not schedule.expiring:
            announced_at = max(phase.period.start, schedule.phases[-1].period.end - EXPIRING_BEFORE)
            yield Task(announced_at, partial(_announce, account, schedule.schedule_id))
        yield Task(phase.period.end, partial(_leave, account, schedule.schedule_id))


def _begin(account: Account, schedule_id: str) -> None:
    begin(account, account.get(objects.SubscriptionSchedule, schedule_id))


def _announce(account: Account, schedule_id: str) -> None:
    schedule = attrs.evolve(account.get(objects.SubscriptionSchedule, schedule_id), expiring=True)
    account.put(schedule)
    account.emit("subscription_schedule.expiring", schedule)


def _leave(account: Account, schedule_id: str) -> None:
    """Enter the next phase, or end the schedule as it says."""
    schedule = account.get(objects.SubscriptionSchedule, schedule_id)
    following = schedule.current_phase + 1
    if following < len(schedule.phases):
        entered = account.update(attrs.evolve(schedule, current_phase=following))
        enter(account, entered, proration=entered.phases[following].proration_behavior)
        return
    if schedule.end_behavior != "cancel":
        release(account, schedule)
        return
    completed = attrs.evolve(schedule, status="completed", ended_at=now_on(account, schedule.test_clock))
    account.put(completed)
    account.emit("subscription_schedule.completed", completed)
    subscription = account.find(objects.Subscription, schedule.subscription_id)
    if subscription is not None and subscription.ended_at is None:
        ending.end(account, attrs.evolve(subscription, schedule_id=None))


def _items(
    account: Account,
    current: tuple[objects.Item, ...],
    phase: objects.SchedulePhase,
    *,
    anchor: datetime,
    at: datetime,
) -> tuple[objects.Item, ...]:
    """Return the items of a phase: those whose price stays keep their ids."""
    kept: Mapping[str, objects.Item] = {item.price.price_id: item for item in current}
    items = []
    for price_id, quantity in phase.prices.items():
        known = kept.get(price_id)
        if known is not None:
            items.append(attrs.evolve(known, quantity=quantity))
            continue
        given = {"price": price_id} if quantity is None else {"price": price_id, "quantity": quantity}
        (item,) = new_items(account, [given], period=None, anchor=anchor, at=at, param="phases")
        ended = [
            each.period for each in current if each.period.end <= at and each.price.interval == item.price.interval
        ]
        # At a renewal the item's first period has not begun: the renewal begins it, and bills it.
        items.append(attrs.evolve(item, period=objects.Span(ended[0].start, at)) if ended else item)
    return tuple(items)


def _restarts(account: Account, subscription: objects.Subscription, phase: objects.SchedulePhase) -> bool:
    """Return whether a phase has another interval than the subscription has now."""
    intervals = {(item.price.interval, item.price.interval_count) for item in subscription.items}
    prices = [account.get(objects.Price, price_id) for price_id in phase.prices]
    return any((price.interval, price.interval_count) not in intervals for price in prices)
