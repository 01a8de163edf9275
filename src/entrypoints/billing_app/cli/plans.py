"""`billing plans`: the plans that are configured, and the prices that belong to none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from billing_app.cli.lists import Column, Listing, Output
from billing_app.cli.refreshing import refresh
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.model import Plan, PlanPrice
    from billing_core.oversight.ports import UnmappedPrice

_TENANTS_SHOWN: Final = 5


def _amount(price: PlanPrice) -> str | None:
    """Return the amount per unit; None if the file names none, since Stripe has it."""
    from billing_core.model.money import decimals

    amount = price.unit_amount_decimal if price.amount is None else price.amount
    if amount is None or price.currency is None:
        return None
    return f"{Decimal(amount).scaleb(-decimals(price.currency)):,f} {price.currency.upper()}"


def _interval(price: PlanPrice) -> str | None:
    if price.interval is None:
        return None
    return f"per {price.interval}" if price.interval_count == 1 else f"per {price.interval_count} {price.interval}s"


def _plan_json(plan: Plan) -> dict[str, Any]:
    match = plan.match
    return {
        "plan_code": plan.plan_code,
        "name": plan.name,
        "grants_access": plan.grants_access,
        "prices": [
            {
                "role": price.role,
                "price_id": price.price_id,
                "lookup_key": price.lookup_key,
                "feature": price.feature,
                "interval": price.interval,
                "interval_count": price.interval_count,
                "amount": price.amount,
                "unit_amount_decimal": price.unit_amount_decimal,
                "currency": price.currency,
            }
            for price in plan.prices
        ],
        "match": {
            "prices": match.prices,
            "products": match.products,
            "lookup_keys": match.lookup_keys,
            "metadata": dict(match.metadata),
        },
    }


def _price_json(price: UnmappedPrice) -> dict[str, Any]:
    return {
        "price_id": price.price_id,
        "product_id": price.product_id,
        "lookup_key": price.lookup_key,
        "subscriptions": price.subscriptions,
        "tenants": price.tenants,
    }


@attrs.frozen
class _Priced:
    """A plan with one of its prices, or with what else belongs to it."""

    plan: Plan
    kind: str
    """The role of a price, or the condition that gives other prices to the plan."""
    price: PlanPrice | None = None
    names: Sequence[str] = ()


def _rows(plan: Plan) -> Iterator[_Priced]:
    match = plan.match
    conditions = (
        ("prices", match.prices),
        ("products", match.products),
        ("lookup keys", match.lookup_keys),
        ("metadata", [f"{key}={value}" for key, value in match.metadata]),
    )
    rows = [_Priced(plan, price.role, price=price) for price in plan.prices]
    rows += [_Priced(plan, title, names=names) for title, names in conditions if names]
    return iter(rows or [_Priced(plan, "no price")])


def _named(row: _Priced) -> str:
    price = row.price
    named = row.names if price is None else (price.price_id, price.lookup_key, price.feature)
    return ", ".join(filter(None, named))


PLANS: Final = Listing[_Priced](
    "plans",
    [
        Column("plan", lambda row: row.plan.plan_code),
        Column("name", lambda row: row.plan.name),
        Column("access", lambda row: "" if row.plan.grants_access else "add-on"),
        Column("kind", lambda row: row.kind),
        Column("price", _named),
        Column("amount", lambda row: None if row.price is None else _amount(row.price)),
        Column("interval", lambda row: None if row.price is None else _interval(row.price)),
    ],
    lambda row: _plan_json(row.plan),
)


def _tenants(price: UnmappedPrice) -> str:
    more = len(price.tenants) - _TENANTS_SHOWN
    return ", ".join(price.tenants[:_TENANTS_SHOWN]) + (f" and {more} more" if more > 0 else "")


UNMAPPED: Final = Listing["UnmappedPrice"](
    "prices",
    [
        Column("price", lambda price: price.price_id),
        Column("product", lambda price: price.product_id),
        Column("lookup-key", lambda price: price.lookup_key),
        Column("subscriptions", lambda price: price.subscriptions),
        Column("tenants", _tenants),
    ],
    _price_json,
)


@click.group()
def plans() -> None:
    """List plans and the prices of each, and the prices that belong to no plan."""


@plans.command(name="list")
@PLANS.options
def list_(output: Output[_Priced]) -> None:
    """List the plans of the settings with their prices. Nothing is connected.

    \b
    billing plans list
    """
    configured = Settings.for_command().catalog.plans
    if output.form in ("json", "ndjson"):
        output.show([_Priced(plan, "plan") for plan in configured])
        return
    output.show(
        [row for plan in configured for row in _rows(plan)],
        nothing="No plans are configured: the plan of a subscription is its price's lookup key, else its id.",
    )


@plans.command()
@UNMAPPED.options
def unmapped(output: Output[UnmappedPrice]) -> None:
    """List the prices of live subscriptions that belong to no plan, with the tenants on them.

    Such a subscription has no plan, and its access goes by its status.

    \b
    billing plans unmapped --output csv
    """
    prices = asyncio.run(_find_unmapped(Settings.for_command()))
    output.show(prices, nothing="The price of every live subscription belongs to a plan.")


plans.add_command(refresh)


async def _find_unmapped(settings: Settings) -> Sequence[UnmappedPrice]:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.state_upkeep().unmapped_prices()
