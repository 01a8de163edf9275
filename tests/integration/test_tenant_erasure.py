"""`billing tenants erase` on a real database and a real server: nothing of the tenant is left anywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import attrs
import pytest
import redis.asyncio
from click.testing import CliRunner, Result
from tests.integration.processes import bearer, environment_of, post, running, subscription_event, token
from tests.integration.runbook_states import CRM, Stage, staged
from tests.integration.test_moves import BILLED, BY_CUSTOMER, BY_INVOICE, CUSTOMER, SUBSCRIBED, SlowLocks
from tests.patience import PATIENCE

from billing_app import cli
from billing_core.consumers.ports import Progress, Step, Want
from billing_core.events import Claim, Translation
from billing_core.model import CustomerId, CustomerSnapshot, LinkAction, LinkDecision, SubscriptionId
from billing_core.stream_access.ports import Principal
from billing_core.testing.arrange import claimed, service_over
from billing_core.testing.builders import ACME, GLOBEX, provider_event
from billing_core.testing.consumers.arrange import consumer
from billing_core.testing.operations.operation_log import CONTACT_COMMAND, DONE, REQUEST
from billing_core.testing.timing import LONG
from billing_postgres.consumers.queue import PostgresConsumerQueue
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.stream.outbox import PostgresOutbox
from billing_postgres.stream_access.tickets import PostgresStreamTickets

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

ADDRESS = "ada@acme.example"
WORDS = ("acme", "cus_1", "sub_1", "in_1", "Ada")
KEPT = {("billing_tenants", "acme"), ("billing_audits", "acme"), ("billing_token_revocations", "acme")}
"""Where the tenant's id stays: beside its number, in the entry about it, and as long as its tokens may live."""


async def erase(environment: Mapping[str, str], *arguments: str, typed: str = "") -> Result:
    """Run the command in a thread, because it runs an event loop of its own."""
    command = ["tenants", "erase", "acme", "--why", "request 7", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, cli.cli, command, env=environment, input=typed)


async def named(connection: Any) -> set[tuple[str, str]]:
    """Return the tables whose rows contain one of the words, as text or inside of bytes, with the word."""
    found = set()
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for (table,) in tables:
        for (row,) in await connection.fetch(f'SELECT to_jsonb(t)::text FROM "{table}" AS t'):
            found |= {(table, word) for word in WORDS if word in row or word.encode().hex() in row}
    return found


async def test_no_table_names_an_erased_tenant(database_url: str, redis_url: str) -> None:
    """Nor its customers, objects and addresses; and so it stays when later events come."""
    async with staged(database_url, redis_url) as stage:
        await _fill(stage)
        before = await named(stage.tools.pool)
        assert {table for table, _ in before} >= {
            "billing_audits",
            "billing_consumer_skips",
            "billing_consumer_tenants",
            "billing_customers",
            "billing_events",
            "billing_grants",
            "billing_link_decisions",
            "billing_outbox",
            "billing_stream_tickets",
            "gateway_operations",
            "stripe_event_attempts",
            "stripe_event_bodies",
            "stripe_event_dispatch",
            "subscription_invoices",
            "tenant_subscriptions",
        }
        done = await erase(stage.environment, "--yes", "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["erased"]["bodies"] == 3
        outbox = PostgresOutbox(stage.tools.database, stage.tools.pool)
        for rewrite in await outbox.pending():
            await outbox.finish(rewrite)
        assert await named(stage.tools.pool) == KEPT
        for number, late in enumerate((BY_CUSTOMER, BY_INVOICE), start=20):
            await stage.tools.service().apply([(await _stored(stage, number), late)])
        assert await named(stage.tools.pool) == KEPT
        theirs = await stage.repository.subscriptions(GLOBEX)
        assert [each.object_id for each in theirs] == ["sub_9"]
        assert await stage.tools.invariants().everything() == []


async def _fill(stage: Stage) -> None:
    """Give a tenant something in every table, and another one a subscription."""
    tools, service = stage.tools, stage.tools.service()
    await tools.consumer_register().register(consumer(CRM))
    shown = (CustomerSnapshot(customer_id=CUSTOMER, email=ADDRESS, name="Ada"), SUBSCRIBED, BILLED)
    await service.apply(
        [(await _stored(stage, 1), Translation(customer_id=CUSTOMER, tenant_hint=ACME, snapshots=shown))]
    )
    other = attrs.evolve(SUBSCRIBED, subscription_id=SubscriptionId("sub_9"), customer_id=CustomerId("cus_9"))
    theirs = Translation(customer_id=other.customer_id, tenant_hint=GLOBEX, snapshots=(other,))
    await service.apply([(await _stored(stage, 9, b"{}"), theirs)])
    assert await stage.inbox.bury(await _stored(stage, 2), reason="bug", error=f"{ADDRESS}?", customer_id=CUSTOMER)
    refused = Translation(customer_id=CUSTOMER, tenant_hint=GLOBEX, snapshots=(SUBSCRIBED,))
    await service.apply([(await _stored(stage, 3), refused)])
    await service.grant(ACME, plan_code="pro", reason=f"{ADDRESS} asked", actor="grace")
    async with stage.repository.transaction() as transaction:
        await transaction.lock_customers([CUSTOMER])
        link = LinkDecision(action=LinkAction.LINK, object_id=CUSTOMER, to_tenant=ACME, actor="ada")
        await transaction.decide(link, customers=[CUSTOMER])
    operations = tools.operation_log()
    begun = (await operations.begin(REQUEST, lease=LONG)).operation
    await operations.resolve(await operations.plan(begun, CONTACT_COMMAND, lease=LONG), DONE)
    audits = tools.audit_log()
    for reason in (f"for {ADDRESS}", "acme called", "Ada Lovelace called"):
        await audits.finish(await audits.begin("replay", actor="grace", reason=reason, filter={}), {})
    await audits.finish(await audits.begin("grant", actor="grace", reason="r", filter={}), {"object": "cus_1"})
    queue = PostgresConsumerQueue(tools.database, tools.pool)
    claims = await queue.claim([Want(consumer=CRM, limit=10, lease=LONG)])
    (mine,) = [each for each in claims if each.tenant_id == ACME]
    assert await queue.settle([Progress(claim=mine, step=Step.SKIP, position=1, attempts=12, error=ADDRESS)])
    reader = Principal(tenant_id=ACME, role="viewer", expires_at=datetime.now(UTC) + timedelta(hours=1))
    await PostgresStreamTickets(tools.database, tools.pool).put(b"digest", reader, ttl=LONG)


async def _stored(stage: Stage, number: int, body: bytes | None = None) -> Claim:
    """Store and claim an event whose body names everything."""
    text = json.dumps([*WORDS, ADDRESS]).encode() if body is None else body
    return await claimed(stage.inbox, provider_event(f"evt_{number}", body=text, received_at=datetime.now(UTC)))


async def test_the_tenants_id_is_typed_and_a_dry_run_changes_nothing(database_url: str, redis_url: str) -> None:
    """Without a terminal, --yes is required; an unknown tenant is status 3."""
    async with staged(database_url, redis_url) as stage:
        assert (await erase(stage.environment)).exit_code == 3
        await stage.apply(1)
        trial = await erase(stage.environment, "--dry-run")
        assert trial.exit_code == 0
        assert "1 subscriptions" in trial.stdout
        refused = await erase(stage.environment)
        assert (refused.exit_code, "--yes" in refused.output) == (2, True)
        assert len(await stage.repository.subscriptions(ACME)) == 1
        assert await stage.tools.revocations().current() == []


async def test_an_operation_on_its_way_refuses_the_erasure(database_url: str, redis_url: str) -> None:
    """Nothing is revoked or deleted; the message says where to look."""
    async with staged(database_url, redis_url) as stage:
        await stage.apply(1)
        await stage.tools.operation_log().begin(REQUEST, lease=LONG)
        refused = await erase(stage.environment, "--yes")
        assert "billing gateway pending" in str(refused.exception)
        assert len(await stage.repository.subscriptions(ACME)) == 1
        assert await stage.tools.revocations().current() == []


@pytest.mark.parametrize("late", [BY_CUSTOMER, BY_INVOICE], ids=["customer", "invoice"])
async def test_a_batch_that_read_a_customer_before_the_erasure_begins_again(
    database_url: str, late: Translation
) -> None:
    """Its event is ignored, and its body goes."""
    database = Database(url=database_url)
    async with await database.open_pool(size=5) as pool, PostgresEventInbox(database, pool) as store:
        repository = PostgresRepository(database, pool)
        service, slow = service_over(repository), SlowLocks(repository)
        first = await claimed(store, provider_event("evt_1"))
        shown = (CustomerSnapshot(customer_id=CUSTOMER), SUBSCRIBED, BILLED)
        await service.apply([(first, Translation(customer_id=CUSTOMER, tenant_hint=ACME, snapshots=shown))])
        claim = await claimed(store, provider_event("evt_2"))
        applying = asyncio.create_task(service_over(slow).apply([(claim, late)]))
        await slow.reached.wait()
        await service.erase(ACME, actor="grace", reason="request 7")
        slow.proceed.set()
        (outcome,) = (await applying).outcomes
        assert (slow.begun, outcome.reason) == (2, "erased")
        assert await pool.fetchval("SELECT count(*) FROM stripe_event_bodies") == 0
        assert await pool.fetchval("SELECT count(*) FROM billing_customers") == 0


async def test_streams_end_and_redis_forgets_the_tenant(database_url: str, redis_url: str) -> None:
    """Within seconds: its tokens are revoked, its log and its part of the live stream go."""
    environment = environment_of(database_url, redis_url) | {"BILLING_TOKEN_RECHECK_SECONDS": "1"}
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    client: Any = redis.asyncio.Redis.from_url(redis_url, decode_responses=True)
    async with (
        client,
        running("serve", environment=environment, ready=f"{base}/readyz"),
        aiohttp.ClientSession() as session,
    ):
        assert (await post(session, base, subscription_event(1)))[0] == 202
        async with session.get(f"{base}/api/v1/billing/stream?after=0", headers=bearer(token("acme"))) as stream:
            async with asyncio.timeout(PATIENCE):
                while b"subscription.created" not in await stream.content.readline():
                    pass
                assert await _kept(client) != []
                assert (await erase(environment, "--yes")).exit_code == 0
                await stream.content.read()  # to its end
        async with asyncio.timeout(PATIENCE):
            while await _kept(client):  # noqa: ASYNC110 - the worker does not say when
                await asyncio.sleep(0.1)
        async with session.get(f"{base}/api/v1/billing/tenants/acme/state", headers=bearer(token("acme"))) as answer:
            found = await answer.json()
            assert (answer.status, found["subscriptions"], found["sequence"]) == (200, [], 2)
        assert (await post(session, base, subscription_event(2)))[0] == 202
        async with asyncio.timeout(PATIENCE):
            while (await _reason(database_url)) != "erased":  # noqa: ASYNC110 - the worker does not say when
                await asyncio.sleep(0.1)
        assert await _kept(client) == []


async def _kept(client: Any) -> Sequence[str]:
    """Return what Redis holds of the tenant's messages."""
    keys = [key async for key in client.scan_iter("*")]
    live = [entry for key in keys if key.endswith(":live") for entry in await client.xrange(key)]
    return [key for key in keys if key.endswith("tenant:acme")] + [str(entry) for entry in live if "acme" in str(entry)]


async def _reason(database_url: str) -> str | None:
    async with await Database(url=database_url).open_pool(size=1) as pool:
        found: str | None = await pool.fetchval(
            "SELECT reason FROM stripe_event_dispatch JOIN stripe_events ON id = event WHERE event_id = 'evt_2'"
        )
        return found
