"""Cancellation, now or with the period, and its withdrawal."""

from typing import Any, Final

import attrs

from billing_core.errors import GatewayInvalidRequestError, GatewayNotFoundError
from billing_core.model.subscription import ENDED
from billing_core.operations.commands import (
    CancelAtPeriodEnd,
    Cancellation,
    CancelNow,
    WithdrawCancellation,
)
from billing_core.operations.results import Performed
from billing_stripe.client import CLEAR, Json, StripeAnswer
from billing_stripe.operations import schedules
from billing_stripe.operations.answers import about_subscription, instant_in, rows_in
from billing_stripe.operations.steps import Handler, Steps

_ENDS: Final[dict[str, dict[str, Any]]] = {
    "period_end": {"cancel_at_period_end": True},
    "earliest_item_end": {"cancel_at": "min_period_end"},
    "latest_item_end": {"cancel_at": "max_period_end"},
}


async def cancel_now(steps: Steps, command: CancelNow) -> Performed:
    """End the subscription. Stripe does not know an ended one any more, so that is read instead of repeated."""
    params: dict[str, Any] = {"invoice_now": command.invoice_usage, "prorate": command.credit_unused_time}
    params |= _details(command.reason)
    try:
        answer = await steps.write("cancel_subscription", command.subscription_id, params=params)
    except (GatewayNotFoundError, GatewayInvalidRequestError):
        found = await find_canceled(steps, command)
        if found is None:
            raise
        return found
    return about_subscription(answer)


async def find_canceled(steps: Steps, command: CancelNow) -> Performed | None:
    """Look whether the subscription has ended."""
    answer = await _subscription(steps, command.subscription_id)
    return about_subscription(answer) if answer.data.get("status") in ENDED else None


async def cancel_at_period_end(steps: Steps, command: CancelAtPeriodEnd) -> Performed:
    """Schedule the end, after a schedule was released: the two exclude each other."""
    if command.release_schedule is not None:
        await schedules.release(steps, command.release_schedule)
    params = {**_ENDS[command.at], **_details(command.reason)}
    answer = await steps.write(
        "update_subscription",
        command.subscription_id,
        params=params,
        settled_by=lambda: _scheduled_end(steps, command.subscription_id),
    )
    return _ending(answer)


async def find_ending(steps: Steps, command: CancelAtPeriodEnd) -> Performed | None:
    """Look whether an end is scheduled."""
    answer = await _scheduled_end(steps, command.subscription_id)
    return None if answer is None else _ending(answer)


async def withdraw_cancellation(steps: Steps, command: WithdrawCancellation) -> Performed:
    """Clear the end in the form in which it was scheduled."""
    params = {"cancel_at_period_end": False} if command.at_period_end else {"cancel_at": CLEAR}
    return about_subscription(await steps.write("update_subscription", command.subscription_id, params=params))


async def find_continued(steps: Steps, command: WithdrawCancellation) -> Performed | None:
    """Look whether no end is scheduled any more."""
    answer = await _subscription(steps, command.subscription_id)
    ended = answer.data.get("status") in ENDED
    return None if ended or _ends(answer.data) else about_subscription(answer)


async def _scheduled_end(steps: Steps, subscription_id: str) -> StripeAnswer | None:
    """Return the subscription if its end is scheduled, and no schedule that should be released is left."""
    answer = await _subscription(steps, subscription_id)
    return answer if _ends(answer.data) and answer.data.get("schedule") is None else None


async def _subscription(steps: Steps, subscription_id: str) -> StripeAnswer:
    return await steps.read("fetch_subscription", subscription_id)


def _ends(subscription: Json) -> bool:
    return bool(subscription.get("cancel_at_period_end")) or subscription.get("cancel_at") is not None


def _ending(answer: StripeAnswer) -> Performed:
    """Return the outcome of a scheduled end: it is pending until then."""
    outcome = about_subscription(answer)
    end = instant_in(answer.data, "cancel_at")
    if end is None:
        ends = [instant_in(item, "current_period_end") for item in rows_in(answer.data, "items")]
        end = min((each for each in ends if each is not None), default=None)
    return attrs.evolve(outcome, result=attrs.evolve(outcome.result, status="pending", effective_at=end))


def _details(reason: Cancellation) -> dict[str, Any]:
    details = {"feedback": reason.feedback, "comment": reason.comment}
    given = {name: value for name, value in details.items() if value is not None}
    return {"cancellation_details": given} if given else {}


HANDLERS: Final[dict[type, Handler[Any]]] = {
    CancelNow: Handler(cancel_now, find_canceled),
    CancelAtPeriodEnd: Handler(cancel_at_period_end, find_ending),
    WithdrawCancellation: Handler(withdraw_cancellation, find_continued),
}
