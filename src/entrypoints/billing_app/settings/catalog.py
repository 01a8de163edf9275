"""The plans that are sold."""

import attrs

from billing_app.settings import parsers, price_map
from billing_app.settings.declaration import setting
from billing_app.settings.rules import Given
from billing_app.troubleshooting import CatalogTrouble
from billing_core.model import Plan, PlanPrice


def _contradiction(plans: tuple[Plan, ...], given: Given) -> str | None:
    """Return the first price that billing.toml does not list in the same plan and role."""
    listed = {(plan.plan_code, _place(price)) for plan in given.value for price in plan.prices}
    matched = {(plan.plan_code, ("base", price_id, None)) for plan in given.value for price_id in plan.match.prices}
    for plan in plans:
        for price in plan.prices:
            if (plan.plan_code, _place(price)) not in listed | matched:
                return f"does not list {price.price_id} as a {price.role} price of {plan.plan_code}"
    return None


def _place(price: PlanPrice) -> tuple[str, str | None, str | None]:
    return price.role, price.price_id, price.feature


@attrs.frozen(kw_only=True)
class CatalogSettings:
    """The plans and their prices at the provider."""

    plans: tuple[Plan, ...] = setting(
        "STRIPE_PRODUCT_PRICE_MAP",
        parsers.Parser(price_map.EXPECTS, price_map.parse_price_map),
        (),
        "Stripe prices of each plan: the short form of `[plans]` in billing.toml.",
        example="starter=price_1,pro=price_2",
        trouble=CatalogTrouble.PRICE_MAP_IS_INVALID,
        contradiction=_contradiction,
    )
