"""Subscription schedules: made from a subscription and then given their phases, released, and restored."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from billing_core.errors import GatewayInvalidRequestError
from billing_core.operations.commands import ScheduleChange, WithdrawScheduledChange
from billing_core.operations.results import OperationResult, Performed
from billing_stripe.client import Json, StripeAnswer
from billing_stripe.operations.answers import (
    about_subscription,
    instant_in,
    performed,
    phases_in,
    reference_in,
    rows_in,
    subscription_in,
    subscription_result,
    text_in,
)
from billing_stripe.operations.items import new_items, price_of
from billing_stripe.operations.steps import OPERATION, Handler, Steps, timestamp

_OVER: Final = frozenset({"released", "canceled", "completed"})
_KEPT: Final = ("billing_cycle_anchor", "collection_method", "description", "metadata", "on_behalf_of")
"""Fields of a phase that are sent as they are shown."""


async def schedule(steps: Steps, command: ScheduleChange) -> Performed:
    """Create a schedule that follows the subscription, then give it the coming phase: one call cannot do both."""
    if command.release_schedule is not None:
        await release(steps, command.release_schedule)
    return outcome(await plan(steps, command), command)


def outcome(answer: StripeAnswer, command: ScheduleChange) -> Performed:
    """Return the outcome of a change that was scheduled, from the answer about the schedule."""
    subscription = answer.data["subscription"]
    snapshot = subscription_in(subscription)
    if snapshot is not None:
        snapshot = attrs.evolve(snapshot, planned=phases_in(answer.data))
    return performed(answer, _scheduled(subscription, command.effective_at), snapshot)


async def find_scheduled(steps: Steps, command: ScheduleChange) -> Performed | None:
    """Compare the last phase of the subscription's schedule with what was wanted."""
    answer = await steps.read("fetch_subscription", command.subscription_id, params={"expand": ["schedule"]})
    found = answer.data.get("schedule")
    if not isinstance(found, dict) or not _is_planned(steps, found):
        return None
    return performed(answer, _scheduled(answer.data, command.effective_at), subscription_in(answer.data))


async def withdraw(steps: Steps, command: WithdrawScheduledChange) -> Performed:
    """Release the schedule, then read the subscription, which the answer does not show."""
    await release(steps, command.schedule_id)
    return about_subscription(await steps.read("fetch_subscription", command.subscription_id))


async def find_withdrawn(steps: Steps, command: WithdrawScheduledChange) -> Performed | None:
    """Look whether the schedule is over."""
    if await _released(steps, command.schedule_id) is None:
        return None
    return about_subscription(await steps.read("fetch_subscription", command.subscription_id))


async def release(steps: Steps, schedule_id: str) -> None:
    """Release a schedule; the subscription continues as it is, and a scheduled end remains.

    One that is over counts as released. Where a later step is refused, it is made again.
    """
    try:
        answer = await _release(steps, schedule_id)
    except GatewayInvalidRequestError:
        if await _released(steps, schedule_id) is None:
            raise
        return
    steps.undo_by(lambda: _restore(steps, answer.data))


async def _release(steps: Steps, schedule_id: str) -> StripeAnswer:
    return await steps.write(
        "release_schedule",
        schedule_id,
        params={"preserve_cancel_date": True},
        settled_by=lambda: _released(steps, schedule_id),
    )


async def _released(steps: Steps, schedule_id: str) -> StripeAnswer | None:
    """Return a schedule that is over; None if it is in force."""
    answer = await steps.read("fetch_schedule", schedule_id)
    return answer if answer.data.get("status") in _OVER else None


async def plan(steps: Steps, command: ScheduleChange) -> StripeAnswer:
    """Create the schedule of a change and return the answer about it, with its subscription."""
    items = await new_items(steps.prices, command.items)
    created = await _create(steps, command.subscription_id)
    if _is_planned(steps, created) and (planned := await _planned(steps, created["id"])) is not None:
        return planned
    current = _phase(rows_in(created, "phases")[-1])
    following = {name: value for name, value in current.items() if name not in ("start_date", "end_date", "trial_end")}
    phases = [
        {**current, "end_date": timestamp(command.effective_at)},
        {**following, "items": items},
    ]
    params = {**_plan(phases), "metadata": {OPERATION: steps.key}, "expand": ["subscription"]}
    return await steps.write(
        "update_schedule", created["id"], params=params, settled_by=lambda: _planned(steps, created["id"])
    )


async def _planned(steps: Steps, schedule_id: str) -> StripeAnswer | None:
    """Return a schedule if this operation gave it its phases."""
    answer = await steps.read("fetch_schedule", schedule_id, params={"expand": ["subscription"]})
    return answer if _is_planned(steps, answer.data) else None


def _is_planned(steps: Steps, schedule: Json) -> bool:
    return (schedule.get("metadata") or {}).get(OPERATION) == steps.key


async def _create(steps: Steps, subscription_id: str) -> Json:
    """Create a schedule that follows the subscription as it is; take one that an earlier try left like that."""
    try:
        created = await steps.write(
            "create_schedule",
            params={"from_subscription": subscription_id},
            settled_by=lambda: _left_over(steps, subscription_id),
        )
    except GatewayInvalidRequestError:
        found = await _left_over(steps, subscription_id)
        if found is None:
            raise
        created = found
    steps.undo_by(lambda: _release(steps, created.data["id"]))
    return created.data


async def _left_over(steps: Steps, subscription_id: str) -> StripeAnswer | None:
    """Return the subscription's schedule if it is this operation's, or if it changes nothing.

    A schedule without a plan is left where the call that was to give it one never came through.
    """
    answer = await steps.read("fetch_subscription", subscription_id, params={"expand": ["schedule"]})
    found = answer.data.get("schedule")
    if not isinstance(found, dict):
        return None
    changes_nothing = found.get("end_behavior") == "release" and len(rows_in(found, "phases")) == 1
    return attrs.evolve(answer, data=found) if changes_nothing or _is_planned(steps, found) else None


async def _restore(steps: Steps, released: Json) -> None:
    """Make a released schedule again: those of its phases that are not over."""
    subscription_id = reference_in(released, "released_subscription")
    if subscription_id is None:
        return
    begun = instant_in(released.get("current_phase") or {}, "start_date")
    rows = [row for row in rows_in(released, "phases") if _is_left(row, begun)]
    created = await steps.write(
        "create_schedule",
        params={"from_subscription": subscription_id},
        settled_by=lambda: _left_over(steps, subscription_id),
    )
    schedule_id = created.data["id"]
    phases = [_phase(row) for row in rows]
    phases[0]["start_date"] = rows_in(created.data, "phases")[0]["start_date"]
    params = _plan(phases, end_behavior=text_in(released, "end_behavior"))
    if released.get("metadata"):
        params["metadata"] = released["metadata"]
    await steps.write(
        "update_schedule", schedule_id, params=params, settled_by=lambda: _with_phases(steps, schedule_id, len(rows))
    )


async def _with_phases(steps: Steps, schedule_id: str, number: int) -> StripeAnswer | None:
    """Return a schedule if it has so many phases."""
    answer = await steps.read("fetch_schedule", schedule_id)
    return answer if len(rows_in(answer.data, "phases")) == number else None


def _is_left(phase: Json, begun: datetime | None) -> bool:
    starts_at = instant_in(phase, "start_date")
    return begun is None or starts_at is None or starts_at >= begun


def _plan(phases: Sequence[Json], *, end_behavior: str | None = None) -> dict[str, Any]:
    """Return the parameters that give a schedule its phases. A change at their boundary is not prorated."""
    return {"phases": phases, "end_behavior": end_behavior or "release", "proration_behavior": "none"}


def _phase(shown: Json) -> dict[str, Any]:
    """Return a phase that Stripe shows as parameters. What is not sent would be lost: discounts, taxes, metadata."""
    params: dict[str, Any] = {name: shown[name] for name in _KEPT if shown.get(name)}
    params["start_date"] = shown["start_date"]
    params["items"] = [_item(item) for item in rows_in(shown, "items")]
    params["proration_behavior"] = "none"
    params |= {name: shown[name] for name in ("end_date", "trial_end") if shown.get(name)}
    if (shown.get("automatic_tax") or {}).get("enabled"):
        params["automatic_tax"] = {"enabled": True}
    if (method := reference_in(shown, "default_payment_method")) is not None:
        params["default_payment_method"] = method
    params |= _lists(shown, "default_tax_rates")
    return params


def _item(shown: Json) -> dict[str, Any]:
    params: dict[str, Any] = {"price": price_of(shown)}
    if shown.get("quantity") is not None:
        params["quantity"] = shown["quantity"]
    if shown.get("metadata"):
        params["metadata"] = shown["metadata"]
    return params | _lists(shown, "tax_rates")


def _lists(shown: Json, taxes: str) -> dict[str, Any]:
    """Return the tax rates and discounts of a phase or an item, where it has any."""
    params: dict[str, Any] = {}
    rates = [rate["id"] if isinstance(rate, dict) else rate for rate in shown.get(taxes) or ()]
    if rates:
        params[taxes] = rates
    discounts = [_discount(row) for row in shown.get("discounts") or ()]
    if discounts:
        params["discounts"] = discounts
    return params


def _discount(shown: Json) -> dict[str, str]:
    """Name a discount by the most exact of its ids: the one that is running, the code, or the coupon."""
    for name in ("discount", "promotion_code", "coupon"):
        if (found := reference_in(shown, name)) is not None:
            return {name: found}
    return {}


def _scheduled(subscription: Json, effective_at: datetime) -> OperationResult:
    return attrs.evolve(subscription_result(subscription), status="pending", effective_at=effective_at)


HANDLERS: Final[dict[type, Handler[Any]]] = {
    ScheduleChange: Handler(schedule, find_scheduled),
    WithdrawScheduledChange: Handler(withdraw, find_withdrawn),
}
