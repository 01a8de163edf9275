"""Items of a subscription as a request describes them. The rules are Stripe's, and surprise:

an item without an id is a new one, and another price sets the quantity to 1 unless the request says another.
"""

from collections.abc import Sequence
from datetime import datetime

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing.times import period_at
from billing_stripe.testing.fake_stripe.errors import StripeError, invalid, refused
from billing_stripe.testing.fake_stripe.forms import (
    BOOLEAN,
    INTEGER,
    METADATA,
    TEXT,
    Form,
    Listed,
    Params,
    merged_metadata,
    unsupported,
)

MOST_ITEMS = 20
NEW_ITEM = Form(
    price=TEXT,
    plan=TEXT,
    quantity=INTEGER,
    metadata=METADATA,
    **unsupported("billing_thresholds", "current_trial", "discounts", "price_data", "tax_rates"),
)
CHANGED_ITEM = NEW_ITEM.with_fields(id=TEXT, deleted=BOOLEAN, clear_usage=BOOLEAN)
NEW_ITEMS = Listed(NEW_ITEM, longest=MOST_ITEMS)
CHANGED_ITEMS = Listed(CHANGED_ITEM, longest=MOST_ITEMS)


def new_items(
    account: Account,
    given: Sequence[Params],
    *,
    period: objects.Span | None,
    anchor: datetime,
    at: datetime,
    param: str = "items",
) -> tuple[objects.Item, ...]:
    """Return the items that a request begins a subscription with.

    Args:
        account: of their prices.
        given: the parameters of each item.
        period: of all items; None for their prices' own, from the anchor.
        anchor: of their periods.
        at: time of the request.
        param: the name of the parameter.
    """
    items = tuple(
        _new_item(account, each, period=period, anchor=anchor, at=at, param=f"{param}[{position}]")
        for position, each in enumerate(given)
    )
    _check(items, param)
    return items


def changed_items(
    account: Account, subscription: objects.Subscription, given: Sequence[Params], at: datetime, param: str = "items"
) -> tuple[objects.Item, ...]:
    """Return a subscription's items after a request, in their current periods; those it does not name stay.

    Raises: StripeError for an unknown item or price, a second item of a price, and for no item at all.
    """
    items = {item.item_id: item for item in subscription.items}
    added: list[objects.Item] = []
    trial = subscription.trial if subscription.status == "trialing" else None
    for position, each in enumerate(given):
        name = f"{param}[{position}]"
        if "id" not in each:
            if each.get("deleted"):
                raise invalid("You must pass the id of the subscription item to delete.", param=f"{name}[id]")
            anchor = subscription.billing_cycle_anchor
            added.append(_new_item(account, each, period=trial, anchor=anchor, at=at, param=name))
            continue
        current = items.get(each["id"])
        if current is None:
            raise _no_such_item(each["id"], f"{name}[id]")
        if each.get("deleted"):
            del items[current.item_id]
        else:
            items[current.item_id] = _changed(account, current, each, name)
    changed = (*items.values(), *added)
    _check(changed, param)
    return changed


def check_intervals(items: Sequence[objects.Item], *, flexible: bool, param: str = "items") -> None:
    """Raise StripeError for items of several intervals, which only the flexible billing mode bills together."""
    if not flexible and len({(item.price.interval, item.price.interval_count) for item in items}) > 1:
        raise refused(
            "All items of a subscription must have the same billing interval unless its `billing_mode[type]` is "
            "`flexible`.",
            param=param,
        )


def _changed(account: Account, item: objects.Item, given: Params, param: str) -> objects.Item:
    price = item.price
    wanted = given.get("price") or given.get("plan")
    if wanted is not None:
        price = _price(account, wanted, f"{param}[price]")
    quantity = item.quantity if price.price_id == item.price.price_id else 1
    return attrs.evolve(
        item,
        price=price,
        quantity=_quantity(price, given, quantity, param),
        metadata=merged_metadata(item.metadata, given),
    )


def _new_item(
    account: Account, given: Params, *, period: objects.Span | None, anchor: datetime, at: datetime, param: str
) -> objects.Item:
    wanted = given.get("price") or given.get("plan")
    if wanted is None:
        raise invalid(f"Missing required param: {param}[price].", param=f"{param}[price]", code="parameter_missing")
    price = _price(account, wanted, f"{param}[price]")
    return objects.Item(
        item_id=account.new_id("si"),
        price=price,
        period=period or period_at(anchor, price, at),
        quantity=_quantity(price, given, 1, param),
        metadata=merged_metadata({}, given),
        created_at=at,
    )


def _price(account: Account, price_id: str, param: str) -> objects.Price:
    price = account.get(objects.Price, price_id, param)
    if not price.active:
        message = f"The price specified is inactive. This field only accepts active prices. ({price_id})"
        raise refused(message, param=param)
    if not price.recurring:
        raise refused(
            "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.",
            param=param,
        )
    return price


def _quantity(price: objects.Price, given: Params, otherwise: int | None, param: str) -> int | None:
    if price.metered:
        if "quantity" in given:
            raise refused("Quantity should not be specified where usage_type is `metered`.", param=f"{param}[quantity]")
        return None
    return int(given["quantity"]) if "quantity" in given else otherwise or 1


def _check(items: Sequence[objects.Item], param: str) -> None:
    if not items:
        raise refused("A subscription must have at least one active item.", param=param)
    if len(items) > MOST_ITEMS:
        raise refused(f"A subscription can have up to {MOST_ITEMS} items.", param=param)
    seen: set[str] = set()
    for item in items:
        if item.price.price_id in seen:
            raise refused(
                f"Cannot add multiple subscription items with the same plan: {item.price.price_id}", param=param
            )
        seen.add(item.price.price_id)
    if len({item.price.currency for item in items}) > 1:
        raise refused("All prices on a subscription must have the same currency.", param=param)


def _no_such_item(item_id: str, param: str) -> StripeError:
    return invalid(f"No such subscription_item: '{item_id}'", param=param, code="resource_missing")
