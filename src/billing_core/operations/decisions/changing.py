"""Decide on another plan, interval or number of seats."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal

import attrs

from billing_core.model import Phase, SubscriptionId, SubscriptionSnapshot
from billing_core.operations.account import Account
from billing_core.operations.commands import ChangeItems, NewItem, Proration, ScheduleChange, SetSeats
from billing_core.operations.decisions.targets import (
    Amounts,
    Target,
    as_item,
    find_target,
    is_downgrade,
    items_by_place,
    kept,
)
from billing_core.operations.errors import OperationRefusedError, Refusal
from billing_core.operations.items import Terms, has_seats, lead_role, quantities

When = Literal["now", "period_end", "auto"]
"""`auto`: at the end of the period if it costs less or is billed in shorter intervals, else now."""

_NO_AMOUNTS: Final[Mapping[str, int]] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class PlanChange:
    """A wanted change of a subscription. None leaves something as it is."""

    subscription_id: SubscriptionId
    plan_code: str | None = None
    terms: Terms = attrs.field(factory=Terms)
    seats: int | None = None
    when: When = "auto"


def decide_change(
    account: Account,
    wanted: PlanChange,
    *,
    proration: Proration = "invoice_now",
    proration_date: datetime | None = None,
    amounts: Amounts = _NO_AMOUNTS,
) -> ChangeItems | ScheduleChange:
    """Decide on a change now, or at the end of the period. Whatever is scheduled is replaced."""
    seen = account.require_subscription(wanted.subscription_id)
    _require_settled(seen)
    target = _find_target(account, seen, wanted)
    if not target.changed and not target.added:
        raise OperationRefusedError(Refusal.NOTHING_TO_CHANGE)
    if _waits(account, seen, target, wanted.when, amounts):
        return _schedule(account, seen, target)
    return ChangeItems(
        subscription_id=seen.subscription_id,
        changed=target.changed,
        added=target.added,
        proration=proration,
        proration_date=proration_date,
        # An invoice by mail is paid weeks later, and the provider holds back prices and quantities, not removed items.
        only_if_paid=seen.collection_method != "send_invoice" and not any(each.deleted for each in target.changed),
        release_schedule=seen.schedule_id,
    )


def decide_seats(
    account: Account,
    subscription_id: SubscriptionId,
    seats: int,
    *,
    proration: Proration = "next_invoice",
    proration_date: datetime | None = None,
) -> SetSeats:
    """Decide on a number of seats, from now on. A scheduled change keeps its date and gets the same number."""
    seen = account.require_subscription(subscription_id)
    _require_paid(seen)
    plan = None if seen.plan_code is None else account.catalog.plan(seen.plan_code)
    if plan is None or not has_seats(plan):
        raise OperationRefusedError(Refusal.NO_SEATS)
    counted = quantities(plan, seats)
    item = seen.plan_item if counted.seats is None else items_by_place(account, seen).get(("seat", None))
    if item is None or item.quantity is None:
        raise OperationRefusedError(Refusal.NO_SEATS)
    if item.quantity == seats:
        raise OperationRefusedError(Refusal.NOTHING_TO_CHANGE)
    return SetSeats(
        subscription_id=subscription_id,
        item_id=item.item_id,
        quantity=seats,
        proration=proration,
        proration_date=proration_date,
        former_quantity=item.quantity,
        reschedule=_reschedule(account, seen, seats),
        plan_code=seen.plan_code,
    )


def _require_paid(seen: SubscriptionSnapshot) -> None:
    if seen.status == "incomplete":
        raise OperationRefusedError(Refusal.PAYMENT_PENDING)
    if seen.pending_change is not None:
        raise OperationRefusedError(Refusal.CHANGE_PENDING)


def _require_settled(seen: SubscriptionSnapshot) -> None:
    _require_paid(seen)
    if seen.cancellation_scheduled:
        raise OperationRefusedError(Refusal.CANCELLATION_SCHEDULED)


def _find_target(account: Account, seen: SubscriptionSnapshot, wanted: PlanChange) -> Target:
    plan_code, base = wanted.plan_code or seen.plan_code, seen.plan_item
    if plan_code is None:
        raise OperationRefusedError(Refusal.UNKNOWN_PLAN)
    plan = account.require_plan(plan_code)
    if account.rivals(plan, beside=seen):
        raise OperationRefusedError(Refusal.ALREADY_SUBSCRIBED)
    terms = attrs.evolve(wanted.terms, currency=wanted.terms.currency or seen.currency)
    if terms.interval is None and base is not None:
        terms = attrs.evolve(terms, interval=base.interval, interval_count=base.interval_count)
    return find_target(account, seen, plan, terms, _seats(account, seen, has_seats(plan), wanted.seats))


def _seats(account: Account, seen: SubscriptionSnapshot, counts: bool, wanted: int | None) -> int | None:
    """Return the number of seats under another plan: as many as before, if both plans are sold by the seat."""
    if wanted is not None or not counts or seen.plan_code is None:
        return wanted
    before = account.catalog.plan(seen.plan_code)
    return seen.seat_count if before is not None and has_seats(before) else None


def _waits(account: Account, seen: SubscriptionSnapshot, target: Target, when: When, amounts: Amounts) -> bool:
    if when != "auto":
        return when == "period_end"
    # No period of a trial is paid for that a downgrade could wait for.
    return seen.status != "trialing" and is_downgrade(account, seen, target, amounts)


def _schedule(account: Account, seen: SubscriptionSnapshot, target: Target) -> ScheduleChange:
    if seen.current_period_end is None:
        raise OperationRefusedError(Refusal.STATE_INCOMPLETE)
    return ScheduleChange(
        subscription_id=seen.subscription_id,
        effective_at=seen.current_period_end,
        items=target.items(account, seen),
        release_schedule=seen.schedule_id,
    )


def _reschedule(account: Account, seen: SubscriptionSnapshot, seats: int) -> ScheduleChange | None:
    """Return the scheduled change of a subscription with another number of seats; None if there is none."""
    if seen.schedule_id is None:
        return None
    phase = seen.planned[0] if len(seen.planned) == 1 else Phase()
    plan = None if phase.plan_code is None else account.catalog.plan(phase.plan_code)
    if phase.starts_at is None or plan is None:
        raise OperationRefusedError(Refusal.CHANGE_SCHEDULED)
    counted = quantities(plan, seats if has_seats(plan) else None)
    role = None if not has_seats(plan) else "seat" if counted.seats is not None else lead_role(plan)
    items = []
    for planned in phase.items:
        place = account.catalog.place_of(as_item(planned))
        counts = place is not None and (place.plan_code, place.role) == (plan.plan_code, role)
        items.append(NewItem(price=kept(planned.price_id, place), quantity=seats if counts else planned.quantity))
    return ScheduleChange(
        subscription_id=seen.subscription_id,
        effective_at=phase.starts_at,
        items=tuple(items),
        release_schedule=seen.schedule_id,
    )
