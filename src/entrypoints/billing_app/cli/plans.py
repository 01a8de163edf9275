"""`billing plans`: the plans that are configured, and the prices that belong to none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from billing_app.cli.refreshing import refresh
from billing_app.cli.terminal import json_option, plain
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.model import Plan, PlanPrice
    from billing_core.oversight.ports import UnmappedPrice

_TENANTS_SHOWN = 5


@click.group()
def plans() -> None:
    """List plans and the prices of each, and the prices that belong to no plan."""


@plans.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """List the plans of the settings with their prices. Nothing is connected."""
    configured = Settings.load().catalog.plans
    if as_json:
        click.echo(json.dumps({"plans": [_plan_json(plan) for plan in configured]}))
        return
    for plan in configured:
        click.echo("\n".join(_plan_lines(plan)))
    if not configured:
        click.echo("No plans are configured: the plan of a subscription is its price's lookup key, else its id.")


@plans.command()
@json_option
def unmapped(as_json: bool) -> None:
    """List the prices of live subscriptions that belong to no plan, with the tenants on them.

    Such a subscription has no plan, and its access goes by its status.
    """
    prices = asyncio.run(_find_unmapped(Settings.load()))
    if as_json:
        click.echo(json.dumps({"prices": [_price_json(price) for price in prices]}))
        return
    for price in prices:
        click.echo(_unmapped_line(price))
    if not prices:
        click.echo("The price of every live subscription belongs to a plan.")


plans.add_command(refresh)


async def _find_unmapped(settings: Settings) -> Sequence[UnmappedPrice]:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.state_upkeep().unmapped_prices()


def _plan_lines(plan: Plan) -> Iterator[str]:
    name = f"  {plan.name}" if plan.name else ""
    yield plain(f"{plan.plan_code}{name}{'' if plan.grants_access else '  (add-on)'}")
    for price in plan.prices:
        parts = (price.role, price.price_id, price.lookup_key, price.feature, _amount(price), _interval(price))
        yield plain("  " + "  ".join(part for part in parts if part))
    match = plan.match
    for title, conditions in (
        ("prices", match.prices),
        ("products", match.products),
        ("lookup keys", match.lookup_keys),
        ("metadata", [f"{key}={value}" for key, value in match.metadata]),
    ):
        if conditions:
            yield plain(f"  {title}: {', '.join(conditions)}")


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


def _unmapped_line(price: UnmappedPrice) -> str:
    known = [part for part in (price.product_id, price.lookup_key) if part is not None]
    more = len(price.tenants) - _TENANTS_SHOWN
    tenants = ", ".join(price.tenants[:_TENANTS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return plain(f"{'  '.join([price.price_id, *known])}  {price.subscriptions} live subscriptions  {tenants}")


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
