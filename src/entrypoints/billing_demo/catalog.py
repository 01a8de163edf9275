"""The plans of the demo: three plans, some with seats and metered features, and their prices."""

import json
from collections.abc import Mapping
from typing import Final

import attrs

from billing_stripe.testing import objects


@attrs.frozen(kw_only=True)
class DemoPlan:
    """A plan and its prices. Base prices exist in several currencies, seat and usage prices in US dollars only."""

    code: str
    base: Mapping[str, objects.Price]
    """currency → price."""
    seat: objects.Price | None = None
    metered: Mapping[str, objects.Price] = attrs.field(factory=dict)
    """feature key → price."""


def _price(code: str, part: str, amount: int, currency: str = "usd", *, metered: bool = False) -> objects.Price:
    return objects.Price(
        price_id=f"price_demo_{code}_{part}_{currency}",
        product_id=f"prod_demo_{code}_{part}",
        unit_amount=amount,
        currency=currency,
        lookup_key=f"{code}_{part}_{currency}",
        nickname=f"{code.title()} {part.replace('_', ' ')}",
        metered=metered,
    )


STARTER: Final = DemoPlan(
    code="starter",
    base={
        "usd": _price("starter", "base", 1900),
        "eur": _price("starter", "base", 1800, "eur"),
        "jpy": _price("starter", "base", 2900, "jpy"),
    },
)
TEAM: Final = DemoPlan(
    code="team",
    base={"usd": _price("team", "base", 4900)},
    seat=_price("team", "seat", 1200),
    metered={"api_calls": _price("team", "api_calls", 2, metered=True)},
)
BUSINESS: Final = DemoPlan(
    code="business",
    base={"usd": _price("business", "base", 19900)},
    seat=_price("business", "seat", 2400),
    metered={
        "api_calls": _price("business", "api_calls", 1, metered=True),
        "storage_gb": _price("business", "storage_gb", 25, metered=True),
    },
)
PLANS: Final = (STARTER, TEAM, BUSINESS)
"""Cheapest first."""


@attrs.frozen
class PriceRole:
    """The plan and the role of a price."""

    plan_code: str
    role: str
    """`base`, `seat` or the feature key of a metered price."""


PRICE_ROLES: Final[Mapping[str, PriceRole]] = {
    price.price_id: PriceRole(plan.code, role)
    for plan in PLANS
    for role, price in (
        *(("base", price) for price in plan.base.values()),
        *((("seat", plan.seat),) if plan.seat else ()),
        *plan.metered.items(),
    )
}


def price_map() -> str:
    """Return the value of STRIPE_PRODUCT_PRICE_MAP for these plans."""
    return json.dumps(
        {
            plan.code: {
                "base": [price.price_id for price in plan.base.values()],
                "seat": [plan.seat.price_id] if plan.seat else [],
                "metered": {feature: price.price_id for feature, price in plan.metered.items()},
            }
            for plan in PLANS
        }
    )
