"""`billing gateway`: operations without an outcome, as operators see them, and how they are given up."""

import asyncio
import json
from datetime import timedelta

import attrs
import pytest
from click.testing import CliRunner, Result
from tests.postgres import move_clock

from billing_app import cli
from billing_core.operations.stored import KEY_LIFETIME
from billing_core.testing.operations.operation_log import COMMAND, DONE, REQUEST, begun
from billing_core.testing.timing import LONG
from billing_postgres.operations.log import PostgresOperationLog
from billing_postgres.pool import Database

pytestmark = pytest.mark.postgres


async def gateway(database_url: str, *arguments: str) -> Result:
    """Run the command in a thread, because it runs an event loop of its own."""
    environment = {"ENABLE_BILLING": "", "DATABASE_URL": database_url}
    runner = CliRunner()
    return await asyncio.to_thread(runner.invoke, cli.cli, ["gateway", *arguments], env=environment)


async def pending(database_url: str, *arguments: str) -> Result:
    """List them."""
    return await gateway(database_url, "pending", *arguments)


async def test_operations_are_listed_until_they_are_resolved(database_url: str) -> None:
    """With who asked for what, when, and what happens next."""
    assert (await pending(database_url)).stderr == "No operation is pending.\n"
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool:
        log = PostgresOperationLog(database, pool)
        sent = await log.plan(await begun(log), COMMAND, lease=LONG)
        undecided = await begun(log, attrs.evolve(REQUEST, request_id="r2", subject="sub_2"))
        first, _ = (await pending(database_url)).stdout.splitlines()
        assert first.split("\t")[1:] == [sent.key, "acme", "cancel", "sub_1", "ada", "r1", "in progress, attempt 1", ""]
        await move_clock(pool, 2 * LONG)
        first, second = (await pending(database_url)).stdout.splitlines()
        assert "\tinterrupted after attempt 1; is sent again with the same key by a worker\t" in first
        assert "\tnever sent; a worker removes it\t" in second
        await move_clock(pool, KEY_LIFETIME + timedelta(hours=2))
        (first,) = (await pending(database_url, "--limit", "1")).stdout.splitlines()
        assert "\tinterrupted after attempt 1; is looked up at Stripe by a worker\t" in first
        shown = json.loads((await pending(database_url, "--json")).stdout)["operations"]
        assert [each["key"] for each in shown] == [sent.key, undecided.key]
        assert (shown[0]["command"], shown[1]["command"]) == ("cancel_now", None)
        assert (shown[0]["in_progress"], shown[0]["age_seconds"] > 90_000) == (False, True)
        await log.resolve(sent, DONE)
        await log.withdraw(undecided)
        assert (await pending(database_url)).stderr == "No operation is pending.\n"


async def test_an_operation_is_given_up_by_an_operator_who_says_why(database_url: str) -> None:
    """After a look at what is known of it; the audit log and the operation keep who did it."""
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool:
        log = PostgresOperationLog(database, pool)
        stuck = await log.plan(await begun(log), COMMAND, lease=LONG)
        give_up = ("give-up", stuck.key, "--why", "canceled in the dashboard", "--by", "grace")
        leased = await gateway(database_url, *give_up, "--yes")
        assert leased.exit_code == 1
        assert "is in progress. Wait until" in str(leased.exception)
        await log.release(stuck, due_in=timedelta(), error="internal_error: KeyError")
        unsure = await gateway(database_url, *give_up)
        assert unsure.exit_code == 2
        shown = unsure.stderr.splitlines()
        assert shown[0] == f"{stuck.key}  acme  cancel  sub_1"
        assert shown[3] == "  last error: internal_error: KeyError"
        assert shown[4].startswith("  cancel_now was sent first at ")
        assert shown[6] == "  Request r1 is answered `given_up` from then on, and its key is never used again."
        assert len(await log.unresolved(limit=10)) == 1
        done = await gateway(database_url, *give_up, "--yes")
        assert (done.exit_code, done.stdout) == (0, f"Gave up {stuck.key}. Further changes of sub_1 are possible.\n")
        found = await log.find(stuck.key)
        assert found is not None
        assert (found.status.value, found.given_up_by) == ("given_up", "grace")
        assert found.given_up_reason == "canceled in the dashboard"
        audit = await pool.fetchrow("SELECT action, actor, reason, filter, result FROM billing_audits")
        assert audit is not None
        assert tuple(audit)[:3] == ("give_up", "grace", "canceled in the dashboard")
        assert (json.loads(audit["filter"]), json.loads(audit["result"])) == (
            {"operation": stuck.key},
            {"given_up": True},
        )
        again = await gateway(database_url, *give_up, "--yes")
        assert (again.exit_code, again.stdout) == (3, "")
        assert "No pending operation has the id" in again.stderr


async def test_a_command_of_another_release_is_listed_and_can_be_given_up(database_url: str) -> None:
    """A worker of this release can neither send it nor withdraw it."""
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool:
        log = PostgresOperationLog(database, pool)
        stuck = await log.plan(await begun(log), COMMAND, lease=LONG)
        await pool.execute("""UPDATE gateway_operations SET command = '{"operation": "later", "arguments": {}}'""")
        await move_clock(pool, 2 * LONG)
        (claimed,) = await log.claim_due(lease=LONG, limit=10)
        assert (claimed.command, claimed.undecided) == (None, False)
        await log.release(claimed, due_in=timedelta())
        done = await gateway(database_url, "give-up", stuck.key, "--why", "looked it up", "--yes", "--json")
        assert done.exit_code == 0
        assert json.loads(done.stdout)["key"] == stuck.key
        assert await pool.fetchval("SELECT command ->> 'operation' FROM gateway_operations") == "later"
