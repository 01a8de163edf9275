"""The way from the items of a subscription to those of another plan."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from billing_core.model import ItemId, ItemSnapshot, Plan, PlannedItem, PriceId, PricePlace, SubscriptionSnapshot
from billing_core.operations.account import Account
from billing_core.operations.commands import ItemChange, NewItem, PriceChoice
from billing_core.operations.items import Terms, choose, lead_role, metered_prices, quantities, terms_of

_DAYS: Final = {"day": 1.0, "week": 7.0, "month": 30.4375, "year": 365.25}
"""Of an interval, to compare lengths."""

Amounts = Mapping[str, int]
"""Unit amounts by price id and lookup key, for prices whose amount the catalog does not say."""


@attrs.frozen(kw_only=True)
class Target:
    """The changes that lead to the items that are wanted."""

    lead: PriceChoice | None
    """The price that names the plan from then on."""
    changed: tuple[ItemChange, ...]
    added: tuple[NewItem, ...]

    def items(self, account: Account, seen: SubscriptionSnapshot) -> tuple[NewItem, ...]:
        """Return all items that the subscription has afterwards."""
        changes = {change.item_id: change for change in self.changed}
        after = (_after(account, item, changes.get(item.item_id)) for item in seen.items)
        return (*(item for item in after if item is not None), *self.added)


def find_target(account: Account, seen: SubscriptionSnapshot, plan: Plan, terms: Terms, seats: int | None) -> Target:
    """Return the changes that lead to a plan with these terms and seats. Raises: OperationRefusedError.

    The items of the subscription's own plan are changed by their ids; the others are kept, add-ons among them, and so
    is metered usage that the new plan does not bill.
    """
    counted = quantities(plan, seats)
    mine = items_by_place(account, seen)
    lead, role = None, lead_role(plan)
    wanted: list[tuple[ItemSnapshot | None, PriceChoice, int | None]] = []
    if role is not None:
        lead = choose(plan, role, terms)
        terms = terms_of(lead, terms)
        wanted.append((_licensed(seen.plan_item), lead, counted.lead))
    if counted.seats is not None:
        seat_item = mine.get(("seat", None))
        taken = seat_item is not None and seat_item == _licensed(seen.plan_item)
        wanted.append((None if taken else seat_item, choose(plan, "seat", terms), counted.seats))
    wanted += [(mine.get(("metered", price.feature)), price, None) for price in metered_prices(plan, terms)]
    reused = {item.item_id for item, _, _ in wanted if item is not None}
    licensed = [item for (role_, _), item in mine.items() if role_ in ("base", "seat")]
    removed = [ItemChange(item_id=item.item_id, deleted=True) for item in licensed if item.item_id not in reused]
    changes = [change_of(item, price, quantity) for item, price, quantity in wanted if item is not None]
    return Target(
        lead=lead,
        changed=(*(change for change in changes if change is not None), *removed),
        added=tuple(NewItem(price=price, quantity=quantity) for item, price, quantity in wanted if item is None),
    )


def items_by_place(account: Account, seen: SubscriptionSnapshot) -> Mapping[tuple[str, str | None], ItemSnapshot]:
    """Return the first item of each role and feature of the subscription's own plan."""
    found: dict[tuple[str, str | None], ItemSnapshot] = {}
    for item in seen.items:
        place = account.catalog.place_of(item)
        if place is not None and place.plan_code == seen.plan_code:
            found.setdefault((place.role, place.feature), item)
    return found


def change_of(item: ItemSnapshot, price: PriceChoice, quantity: int | None) -> ItemChange | None:
    """Return the change of an item to a price and quantity; None if it is like this already.

    The quantity is always part of it: the provider sets it to 1 where only the price is named.
    """
    same = _is_price(item, price)
    if same and (quantity is None or quantity == item.quantity):
        return None
    return ItemChange(item_id=item.item_id, price=None if same else price, quantity=quantity)


def kept(price_id: PriceId, place: PricePlace | None) -> PriceChoice:
    """Return the price of an item that stays."""
    if place is None:
        return PriceChoice(price_id=price_id)
    return PriceChoice(plan_code=place.plan_code, role=place.role, feature=place.feature, price_id=price_id)


def as_item(planned: PlannedItem) -> ItemSnapshot:
    """Return a planned item in the form in which the catalog reads items."""
    return ItemSnapshot(item_id=ItemId(planned.price_id), price_id=planned.price_id, quantity=planned.quantity)


def _is_price(item: ItemSnapshot, price: PriceChoice) -> bool:
    if price.price_id is not None:
        return item.price_id == price.price_id
    return item.lookup_key == price.lookup_key


def _licensed(item: ItemSnapshot | None) -> ItemSnapshot | None:
    return None if item is None or item.usage_type == "metered" else item


def _after(account: Account, item: ItemSnapshot, change: ItemChange | None) -> NewItem | None:
    """Return an item as it is after a change; None if it is removed."""
    stays = kept(item.price_id, account.catalog.place_of(item))
    if change is None:
        return NewItem(price=stays, quantity=item.quantity)
    return None if change.deleted else NewItem(price=change.price or stays, quantity=change.quantity)


# --- up or down -------------------------------------------------------------------------------------------------------


def is_downgrade(account: Account, seen: SubscriptionSnapshot, target: Target, amounts: Amounts) -> bool:
    """Tell whether a change shortens the interval, or lowers the regular amount of the same one. False if unknown."""
    base, lead = seen.plan_item, target.lead
    if base is not None and base.interval is not None and lead is not None and lead.interval is not None:
        before = _DAYS.get(base.interval, 0) * (base.interval_count or 1)
        after = _DAYS.get(lead.interval, 0) * lead.interval_count
        if before != after:
            return after < before
    differences = list(_differences(account, seen, target, amounts))
    return None not in differences and sum(each for each in differences if each is not None) < 0


def _differences(
    account: Account, seen: SubscriptionSnapshot, target: Target, amounts: Amounts
) -> Iterator[int | None]:
    """Yield by how much each change of a licensed item changes the regular amount; None if that is not known."""
    items = {item.item_id: item for item in seen.items if item.usage_type == "licensed"}
    for change in target.changed:
        item = items.get(change.item_id)
        if item is None:
            continue
        unit = item.unit_amount if change.price is None else _unit_amount(account, change.price, amounts)
        before = _times(item.unit_amount, item.quantity)
        after = 0 if change.deleted else _times(unit, change.quantity)
        yield None if before is None or after is None else after - before
    for new in target.added:
        yield 0 if new.quantity is None else _times(_unit_amount(account, new.price, amounts), new.quantity)


def _times(unit: int | None, quantity: int | None) -> int | None:
    return None if unit is None else unit * (quantity or 0)


def _unit_amount(account: Account, price: PriceChoice, amounts: Amounts) -> int | None:
    plan = None if price.plan_code is None else account.catalog.plan(price.plan_code)
    listed: Sequence[int | None] = [
        each.amount
        for each in (() if plan is None else plan.prices)
        if (each.price_id, each.lookup_key) == (price.price_id, price.lookup_key)
    ]
    stored = amounts.get(price.price_id or "", amounts.get(price.lookup_key or ""))
    return next((each for each in listed if each is not None), stored)
