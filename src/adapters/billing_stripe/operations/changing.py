"""Changes of a subscription's items: plan, interval, add-ons, seats, and the discount of a promotion code."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from billing_core.errors import GatewayInvalidRequestError
from billing_core.operations.commands import (
    ApplyPromotionCode,
    ChangeItems,
    ItemChange,
    Proration,
    ScheduleChange,
    SetSeats,
    WithdrawPendingUpdate,
)
from billing_core.operations.results import Performed
from billing_stripe.client import Json, StripeAnswer
from billing_stripe.operations import schedules
from billing_stripe.operations.answers import CONFIRMATION, about_subscription, reference_in, rows_in
from billing_stripe.operations.items import PRORATIONS, changed_items, shown_prices
from billing_stripe.operations.steps import Handler, Steps, timestamp

MOST_DISCOUNTS: Final = 20
"""Source: https://docs.stripe.com/billing/subscriptions/coupons"""


async def change_items(steps: Steps, command: ChangeItems) -> Performed:
    """Change the items in one call, after a schedule that would undo it was released."""
    if command.release_schedule is not None:
        await schedules.release(steps, command.release_schedule)
    items = await changed_items(steps.prices, command.changed, command.added)
    params = update_params(items, command.proration, command.proration_date, only_if_paid=command.only_if_paid)
    return about_subscription(await _update(steps, command.subscription_id, params))


async def find_changed(steps: Steps, command: ChangeItems) -> Performed | None:
    """Compare the items, or those of a pending update, with what was wanted."""
    wanted = await changed_items(steps.prices, command.changed, command.added)
    found = await _changed(steps, command.subscription_id, wanted)
    return None if found is None else about_subscription(found)


async def set_seats(steps: Steps, command: SetSeats) -> Performed:
    """Set the quantity of the seats; a scheduled change is released before, and scheduled again with the seats."""
    change = ItemChange(item_id=command.item_id, quantity=command.quantity)
    params = update_params(
        await changed_items(steps.prices, [change], []),
        command.proration,
        command.proration_date,
        only_if_paid=command.only_if_paid,
    )
    if command.reschedule is None:
        return about_subscription(await _update(steps, command.subscription_id, params))
    return await _set_scheduled_seats(steps, command, command.reschedule, params)


async def find_seats(steps: Steps, command: SetSeats) -> Performed | None:
    """Compare the quantity, and the schedule if there is to be one."""
    change = ChangeItems(
        subscription_id=command.subscription_id,
        changed=(ItemChange(item_id=command.item_id, quantity=command.quantity),),
    )
    found = await find_changed(steps, change)
    if found is None or command.reschedule is None:
        return found
    return await schedules.find_scheduled(steps, command.reschedule)


async def withdraw_pending(steps: Steps, command: WithdrawPendingUpdate) -> Performed:
    """Void the invoice that the update waits for. Without a pending update nothing is voided."""
    answer = await _subscription(steps, command.subscription_id)
    invoice_id = reference_in(answer.data, "latest_invoice")
    if answer.data.get("pending_update") is None or invoice_id is None:
        return about_subscription(answer)
    await steps.write("void_invoice", invoice_id)
    return about_subscription(await _subscription(steps, command.subscription_id))


async def find_pending_withdrawn(steps: Steps, command: WithdrawPendingUpdate) -> Performed | None:
    """Look whether an update is pending."""
    answer = await _subscription(steps, command.subscription_id)
    return about_subscription(answer) if answer.data.get("pending_update") is None else None


async def apply_promotion_code(steps: Steps, command: ApplyPromotionCode) -> Performed:
    """Add the discount to those that the subscription has: the parameter replaces them all."""
    answer = await _discounted(steps, command.subscription_id)
    if _has_code(answer.data, command.promotion_code_id):
        return about_subscription(answer)
    kept = [{"discount": row["id"]} for row in rows_in(answer.data, "discounts")]
    if len(kept) >= MOST_DISCOUNTS:
        raise GatewayInvalidRequestError("apply_promotion_code: too many discounts", parameter="discounts")
    params = {"discounts": [*kept, {"promotion_code": command.promotion_code_id}]}
    return about_subscription(await steps.write("update_subscription", command.subscription_id, params=params))


async def find_promotion_code(steps: Steps, command: ApplyPromotionCode) -> Performed | None:
    """Look for the discount among those of the subscription."""
    answer = await _discounted(steps, command.subscription_id)
    return about_subscription(answer) if _has_code(answer.data, command.promotion_code_id) else None


def update_params(
    items: Sequence[Json], proration: Proration, proration_date: datetime | None, *, only_if_paid: bool
) -> dict[str, Any]:
    """Return the parameters of a change of items.

    A change that waits for its payment allows only some parameters, and no item can be removed by it: a removal is
    refused instead where the payment fails.

    Source: https://docs.stripe.com/billing/subscriptions/pending-updates-reference
    """
    params: dict[str, Any] = {
        "items": items,
        "proration_behavior": PRORATIONS[proration],
        "payment_behavior": "allow_incomplete",
        "expand": CONFIRMATION,
    }
    if only_if_paid:
        removes = any(item.get("deleted") for item in items)
        params["payment_behavior"] = "error_if_incomplete" if removes else "pending_if_incomplete"
    if proration_date is not None and proration != "none":
        params["proration_date"] = timestamp(proration_date)
    return params


async def _set_scheduled_seats(
    steps: Steps, command: SetSeats, reschedule: ScheduleChange, params: dict[str, Any]
) -> Performed:
    if reschedule.release_schedule is not None:
        await schedules.release(steps, reschedule.release_schedule)
    await _update(steps, command.subscription_id, params)
    if command.former_quantity is not None:
        former = [{"id": command.item_id, "quantity": command.former_quantity}]
        steps.undo_by(lambda: _update(steps, command.subscription_id, {**params, "items": former}))
    answer = await schedules.plan(steps, reschedule)
    return schedules.outcome(answer, reschedule)


async def _update(steps: Steps, subscription_id: str, params: Json) -> StripeAnswer:
    """Change the items in one call."""
    return await steps.write(
        "update_subscription",
        subscription_id,
        params=params,
        settled_by=lambda: _changed(steps, subscription_id, params["items"]),
    )


async def _changed(steps: Steps, subscription_id: str, wanted: Sequence[Json]) -> StripeAnswer | None:
    """Return the subscription if its items, or those of its pending update, are as wanted."""
    answer = await _subscription(steps, subscription_id)
    pending = answer.data.get("pending_update")
    planned = rows_in(pending, "subscription_items") if isinstance(pending, dict) else []
    return answer if _shows(rows_in(answer.data, "items"), wanted) or _shows(planned, wanted) else None


async def _subscription(steps: Steps, subscription_id: str) -> StripeAnswer:
    return await steps.read("fetch_subscription", subscription_id, params={"expand": CONFIRMATION})


async def _discounted(steps: Steps, subscription_id: str) -> StripeAnswer:
    return await steps.read("fetch_subscription", subscription_id, params={"expand": ["discounts"]})


def _has_code(subscription: Json, promotion_code_id: str) -> bool:
    codes = [reference_in(row, "promotion_code") for row in rows_in(subscription, "discounts")]
    return promotion_code_id in codes


def _shows(shown: Sequence[Json], wanted: Sequence[Json]) -> bool:
    """Return whether items are as the parameters of a change wanted them."""
    if not shown:
        return False
    items = shown_prices(shown)
    added = [tuple(item.get(name) for name in ("price", "quantity")) for item in wanted if "id" not in item]
    return all(_is_like(items, item) for item in wanted if "id" in item) and all(one in items.values() for one in added)


def _is_like(items: dict[str, tuple[str, int | None]], wanted: Json) -> bool:
    if wanted.get("deleted"):
        return wanted["id"] not in items
    price, quantity = items.get(wanted["id"], (None, None))
    return (
        wanted["id"] in items
        and wanted.get("price", price) == price
        and (quantity is None or wanted.get("quantity", quantity) == quantity)
    )


HANDLERS: Final[dict[type, Handler[Any]]] = {
    ChangeItems: Handler(change_items, find_changed),
    SetSeats: Handler(set_seats, find_seats),
    WithdrawPendingUpdate: Handler(withdraw_pending, find_pending_withdrawn),
    ApplyPromotionCode: Handler(apply_promotion_code, find_promotion_code),
}
