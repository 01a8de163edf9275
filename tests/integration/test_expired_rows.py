"""Rows that expired are deleted by the calls that add others, which wait for no other process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import asyncpg
import pytest

from billing_core.stream_access.ports import Principal, Revocation
from billing_core.testing.arrange import applied, claimed, park_on_objects, settle
from billing_core.testing.builders import ACME, AT, provider_event
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.oversight.upkeep import PostgresInboxUpkeep
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.stream_access.revocations import PostgresRevocations
from billing_postgres.stream_access.tickets import PostgresStreamTickets

pytestmark = pytest.mark.postgres
Add = Callable[[str, timedelta], Awaitable[None]]
"""Adds a row with a name, valid for some time."""


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    """Connections to an empty database."""
    async with await Database(url=database_url).open_pool(size=3) as pool:
        yield pool


@pytest.fixture(params=["billing_stream_tickets", "billing_token_revocations"])
def table(request: pytest.FixtureRequest) -> str:
    """Each table whose rows expire unused."""
    return str(request.param)


@pytest.fixture
def add(table: str, database_url: str, pool: asyncpg.Pool[asyncpg.Record]) -> Add:
    """A function that adds a row to the table."""
    database = Database(url=database_url)
    tickets, revocations = PostgresStreamTickets(database, pool), PostgresRevocations(database, pool)

    async def ticket(name: str, valid: timedelta) -> None:
        principal = Principal(tenant_id=ACME, role="viewer", expires_at=AT)
        await tickets.put(name.encode().ljust(32), principal, ttl=valid)

    async def revocation(name: str, valid: timedelta) -> None:
        now = datetime.now(UTC)
        made = Revocation(subject="token", name=name, revoked_at=now, kept_until=now + valid)
        await revocations.revoke(made)

    return ticket if table == "billing_stream_tickets" else revocation


async def test_expired_rows_do_not_pile_up(table: str, add: Add, pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Each call deletes some of them, and nothing that is valid."""
    for number in range(30):
        await add(f"over {number}", timedelta(seconds=-1))
        await add(f"valid {number}", timedelta(minutes=1))
    assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 30


async def test_an_expired_row_that_is_locked_delays_no_call(
    table: str, add: Add, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    """It is left to the next one."""
    await add("over", timedelta(seconds=-1))
    async with pool.acquire() as other, other.transaction():
        await other.execute(f"SELECT FROM {table} FOR UPDATE")
        await asyncio.wait_for(add("valid", timedelta(minutes=1)), 10)
    assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 2
    await add("more", timedelta(minutes=1))
    assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 2


async def test_what_an_event_waits_for_is_forgotten_with_its_body(
    database_url: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    """Until then it is kept, so that a later object takes up the event that stopped waiting for it."""
    database = Database(url=database_url)
    repository, upkeep = PostgresRepository(database, pool), PostgresInboxUpkeep(database, pool)
    async with PostgresEventInbox(database, pool) as inbox:
        await park_on_objects(inbox, repository, "evt_1", "in_1", "sub_1")
        assert await inbox.lapse(after=timedelta(0), limit=10) == 1
        assert await pool.fetchval("SELECT count(*) FROM stripe_event_waits") == 2
        assert (await upkeep.prune(older_than=timedelta(microseconds=1), after=0, limit=10)).bodies == 1
        assert await pool.fetchval("SELECT count(*) FROM stripe_event_waits") == 0


async def test_only_what_a_lapsed_event_waits_for_is_noted_as_such(
    database_url: str, pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    """Objects that others wait for are looked for as before."""
    database = Database(url=database_url)
    repository = PostgresRepository(database, pool)
    async with PostgresEventInbox(database, pool) as inbox:
        for event_id, object_id in (("evt_1", "in_1"), ("evt_2", "in_2")):
            await park_on_objects(inbox, repository, event_id, object_id)
        assert await inbox.lapse(after=timedelta(0), limit=1) == 1
        noted = await pool.fetch("SELECT object_id, lapsed FROM stripe_event_waits ORDER BY object_id")
        assert [tuple(row) for row in noted] == [("in_1", True), ("in_2", False)]


async def test_a_deleted_body_leaves_its_hash(database_url: str, pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """It shows whether a body from elsewhere, such as Stripe's dashboard, is the one that was received."""
    database = Database(url=database_url)
    repository, upkeep = PostgresRepository(database, pool), PostgresInboxUpkeep(database, pool)
    async with PostgresEventInbox(database, pool) as inbox:
        events = [provider_event(f"evt_{number}") for number in (1, 2)]
        for event in events:
            await settle(repository, applied(await claimed(inbox, event), sequence=None))
        assert (await upkeep.prune(older_than=timedelta(microseconds=1), after=0, limit=1)).bodies == 1
        hashes = await pool.fetch("SELECT event_id, body_sha256 FROM stripe_events ORDER BY event_id")
        assert [tuple(row) for row in hashes] == [("evt_1", sha256(events[0].body).digest()), ("evt_2", None)]
