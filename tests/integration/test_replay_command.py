"""`billing events replay` and `billing explain`, beside servers and workers."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import attrs
import pytest
import structlog
from structlog.testing import LogCapture
from tests.commands import Command, started
from tests.patience import PATIENCE
from tests.postgres import connected

from billing_app import observers
from billing_app.container import Container, open_container
from billing_app.settings import DispatchSettings, Settings
from billing_app.worker import publishing
from billing_core.events import EventKey, ProviderEvent
from billing_core.inbox.replay import ReplayRequest
from billing_core.inbox.selection import EventFilter
from billing_core.model import EventId, TenantId
from billing_core.state.provisional import ProvisionalBasis
from billing_embedded.loopback import free_port
from billing_stripe.testing import accounts, builders, encode, event, objects

VERSION = "2026-10-28.endive"
START = datetime(2026, 1, 1, tzinfo=UTC)
PRO = objects.Price(price_id="price_pro", product_id="prod_pro", unit_amount=1900, lookup_key="pro")
HOSTILE = "\x1b[31macme\r\n[bold]"

pytestmark = [pytest.mark.stripe, pytest.mark.postgres, pytest.mark.redis]


@attrs.frozen(kw_only=True)
class Ran:
    """The result of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output, parsed as JSON."""
        return json.loads(self.out)


@attrs.frozen(kw_only=True)
class Deployment:
    """Settings, and a connection to the database."""

    environment: Mapping[str, str]
    connection: "asyncpg.Connection[asyncpg.Record]"

    async def start(self, *arguments: str, **changed: str) -> Command:
        """Start a command."""
        return await started(*arguments, environment={**self.environment, **changed}, captured=(1, 2))

    async def billing(self, *arguments: str, **changed: str) -> Ran:
        """Run a command to its end."""
        process = await self.start(*arguments, **changed)
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Ran(status=process.returncode, out=out.decode(), err=err.decode())

    async def replay(self, *arguments: str, **changed: str) -> Ran:
        """Replay events of the tenant."""
        return await self.billing("events", "replay", "--tenant", "acme", *arguments, **changed)

    @asynccontextmanager
    async def container(self, **changed: Any) -> AsyncIterator[Container]:
        """Open its container in this process."""
        settings = attrs.evolve(Settings.load(self.environment), **changed)
        async with open_container(settings, application_name="test") as container:
            yield container

    async def apply(self, events: Sequence[ProviderEvent]) -> None:
        """Store events, process them and publish their messages."""
        async with self.container() as container, publishing(container.publisher(), container.deadline()):
            for one in events:
                await container.inbox().record(one)
            while claims := await container.queue().claim(limit=100, lease=timedelta(minutes=1)):
                await container.batches().process(claims)

    async def rows(self, *tables: str) -> Mapping[str, str]:
        """Return a digest of all rows per table, of these tables or of all."""
        found = await self.connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations'"
        )
        names = tables or [row["tablename"] for row in found]
        digest = "SELECT coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {} AS t"
        return {name: await self.connection.fetchval(digest.format(name)) for name in names}

    async def damage(self) -> None:
        """Change the tenant's subscription with SQL, as by hand."""
        await self.connection.execute("UPDATE tenant_subscriptions SET status = 'canceled', ended = true")

    async def numbers(self) -> Sequence[int]:
        """Return the numbers of all messages of the tenant."""
        rows = await self.connection.fetch("SELECT sequence FROM billing_events ORDER BY sequence")
        return [row["sequence"] for row in rows]


@pytest.fixture
async def deployment(database_url: str, redis_url: str) -> AsyncIterator[Deployment]:
    """A deployment with fast polling and short leases."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BILLING_", "STRIPE_"))}
    environment = inherited | {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "STRIPE_SECRET_KEY": "sk_test_integration",
        "STRIPE_PRODUCT_PRICE_MAP": "pro=price_pro",
        "STRIPE_FETCH": "false",
        "BILLING_DISPATCH_POLL_SECONDS": "0.2",
        "BILLING_DISPATCH_LEASE_SECONDS": "1",
        "BILLING_PORT": str(free_port()),
    }
    async with connected(database_url) as connection:
        yield Deployment(environment=environment, connection=connection)


def step(number: int, *, seats: int | None = None, status: str = "active", tenant: str = "acme") -> ProviderEvent:
    """Build the n-th event of one subscription."""
    item = objects.Item(
        item_id="si_1", price=PRO, period=objects.Span(START, START + timedelta(days=31)), quantity=seats or number
    )
    subscription = objects.Subscription(
        subscription_id="sub_1",
        customer_id="cus_1",
        status=status,
        created_at=START,
        items=(item,),
        metadata={"tenant_id": tenant},
    )
    shown = builders.subscription(subscription, VERSION)
    return received("customer.subscription.updated", f"evt_{number}", shown, minutes=number)


def received(event_type: str, event_id: str, shown: Mapping[str, Any], *, minutes: int = 0) -> ProviderEvent:
    """Build an event about an object."""
    created = START + timedelta(minutes=minutes)
    return ProviderEvent(
        key=EventKey(event_id=EventId(event_id), livemode=False),
        type=event_type,
        api_version=VERSION,
        created_at=created,
        received_at=created,
        body=encode(event(event_type, shown, created=created, api_version=VERSION, event_id=event_id)),
    )


async def until(connection: "asyncpg.Connection[asyncpg.Record]", query: str) -> None:
    """Wait until the query returns true."""
    async with asyncio.timeout(PATIENCE):
        while not await connection.fetchval(query):  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.02)


EVENTS = [step(1, status="trialing"), step(2), step(3), step(4, seats=3), step(5, status="past_due")]


async def test_replaying_what_was_applied_changes_nothing(deployment: Deployment) -> None:
    """No row of state, message or number changes; the replay is counted and recorded in the audit log."""
    await deployment.apply(EVENTS)
    state = ("tenant_subscriptions", "subscription_items", "billing_customers", "billing_tenants", "billing_events")
    before = await deployment.rows(*state)
    ran = await deployment.replay("--yes", "--json", "--by", "ann", "--why", "ticket 7")
    assert (ran.status, ran.json["matched"], ran.json["confirmed"] + ran.json["stale"]) == (0, 5, 5)
    assert ran.json["messages"] == 0
    assert await deployment.rows(*state) == before
    listed = await deployment.billing("events", "replays", "--json")
    (audit,) = listed.json["replays"]
    assert (audit["by"], audit["why"], audit["filter"]["tenant"]) == ("ann", "ticket 7", "acme")
    assert audit["result"]["matched"] == 5
    assert audit["finished_at"] is not None
    assert "\tann\tticket 7\t" in (await deployment.billing("events", "replays")).out


async def test_a_dry_run_shows_a_damaged_row_and_a_replay_corrects_it(deployment: Deployment) -> None:
    """The dry run changes no table; the replay sends the tenant one message, through the bus."""
    await deployment.apply(EVENTS)
    before_damage = await deployment.rows("subscription_items")
    numbers = await deployment.numbers()
    await deployment.damage()
    before = await deployment.rows()
    ran = await deployment.replay("--dry-run", "--json")
    (difference,) = ran.json["differences"]
    assert (ran.status, difference["object_id"]) == (0, "sub_1")
    assert difference["fields"]["status"] == {"before": "canceled", "after": "past_due"}
    assert [message["sequence"] for message in ran.json["would_tell"]] == [len(numbers) + 1]
    shown = await deployment.replay("--dry-run")
    assert 'status: "canceled" → "past_due"' in shown.out
    assert "Dry run. Nothing was changed:" in shown.out
    assert await deployment.rows() == before

    ran = await deployment.replay("--yes")
    assert (ran.status, await deployment.numbers()) == (0, [*numbers, len(numbers) + 1])
    assert "1 messages published" in " ".join(ran.out.split())
    assert await deployment.connection.fetchval("SELECT status FROM tenant_subscriptions") == "past_due"
    assert await deployment.rows("subscription_items") == before_damage
    assert await deployment.connection.fetchval("SELECT count(*) FROM billing_outbox") == 0
    async with deployment.container() as container:
        sent = await container.bus().read(TenantId("acme"), after=0, limit=100)
    assert sent[-1].sequence == len(numbers) + 1


async def test_a_replayed_subscription_update_changes_the_row_reaches_redis_is_counted_and_is_logged(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All four effects of one replayed `customer.subscription.updated`, on a real Postgres and a real Valkey."""
    lines = LogCapture()
    debugging = structlog.make_filtering_bound_logger(logging.DEBUG)
    monkeypatch.setattr(observers, "log", structlog.wrap_logger(None, processors=[lines], wrapper_class=debugging))
    *earlier, last = EVENTS
    await deployment.apply(earlier)
    async with deployment.container() as container:
        await container.inbox().record(last)
        ignored = await deployment.billing("events", "ignore", "--id", last.event_id, "--why", "to be replayed")
        assert ignored.status == 0, ignored.err
        (number,) = await container.replayer().find(EventFilter(ids=(last.event_id,)), limit=None)
        request = ReplayRequest(wanted=EventFilter(ids=(last.event_id,)), actor="ann")
        async with publishing(container.publisher(), container.deadline()):
            report = await container.replayer().replay(request, [number], observe=lambda _: None)
        sent = await container.bus().read(TenantId("acme"), after=0, limit=100)
        counted = container.metrics().registry.get_sample_value
    assert (report.changed, report.messages) == (1, 1)
    row = await deployment.connection.fetchrow("SELECT status, seat_count FROM tenant_subscriptions")
    assert row is not None
    assert tuple(row) == ("past_due", 5)
    assert (sent[-1].event_id, sent[-1].sequence) == (last.event_id, (await deployment.numbers())[-1])
    assert counted("stripe_dispatch_events_total", {"disposition": "applied", "reason": ""}) == 1
    assert counted("stripe_billing_stream_events_total", {"source": "publisher", "result": "published"}) == 1
    (line,) = [
        line for line in lines.entries if line["event"] == "event.processed" and line["event_id"] == last.event_id
    ]
    assert (line["event_type"], line["outcome"]) == ("customer.subscription.updated", "applied")
    assert (line["effect"], line["sequence"]) == ("changed", sent[-1].sequence)


async def test_a_dry_run_of_a_dead_event_says_that_it_would_be_dead_again(deployment: Deployment) -> None:
    """With its reason and its error, and without a trace."""
    await deployment.apply([*EVENTS, step(6, tenant="globex")])
    before = await deployment.rows()
    ran = await deployment.billing("events", "replay", "--status", "dead", "--dry-run")
    assert ran.status == 1
    assert "1 would be dead again: tenant_conflict" in " ".join(ran.out.split())
    assert "evt_6 would fail with tenant_conflict: cus_1 belongs to 'acme', the event names 'globex'" in ran.err
    assert await deployment.rows() == before
    ran = await deployment.billing("events", "replay", "--status", "dead", "--yes")
    assert "1 dead again: tenant_conflict" in " ".join(ran.out.split())


async def test_a_replay_under_other_links_leaves_applied_events_applied(deployment: Deployment) -> None:
    """They are reported as not confirmed; `explain` rests on the same event as before, and no message is sent."""
    await deployment.apply(EVENTS)
    await deployment.connection.execute("INSERT INTO billing_tenants (tenant_id) VALUES ('globex')")
    await deployment.connection.execute("UPDATE billing_customers SET tenant_id = 'globex'")
    state = ("tenant_subscriptions", "billing_events")
    ends = "SELECT event, status, effect, sequence, reason FROM stripe_event_dispatch ORDER BY event"
    before, ended = await deployment.rows(*state), await deployment.connection.fetch(ends)
    assert "5 not confirmed: tenant_conflict" in " ".join((await deployment.replay("--dry-run")).out.split())
    ran = await deployment.replay("--yes", "--json")
    assert (ran.status, ran.json["not_confirmed_by_reason"]) == (1, {"tenant_conflict": 5})
    assert await deployment.rows(*state) == before
    assert await deployment.connection.fetch(ends) == ended
    shown = await deployment.billing("events", "show", "evt_5")
    assert "belongs to 'globex'" in shown.out
    assert "5 not confirmed" in (await deployment.billing("events", "replays")).out


async def test_a_replay_that_would_take_plans_away_wants_to_be_forced(deployment: Deployment) -> None:
    """No rules were put in force, and the settings name other plans; a dry run says so, too."""
    await deployment.apply(EVENTS)
    state = ("tenant_subscriptions", "stripe_event_dispatch", "billing_events")
    before, other = await deployment.rows(*state), {"STRIPE_PRODUCT_PRICE_MAP": "basic=price_pro"}
    refused = await deployment.replay("--yes", **other)
    assert refused.status == 2
    assert "plans that live subscriptions are on: pro (1, such as acme)" in " ".join(refused.err.split())
    assert "--force" in refused.err
    shown = await deployment.replay("--dry-run", **other)
    assert "pro (1, such as acme)" in " ".join(shown.err.split())
    assert await deployment.rows(*state) == before
    forced = await deployment.replay("--yes", "--force", **other)
    assert forced.status == 0, forced.err
    assert await deployment.connection.fetchval("SELECT plan_code FROM tenant_subscriptions") == "basic"


async def test_no_publish_sends_no_message(deployment: Deployment) -> None:
    """The state is corrected and no number is used."""
    await deployment.apply(EVENTS)
    numbers = await deployment.numbers()
    await deployment.damage()
    ran = await deployment.replay("--yes", "--no-publish", "--json")
    assert (ran.status, ran.json["changed"], ran.json["messages"]) == (0, 1, 0)
    assert await deployment.numbers() == numbers
    assert await deployment.connection.fetchval("SELECT sequence FROM billing_tenants") == len(numbers)
    assert await deployment.connection.fetchval("SELECT status FROM tenant_subscriptions") == "past_due"


async def test_without_a_bus_messages_wait_in_the_outbox(deployment: Deployment) -> None:
    """The replay succeeds nevertheless."""
    await deployment.apply(EVENTS)
    await deployment.damage()
    ran = await deployment.replay("--yes", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert ran.status == 0, ran.err
    assert await deployment.connection.fetchval("SELECT count(*) FROM billing_outbox") == 1


async def test_exit_statuses_and_messages(deployment: Deployment) -> None:
    """Every failure has its exit status and a message that says what to do."""
    await deployment.apply(EVENTS)
    nothing = await deployment.billing("events", "replay", "--tenant", "unknown")
    assert (nothing.status, nothing.err.strip()) == (3, "No stored event matches.")
    unconfirmed = await deployment.replay()
    assert unconfirmed.status == 2
    assert "Replay 5 events? Not a terminal. Pass --yes to confirm." in unconfirmed.err
    everything = await deployment.billing("events", "replay")
    assert everything.status == 2
    unknown_mode = await deployment.replay("--yes", STRIPE_SECRET_KEY="")
    assert unknown_mode.status == 2
    assert "STRIPE_SECRET_KEY is not set" in unknown_mode.err
    await deployment.connection.execute("DELETE FROM stripe_event_bodies WHERE event = 1")
    pruned = await deployment.replay("--yes", "--json")
    assert (pruned.status, pruned.json["pruned"]) == (1, 1)


async def test_concurrent_replays_and_workers_share_the_work(deployment: Deployment) -> None:
    """No event is applied twice, no number is missing, and the state is that of the events."""
    events = [step(number) for number in range(1, 61)]
    await deployment.apply(events[:30])
    await deployment.damage()
    request = ReplayRequest(wanted=EventFilter(), actor="test")

    async def replay() -> None:
        async with deployment.container(dispatch=DispatchSettings(batch=7)) as container:
            replayer = container.replayer()
            for _ in range(3):
                numbers = await replayer.find(request.wanted)
                await replayer.replay(request, numbers, observe=lambda _: None)

    async with deployment.container() as container:
        working = asyncio.create_task(container.dispatcher().run(concurrency=2))
        replaying = asyncio.gather(replay(), replay())
        for one in events[30:]:
            await container.inbox().record(one)
        await replaying
        await until(deployment.connection, "SELECT count(*) = 0 FROM stripe_event_dispatch WHERE status <> 'applied'")
        container.dispatcher().stop()
        await working
    numbers = await deployment.numbers()
    assert numbers == list(range(1, len(numbers) + 1))
    found = await deployment.connection.fetchrow("SELECT status, event_ids, ended FROM tenant_subscriptions")
    assert found is not None
    assert tuple(found) == ("active", ["evt_60"], False)


async def test_a_killed_replay_loses_nothing(deployment: Deployment) -> None:
    """Its events are due again when their leases expire, any worker finishes them, and the audit log shows no end."""
    events = [step(number) for number in range(1, 41)]
    await deployment.apply(events)
    # The tenant's row is locked, so that the replay is killed while it processes a batch.
    transaction = deployment.connection.transaction()
    await transaction.start()
    await deployment.connection.execute("SELECT FROM billing_tenants FOR UPDATE")
    process = await deployment.start("events", "replay", "--tenant", "acme", "--yes")
    # The deployment's own connection is in the transaction that locks.
    async with connected(deployment.environment["DATABASE_URL"]) as looking:
        await until(looking, "SELECT count(*) = 40 FROM stripe_event_dispatch WHERE status = 'leased'")
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    await transaction.rollback()
    numbers = await deployment.numbers()
    async with deployment.container() as container:
        working = asyncio.create_task(container.dispatcher().run())
        await until(deployment.connection, "SELECT count(*) = 0 FROM stripe_event_dispatch WHERE status <> 'applied'")
        container.dispatcher().stop()
        await working
    assert await deployment.numbers() == numbers
    (audit,) = (await deployment.billing("events", "replays", "--json")).json["replays"]
    assert (audit["finished_at"], audit["result"]) == (None, None)
    assert "unfinished" in (await deployment.billing("events", "replays")).out


async def test_an_interrupted_replay_stops_after_its_batch(deployment: Deployment) -> None:
    """The audit log shows its progress, and no event stays claimed."""
    await deployment.apply([step(number) for number in range(1, 21)])
    process = await deployment.start("events", "replay", "--tenant", "acme", "--rate", "5", "--yes", "--json")
    await until(deployment.connection, "SELECT count(*) > 0 FROM stripe_event_dispatch WHERE attempt > 1")
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    report = json.loads(out)
    assert (process.returncode, report["interrupted"]) == (1, True)
    assert 0 < report["confirmed"] + report["stale"] < report["matched"] == 20
    assert (
        await deployment.connection.fetchval("SELECT count(*) FROM stripe_event_dispatch WHERE status = 'leased'") == 0
    )
    (audit,) = (await deployment.billing("events", "replays", "--json")).json["replays"]
    assert audit["result"]["interrupted"]


async def test_explain_shows_access_and_timeline(deployment: Deployment) -> None:
    """The output has the access, and a timeline of events, outcomes and changes."""
    await deployment.apply([*EVENTS, step(6, tenant="globex")])
    async with deployment.container() as container:
        await container.inbox().record(EVENTS[0])
    ran = await deployment.billing("explain", "acme")
    assert ran.status == 0, ran.err
    assert "acme: access grace (past_due)" in ran.out
    for expected in (
        "applied: changed the state",
        "seat_count: 3 → 5",
        "status: active → past_due",
        "access after it",
    ):
        assert expected in ran.out
    assert "dead: tenant_conflict" in ran.out
    assert "needs attention: 1 events failed permanently; run `billing events list --status dead --tenant" in ran.out
    assert "uncertain subscription sub_" not in ran.out
    found = (await deployment.billing("explain", "acme", "--json", "--limit", "2")).json
    assert (found["access"]["state"], found["earlier_events"]) == ("grace", True)
    assert (found["attention"], found["dead_events"], found["uncertain"]) == (True, 1, [])
    assert [entry["event_id"] for entry in found["timeline"]] == ["evt_5", "evt_6"]
    assert found["timeline"][0]["messages"][0]["changes"]["status"] == {"before": "active", "after": "past_due"}


async def test_explain_names_the_test_clock_that_decides(deployment: Deployment) -> None:
    """And where it stands; `until` counts by it."""
    on_clock = objects.Subscription(
        subscription_id="sub_1",
        customer_id="cus_1",
        status="active",
        created_at=START,
        items=(objects.Item(item_id="si_1", price=PRO, period=objects.Span(START, START + timedelta(days=31))),),
        metadata={"tenant_id": "acme"},
        cancel_at=datetime(2040, 1, 1, tzinfo=UTC),
        test_clock="clock_1",
    )
    clock = objects.Clock(clock_id="clock_1", created_at=START, frozen_at=datetime(2039, 12, 31, tzinfo=UTC))
    await deployment.apply(
        [
            received("customer.subscription.created", "evt_1", builders.subscription(on_clock, VERSION)),
            received("test_helpers.test_clock.ready", "evt_2", accounts.clock(clock)),
        ]
    )
    ran = await deployment.billing("explain", "acme")
    assert "acme: access full (active), until 2040-01-01 00:00:00Z, by test clock clock_1" in ran.out
    assert "test clock clock_1: 2039-12-31 00:00:00Z" in ran.out
    found = (await deployment.billing("explain", "acme", "--json")).json
    assert found["access"]["test_clock"] == "clock_1"
    assert found["test_clocks"] == {"clock_1": "2039-12-31T00:00:00+00:00"}


async def test_explain_names_uncertain_objects(deployment: Deployment) -> None:
    """With the reason; they do not need an operator, because they are fetched again."""
    await deployment.apply(EVENTS)
    await deployment.connection.execute("UPDATE tenant_subscriptions SET ambiguous = true")
    ran = await deployment.billing("explain", "acme")
    assert "needs attention" not in ran.out
    assert ": ambiguous until it is fetched from Stripe" in ran.out
    found = (await deployment.billing("explain", "acme", "--json")).json
    (uncertain,) = found["uncertain"]
    assert (found["attention"], uncertain["complete"], uncertain["ambiguous"]) == (False, True, True)


async def test_explain_names_what_is_shown_provisionally(deployment: Deployment) -> None:
    """With the operation, and when Stripe is asked again; a repeated answer is not shown."""
    await deployment.apply(EVENTS)
    async with deployment.container() as container:
        service, tenant_id = container.service(), TenantId("acme")
        (held,) = await container.tenant_reader().subscriptions(tenant_id)
        basis = ProvisionalBasis(tenant_id=tenant_id, operation_key="bo_1", answered_at=None)
        await service.ingest_subscription_snapshot(held.snapshot, basis)
        ran = await deployment.billing("explain", "acme")
        assert f"{held.object_id}: the answer to operation bo_1 was a repeated one" in ran.out
        basis = attrs.evolve(basis, answered_at=held.provenance.observed_at)
        await service.ingest_subscription_snapshot(attrs.evolve(held.snapshot, status="unpaid"), basis)
    ran = await deployment.billing("explain", "acme")
    assert f"provisional subscription {held.object_id}: shown as answered to operation bo_1 at" in ran.out
    assert "no event: operation" in ran.out
    found = (await deployment.billing("explain", "acme", "--json")).json
    assert [(each["object_id"], each["shown"]) for each in found["provisional"]] == [(held.object_id, True)]
    assert [each["status"] for each in found["subscriptions"]] == ["unpaid"]


async def test_explain_reports_an_unknown_tenant(deployment: Deployment) -> None:
    """It has its own exit status, and control characters in the argument are escaped."""
    ran = await deployment.billing("explain", HOSTILE)
    assert (ran.status, "\x1b" in ran.err, "Unknown tenant" in ran.err) == (3, False, True)
