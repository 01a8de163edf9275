"""`billing doctor`: a sound installation is called sound, and what is wrong is named with what to do."""

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


async def examine(database_url: str, redis_url: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit status and what was found, the worst of each check."""
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "ENABLE_BILLING": ""}
    runner = CliRunner()
    result = await asyncio.to_thread(runner.invoke, cli.cli, ["doctor", "--json", *arguments], env=environment)
    return result.exit_code, {each["check"]: each for each in json.loads(result.stdout)["findings"]}


async def test_a_sound_installation_is_called_sound(database_url: str, redis_url: str) -> None:
    """Everything was looked at, and nothing has to be done."""
    status, found = await examine(database_url, redis_url, "--invariants")
    assert status == 0
    assert {"settings", "database", "redis", "inbox", "outbox", "invariant gapless"} <= found.keys()
    assert {each["verdict"] for each in found.values()} == {"ok"}


async def test_damage_is_named(database_url: str, redis_url: str) -> None:
    """Only on demand are all rows read."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(DAMAGE)
    await connection.close()
    assert (await examine(database_url, redis_url))[0] == 0
    status, found = await examine(database_url, redis_url, "--invariants")
    assert status == 1
    assert found["invariant gapless"]["verdict"] == "fail"
    assert "acme" in found["invariant gapless"]["detail"]
    assert found["invariant counter"]["verdict"] == "ok"


async def test_what_cannot_be_reached_is_named(database_url: str, redis_url: str) -> None:
    """With the setting to look at; what depends on it is left out."""
    nowhere = "redis://127.0.0.1:1/0"
    status, found = await examine(database_url, nowhere)
    assert (status, found["redis"]["verdict"], found["database"]["verdict"]) == (1, "fail", "ok")
    assert "REDIS_URL" in found["redis"]["remedy"]
    status, found = await examine("postgresql://nobody:secret-word@127.0.0.1:1/none", redis_url)
    assert (status, found["database"]["verdict"], "inbox" in found) == (1, "fail", False)
    assert "secret-word" not in json.dumps(found)


async def test_the_gauge_shows_what_does_not_hold(database_url: str) -> None:
    """The worker's check finds it, also of a tenant that did nothing lately, and counts the others as sound."""
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
