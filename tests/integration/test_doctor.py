"""`billing doctor`: a healthy installation passes every check, and a problem is named with its remedy."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner

from billing_app import cli
from billing_core.oversight.monitors import InvariantMonitor, InvariantReport
from billing_postgres.oversight.invariants import PostgresInvariantLog
from billing_postgres.pool import Database
from billing_telemetry.metrics import Metrics

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

DAMAGE = """
INSERT INTO billing_tenants (tenant_id, sequence) VALUES ('acme', 3);
INSERT INTO billing_events (tenant_id, sequence, event_type, event_id, occurred_at, payload)
VALUES ('acme', 1, 'invoice.paid', 'evt_1', now(), '{}'), ('acme', 3, 'invoice.paid', 'evt_2', now(), '{}');
"""


async def doctor(database_url: str, redis_url: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return the exit status and the results by check."""
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "ENABLE_BILLING": ""}
    runner = CliRunner()
    result = await asyncio.to_thread(runner.invoke, cli.cli, ["doctor", "--json", *arguments], env=environment)
    return result.exit_code, {each["check"]: each for each in json.loads(result.stdout)["findings"]}


async def test_a_healthy_installation_passes_every_check(database_url: str, redis_url: str) -> None:
    """Every check ran, and none has a warning."""
    status, found = await doctor(database_url, redis_url, "--invariants")
    assert status == 0
    assert {"settings", "database", "redis", "inbox", "outbox", "invariant gapless"} <= found.keys()
    assert {each["verdict"] for each in found.values()} == {"ok"}


async def test_damaged_rows_are_reported(database_url: str, redis_url: str) -> None:
    """All rows are read only with --invariants."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(DAMAGE)
    await connection.close()
    assert (await doctor(database_url, redis_url))[0] == 0
    status, found = await doctor(database_url, redis_url, "--invariants")
    assert status == 1
    assert found["invariant gapless"]["verdict"] == "fail"
    assert "acme" in found["invariant gapless"]["detail"]
    assert found["invariant counter"]["verdict"] == "ok"


async def test_an_unreachable_server_is_reported(database_url: str, redis_url: str) -> None:
    """The result names the setting to check, and checks that depend on the server are skipped."""
    unreachable = "redis://127.0.0.1:1/0"
    status, found = await doctor(database_url, unreachable)
    assert (status, found["redis"]["verdict"], found["database"]["verdict"]) == (1, "fail", "ok")
    assert "REDIS_URL" in found["redis"]["remedy"]
    status, found = await doctor("postgresql://unknown:secret-word@127.0.0.1:1/none", redis_url)
    assert (status, found["database"]["verdict"], "inbox" in found) == (1, "fail", False)
    assert "secret-word" not in json.dumps(found)


async def test_the_gauge_counts_violations(database_url: str) -> None:
    """The worker's check finds a violation even of an inactive tenant, and counts zero for the other invariants."""
    database, metrics, reports = Database(url=database_url), Metrics(), list[InvariantReport]()
    async with await database.open_pool(size=2) as pool:
        await pool.execute(DAMAGE)

        def observe(report: InvariantReport) -> None:
            metrics.invariants_checked(report)
            reports.append(report)
            invariant_monitor.stop()

        invariant_monitor = InvariantMonitor(
            log=PostgresInvariantLog(database, pool), every=timedelta(hours=1), observe=observe
        )
        await invariant_monitor.run()
    values = {
        name: metrics.registry.get_sample_value("billing_invariant_violations", {"invariant": name})
        for name in ("gapless", "counter", "published")
    }
    assert values == {"gapless": 1, "counter": 0, "published": 0}
    assert len(reports) == 1
