"""Prices and their lookup keys."""

from decimal import Decimal
from typing import Any

import attrs

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.errors import invalid, refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    BOOLEAN,
    INTEGER,
    METADATA,
    NUMBER,
    TEXT,
    Clearable,
    Either,
    Field,
    Form,
    Integer,
    Listed,
    Params,
    Period,
    Required,
    Text,
    choice,
    listing,
    merged_metadata,
    unsupported,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.Price,
    noun="price",
    key=lambda source: source.price_id,
    render=builders.price,
    expandable=frozenset({"product"}),
    included={"tiers": lambda _account, price, _version: builders.tiers(price)},
)
_INTERVAL = choice("day", "week", "month", "year")
_BEHAVIOR = choice("exclusive", "inclusive", "unspecified")
_RECURRING = Form(
    interval=Required(_INTERVAL),
    interval_count=Integer(least=1),
    usage_type=choice("licensed", "metered"),
    meter=TEXT,
)
_AMOUNT: dict[str, Field] = {
    "currency": Required(Text(3)),
    "unit_amount": INTEGER,
    "unit_amount_decimal": NUMBER,
    "recurring": _RECURRING,
    "tax_behavior": _BEHAVIOR,
    "metadata": METADATA,
}
INLINE = Form(**_AMOUNT)
"""A price within a request about something else."""
CREATE = Form(
    **_AMOUNT,
    active=BOOLEAN,
    billing_scheme=choice("per_unit", "tiered"),
    lookup_key=Text(200),
    nickname=TEXT,
    product=TEXT,
    product_data=Form(id=TEXT, name=Required(TEXT), active=BOOLEAN, metadata=METADATA, unit_label=TEXT),
    tiers=Listed(
        Form(
            up_to=Required(Either(("inf",), Integer(least=1))),
            unit_amount=INTEGER,
            unit_amount_decimal=NUMBER,
            flat_amount=INTEGER,
            flat_amount_decimal=NUMBER,
        )
    ),
    tiers_mode=choice("graduated", "volume"),
    transfer_lookup_key=BOOLEAN,
    **unsupported("currency_options", "custom_unit_amount", "transform_quantity"),
)
UPDATE = Form(
    active=BOOLEAN,
    lookup_key=Clearable(Text(200)),
    metadata=METADATA,
    nickname=Clearable(TEXT),
    tax_behavior=_BEHAVIOR,
    transfer_lookup_key=BOOLEAN,
    **unsupported("currency_options"),
)
LIST = listing(
    active=BOOLEAN,
    currency=TEXT,
    product=TEXT,
    type=choice("one_time", "recurring"),
    lookup_keys=Listed(TEXT, longest=10),
    created=Period(),
    recurring=Form(interval=_INTERVAL, usage_type=choice("licensed", "metered"), meter=TEXT),
)


def create(call: Call) -> objects.Price:
    """POST /v1/prices"""
    params = dict(call.params)
    if "product_data" in params:
        given = params.pop("product_data")
        product = objects.Product(
            product_id=given.get("id") or call.account.new_id("prod"),
            name=given["name"],
            active=given.get("active", True),
            metadata=merged_metadata({}, given),
            unit_label=given.get("unit_label"),
            created_at=call.now,
        )
        params["product"] = call.account.create(product).product_id
    return new_price(call.account, params)


def retrieve(call: Call) -> objects.Price:
    """GET /v1/prices/:id"""
    return call.account.get(objects.Price, call.id)


def update(call: Call) -> objects.Price:
    """POST /v1/prices/:id; its amount never changes."""
    account, params, price = call.account, call.params, retrieve(call)
    if params.get("lookup_key") is not None:
        _claim_lookup_key(
            account, params["lookup_key"], price.price_id, transfer=params.get("transfer_lookup_key", False)
        )
    changes = {name: params[name] for name in ("active", "lookup_key", "nickname", "tax_behavior") if name in params}
    metadata = merged_metadata(_metadata(price), params)
    return account.update(attrs.evolve(price, **changes, plan_code=metadata.pop("plan_code", None), metadata=metadata))


def prices(call: Call) -> Listing:
    """GET /v1/prices"""
    keys, recurring = call.params.get("lookup_keys"), call.params.get("recurring", {})
    asked = select(
        call,
        objects.Price,
        active="active",
        currency="currency",
        product="product_id",
        type=lambda price: "recurring" if price.recurring else "one_time",
    )
    return Listing(
        [
            price
            for price in asked
            if (keys is None or price.lookup_key in keys)
            and recurring.get("interval") in (None, price.interval)
            and recurring.get("usage_type") in (None, "metered" if price.metered else "licensed")
            and recurring.get("meter") in (None, price.meter_id)
        ],
        KIND.noun,
    )


def new_price(account: Account, params: Params) -> objects.Price:
    """Create a price from the parameters of a request, `product` among them."""
    product = account.get(objects.Product, _product_id(params), "product")
    tiers = _tiers(params)
    amount, decimal = (None, None) if tiers else _amount(params)
    recurring = params.get("recurring")
    metadata = merged_metadata({}, params)
    if params.get("lookup_key") is not None:
        _claim_lookup_key(account, params["lookup_key"], None, transfer=params.get("transfer_lookup_key", False))
    details = recurring or {}
    _check_meter(account, details)
    price = objects.Price(
        price_id=account.new_id("price"),
        product_id=product.product_id,
        unit_amount=amount,
        unit_amount_decimal=decimal,
        tiers=tiers,
        tiers_mode=params.get("tiers_mode"),
        currency=params["currency"].lower(),
        interval=details.get("interval", "month"),
        interval_count=details.get("interval_count", 1),
        lookup_key=params.get("lookup_key"),
        nickname=params.get("nickname"),
        metered=details.get("usage_type") == "metered",
        meter_id=details.get("meter"),
        plan_code=metadata.pop("plan_code", None),
        metadata=metadata,
        active=params.get("active", True),
        recurring=recurring is not None,
        tax_behavior=params.get("tax_behavior", "unspecified"),
        created_at=account.now,
    )
    return account.create(price)


def _product_id(params: Params) -> str:
    if "product" not in params:
        raise invalid("You must specify either `product` or `product_data` when creating a price.")
    return str(params["product"])


def _amount(params: Params) -> tuple[int | None, str | None]:
    """Return the amount in the minor unit, or None and a decimal for one that is finer."""
    if ("unit_amount" in params) == ("unit_amount_decimal" in params):
        raise invalid("You must specify exactly one of `unit_amount` and `unit_amount_decimal`.", param="unit_amount")
    if "unit_amount" in params:
        return params["unit_amount"], None
    decimal: Decimal = params["unit_amount_decimal"]
    whole = decimal == decimal.to_integral_value()
    return (int(decimal), None) if whole else (None, f"{decimal.normalize():f}")


def _tiers(params: Params) -> tuple[objects.Tier, ...]:
    """Return the tiers of a price; none for one per unit. Raises StripeError if they cannot be priced by."""
    tiered = params.get("billing_scheme") == "tiered"
    if not tiered:
        if "tiers" in params or "tiers_mode" in params:
            raise invalid("`tiers` can only be used with `billing_scheme=tiered`.", param="tiers")
        return ()
    if "unit_amount" in params or "unit_amount_decimal" in params:
        raise invalid("You may not specify `unit_amount` with `billing_scheme=tiered`.", param="unit_amount")
    for needed in ("tiers", "tiers_mode"):
        if not params.get(needed):
            raise invalid(f"You must specify `{needed}` with `billing_scheme=tiered`.", param=needed)
    bounds = [None if tier["up_to"] == "inf" else tier["up_to"] for tier in params["tiers"]]
    finite = [bound for bound in bounds if bound is not None]
    if bounds[-1] is not None or len(finite) != len(bounds) - 1:
        raise invalid("The last tier, and no other, must have `up_to=inf`.", param="tiers")
    if finite != sorted(set(finite)):
        raise invalid("Each tier's `up_to` must be greater than that of the tier before.", param="tiers")
    return tuple(
        objects.Tier(up_to=bound, unit_amount=_either(tier, "unit_amount"), flat_amount=_either(tier, "flat_amount"))
        for bound, tier in zip(bounds, params["tiers"], strict=True)
    )


def _either(tier: Params, name: str) -> Decimal:
    """Return an amount that is given as an integer or as a decimal; zero if it is not given."""
    return Decimal(tier[name] if name in tier else tier.get(f"{name}_decimal", Decimal(0)))


def _check_meter(account: Account, recurring: Params) -> None:
    """Raise StripeError unless the meter of a price is active and the price metered."""
    if "meter" not in recurring:
        return
    param = "recurring[meter]"
    if account.get(objects.Meter, recurring["meter"], param).deactivated_at is not None:
        raise refused("You can't attach an inactive meter to a price.", param=param)
    if recurring.get("usage_type") != "metered":
        raise invalid("A price with a meter must have the usage_type `metered`.", param=param)


def _claim_lookup_key(account: Account, lookup_key: str, price_id: str | None, *, transfer: bool) -> None:
    """Take a lookup key from the price that has it. Raises StripeError if it is not to be transferred."""
    for other in account.all(objects.Price):
        if other.lookup_key == lookup_key and other.price_id != price_id:
            if not transfer:
                raise refused(
                    f"A price (`{other.price_id}`) already uses that lookup key. You may pass "
                    "`transfer_lookup_key=true` to transfer it.",
                    param="lookup_key",
                )
            account.update(attrs.evolve(other, lookup_key=None))


def _metadata(price: objects.Price) -> dict[str, Any]:
    return {**price.metadata, **({} if price.plan_code is None else {"plan_code": price.plan_code})}


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/prices", create, CREATE),
        Route("GET", "/v1/prices", prices, LIST),
        Route("GET", "/v1/prices/{id}", retrieve),
        Route("POST", "/v1/prices/{id}", update, UPDATE),
    ],
)
