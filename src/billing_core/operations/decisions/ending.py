"""Decide on ends, pauses, and on withdrawing what is scheduled."""

from datetime import datetime
from typing import Literal

from billing_core.model import SubscriptionId, SubscriptionSnapshot
from billing_core.operations.account import Account
from billing_core.operations.commands import (
    ApplyPromotionCode,
    CancelAtPeriodEnd,
    Cancellation,
    CancelNow,
    PauseCollection,
    PauseSubscription,
    ResumeCollection,
    ResumeSubscription,
    WithdrawCancellation,
    WithdrawPendingUpdate,
    WithdrawScheduledChange,
)
from billing_core.operations.errors import OperationRefusedError, Refusal

Scheduled = Literal["plan_change", "pending_update", "cancellation"]
CollectionPause = Literal["keep_as_draft", "mark_uncollectible", "void"]


def decide_cancel_now(
    account: Account,
    subscription_id: SubscriptionId,
    *,
    reason: Cancellation,
    invoice_usage: bool = True,
    credit_unused_time: bool = False,
) -> CancelNow:
    """Decide on an end at once. Missing items do not matter for it."""
    seen = _live(account, subscription_id)
    return CancelNow(
        subscription_id=subscription_id,
        invoice_usage=invoice_usage,
        credit_unused_time=credit_unused_time,
        reason=reason,
        plan_code=seen.plan_code,
    )


def decide_cancel_at_period_end(
    account: Account, subscription_id: SubscriptionId, *, reason: Cancellation
) -> CancelAtPeriodEnd:
    """Decide on an end with the period: of items with several periods, with the last one."""
    seen = account.require_subscription(subscription_id)
    if seen.cancellation_scheduled:
        raise OperationRefusedError(Refusal.NOTHING_TO_CHANGE)
    intervals = {(item.interval, item.interval_count) for item in seen.items}
    return CancelAtPeriodEnd(
        subscription_id=subscription_id,
        at="period_end" if len(intervals) < 2 else "latest_item_end",
        reason=reason,
        release_schedule=seen.schedule_id,
        plan_code=seen.plan_code,
    )


def decide_undo(
    account: Account, subscription_id: SubscriptionId, what: Scheduled | None = None
) -> WithdrawCancellation | WithdrawScheduledChange | WithdrawPendingUpdate:
    """Decide on withdrawing what is scheduled: what is named, else an end, else a change, else an unpaid update."""
    seen = _live(account, subscription_id)
    kinds = [change.kind for change in seen.scheduled_changes]
    order: tuple[Scheduled, ...] = ("cancellation", "plan_change", "pending_update") if what is None else (what,)
    kind = next((kind for kind in order if kind in kinds), None)
    if kind == "cancellation" and seen.cancellation_scheduled:
        return WithdrawCancellation(
            subscription_id=subscription_id, at_period_end=seen.cancel_at_period_end, plan_code=seen.plan_code
        )
    if kind == "pending_update":
        return WithdrawPendingUpdate(subscription_id=subscription_id, plan_code=seen.plan_code)
    if kind is not None and seen.schedule_id is not None:
        return WithdrawScheduledChange(
            subscription_id=subscription_id, schedule_id=seen.schedule_id, plan_code=seen.plan_code
        )
    raise OperationRefusedError(Refusal.NOTHING_TO_UNDO)


def decide_promotion(account: Account, subscription_id: SubscriptionId, promotion_code_id: str) -> ApplyPromotionCode:
    """Decide on a discount from the next invoice on."""
    seen = account.require_subscription(subscription_id)
    return ApplyPromotionCode(
        subscription_id=subscription_id, promotion_code_id=promotion_code_id, plan_code=seen.plan_code
    )


def decide_pause(
    account: Account, subscription_id: SubscriptionId, *, invoice_usage: bool = True, credit_unused_time: bool = True
) -> PauseSubscription:
    """Decide on a pause of everything. The provider refuses it for subscriptions in classic billing mode."""
    seen = account.require_subscription(subscription_id)
    if seen.schedule_id is not None:
        raise OperationRefusedError(Refusal.CHANGE_SCHEDULED)
    if seen.status == "paused":
        raise OperationRefusedError(Refusal.ALREADY_PAUSED)
    if seen.status not in ("active", "trialing", "past_due"):
        raise OperationRefusedError(Refusal.NOT_PAUSABLE)
    return PauseSubscription(
        subscription_id=subscription_id,
        invoice_usage=invoice_usage,
        credit_unused_time=credit_unused_time,
        plan_code=seen.plan_code,
    )


def decide_resume(
    account: Account,
    subscription_id: SubscriptionId,
    *,
    period: Literal["new", "continued"] = "new",
    only_if_paid: bool = True,
) -> ResumeSubscription:
    """Decide on the end of a pause, also of one that began because a trial ended without a payment method."""
    seen = _live(account, subscription_id)
    if seen.status != "paused":
        raise OperationRefusedError(Refusal.NOT_PAUSED)
    return ResumeSubscription(
        subscription_id=subscription_id, period=period, only_if_paid=only_if_paid, plan_code=seen.plan_code
    )


def decide_pause_collection(
    account: Account, subscription_id: SubscriptionId, *, behavior: CollectionPause, resumes_at: datetime | None
) -> PauseCollection:
    """Decide on a pause of payments. Repeated, it replaces behavior and end."""
    seen = _live(account, subscription_id)
    if resumes_at is not None and resumes_at <= account.now(seen):
        raise OperationRefusedError(Refusal.NOT_PAUSABLE, "The end of the pause has passed.")
    return PauseCollection(
        subscription_id=subscription_id, behavior=behavior, resumes_at=resumes_at, plan_code=seen.plan_code
    )


def decide_resume_collection(account: Account, subscription_id: SubscriptionId) -> ResumeCollection:
    """Decide on collecting payments again."""
    seen = _live(account, subscription_id)
    if not seen.collection_paused:
        raise OperationRefusedError(Refusal.NOT_PAUSED)
    return ResumeCollection(subscription_id=subscription_id, plan_code=seen.plan_code)


def _live(account: Account, subscription_id: SubscriptionId) -> SubscriptionSnapshot:
    found = next((seen for seen in account.live if seen.subscription_id == subscription_id), None)
    if found is None:
        raise OperationRefusedError(Refusal.NO_SUBSCRIPTION)
    return found
