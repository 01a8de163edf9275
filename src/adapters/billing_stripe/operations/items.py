"""Items of subscriptions as parameters.

A quantity is always sent, since Stripe sets it to 1 where the price changes without one; metered prices have none. An
item that exists is named by its id, since an item without one is added beside it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from billing_core.operations.commands import ItemChange, NewItem, PriceChoice, Proration
from billing_stripe.client import Json
from billing_stripe.operations.prices import PriceBook

PRORATIONS: Final[Mapping[Proration, str]] = {
    "invoice_now": "always_invoice",
    "next_invoice": "create_prorations",
    "none": "none",
}


async def new_items(prices: PriceBook, items: Iterable[NewItem]) -> list[dict[str, Any]]:
    """Return the parameters of items that are added. Raises: GatewayError."""
    wanted = list(items)
    ids = await prices.ids(item.price for item in wanted)
    return [_item(price=ids[item.price], quantity=item.quantity) for item in wanted]


async def changed_items(
    prices: PriceBook, changed: Iterable[ItemChange], added: Iterable[NewItem]
) -> list[dict[str, Any]]:
    """Return the parameters of a change of items. Raises: GatewayError."""
    changes, additions = list(changed), list(added)
    choices: list[PriceChoice] = [item.price for item in additions]
    choices += [change.price for change in changes if change.price is not None and not change.deleted]
    ids = await prices.ids(choices)
    params = [_change(change, ids) for change in changes]
    return params + [_item(price=ids[item.price], quantity=item.quantity) for item in additions]


def shown_prices(items: Iterable[Json]) -> dict[str, tuple[str, int | None]]:
    """Return price and quantity of each item that Stripe shows, by item id."""
    return {item["id"]: (price_of(item), _quantity(item)) for item in items}


def price_of(item: Json) -> str:
    """Return the price id of an item, of a phase or of a subscription."""
    price = item.get("price")
    return str(price["id"] if isinstance(price, Mapping) else price)


def _quantity(item: Json) -> int | None:
    price = item.get("price")
    recurring = price.get("recurring") if isinstance(price, Mapping) else None
    metered = isinstance(recurring, Mapping) and recurring.get("usage_type") == "metered"
    return None if metered else item.get("quantity")


def _change(change: ItemChange, ids: Mapping[PriceChoice, str]) -> dict[str, Any]:
    if change.deleted:
        return {"id": change.item_id, "deleted": True}
    price = None if change.price is None else ids[change.price]
    return {"id": change.item_id, **_item(price=price, quantity=change.quantity)}


def _item(*, price: str | None, quantity: int | None) -> dict[str, Any]:
    params: dict[str, Any] = {} if price is None else {"price": price}
    return params if quantity is None else {**params, "quantity": quantity}
