"""Previews: what a command would cost, by whole prices; a part of a period is prorated by its seconds."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from billing_core.model import ItemSnapshot, Period, SubscriptionId
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
from billing_memory.operations.provider.proration import prorated
from billing_memory.operations.provider.state import ProviderState
from billing_memory.operations.provider.subscriptions import changed


def preview(state: ProviderState, command: Command) -> CommandPreview:
    """Return the invoices that a command would lead to. Raises: ValueError for a command that has no preview."""
    match command:
        case StartSubscription():
            return _start(state, command)
        case ChangeItems():
            return _change(state, command)
        case SetSeats():
            seats = ItemChange(item_id=command.item_id, quantity=command.quantity)
            change = ChangeItems(
                subscription_id=command.subscription_id,
                changed=(seats,),
                proration=command.proration,
                proration_date=command.proration_date,
            )
            return _change(state, change)
        case ScheduleChange():
            subscription = state.live(command.subscription_id)
            items = [state.new_item(item) for item in command.items]
            lines = _regular(items, _places(state, [item.price for item in command.items]))
            currency = subscription.currency or "usd"
            return CommandPreview(upcoming=_invoice(currency, [*lines], due_at=command.effective_at))
    raise ValueError(f"{command.operation} has no preview")


def upcoming(
    state: ProviderState, subscription_id: SubscriptionId, prices: Sequence[PriceChoice]
) -> InvoicePreview | None:
    """Return the next invoice of a subscription; None if it ends before."""
    seen = state.live(subscription_id)
    if seen.cancellation_scheduled:
        return None
    lines = [*_regular(seen.items, _places(state, prices))]
    return _invoice(seen.currency or "usd", lines, due_at=seen.current_period_end)


def _start(state: ProviderState, command: StartSubscription) -> CommandPreview:
    state.customer(command.customer_id)
    items = [state.new_item(item) for item in command.items]
    places = _places(state, [item.price for item in command.items])
    currency = command.currency or state.price(command.items[0].price).currency
    ends = [item.period.end for item in items if item.period is not None]
    due_at = min(ends)
    if command.trial is not None:
        due_at = state.now() + timedelta(days=command.trial.days)
    lines = [*_regular(items, places)]
    now = _invoice(currency, [] if command.trial else lines)
    return CommandPreview(now=now, upcoming=_invoice(currency, lines, due_at=due_at))


def _change(state: ProviderState, command: ChangeItems) -> CommandPreview:
    before = state.live(command.subscription_id)
    after = changed(state, before, command.changed, command.added)
    choices = [change.price for change in command.changed if change.price is not None]
    places = _places(state, choices + [item.price for item in command.added])
    currency = before.currency or "usd"
    regular = [*_regular(after, places)]
    at = command.proration_date or state.now()
    rest = () if command.proration == "none" else prorated(before.items, after, at)
    parts = [_line(each.item, each.amount, places, period=each.rest, proration=True) for each in rest]
    due_at = before.current_period_end
    if command.proration == "invoice_now":
        return CommandPreview(now=_invoice(currency, parts), upcoming=_invoice(currency, regular, due_at=due_at))
    return CommandPreview(upcoming=_invoice(currency, [*parts, *regular], due_at=due_at))


Places = dict[str, PriceChoice]


def _places(state: ProviderState, choices: Iterable[PriceChoice]) -> Places:
    return {state.price(choice).price_id: choice for choice in choices}


def _regular(items: Sequence[ItemSnapshot], places: Places) -> Iterator[PreviewLine]:
    for item in items:
        if item.usage_type == "licensed":
            amount = (item.unit_amount or 0) * (item.quantity or 0)
            yield _line(item, amount, places, period=item.period)


def _line(
    item: ItemSnapshot, amount: int, places: Places, *, period: Period | None, proration: bool = False
) -> PreviewLine:
    place = places.get(item.price_id)
    return PreviewLine(
        description=f"{item.quantity} × {item.price_id}",
        amount=amount,
        quantity=item.quantity,
        plan_code=None if place is None else place.plan_code,
        feature=None if place is None else place.feature,
        period=period,
        proration=proration,
    )


def _invoice(currency: str, lines: Sequence[PreviewLine], *, due_at: datetime | None = None) -> InvoicePreview:
    total = sum(line.amount for line in lines)
    return InvoicePreview(
        currency=currency,
        lines=tuple(lines),
        subtotal=total,
        total=total,
        credit_left=max(0, -total),
        amount_due=max(0, total),
        due_at=due_at,
    )
