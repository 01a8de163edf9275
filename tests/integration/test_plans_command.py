"""`billing plans`: the configured plans, and the prices that belong to none."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from billing_app import cli
from billing_core.state.ports import Changes
from billing_core.testing.arrange import save
from billing_core.testing.builders import ACME, GLOBEX, item, subscription
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository

PRICE_MAP = '{"pro": {"base": "price_pro", "metered": {"api_calls": ["price_calls"]}}}'


async def billing(*arguments: str, **environ: str) -> Result:
    """Run the command in a thread, because it runs an event loop of its own."""
    environment = {"ENABLE_BILLING": "", **environ}
    runner = CliRunner()
    return await asyncio.to_thread(runner.invoke, cli.cli, ["plans", *arguments], env=environment)


async def test_plans_are_listed_with_their_prices() -> None:
    """Without a database."""
    listed = await billing("list", STRIPE_PRODUCT_PRICE_MAP=PRICE_MAP)
    assert listed.stdout.splitlines() == [
        "pro\t\t\tbase\tprice_pro\t\t",
        "pro\t\t\tmetered\tprice_calls, api_calls\t\t",
    ]
    (plan,) = json.loads((await billing("list", "--json", STRIPE_PRODUCT_PRICE_MAP=PRICE_MAP)).stdout)["plans"]
    assert (plan["plan_code"], [price["price_id"] for price in plan["prices"]]) == ("pro", ["price_pro", "price_calls"])
    assert "No plans are configured" in (await billing("list", STRIPE_PRODUCT_PRICE_MAP="")).stderr


FILE = """
[plans.pro]
name = "Pro"
[[plans.pro.prices]]
lookup_key = "pro_monthly"
interval = "month"
amount = 4900
currency = "usd"
[[plans.pro.prices]]
lookup_key = "pro_yearly_jp"
interval = "year"
amount = 490000
currency = "jpy"
[[plans.pro.prices]]
role = "metered"
feature = "api_calls"
lookup_key = "pro_calls"
interval = "month"
interval_count = 3
unit_amount_decimal = "0.1"
currency = "usd"
"""


async def test_plans_are_listed_with_what_they_cost(tmp_path: Path) -> None:
    """Per interval, in each currency, also below the minor unit."""
    file = tmp_path / "billing.toml"
    file.write_text(FILE, encoding="utf-8")
    listed = await billing("list", BILLING_CONFIG=str(file), STRIPE_PRODUCT_PRICE_MAP="")
    assert listed.stdout.splitlines() == [
        "pro\tPro\t\tbase\tpro_monthly\t49.00 USD\tper month",
        "pro\tPro\t\tbase\tpro_yearly_jp\t490,000 JPY\tper year",
        "pro\tPro\t\tmetered\tpro_calls, api_calls\t0.001 USD\tper 3 months",
    ]
    listed = await billing("list", "--json", BILLING_CONFIG=str(file), STRIPE_PRODUCT_PRICE_MAP="")
    prices = json.loads(listed.stdout)["plans"][0]["prices"]
    assert [(each["amount"], each["unit_amount_decimal"], each["currency"]) for each in prices] == [
        (4900, None, "usd"),
        (490000, None, "jpy"),
        (None, "0.1", "usd"),
    ]


@pytest.mark.postgres
async def test_prices_of_no_plan_are_listed_with_the_tenants_on_them(database_url: str) -> None:
    """As they are stored."""
    none = "The price of every live subscription belongs to a plan."
    assert none in (await billing("unmapped", DATABASE_URL=database_url)).stderr
    new: dict[str, Any] = {"plan_code": None, "price_id": "price_new"}
    items = (item(price_id="price_new", product_id="prod_1", lookup_key="acme"),)
    subscriptions = [subscription("sub_1", **new, items=items), subscription("sub_2", GLOBEX, **new, items=items)]
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool:
        unit_of_work = PostgresRepository(database, pool)
        await save(unit_of_work, Changes(subscriptions=subscriptions), tenants=(ACME, GLOBEX))
    listed = await billing("unmapped", DATABASE_URL=database_url)
    assert listed.stdout == "price_new\tprod_1\tacme\t2\tacme, globex\n"
    listed = await billing("unmapped", "--json", DATABASE_URL=database_url)
    assert json.loads(listed.stdout) == {
        "prices": [
            {
                "price_id": "price_new",
                "product_id": "prod_1",
                "lookup_key": "acme",
                "subscriptions": 2,
                "tenants": ["acme", "globex"],
            }
        ]
    }


@pytest.mark.postgres
async def test_a_refresh_shows_what_it_changes_and_then_changes_it_once(database_url: str) -> None:
    """Every live subscription is read by the rules of the configuration; ended ones keep their plan."""
    held = [
        subscription("sub_1", price_id="price_old", items=(item(price_id="price_old"),)),
        subscription("sub_2", GLOBEX, items=(item(price_id="price_pro"),)),
        subscription("sub_3", status="canceled"),
    ]
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool:
        await save(PostgresRepository(database, pool), Changes(subscriptions=held), tenants=(ACME, GLOBEX))
        environment = {"DATABASE_URL": database_url, "STRIPE_PRODUCT_PRICE_MAP": "gold=price_pro,pro=price_old"}
        tried = await billing("refresh", "--dry-run", "--json", **environment)
        (change,) = json.loads(tried.stdout)["differences"]
        assert (change["object_id"], change["tenant_id"]) == ("sub_2", "globex")
        assert change["fields"]["plan_code"] == {"before": "pro", "after": "gold"}
        assert "Pass --yes" in (await billing("refresh", **environment)).stderr
        assert await pool.fetchval("SELECT count(*) FROM billing_rules") == 0
        ran = await billing("refresh", "--yes", "--json", "--by", "ann", **environment)
        assert json.loads(ran.stdout) == {"generation": 1, "result": "activated", "tenants": 2, "messages": 1}
        stored = await pool.fetch("SELECT subscription_id, plan_code FROM tenant_subscriptions ORDER BY 1")
        assert [tuple(row) for row in stored] == [("sub_1", "pro"), ("sub_2", "gold"), ("sub_3", "pro")]
        again = await billing("refresh", "--yes", **environment)
        assert "The state of 0 tenants was read" in again.stdout
        assert await pool.fetchval("SELECT actor FROM billing_rules") == "ann"
