"""`billing doctor`: a healthy installation passes every check, and a problem is named with its remedy."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.patience import PATIENCE
from tests.postgres import connected

from billing_app import cli
from billing_app.troubleshooting import CatalogTrouble, KeyTrouble, WebhookTrouble
from billing_core.model import CustomerId
from billing_core.oversight.monitors import InvariantMonitor, InvariantReport
from billing_core.oversight.ports import RefusedWebhooks
from billing_core.state.ports import Changes
from billing_core.testing.arrange import claimed, save
from billing_core.testing.builders import customer, provider_event, subscription
from billing_embedded import embedded_servers_sync
from billing_postgres.durability import durability_risks
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.migrate import migrate
from billing_postgres.oversight.invariants import PostgresInvariantLog
from billing_postgres.oversight.refusals import PostgresRefusalTally
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import FakeStripe, fake_stripe, faults
from billing_stripe.translate import HANDLED_TYPES
from billing_telemetry.metrics import Metrics

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

DAMAGE = """
INSERT INTO billing_tenants (tenant_id, sequence) VALUES ('acme', 3);
INSERT INTO billing_events (tenant_id, sequence, event_type, event_id, occurred_at, payload)
VALUES ('acme', 1, 'invoice.paid', 'evt_1', now(), '{}'), ('acme', 3, 'invoice.paid', 'evt_2', now(), '{}');
"""


async def doctor(
    database_url: str, redis_url: str, *arguments: str, stripe: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Run the command; return the exit status and the results by check."""
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "ENABLE_BILLING": "", **(stripe or {})}
    runner = CliRunner()
    result = await asyncio.to_thread(runner.invoke, cli.cli, ["doctor", "--json", *arguments], env=environment)
    return result.exit_code, {each["check"]: each for each in json.loads(result.stdout)["findings"]}


async def test_a_healthy_installation_passes_every_check(durable_database_url: str, redis_url: str) -> None:
    """Every check ran, and only that billing is off is worth a warning."""
    status, found = await doctor(durable_database_url, redis_url, "--invariants")
    assert status == 0
    assert {
        "settings",
        "billing.toml",
        "database",
        "durability",
        "redis",
        "inbox",
        "outbox",
        "plans",
        "invariant gapless",
    } <= found.keys()
    off = found.pop("settings")
    assert (off["verdict"], "no event is stored or processed" in off["detail"]) == ("warn", True)
    assert {each["verdict"] for each in found.values()} == {"ok"}


async def test_damaged_rows_are_reported(durable_database_url: str, redis_url: str) -> None:
    """All rows are read only with --invariants."""
    async with connected(durable_database_url) as connection:
        await connection.execute(DAMAGE)
    assert (await doctor(durable_database_url, redis_url))[0] == 0
    status, found = await doctor(durable_database_url, redis_url, "--invariants")
    assert status == 1
    assert found["invariant gapless"]["verdict"] == "fail"
    assert "acme" in found["invariant gapless"]["detail"]
    assert found["invariant counter"]["verdict"] == "ok"


async def test_the_tenants_of_dead_events_are_named(database_url: str, redis_url: str) -> None:
    """Beside the number of the events and their reason; the remedy lists them."""
    database = Database(url=database_url)
    async with await database.open_pool(size=2) as pool, PostgresEventInbox(database, pool) as inbox:
        await save(PostgresRepository(database, pool), Changes(customers=[customer("cus_1")]))
        for number, customer_id in enumerate((CustomerId("cus_1"), None)):
            claim = await claimed(inbox, provider_event(f"evt_{number}"))
            await inbox.bury(claim, reason="bug", error="boom", customer_id=customer_id)
    _, found = await doctor(database_url, redis_url)
    assert found["dead"]["verdict"] == "warn"
    detail = re.sub(r"\d+ s ago", "… ago", found["dead"]["detail"])
    assert detail == "2 events failed permanently, the oldest … ago: bug; the latest concern acme"
    assert "billing events list --status dead --reason bug" in found["dead"]["remedy"]


async def test_prices_of_no_plan_are_reported_with_their_tenants(database_url: str, redis_url: str) -> None:
    """A warning, because no tenant loses access for it."""
    database = Database(url=database_url)
    async with await database.open_pool(size=3) as pool:
        unmapped = subscription(plan_code=None, price_id="price_new")
        await save(PostgresRepository(database, pool), Changes(subscriptions=[unmapped]))
    _, found = await doctor(database_url, redis_url)
    assert found["plans"]["verdict"] == "warn"
    assert "1 prices of live subscriptions belong to no plan; tenants: acme" in found["plans"]["detail"]


async def test_refused_webhooks_are_named_with_their_size(database_url: str, redis_url: str) -> None:
    """Of the last days, over all servers, with what to set."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    refused = [
        RefusedWebhooks(hour=now - timedelta(days=days), reason="too_large", count=2, largest=largest)
        for days, largest in ((20, 9_000_000), (2, 3_000_000), (1, 2_500_000))
    ]
    database = Database(url=database_url)
    async with await database.open_pool(size=1) as pool:
        await PostgresRefusalTally(database, pool).add(refused)
    _, found = await doctor(database_url, redis_url)
    assert found["refused"]["verdict"] == "warn"
    since = (now - timedelta(days=2)).date().isoformat()
    assert found["refused"]["detail"] == (
        f"4 webhooks signed in Stripe's form were refused since {since}: too_large; "
        "the largest had at least 3000000 bytes"
    )
    assert "BILLING_BODY_LIMIT_BYTES" in found["refused"]["remedy"]


async def test_stripe_and_our_key_are_checked(durable_database_url: str, redis_url: str) -> None:
    """By one reading call: no answer is a warning, because servers work on; a refused key is a failure."""
    async with fake_stripe() as fake:
        stripe = with_stripe(fake)
        fake.fail("/v1/account", faults.server_error())
        status, found = await doctor(durable_database_url, redis_url, stripe=stripe)
        assert (status, found["stripe"]["verdict"]) == (0, "warn")
        assert "stripe_gateway_circuit" in found["stripe"]["remedy"]
        assert found["stripe"]["see"] == str(KeyTrouble.STRIPE_IS_UNREACHABLE)
        revoked = {**stripe, "STRIPE_SECRET_KEY": "sk_test_revoked"}
        status, found = await doctor(durable_database_url, redis_url, stripe=revoked)
        assert (status, found["stripe"]["verdict"]) == (1, "fail")
        assert "Replace STRIPE_SECRET_KEY" in found["stripe"]["remedy"]
        assert "sk_test_revoked" not in json.dumps(found)
        assert len(fake.requests) == 2


async def test_the_account_at_stripe_is_checked_by_reads_alone(durable_database_url: str, redis_url: str) -> None:
    """Its endpoint, the permissions of the key, and the prices of the catalog; a warning fails a strict run only."""
    async with fake_stripe() as fake:
        stripe = with_stripe(fake) | {"STRIPE_PRODUCT_PRICE_MAP": "pro=price_1,basic=price_2"}
        for price_id, active in (("price_1", True), ("price_2", False)):
            price = objects.Price(price_id=price_id, product_id="prod_1", unit_amount=1900, active=active)
            fake.put(price)
        status, found = await doctor(durable_database_url, redis_url, stripe=stripe)
        assert (status, found["webhooks"]["see"]) == (1, str(WebhookTrouble.PUBLIC_URL_IS_UNKNOWN))
        assert found["prices"]["see"] == str(CatalogTrouble.PRICE_IS_ARCHIVED)
        assert found["account"]["detail"] == f"{fake.account.account_id}, test mode"
        assert found["permissions"]["verdict"] == "ok"

        stripe |= {"STRIPE_PRODUCT_PRICE_MAP": "pro=price_1", "BILLING_PUBLIC_URL": "https://billing.example.com"}
        refusal = b'{"error": {"type": "invalid_request_error", "message": "Having the \'rak_event_read\' permission"}}'
        fake.fail("/v1/events", faults.Answer(status=403, body=refusal))
        status, found = await doctor(durable_database_url, redis_url, stripe=stripe)
        assert (status, found["webhooks"]["see"]) == (1, str(WebhookTrouble.ENDPOINT_IS_MISSING))
        assert found["permissions"]["detail"].endswith("to read Events (rak_event_read)")
        assert found["prices"]["verdict"] == "ok"

        fake.put(endpoint(event_types=(*HANDLED_TYPES, "charge.captured")))
        status, found = await doctor(durable_database_url, redis_url, stripe=stripe)
        assert (status, found["webhooks"]["see"]) == (0, str(WebhookTrouble.ENDPOINT_SENDS_UNUSED_EVENTS))
        status, found = await doctor(durable_database_url, redis_url, "--strict", stripe=stripe)
        assert status == 4

        fake.put(endpoint(event_types=HANDLED_TYPES))
        status, found = await doctor(durable_database_url, redis_url, "--strict", stripe=stripe)
        assert found["webhooks"]["verdict"] == "ok"
        # Nothing runs here yet, which is all that is left to warn of.
        assert {name for name, each in found.items() if each["verdict"] != "ok"} == {"events", "processes"}
        assert status == 4
        assert {request.method for request in fake.requests} == {"GET"}


def with_stripe(fake: FakeStripe) -> dict[str, str]:
    return {
        "ENABLE_BILLING": "true",
        "STRIPE_API_BASE": fake.url,
        "STRIPE_SECRET_KEY": fake.secret_key,
        "STRIPE_WEBHOOK_SECRET": "whsec_doctor",
        "BILLING_JWT_SECRET": "s" * 32,
    }


def endpoint(*, event_types: Sequence[str]) -> objects.WebhookEndpoint:
    return objects.WebhookEndpoint(
        webhook_endpoint_id="we_1",
        url="https://billing.example.com/webhooks/stripe",
        secret="whsec_doctor",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        api_version="2026-10-28.endive",
        enabled_events=tuple(event_types),
    )


async def test_commits_that_do_not_wait_are_reported(durable_database_url: str, redis_url: str) -> None:
    """The role's setting is a warning, since intake and publishing raise it for themselves."""
    status, found = await doctor(f"{durable_database_url}?options=-c%20synchronous_commit%3Doff", redis_url)
    assert (status, found["durability"]["verdict"]) == (0, "warn")
    assert "synchronous_commit is off" in found["durability"]["detail"]
    assert "ALTER ROLE" in found["durability"]["remedy"]


@pytest.mark.faults
async def test_a_server_that_does_not_write_to_disk_fails_the_check(data_dir: Path, redis_url: str) -> None:
    """Without fsync a crash of the machine loses what was answered 202."""
    with embedded_servers_sync(data_dir) as urls:
        await migrate(urls.database_url)
        async with connected(urls.database_url) as connection, asyncio.timeout(PATIENCE):
            for setting in ("fsync", "full_page_writes"):
                await connection.execute(f"ALTER SYSTEM SET {setting} = off")
            await connection.execute("SELECT pg_reload_conf()")
            while await connection.fetchval("SHOW fsync") == "on":  # noqa: ASYNC110 - the server does not say when
                await asyncio.sleep(0.05)
        risks = await durability_risks(urls.database_url)
        assert [risk.setting for risk in risks if risk.voids_promise] == ["fsync", "full_page_writes"]
        status, found = await doctor(urls.database_url, redis_url)
        assert (status, found["durability"]["verdict"]) == (1, "fail")


async def test_an_unreachable_server_is_reported(durable_database_url: str, redis_url: str) -> None:
    """The result names the setting to check, and checks that depend on the server are skipped."""
    unreachable = "redis://127.0.0.1:1/0"
    status, found = await doctor(durable_database_url, unreachable)
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
