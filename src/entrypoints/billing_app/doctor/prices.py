"""Checks of the catalog's prices at Stripe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from billing_app.container import SeenPrice
from billing_app.doctor.results import CheckResult, fail, ok
from billing_app.settings import Settings
from billing_app.troubleshooting import CatalogTrouble
from billing_core.model import PlanPrice

_CHECK: Final = "prices"
_SETUP: Final = "Run `billing stripe setup`, which makes the prices of billing.toml, or correct the id or lookup key."


def check_prices(settings: Settings, seen: Sequence[SeenPrice]) -> Iterator[CheckResult]:
    """Check that each price of the catalog exists at Stripe, is active, and is what the catalog says."""
    by_name = {price.price_id: price for price in seen}
    by_name |= {price.lookup_key: price for price in seen if price.lookup_key is not None}
    listed = [(plan.plan_code, price) for plan in settings.catalog.plans for price in plan.prices]
    findings = [
        finding for plan_code, price in listed for finding in _check_price(plan_code, price, by_name.get(_name(price)))
    ]
    yield from findings or [ok(_CHECK, f"all {len(listed)} prices of the catalog are active and as listed")]


def _check_price(plan_code: str, listed: PlanPrice, seen: SeenPrice | None) -> Iterator[CheckResult]:
    name = f"the price {_name(listed)} of plan {plan_code}"
    if seen is None:
        yield fail(_CHECK, f"{name} does not exist at Stripe", _SETUP, CatalogTrouble.PRICE_DOES_NOT_EXIST)
        return
    if not seen.active:
        remedy = "Activate it in the Stripe dashboard, or remove it from the plan's prices; `match` still finds it."
        yield fail(_CHECK, f"{name} is archived ({seen.price_id})", remedy, CatalogTrouble.PRICE_IS_ARCHIVED)
    differences = [
        f"{what} is {theirs} and not {ours}" for what, ours, theirs in _compared(listed, seen) if theirs != ours
    ]
    if differences:
        detail = f"{name} is not as in the catalog: its {', its '.join(differences)}"
        yield fail(_CHECK, detail, _SETUP, CatalogTrouble.PRICE_DIFFERS)


def _compared(listed: PlanPrice, seen: SeenPrice) -> Iterator[tuple[str, object, object]]:
    """Yield what the catalog says of a price, and what Stripe says."""
    if listed.currency is not None:
        yield "currency", listed.currency, seen.currency
    amount = listed.unit_amount_decimal if listed.amount is None else listed.amount
    if amount is not None:
        yield "amount", Decimal(amount), seen.amount
    if listed.interval is not None:
        yield "interval", listed.interval, seen.interval
        yield "interval count", listed.interval_count, seen.interval_count
    yield "usage type", _usage(metered=listed.role == "metered"), _usage(metered=seen.metered)


def _usage(*, metered: bool) -> str:
    return "metered" if metered else "licensed"


def _name(price: PlanPrice) -> str:
    return price.price_id or price.lookup_key or ""
