"""`billing gateway pending`: operations without an outcome, as operators see them."""

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


async def pending(database_url: str, *arguments: str) -> Result:
    """Run the command in a thread, because it runs an event loop of its own."""
    environment = {"ENABLE_BILLING": "", "DATABASE_URL": database_url}
    runner = CliRunner()
    return await asyncio.to_thread(runner.invoke, cli.cli, ["gateway", "pending", *arguments], env=environment)


async def test_operations_are_listed_until_they_are_resolved(database_url: str) -> None:
    """With who asked for what, when, and what happens next."""
    assert (await pending(database_url)).stdout == "No operation is pending.\n"
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool:
        log = PostgresOperationLog(database, pool)
        sent = await log.plan(await begun(log), COMMAND, lease=LONG)
        undecided = await begun(log, attrs.evolve(REQUEST, request_id="r2", subject="sub_2"))
        lines = (await pending(database_url)).stdout.splitlines()
        assert lines[0] == f"{sent.key}  acme  cancel  sub_1"
        assert lines[1].endswith("by ada, request r1")
        assert lines[2] == "  in progress, attempt 1"
        await move_clock(pool, 2 * LONG)
        lines = (await pending(database_url)).stdout.splitlines()
        assert "(10 min ago)" in lines[1]
        assert lines[2] == "  interrupted after attempt 1; is sent again with the same key by a worker"
        assert lines[5] == "  never sent; a worker removes it"
        await move_clock(pool, KEY_LIFETIME + timedelta(hours=2))
        lines = (await pending(database_url, "--limit", "1")).stdout.splitlines()
        assert "(1 d ago)" in lines[1]
        assert lines[2:] == ["  interrupted after attempt 1; is looked up at Stripe by a worker"]
        shown = json.loads((await pending(database_url, "--json")).stdout)["operations"]
        assert [each["key"] for each in shown] == [sent.key, undecided.key]
        assert (shown[0]["command"], shown[1]["command"]) == ("cancel_now", None)
        assert (shown[0]["in_progress"], shown[0]["age_seconds"] > 90_000) == (False, True)
        await log.resolve(sent, DONE)
        await log.withdraw(undecided)
        assert (await pending(database_url)).stdout == "No operation is pending.\n"
