"""Rows that another transaction has locked are passed over: upkeep and operators wait for no worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from billing_app.container import Adapters, postgres_adapters
from billing_app.settings import Settings
from billing_core.events import Claim
from billing_core.testing.arrange import applied, claimed, due, park, settle
from billing_core.testing.builders import provider_event
from billing_core.testing.operations.operation_log import COMMAND, DONE, begun
from billing_core.testing.timing import LONG
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database

pytestmark = pytest.mark.postgres
OLD = timedelta(microseconds=1)


@pytest.fixture
def database(database_url: str) -> Database:
    """An empty database, in which a statement that waits for a lock fails soon."""
    return Database(url=database_url, lock_timeout=timedelta(seconds=1))


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    """Connections to the database."""
    async with await database.open_pool(size=3) as pool:
        yield pool


@pytest.fixture
async def adapters(database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> AsyncIterator[Adapters]:
    """Every port on the database."""
    async with PostgresEventInbox(database, pool) as inbox:
        yield postgres_adapters(Settings(), database=database, writers=pool, inbox=inbox)


@asynccontextmanager
async def locked(pool: asyncpg.Pool[asyncpg.Record], table: str) -> AsyncIterator[None]:
    """Lock every row of a table, as a process locks those that it has in hand."""
    async with pool.acquire() as other, other.transaction():
        await other.execute(f"SELECT FROM {table} FOR NO KEY UPDATE")
        yield


async def finished(adapters: Adapters) -> Claim:
    """Store an event that was applied."""
    claim = await claimed(adapters["inbox"], provider_event())
    await settle(adapters["unit_of_work"], applied(claim, sequence=None))
    return claim


async def test_a_due_event_is_not_ignored(adapters: Adapters, pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """A worker is just claiming it."""
    await adapters["inbox"].record(provider_event())
    event = await pool.fetchval("SELECT event FROM stripe_event_dispatch")
    async with locked(pool, "stripe_event_dispatch"):
        assert await adapters["inbox_upkeep"].ignore([event], reason="by_operator") == []
    assert await adapters["inbox_upkeep"].ignore([event], reason="by_operator") == [event]


async def test_a_parked_event_does_not_stop_waiting(adapters: Adapters, pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """A link is just making it due."""
    await park(adapters["inbox"], adapters["unit_of_work"], "evt_1")
    async with locked(pool, "stripe_event_dispatch"):
        assert await adapters["queue"].lapse(after=timedelta(0), limit=9) == 0
    assert await adapters["queue"].lapse(after=timedelta(0), limit=9) == 1


async def test_a_due_event_is_claimed_once(adapters: Adapters, pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Neither another worker nor a replay waits for it."""
    await adapters["inbox"].record(provider_event())
    event = await pool.fetchval("SELECT event FROM stripe_event_dispatch")
    async with locked(pool, "stripe_event_dispatch"):
        assert await due(adapters["queue"]) == []
        assert await adapters["replay_queue"].reclaim([event], lease=LONG) == []
    assert [claim.dispatch_id for claim in await adapters["replay_queue"].reclaim([event], lease=LONG)] == [event]


async def test_a_dry_run_leaves_an_event_to_its_worker(adapters: Adapters, pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Even one that was finished when it was read."""
    claim = await finished(adapters)
    async with locked(pool, "stripe_event_dispatch"), adapters["unit_of_work"].transaction() as transaction:
        assert await transaction.take([claim]) == []
    async with adapters["unit_of_work"].transaction() as transaction:
        assert [taken.dispatch_id for taken in await transaction.take([claim])] == [claim.dispatch_id]


async def test_a_body_in_use_is_not_deleted(adapters: Adapters, pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """It is left to the next call."""
    await finished(adapters)
    upkeep = adapters["inbox_upkeep"]
    async with locked(pool, "stripe_event_bodies"):
        assert (await upkeep.prune(older_than=OLD, after=0, limit=9)).bodies == 0
    assert (await upkeep.prune(older_than=OLD, after=0, limit=9)).bodies == 1


async def test_a_due_operation_is_settled_by_one_process(
    adapters: Adapters, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    """The other one passes it over."""
    log = adapters["operation_log"]
    await log.release(await log.plan(await begun(log), COMMAND, lease=LONG), due_in=timedelta(0))
    async with locked(pool, "gateway_operations"):
        assert list(await log.claim_due(lease=LONG, limit=9)) == []
    assert len(await log.claim_due(lease=LONG, limit=9)) == 1


async def test_an_old_operation_is_deleted_by_one_process(
    adapters: Adapters, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    """The other one passes it over, too."""
    log = adapters["operation_log"]
    await log.resolve(await log.plan(await begun(log), COMMAND, lease=LONG), DONE)
    async with locked(pool, "gateway_operations"):
        assert await log.prune(older_than=OLD, limit=9) == 0
    assert await log.prune(older_than=OLD, limit=9) == 1
