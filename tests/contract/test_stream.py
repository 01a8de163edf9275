"""The contracts of the stream ports, in memory, on Postgres, on Valkey and on a cluster of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from tests.contract.conftest import InMemory, OnPostgres
from tests.patience import PATIENCE

from billing_core.stream.ports import BackfillableBus, BackfillClaim, EpochLog
from billing_core.testing.stream.backfillable_bus import BackfillableBusContract
from billing_core.testing.stream.epoch_log import EpochLogContract
from billing_core.testing.stream.event_bus import EventBusContract
from billing_core.testing.stream.message_history import MessageHistoryContract
from billing_core.testing.stream.outbox import OutboxContract
from billing_memory.stream.bus import MemoryEventBus
from billing_postgres.pool import Database
from billing_postgres.stream.epochs import PostgresEpochLog
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes


class TestMemoryOutbox(InMemory, OutboxContract): ...


class TestPostgresOutbox(OnPostgres, OutboxContract): ...


class TestMemoryMessageHistory(InMemory, MessageHistoryContract): ...


class TestPostgresMessageHistory(OnPostgres, MessageHistoryContract): ...


class TestMemoryEventBus(EventBusContract, BackfillableBusContract):
    """In one process."""

    @pytest.fixture
    def event_bus(self) -> BackfillableBus:
        return MemoryEventBus()


@pytest.mark.redis
class TestRedisEventBus(EventBusContract, BackfillableBusContract):
    """On a real server; a namespace of its own keeps each test's keys apart."""

    @pytest.fixture
    async def event_bus(self, redis_url: str) -> AsyncIterator[BackfillableBus]:
        async with RedisNodes.open(redis_url, timeout=timedelta(seconds=PATIENCE)) as nodes:
            yield RedisEventBus(nodes, namespace=f"test-{uuid.uuid4().hex}")

    async def test_a_turn_that_is_not_renewed_is_free(self, event_bus: BackfillableBus) -> None:
        """A process that died during a backfill does not block the others."""
        assert await event_bus.claim_backfill("dead", lease=timedelta(milliseconds=50)) is BackfillClaim.OURS
        claim = BackfillClaim.OTHERS
        while claim is BackfillClaim.OTHERS:
            await asyncio.sleep(0.01)
            claim = await event_bus.claim_backfill("next", lease=timedelta(minutes=1))
        assert claim is BackfillClaim.OURS
        assert await event_bus.claim_backfill("dead", lease=timedelta(minutes=1)) is BackfillClaim.OTHERS


@pytest.mark.redis
class TestClusterEventBus(EventBusContract, BackfillableBusContract):
    """On three masters; one test's tenants are on different ones."""

    @pytest.fixture
    async def event_bus(self, redis_cluster_url: str) -> AsyncIterator[BackfillableBus]:
        async with RedisNodes.open(redis_cluster_url, timeout=timedelta(seconds=PATIENCE)) as nodes:
            yield RedisEventBus(nodes, namespace=f"test-{uuid.uuid4().hex}")


class TestMemoryEpochLog(InMemory, EpochLogContract): ...


class TestPostgresEpochLog(OnPostgres, EpochLogContract):
    """In a database that can be restored or fail over."""

    async def test_a_restored_dump_begins_an_epoch(self, epochs: EpochLog, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        """Its tables are new, whatever rows they hold. However many processes notice, one epoch begins."""
        first = await epochs.enter()
        await pool.execute("ALTER TABLE billing_events RENAME TO old; CREATE TABLE billing_events (LIKE old)")
        second = await epochs.enter()
        assert second.number == 2
        assert second.token != first.token
        assert await epochs.enter() == second

    async def test_another_server_or_timeline_begins_an_epoch(
        self, epochs: EpochLog, pool: asyncpg.Pool[asyncpg.Record]
    ) -> None:
        """A base backup that was started elsewhere, and a replica that took over."""
        for number, other in enumerate(["9/00000001/1", "1/00000002/1"], start=2):
            await epochs.enter()
            await pool.execute("UPDATE billing_epochs SET place = $1", other)
            assert (await epochs.enter()).number == number

    async def test_a_user_without_rights_can_enter(self, database_url: str, epochs: EpochLog) -> None:
        """Our own tables are enough; where the server hides its identity, operators begin epochs."""
        first = await epochs.enter()
        admin = await asyncpg.connect(database_url)
        name = f"plain_{first.token}"
        await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'plain'")
        await admin.execute(f"GRANT SELECT, INSERT ON billing_epochs, billing_events TO {name}")
        parts = urlsplit(database_url)
        url = urlunsplit(parts._replace(netloc=f"{name}:plain@{parts.netloc.rpartition('@')[2]}"))
        try:
            async with await Database(url=url).open_pool(size=1) as pool:
                assert await PostgresEpochLog(Database(url=url), pool).enter() == first
                await admin.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public")
                assert await PostgresEpochLog(Database(url=url), pool).enter() == first
        finally:
            await admin.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO public")
            await admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
            await admin.close()
