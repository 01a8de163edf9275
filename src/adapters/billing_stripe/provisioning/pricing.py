"""Prices: an amount never changes at Stripe, so another amount is another price that takes over the lookup key."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from billing_core.model.money import decimals
from billing_core.model.plan import PLAN_METADATA
from billing_stripe.client import Json
from billing_stripe.provisioning.desired import MANAGED, DesiredPrice, PriceShape
from billing_stripe.provisioning.steps import Call, Ref, Step


def price_step(price: DesiredPrice, found: Json | None, ids: Mapping[Ref, str]) -> Step | None:
    """Return the step for a price; None if it must exist and does not."""
    if found is None:
        return None if price.shape is None else _create(price, price.shape)
    wanted = price.shape
    if wanted is not None and wanted != _shape(found, wanted, ids):
        return _replace(price, wanted, found)
    kept = Step(kind="price", name=price.name, action="keep", text=f"Price {price.name} exists.", object_id=found["id"])
    if wanted is None or found["active"]:
        return kept
    return attrs.evolve(
        kept,
        action="change",
        text=f"Activate price {price.name} again, which is archived.",
        call=Call(operation="update_price", ids=(found["id"],), params={"active": True}, basis=found),
    )


def _create(price: DesiredPrice, shape: PriceShape) -> Step:
    params = _params(price, shape, product_id=price.product_id)
    return Step(
        kind="price",
        name=price.name,
        action="create",
        text=f"Create price {price.name}: {_text(shape)}.",
        call=Call(operation="create_price", params=params),
    )


def _replace(price: DesiredPrice, shape: PriceShape, found: Json) -> Step:
    """Return the step to a new price on the product of the old one, to which its subscribers keep paying."""
    params = {**_params(price, shape, product_id=found["product"]), "transfer_lookup_key": True}
    keep = ""
    if price.role != "base":
        keep = f'; add id = "{found["id"]}" to the prices of {price.plan_code} to keep its role'
    return Step(
        kind="price",
        name=price.name,
        action="change",
        text=f"Create a new price {price.name}: {_text(shape)}. {found['id']} stays for its subscribers{keep}.",
        call=Call(operation="create_price", params=params, basis=found),
    )


def _params(price: DesiredPrice, shape: PriceShape, *, product_id: str) -> Json:
    whole = shape.amount == shape.amount.to_integral_value()
    recurring: dict[str, Any] = {"interval": shape.interval, "interval_count": shape.interval_count}
    if shape.meter is not None:
        recurring |= {"usage_type": "metered", "meter": Ref("meter", shape.meter)}
    return {
        "product": product_id,
        "lookup_key": price.lookup_key,
        "currency": shape.currency,
        **({"unit_amount": int(shape.amount)} if whole else {"unit_amount_decimal": _decimal(shape.amount)}),
        "recurring": recurring,
        "metadata": {**MANAGED, PLAN_METADATA: price.plan_code},
    }


def _shape(found: Json, wanted: PriceShape, ids: Mapping[Ref, str]) -> PriceShape | None:
    """Return the shape of a price that exists; None if nothing in the catalog describes it, such as one with tiers."""
    recurring = found.get("recurring")
    amount = found.get("unit_amount_decimal") or found.get("unit_amount")
    if recurring is None or amount is None or found.get("transform_quantity") is not None:
        return None
    meter = None
    if recurring["usage_type"] == "metered":
        same = wanted.meter is not None and recurring.get("meter") == ids.get(Ref("meter", wanted.meter))
        meter = wanted.meter if same else recurring.get("meter") or ""
    return PriceShape(
        currency=found["currency"],
        amount=Decimal(str(amount)),
        interval=recurring["interval"],
        interval_count=recurring["interval_count"],
        meter=meter,
    )


def _text(shape: PriceShape) -> str:
    digits = decimals(shape.currency)
    amount = shape.amount.scaleb(-digits)
    places = max(digits, -int(amount.normalize().as_tuple().exponent))
    unit = " per unit" if shape.meter is not None else ""
    every = shape.interval if shape.interval_count == 1 else f"{shape.interval_count} {shape.interval}s"
    return f"{amount:,.{places}f} {shape.currency.upper()}{unit} every {every}"


def _decimal(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
