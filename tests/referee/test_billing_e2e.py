"""Scenarios that others wrote, played on test clocks of the fake and checked at the read API of our server.

`billing-e2e` is a program for applications that bill with Stripe. Its scenarios check Stripe's side, and hold a comment
wherever an application should be asked; here such a comment becomes a check of ours.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from tests.integration.processes import WEBHOOK_SECRET, bearer, environment_of, running, token

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import fake_stripe

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

SECRET_KEY = "sk_test_fake0123456789"
MONTHLY = objects.Price(price_id="price_monthly", product_id="prod_basic", unit_amount=2000)
UPGRADE = objects.Price(price_id="price_upgrade", product_id="prod_plus", unit_amount=6000)
PROGRAM = Path(__file__).parent / "billing_e2e_program.py"
COMMENTED_CHECK = re.compile(r"^(\s*)# - check: .*$", re.MULTILINE)
TENANT = "acme"


def shown(status: str, access: str, plan: str = "basic", **more: Any) -> dict[str, Any]:
    """Return the expected answer of /state."""
    return {
        "subscriptions.0.status": status,
        "subscriptions.0.plan_code": plan,
        "access.state": access,
        **{f"subscriptions.0.{field}": value for field, value in more.items()},
    }


def checks() -> Mapping[str, list[dict[str, Any]]]:
    """The expected answers of our read API, in the order of the comments of each scenario."""
    next_period = {"gt": (datetime.now(UTC) + timedelta(days=20)).isoformat()}
    return {
        "renewal": [shown("active", "full"), shown("active", "full", current_period_start=next_period)],
        "failed-renewal": [shown("past_due", "grace"), {"access.state": "blocked"}],
        "plan-change": [shown("active", "full", "plus"), shown("active", "full", "basic")],
        "cancel-at-period-end": [shown("active", "full", cancel_at_period_end=True), {"access.state": "blocked"}],
        "signup-card-problems": [{"access.state": "blocked"}, {"access.state": "blocked"}],
    }


def with_checks(scenario: str, expected: list[dict[str, Any]]) -> str:
    """Return a scenario whose commented checks ask our read API instead."""
    remaining: Iterator[dict[str, Any]] = iter(expected)

    def check(comment: re.Match[str]) -> str:
        step = {"check": {"get": f"/api/v1/billing/tenants/{TENANT}/state", "expect": next(remaining)}}
        return f"{comment[1]}- {json.dumps(step)}"

    text = COMMENTED_CHECK.sub(check, (files("billing_e2e") / "scenarios" / f"{scenario}.yml").read_text("utf-8"))
    assert not list(remaining), "the scenario has fewer places to ask an application"
    return text


def config(base: str) -> str:
    """Return the program's configuration; JSON is YAML."""
    link = f"{sys.executable} -m billing_app tenants link $BILLING_E2E_CUSTOMER {TENANT} --force --yes"
    return json.dumps(
        {
            "stripe": {"key": SECRET_KEY},
            "app": {"base_url": base, "headers": bearer(token(TENANT)), "setup": link},
            "vars": {"monthly_price": MONTHLY.price_id, "upgrade_price": UPGRADE.price_id},
        }
    )


@pytest.mark.parametrize("scenario", checks())
async def test_scenarios_of_others_hold(scenario: str, database_url: str, redis_url: str, tmp_path: Path) -> None:
    """Stripe's side goes as the scenario expects, and after each step the server shows the tenant what holds."""
    async with fake_stripe(secret_key=SECRET_KEY) as fake:
        fake.put(MONTHLY, UPGRADE)
        environment = environment_of(database_url, redis_url) | {
            "STRIPE_API_BASE": fake.url,
            "STRIPE_SECRET_KEY": SECRET_KEY,
            "STRIPE_FETCH": "true",
            "STRIPE_PRODUCT_PRICE_MAP": f"basic={MONTHLY.price_id},plus={UPGRADE.price_id}",
        }
        base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
        fake.add_webhook_endpoint(f"{base}/webhooks/stripe", secret=WEBHOOK_SECRET)
        (tmp_path / "scenario.yml").write_text(with_checks(scenario, checks()[scenario]))
        (tmp_path / "config.yml").write_text(config(base))
        async with running("serve", environment=environment, ready=f"{base}/readyz"):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, PROGRAM, fake.url, "--config", "config.yml", "run", "scenario.yml"),
                cwd=tmp_path,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            try:
                output, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
        assert process.returncode == 0, output.decode()
