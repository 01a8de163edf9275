"""Real processes that are killed in the middle of an operation, and others that go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg
import attrs
import pytest
from aiohttp import web
from tests.commands import Command, started
from tests.integration.operation_process import OPERATIONS
from tests.patience import PATIENCE
from tests.postgres import move_clock

from billing_core.operations.performing import OperationPolicy
from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults

pytestmark = pytest.mark.postgres

PROGRAM = Path(__file__).with_name("operation_process.py")
PLANS = """
[plans.basic]
group = "main"
prices = [{ id = "price_basic", interval = "month", amount = 900, currency = "usd" }]
[plans.pro]
group = "main"
prices = [{ id = "price_pro", interval = "month", amount = 4900, currency = "usd" }]
[plans.team]
group = "main"
seats = { min = 1 }
trial_days = 14
prices = [{ id = "price_team", interval = "month", amount = 1200, currency = "usd" }]
"""


@attrs.define
class Kill:
    """A fault that kills the process whose call of a command has a number, before it gets its answer."""

    step: int
    process: Command | None = None
    struck: bool = False

    async def strike(self, request: web.Request, closing: asyncio.Event) -> web.StreamResponse | None:
        if self.struck or not request.headers.get("Idempotency-Key", "").endswith(f".{self.step}"):
            return None
        self.struck = True
        assert self.process is not None
        self.process.kill()
        await self.process.wait()
        return web.Response(status=503)


async def ask(
    environment: Mapping[str, str], operation: str, request_id: str = "the-decision", kill: Kill | None = None
) -> Any:
    """Run an operation in a process of its own; return its outcome, or None if it was killed."""
    process = await started("acme", operation, request_id, environment=environment, captured=(1, 2), program=PROGRAM)
    if kill is not None:
        kill.process = process
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    if kill is not None and kill.struck:
        return None
    assert process.returncode == 0, err.decode()[-2000:]
    return json.loads(out.decode().splitlines()[-1])


@attrs.frozen
class End:
    """The only subscription of the only customer."""

    plan: str = "team"
    seats: int = 5
    ends: bool = False
    scheduled: bool = False


def end(fake: FakeStripe) -> End:
    """Return what the provider has. Raises ValueError if anything was made twice, or not at all."""
    account = fake.account
    (_,) = account.all(objects.Customer)
    (subscription,) = account.all(objects.Subscription)
    (item,) = subscription.items
    schedules = [each for each in account.all(objects.SubscriptionSchedule) if each.status == "active"]
    assert len(schedules) < 2
    return End(
        str(item.price.lookup_key), item.quantity or 0, subscription.cancel_at_period_end, scheduled=bool(schedules)
    )


ENDS = {
    "start": End(),
    "change": End(plan="pro", seats=1),
    "downgrade": End(scheduled=True),
    "seats": End(seats=9),
    "cancel": End(ends=True),
}


@pytest.mark.parametrize(
    ("operation", "step", "at"),
    [
        ("start", 1, "before"),
        ("start", 1, "answering"),
        ("change", 1, "answering"),
        ("downgrade", 1, "answering"),
        ("downgrade", 2, "answering"),
        ("downgrade", 2, "before"),
        ("seats", 1, "answering"),
        ("cancel", 1, "answering"),
    ],
)
async def test_a_killed_process_leaves_nothing_half_done(
    environment: dict[str, str], database_url: str, tmp_path: Path, operation: str, step: int, at: faults.Point
) -> None:
    """Whether Stripe had carried the call out or not, the next process leads to the end that was wanted."""
    plans = tmp_path / "billing.toml"
    plans.write_text(PLANS, encoding="utf-8")
    async with fake_stripe() as fake:
        stock(fake)
        environment |= {
            "BILLING_CONFIG": str(plans),
            "STRIPE_API_BASE": fake.url,
            "STRIPE_SECRET_KEY": fake.secret_key,
            "STRIPE_FETCH": "true",
        }
        if operation != "start":
            await ask(environment, "start", "before")
        kill = Kill(step)
        fake.fail("/v1/subscription*", kill, times=1000, at=at, method="POST")
        assert await ask(environment, operation, kill=kill) is None
        fake.clear_faults()
        await let_leases_end(database_url)
        outcome = await ask(environment, operation)
        assert end(fake) == ENDS[operation]
        assert await ask(environment, operation) == {**outcome, "repeated": True}
        assert end(fake) == ENDS[operation]


def stock(fake: FakeStripe) -> None:
    """Add the prices of the plans."""
    fake.put(objects.Product(product_id="prod_app", name="App"))
    for key, amount in (("basic", 900), ("pro", 4900), ("team", 1200)):
        fake.put(objects.Price(price_id=f"price_{key}", product_id="prod_app", unit_amount=amount, lookup_key=key))


async def let_leases_end(database_url: str) -> None:
    """Move the clock of the database behind the lease of the killed process."""
    connection = await asyncpg.connect(database_url)
    try:
        await move_clock(connection, OperationPolicy().lease)
    finally:
        await connection.close()


def test_every_operation_of_the_program_is_killed() -> None:
    """The parameters above name all of them."""
    assert set(OPERATIONS) == set(ENDS)
