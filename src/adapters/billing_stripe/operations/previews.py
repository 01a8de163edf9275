"""Previews: the invoices that Stripe would make of a command."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from billing_core.errors import GatewayInvalidRequestError, GatewayNotFoundError
from billing_core.model import ItemId, Period, SubscriptionId
from billing_core.operations.commands import (
    ChangeItems,
    Command,
    ItemChange,
    PriceChoice,
    ScheduleChange,
    SetSeats,
    StartSubscription,
)
from billing_core.operations.results import CommandPreview, InvoicePreview, PreviewLine
from billing_stripe.client import Json, StripeClient, StripeRequest
from billing_stripe.operations.answers import instant_in, reference_in, rows_in
from billing_stripe.operations.items import PRORATIONS, changed_items, new_items
from billing_stripe.operations.prices import PriceBook
from billing_stripe.operations.steps import timestamp


class StripePreviews:
    """A `PreviewGateway`."""

    def __init__(self, client: StripeClient, prices: PriceBook) -> None:
        self._client = client
        self._prices = prices

    async def preview(self, command: Command) -> CommandPreview:
        """See PreviewGateway."""
        match command:
            case StartSubscription():
                return await self._start(command)
            case ChangeItems():
                return await self._change(command)
            case SetSeats():
                return await self._change(_as_change(command))
            case ScheduleChange():
                return await self._schedule(command)
        raise ValueError(f"{command.operation} has no preview")

    async def upcoming(self, subscription_id: SubscriptionId, prices: Sequence[PriceChoice]) -> InvoicePreview | None:
        """See PreviewGateway."""
        try:
            return await self._invoice(await self._places(prices), {"subscription": subscription_id})
        except (GatewayInvalidRequestError, GatewayNotFoundError) as refused:
            if refused.provider_code == "invoice_upcoming_none":
                return None
            raise

    async def _start(self, command: StartSubscription) -> CommandPreview:
        """Preview the first invoice, and the regular one. A trial is shown by the instant at which it would end."""
        details: dict[str, Any] = {
            "items": await new_items(self._prices, command.items),
            "billing_mode": {"type": command.billing_mode},
        }
        params: dict[str, Any] = {"customer": command.customer_id}
        if command.promotion_code_id is not None:
            params["discounts"] = [{"promotion_code": command.promotion_code_id}]
        if command.currency is not None:
            params["currency"] = command.currency
        places = await self._places([item.price for item in command.items])
        upcoming = await self._invoice(places, {**params, "subscription_details": details}, mode="recurring")
        if command.trial is not None:
            trial_end = datetime.now(UTC) + timedelta(days=command.trial.days)
            details = {**details, "trial_end": timestamp(trial_end)}
            upcoming = attrs.evolve(upcoming, due_at=trial_end.replace(microsecond=0))
        now = await self._invoice(places, {**params, "subscription_details": details})
        return CommandPreview(now=attrs.evolve(now, due_at=None), upcoming=upcoming)

    async def _change(self, command: ChangeItems) -> CommandPreview:
        details: dict[str, Any] = {
            "items": await changed_items(self._prices, command.changed, command.added),
            "proration_behavior": PRORATIONS[command.proration],
        }
        params = {"subscription": command.subscription_id, "subscription_details": details}
        choices = [item.price for item in command.added]
        places = await self._places(choices + [item.price for item in command.changed if item.price is not None])
        recurring = await self._invoice(places, params, mode="recurring")
        if command.proration_date is not None and command.proration != "none":
            details["proration_date"] = timestamp(command.proration_date)
        shown = await self._invoice(places, params)
        if command.proration == "invoice_now":
            return CommandPreview(now=attrs.evolve(shown, due_at=None), upcoming=recurring)
        return CommandPreview(upcoming=shown)

    async def _schedule(self, command: ScheduleChange) -> CommandPreview:
        """Preview the regular invoice with the items of the coming phase, in place of those that there are."""
        subscription = await self._client.call(
            StripeRequest(operation="fetch_subscription", ids=(command.subscription_id,))
        )
        former = [{"id": item["id"], "deleted": True} for item in rows_in(subscription.data, "items")]
        items = [*former, *await new_items(self._prices, command.items)]
        params = {
            "subscription": command.subscription_id,
            "subscription_details": {"items": items, "proration_behavior": "none"},
        }
        places = await self._places([item.price for item in command.items])
        upcoming = await self._invoice(places, params, mode="recurring")
        return CommandPreview(upcoming=attrs.evolve(upcoming, due_at=command.effective_at))

    async def _invoice(self, places: "_Places", params: Json, *, mode: str = "next") -> InvoicePreview:
        request = StripeRequest(operation="preview_invoice", params={**params, "preview_mode": mode})
        return _invoice((await self._client.call(request)).data, places)

    async def _places(self, choices: Sequence[PriceChoice]) -> "_Places":
        ids = await self._prices.ids(choices)
        return {ids[choice]: choice for choice in choices}


_Places = Mapping[str, PriceChoice]
"""The places in the catalog of the prices that a command names."""


def _as_change(command: SetSeats) -> ChangeItems:
    return ChangeItems(
        subscription_id=command.subscription_id,
        changed=(ItemChange(item_id=command.item_id, quantity=command.quantity),),
        proration=command.proration,
        proration_date=command.proration_date,
        only_if_paid=command.only_if_paid,
    )


def _invoice(shown: Json, places: _Places) -> InvoicePreview:
    total, due = _amount(shown, "total"), _amount(shown, "amount_due")
    balance = _amount(shown, "ending_balance")
    return InvoicePreview(
        currency=str(shown.get("currency")),
        lines=tuple(_line(row, places) for row in rows_in(shown, "lines")),
        subtotal=_amount(shown, "subtotal"),
        tax=sum(_amount(row, "amount") for row in rows_in(shown, "total_taxes")),
        discount=sum(_amount(row, "amount") for row in rows_in(shown, "total_discount_amounts")),
        discounts=_discounts(shown),
        total=total,
        credit_applied=total - due if total > 0 else 0,
        credit_left=max(0, -balance),
        amount_due=due,
        due_at=instant_in(shown, "next_payment_attempt") or instant_in(shown, "period_end"),
    )


def _line(row: Json, places: _Places) -> PreviewLine:
    pricing = (row.get("pricing") or {}).get("price_details") or {}
    place = places.get(reference_in(pricing, "price") or "")
    parent = row.get("parent") or {}
    details = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    return PreviewLine(
        description=row.get("description"),
        amount=_amount(row, "amount"),
        quantity=row.get("quantity"),
        plan_code=None if place is None else place.plan_code,
        feature=None if place is None else place.feature,
        period=_period(row.get("period") or {}),
        item_id=_item_id(details),
        proration=bool(details.get("proration")),
    )


def _item_id(details: Json) -> ItemId | None:
    found = reference_in(details, "subscription_item")
    return None if found is None else ItemId(found)


def _period(shown: Json) -> Period | None:
    start, end = instant_in(shown, "start"), instant_in(shown, "end")
    return Period(start=start, end=end) if start is not None and end is not None and start < end else None


def _discounts(shown: Json) -> tuple[str, ...]:
    """Return the ids of the discounts of an invoice and its lines; an id stands alone, or in the expanded object."""
    found = {_id(row) for row in shown.get("discounts") or ()}
    for line in rows_in(shown, "lines"):
        found |= {_id(row) for row in line.get("discounts") or ()}
    return tuple(sorted(each for each in found if each is not None))


def _id(shown: object) -> str | None:
    if isinstance(shown, str):
        return shown
    return reference_in({"id": shown}, "id") if isinstance(shown, Mapping) else None


def _amount(shown: Json, name: str) -> int:
    value = shown.get(name)
    return value if type(value) is int else 0
