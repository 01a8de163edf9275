"""Commands about subscriptions."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import attrs

from billing_core.errors import GatewayCardDeclinedError, GatewayInvalidRequestError, GatewayPaymentMethodMissingError
from billing_core.model import ItemSnapshot, Phase, PlannedItem, SubscriptionId, SubscriptionSnapshot
from billing_core.operations.commands import (
    ApplyPromotionCode,
    CancelAtPeriodEnd,
    CancelNow,
    ChangeItems,
    ItemChange,
    NewItem,
    PauseCollection,
    PauseSubscription,
    ResumeCollection,
    ResumeSubscription,
    ScheduleChange,
    SetSeats,
    StartSubscription,
    WithdrawCancellation,
    WithdrawPendingUpdate,
    WithdrawScheduledChange,
)
from billing_core.operations.results import OperationResult, Performed
from billing_memory.operations.provider.customers import expire_earlier
from billing_memory.operations.provider.objects import FakeSchedule
from billing_memory.operations.provider.proration import prorated
from billing_memory.operations.provider.state import ProviderState, amount_of, with_items


def start(state: ProviderState, command: StartSubscription) -> Performed:
    """Start a subscription, and charge its first period unless it begins with a trial."""
    state.customer(command.customer_id)
    expire_earlier(state, command.expire)
    items = [state.new_item(item) for item in command.items]
    trial_ends_at = None if command.trial is None else state.now() + timedelta(days=command.trial.days)
    begun = SubscriptionSnapshot(
        subscription_id=SubscriptionId(state.new_id("sub")),
        customer_id=command.customer_id,
        status="active" if trial_ends_at is None else "trialing",
        currency=command.currency or (state.price(command.items[0].price).currency if command.items else None),
        trial_ends_at=trial_ends_at,
        collection_method="charge_automatically",
    )
    subscription = with_items(begun, items)
    amount = 0 if command.trial else amount_of(items)
    paid = _first_payment(state, command, amount)
    if not paid:
        subscription = attrs.evolve(subscription, status="incomplete")
    state.put(subscription)
    state.tenants[subscription.subscription_id] = command.tenant_id
    state.bill(subscription, amount, paid=paid, reason="subscription_create")
    if command.promotion_code_id is not None:
        state.discounts[subscription.subscription_id] = (command.promotion_code_id,)
    to_set_up = command.payment == "confirm" and paid
    return _about(state, subscription, "setup" if to_set_up else "payment" if not paid else None)


def _first_payment(state: ProviderState, command: StartSubscription, amount: int) -> bool:
    if command.payment == "confirm":
        return amount == 0
    if amount and state.customer(command.customer_id).default_payment_method is None:
        raise GatewayPaymentMethodMissingError("nothing to charge")
    try:
        paid = state.charge(command.customer_id, amount)
    except GatewayCardDeclinedError:
        if command.payment == "off_session":
            raise
        return False
    if not paid and command.payment == "off_session":
        raise GatewayCardDeclinedError("to confirm", decline_code="authentication_required")
    return paid


def change_items(state: ProviderState, command: ChangeItems) -> Performed:
    """Change items; an upgrade that cannot be paid now waits, if it is wanted only when it is paid."""
    _release(state, command.subscription_id, command.release_schedule)
    before = state.live(command.subscription_id)
    items = changed(state, before, command.changed, command.added)
    due = 0
    if command.proration == "invoice_now":
        at = command.proration_date or state.now()
        due = sum(each.amount for each in prorated(before.items, items, at))
    after = with_items(before, items)
    if due <= 0:
        return _about(state, state.put(after))
    try:
        paid = state.charge(before.customer_id, due, before.payment_method_id)
    except GatewayCardDeclinedError:
        paid = False
    if paid or not command.only_if_paid:
        state.bill(after, due, paid=paid, reason="subscription_update")
        return _about(state, state.put(after if paid else attrs.evolve(after, status="past_due")))
    state.bill(before, due, paid=False, reason="subscription_update")
    state.waiting[before.subscription_id] = tuple(items)
    return _about(state, state.put(attrs.evolve(before, pending_change=_phase_of(items))), "payment", status="pending")


def changed(
    state: ProviderState, before: SubscriptionSnapshot, changes: Sequence[ItemChange], added: Sequence[NewItem]
) -> list[ItemSnapshot]:
    """Return the items of a subscription after a change. Raises: GatewayInvalidRequestError for an unknown item."""
    items = {item.item_id: item for item in before.items}
    for change in changes:
        item = items.get(change.item_id)
        if item is None:
            raise GatewayInvalidRequestError(f"no item {change.item_id}", parameter="items[0][id]")
        if change.deleted:
            del items[change.item_id]
            continue
        if change.price is not None:
            priced = state.new_item(NewItem(price=change.price, quantity=change.quantity), item.period)
            item = attrs.evolve(priced, item_id=item.item_id)
        quantity = item.quantity if change.quantity is None else change.quantity
        items[change.item_id] = attrs.evolve(item, quantity=None if item.usage_type == "metered" else quantity)
    period = before.items[0].period if before.items else None
    return [*items.values(), *(state.new_item(item, period) for item in added)]


def set_seats(state: ProviderState, command: SetSeats) -> Performed:
    """Set the quantity of one item."""
    change = ChangeItems(
        subscription_id=command.subscription_id,
        changed=(ItemChange(item_id=command.item_id, quantity=command.quantity),),
        proration=command.proration,
        proration_date=command.proration_date,
        only_if_paid=command.only_if_paid,
        release_schedule=command.reschedule.release_schedule if command.reschedule else None,
    )
    outcome = change_items(state, change)
    if command.reschedule is None:
        return outcome
    return schedule(state, attrs.evolve(command.reschedule, release_schedule=None))


def schedule(state: ProviderState, command: ScheduleChange) -> Performed:
    """Schedule other items for the end of the period."""
    state.live(command.subscription_id)
    phase = state.phase(command.items, command.effective_at)
    _release(state, command.subscription_id, command.release_schedule)
    if any(each.subscription_id == command.subscription_id for each in state.schedules.values()):
        raise GatewayInvalidRequestError("the subscription has a schedule", parameter="from_subscription")
    made = FakeSchedule(
        schedule_id=state.new_id("sub_sched"),
        subscription_id=command.subscription_id,
        effective_at=command.effective_at,
        items=command.items,
    )
    state.schedules[made.schedule_id] = made
    subscription = state.put(
        attrs.evolve(state.live(command.subscription_id), schedule_id=made.schedule_id, planned=(phase,))
    )
    outcome = _about(state, subscription, status="pending")
    return attrs.evolve(outcome, result=attrs.evolve(outcome.result, effective_at=command.effective_at))


def withdraw_scheduled(state: ProviderState, command: WithdrawScheduledChange) -> Performed:
    """Drop a scheduled change."""
    _release(state, command.subscription_id, command.schedule_id)
    return _about(state, state.live(command.subscription_id))


def withdraw_pending(state: ProviderState, command: WithdrawPendingUpdate) -> Performed:
    """Void the invoice that a pending update waits for."""
    subscription = state.live(command.subscription_id)
    invoice = state.latest_invoice(command.subscription_id)
    if subscription.pending_change is not None and invoice is not None:
        state.invoices[invoice.invoice_id] = attrs.evolve(invoice, status="void", amount_remaining=0)
        state.waiting.pop(command.subscription_id, None)
    return _about(state, state.put(attrs.evolve(subscription, pending_change=None)))


def apply_promotion_code(state: ProviderState, command: ApplyPromotionCode) -> Performed:
    """Add a discount."""
    subscription = state.live(command.subscription_id)
    known = {code.promotion_code_id for code in state.promotion_codes.values()}
    if command.promotion_code_id not in known:
        raise GatewayInvalidRequestError("no such promotion code", parameter="discounts[0][promotion_code]")
    codes = (*state.discounts.get(command.subscription_id, ()), command.promotion_code_id)
    state.discounts[command.subscription_id] = tuple(dict.fromkeys(codes))
    return _about(state, subscription)


def cancel_now(state: ProviderState, command: CancelNow) -> Performed:
    """End a subscription."""
    subscription = state.subscriptions.get(command.subscription_id)
    if subscription is None or not subscription.ended:
        now = state.now()
        subscription = attrs.evolve(
            state.live(command.subscription_id),
            status="canceled",
            canceled_at=now,
            ended_at=now,
            cancel_at_period_end=False,
            cancellation_reason="cancellation_requested",
            cancellation_feedback=command.reason.feedback,
            schedule_id=None,
            planned=(),
        )
        state.put(subscription)
        _forget_schedules(state, command.subscription_id)
    return _about(state, subscription)


def cancel_at_period_end(state: ProviderState, command: CancelAtPeriodEnd) -> Performed:
    """Schedule the end."""
    state.live(command.subscription_id)
    _release(state, command.subscription_id, command.release_schedule)
    subscription = state.live(command.subscription_id)
    if subscription.schedule_id is not None:
        raise GatewayInvalidRequestError("the subscription has a schedule", parameter="cancel_at_period_end")
    ends = sorted(item.period.end for item in subscription.items if item.period is not None)
    end = ends[-1 if command.at == "latest_item_end" else 0]
    subscription = attrs.evolve(
        subscription,
        cancel_at_period_end=command.at == "period_end",
        cancel_at=end,
        canceled_at=state.now(),
        cancellation_reason="cancellation_requested",
        cancellation_feedback=command.reason.feedback,
    )
    outcome = _about(state, state.put(subscription), status="pending")
    return attrs.evolve(outcome, result=attrs.evolve(outcome.result, effective_at=end))


def withdraw_cancellation(state: ProviderState, command: WithdrawCancellation) -> Performed:
    """Let a subscription continue."""
    continued = attrs.evolve(
        state.live(command.subscription_id),
        cancel_at_period_end=False,
        cancel_at=None,
        canceled_at=None,
        cancellation_reason=None,
        cancellation_feedback=None,
    )
    return _about(state, state.put(continued))


def pause(state: ProviderState, command: PauseSubscription) -> Performed:
    """Pause a subscription."""
    subscription = state.live(command.subscription_id)
    if subscription.schedule_id is not None:
        raise GatewayInvalidRequestError("a subscription with a schedule cannot be paused")
    return _about(state, state.put(attrs.evolve(subscription, status="paused")))


def resume(state: ProviderState, command: ResumeSubscription) -> Performed:
    """Resume a paused subscription, if its next period is paid."""
    subscription = state.live(command.subscription_id)
    if subscription.status != "paused":
        raise GatewayInvalidRequestError("the subscription is not paused")
    due = amount_of(subscription.items) if command.period == "new" else 0
    try:
        paid = state.charge(subscription.customer_id, due, subscription.payment_method_id)
    except GatewayCardDeclinedError:
        paid = False
    if due > 0:
        state.bill(subscription, due, paid=paid, reason="subscription_update")
    if paid:
        return _about(state, state.put(attrs.evolve(subscription, status="active")))
    if command.only_if_paid:
        return _about(state, subscription, "payment", status="pending")
    return _about(state, state.put(attrs.evolve(subscription, status="past_due")), "payment")


def pause_collection(state: ProviderState, command: PauseCollection) -> Performed:
    """Stop collecting payments."""
    subscription = state.live(command.subscription_id)
    paused = attrs.evolve(subscription, collection_paused=True, pause_behavior=command.behavior)
    return _about(state, state.put(paused))


def resume_collection(state: ProviderState, command: ResumeCollection) -> Performed:
    """Collect payments again."""
    subscription = state.live(command.subscription_id)
    return _about(state, state.put(attrs.evolve(subscription, collection_paused=False, pause_behavior=None)))


def _release(state: ProviderState, subscription_id: SubscriptionId, schedule_id: str | None) -> None:
    """Drop a schedule; one that is over counts as dropped."""
    if schedule_id is not None and state.schedules.pop(schedule_id, None) is not None:
        state.put(attrs.evolve(state.live(subscription_id), schedule_id=None, planned=()))


def _forget_schedules(state: ProviderState, subscription_id: SubscriptionId) -> None:
    for schedule_id, each in list(state.schedules.items()):
        if each.subscription_id == subscription_id:
            del state.schedules[schedule_id]


def _phase_of(items: Sequence[ItemSnapshot]) -> Phase:
    planned = [PlannedItem(price_id=item.price_id, quantity=item.quantity) for item in items]
    return Phase(items=tuple(sorted(planned, key=lambda item: item.price_id)))


def _about(
    state: ProviderState, subscription: SubscriptionSnapshot, confirms: Any = None, *, status: Any = None
) -> Performed:
    """Return the outcome of a change of a subscription, with a client secret if the customer has to confirm."""
    waits = subscription.status == "incomplete" or (confirms == "setup")
    result = OperationResult(
        status=status or ("requires_action" if waits else "done"),
        object_id=subscription.subscription_id,
        object_status=subscription.status,
        confirms=confirms,
        client_secret=None if confirms is None else f"{subscription.subscription_id}_secret_fake",
    )
    return Performed(result=result, snapshot=subscription, answered_at=state.now())


HANDLERS: Final[dict[type, Callable[[ProviderState, Any], Performed]]] = {
    StartSubscription: start,
    ChangeItems: change_items,
    SetSeats: set_seats,
    ScheduleChange: schedule,
    WithdrawScheduledChange: withdraw_scheduled,
    WithdrawPendingUpdate: withdraw_pending,
    ApplyPromotionCode: apply_promotion_code,
    CancelNow: cancel_now,
    CancelAtPeriodEnd: cancel_at_period_end,
    WithdrawCancellation: withdraw_cancellation,
    PauseSubscription: pause,
    ResumeSubscription: resume,
    PauseCollection: pause_collection,
    ResumeCollection: resume_collection,
}
