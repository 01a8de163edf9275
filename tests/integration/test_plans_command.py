"""`billing plans`: the configured plans, and the prices that belong to none."""

import asyncio
import json
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
    assert listed.stdout.splitlines() == ["pro", "  base  price_pro", "  metered  price_calls  api_calls"]
    (plan,) = json.loads((await billing("list", "--json", STRIPE_PRODUCT_PRICE_MAP=PRICE_MAP)).stdout)["plans"]
    assert (plan["plan_code"], [price["price_id"] for price in plan["prices"]]) == ("pro", ["price_pro", "price_calls"])
    assert "No plans are configured" in (await billing("list", STRIPE_PRODUCT_PRICE_MAP="")).stdout


@pytest.mark.postgres
async def test_prices_of_no_plan_are_listed_with_the_tenants_on_them(database_url: str) -> None:
    """As they are stored."""
    none = "The price of every live subscription belongs to a plan."
    assert none in (await billing("unmapped", DATABASE_URL=database_url)).stdout
    new: dict[str, Any] = {"plan_code": None, "price_id": "price_new"}
    items = (item(price_id="price_new", product_id="prod_1", lookup_key="acme"),)
    subscriptions = [subscription("sub_1", **new, items=items), subscription("sub_2", GLOBEX, **new, items=items)]
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool:
        unit_of_work = PostgresRepository(database, pool)
        await save(unit_of_work, Changes(subscriptions=subscriptions), tenants=(ACME, GLOBEX))
    listed = await billing("unmapped", DATABASE_URL=database_url)
    assert listed.stdout == "price_new  prod_1  acme  2 live subscriptions  acme, globex\n"
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
