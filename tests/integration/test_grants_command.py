"""`billing grants`: access that an operator gives, on the command line."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result
from tests.postgres import connected

from billing_app import cli

pytestmark = pytest.mark.postgres


async def billing(database_url: str, *arguments: str, **environ: str) -> Result:
    """Run the command in a thread, because it runs an event loop of its own."""
    environment = {"DATABASE_URL": database_url, "ENABLE_BILLING": "", **environ}
    return await asyncio.to_thread(CliRunner().invoke, cli.cli, ["grants", *arguments], env=environment)


async def test_a_grant_is_made_listed_and_revoked(database_url: str) -> None:
    """Each is on record with who, when and why, and each is one message to the tenant."""
    given = ("--plan", "pro", "--until", "2127-01-01", "--why", "goodwill", "--by", "ops", "--yes", "--json")
    made = json.loads((await billing(database_url, "add", "acme", *given)).stdout)
    assert (made["tenant_id"], made["plan_code"], made["actor"], made["reason"]) == ("acme", "pro", "ops", "goodwill")
    assert (made["until"], made["revoked_at"]) == ("2127-01-01T00:00:00+00:00", None)
    listed = await billing(database_url, "list", "acme", "--json")
    assert json.loads(listed.stdout) == {"grants": [made]}
    shown = (await billing(database_url, "list")).stdout
    assert shown.startswith(f"{made['grant_id']}\tacme\tpro\t2127-01-01T00:00:00Z\t")
    assert shown.endswith("\tops\tgoodwill\tholds\n")
    revoke = ("revoke", made["grant_id"], "--why", "a mistake", "--by", "boss")
    assert (await billing(database_url, *revoke)).stdout == "Revoked the grant of plan pro to acme.\n"
    again = await billing(database_url, *revoke)
    assert (again.exit_code, "was revoked before" in again.stdout) == (0, True)
    assert " by boss: a mistake" in (await billing(database_url, "list")).stdout
    async with connected(database_url) as connection:
        rows = await connection.fetch("SELECT event_type, payload #>> '{access,state}' AS state FROM billing_events")
    assert [tuple(row) for row in rows] == [("grant.added", "full"), ("grant.revoked", "blocked")]


async def test_the_end_may_be_a_span_from_now(database_url: str) -> None:
    """As operators say it; without one the grant holds until it is revoked."""
    given = ("--plan", "pro", "--why", "trial", "--yes", "--json")
    made = json.loads((await billing(database_url, "add", "acme", "--until", "90d", *given)).stdout)
    left = datetime.fromisoformat(made["until"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < left <= timedelta(days=90)
    assert json.loads((await billing(database_url, "add", "acme", *given)).stdout)["until"] is None


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("add", "acme", "--plan", "pro", "--why", " ", "--yes"), 2, "must not be blank"),
        (("add", "acme", "--plan", "", "--why", "w", "--yes"), 2, "must not be blank"),
        (("add", " acme", "--plan", "pro", "--why", "w", "--yes"), 2, "begins or ends with white space"),
        (("add", "acme", "--plan", "pro", "--why", "w", "--until", "2020-01-01"), 2, "this end has passed"),
        (("add", "acme", "--plan", "pro", "--why", "w", "--until", "soon"), 2, "neither a date"),
        (("add", "acme", "--plan", "pro", "--why", "w"), 2, "The tenant acme is not known."),
        (("revoke", "grant_9", "--why", "w"), 3, "Unknown grant 'grant_9'"),
    ],
)
async def test_what_cannot_be_done_is_refused(
    database_url: str, arguments: tuple[str, ...], status: int, message: str
) -> None:
    """With the reason; nothing is written."""
    result = await billing(database_url, *arguments)
    assert (result.exit_code, message in result.output) == (status, True), result.output
    assert (await billing(database_url, "list")).stderr == "There are no grants.\n"


async def test_a_plan_that_does_not_exist_is_noticed(database_url: str) -> None:
    """A mistyped code would grant access to nothing that the application knows."""
    plans = {"STRIPE_PRODUCT_PRICE_MAP": "pro=price_1,starter=price_2"}
    given = ("add", "acme", "--plan", "prp", "--why", "goodwill", "--yes")
    refused = await billing(database_url, *given, **plans)
    assert refused.exit_code == 2
    assert "There is no plan 'prp'. The plans are pro, starter. Pass --force to grant it anyway." in refused.stderr
    assert (await billing(database_url, "list")).stderr == "There are no grants.\n"
    assert (await billing(database_url, *given, "--force", **plans)).exit_code == 0


async def test_a_tenant_that_does_not_exist_is_noticed(database_url: str) -> None:
    """An empty list would say that it has no grants."""
    unknown = await billing(database_url, "list", "acm")
    assert (unknown.exit_code, unknown.stdout) == (3, "")
    assert unknown.stderr == "Unknown tenant 'acm'. See `billing tenants list`.\n"
