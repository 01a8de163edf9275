"""`billing subscriptions`: a year of decisions by an operator, against a fake Stripe."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.integration.test_operation_kills import PLANS, stock

from billing_app import cli
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults

pytestmark = pytest.mark.postgres

Billing = Callable[..., Awaitable[Result]]


@pytest.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    async with fake_stripe() as fake:
        stock(fake)
        yield fake


@pytest.fixture
def billing(stripe: FakeStripe, environment: dict[str, str], tmp_path: Path) -> Billing:
    """Return the command, which runs in a thread because it runs an event loop of its own."""
    plans = tmp_path / "billing.toml"
    plans.write_text(PLANS, encoding="utf-8")
    settings = {
        **environment,
        "BILLING_CONFIG": str(plans),
        "STRIPE_API_BASE": stripe.url,
        "STRIPE_SECRET_KEY": stripe.secret_key,
        "STRIPE_FETCH": "true",
    }

    async def run(verb: str, *arguments: str, code: int = 0, **environ: str) -> Result:
        command = ["subscriptions", verb, "acme", *arguments]
        result = await asyncio.to_thread(CliRunner().invoke, cli.cli, command, env={**settings, **environ})
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run


async def listed(billing: Billing) -> str:
    """Return the line of `list` without the subscription's id."""
    (line,) = (await billing("list")).stdout.splitlines()
    return line.split("\t", 1)[1]


async def test_an_operator_manages_a_subscription(billing: Billing, stripe: FakeStripe) -> None:
    """Every command is shown by the next one."""
    unknown = await billing("list", code=3)
    assert (unknown.stdout, unknown.stderr) == ("", "Unknown tenant 'acme'. See `billing tenants list`.\n")
    started = await billing(
        "start", "--plan", "team", "--seats", "5", "--payment", "confirm", "--email", "a@acme.example"
    )
    assert started.stdout.startswith("done: sub_")
    assert (await listed(billing)).startswith("team\ttrialing\t5\t2")

    seats = await billing("seats", "9", "--yes")
    assert "sub_" in seats.stdout
    assert "next invoice" in seats.stdout
    assert "team\ttrialing\t9\t" in await listed(billing)

    again = await billing("start", "--plan", "team", code=1)
    assert "Run: billing subscriptions change acme --plan PLAN" in str(again.exception)
    changed = await billing("change", "--plan", "basic", "--when", "period_end", "--yes")
    assert "pending: sub_" in changed.stdout
    assert "takes effect at" in changed.stdout
    assert "\tplan change to basic 2" in await listed(billing)
    await billing("undo", "--what", "plan_change")
    assert "plan change" not in await listed(billing)

    changed = await billing("change", "--plan", "pro", "--json", "--yes")
    answer = json.loads(changed.stdout)
    assert (answer["result"]["status"], answer["repeated"]) == ("done", False)
    assert "changes now to pro." in changed.stderr

    await billing("cancel", "--feedback", "too_expensive", "--yes")
    assert "\tcancellation 2" in await listed(billing)
    ending = await billing("change", "--plan", "team", "--yes", code=1)
    assert "Run: billing subscriptions undo acme --what cancellation" in str(ending.exception)
    await billing("undo")

    await billing("pause", "--collection", "--yes")
    assert "payments are not collected" in await listed(billing)
    await billing("resume", "--collection")
    assert "payments are not collected" not in await listed(billing)

    await billing("cancel", "--now", "--yes")
    (shown,) = json.loads((await billing("list", "--json")).stdout)["subscriptions"]
    assert (shown["status"], shown["plan_code"]) == ("canceled", "pro")


async def test_what_cannot_be_done_is_said(billing: Billing, stripe: FakeStripe) -> None:
    """In a line that says what to do; nothing is asked of Stripe in the dark."""
    missing = await billing("cancel", "--yes", code=2)
    assert "acme has no live subscription." in missing.stderr
    unasked = await billing("cancel", "--subscription", "sub_1", code=2)
    assert "Pass --yes to confirm." in unasked.stderr
    unknown = await billing("start", "--plan", "gone", code=1)
    assert getattr(unknown.exception, "code", None) == "unknown_plan"
    no_key = await billing("start", "--plan", "team", code=1, STRIPE_FETCH="false")
    assert "Stripe cannot be asked" in str(no_key.exception)
    stripe.fail("/v1/customers", faults.Reset(), times=100, at="answering", method="POST")
    lost = await billing("start", "--plan", "team", code=1)
    assert "billing gateway pending" in str(lost.exception)
