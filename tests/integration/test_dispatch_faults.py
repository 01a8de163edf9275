"""Real processes that are killed and frozen while they process events: nothing is lost and nothing happens twice.

A year in the life of some tenants is delivered to a real server. Whatever is done to the workers, to Postgres and to
Valkey meanwhile, in the end every tenant has what the player of these lives knows to be true, every event has an end,
numbers are gapless, the bus has every message once, and no invariant is violated.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import aiohttp
import asyncpg
import pytest
from tests.commands import Command, started
from tests.patience import PATIENCE
from tests.postgres import connected, postmaster_of

from billing_app.http.tokens import issue_token
from billing_app.secret import Secret
from billing_app.settings import TokenSettings
from billing_core.model import TenantId
from billing_demo.catalog import price_map
from billing_demo.comparison import differences
from billing_demo.expected_state import ExpectedState
from billing_demo.scenario import DemoEvent, Scenario
from billing_demo.tenant_api import TenantApi
from billing_embedded import embedded_servers_sync
from billing_embedded.loopback import free_port
from billing_postgres.migrate import migrate
from billing_postgres.oversight.invariants import PostgresInvariantLog
from billing_postgres.pool import Database
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes
from billing_stripe.testing import sign

if TYPE_CHECKING:
    from tests.valkey import Valkey

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.faults]

WEBHOOK_SECRET = "whsec_faults_0123456789abcdef"
JWT_SECRET = "fault-tests-only-0123456789abcdefgh"
EVENTS = 160
LEASE = timedelta(seconds=1)
WRITES = "What nearly every batch writes"
"""The first words of the statement that writes a batch; of the rest little is shown."""
HALT_WHEN_WRITTEN = """
    CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;
    CREATE TRIGGER halt AFTER INSERT ON billing_events EXECUTE FUNCTION halt();
"""
"""Triggers of this kind run when all parts of a statement are done."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Deployment:
    """A server that takes webhooks in, workers that come and go, and the truth they are held to."""

    def __init__(self, database_url: str, valkey: Valkey, stack: AsyncExitStack) -> None:
        self.database_url = database_url
        self.valkey = valkey
        self._stack = stack
        self._base = f"http://127.0.0.1:{free_port()}"
        self._expected = ExpectedState()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BILLING_", "STRIPE_"))}
        self._environment = inherited | {
            "DATABASE_URL": database_url,
            "REDIS_URL": valkey.url,
            "ENABLE_BILLING": "true",
            "STRIPE_SECRET_KEY": "sk_test_faults",
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "STRIPE_FETCH": "false",
            "STRIPE_PRODUCT_PRICE_MAP": price_map(),
            "BILLING_JWT_SECRET": JWT_SECRET,
            "BILLING_PORT": self._base.rpartition(":")[2],
            "BILLING_LOG_LEVEL": "error",
            "BILLING_DISPATCH_POLL_SECONDS": "0.1",
            "BILLING_DISPATCH_LEASE_SECONDS": str(LEASE.total_seconds()),
            "BILLING_DISPATCH_BACKOFF_BASE_SECONDS": "0.1",
            "BILLING_DISPATCH_BACKOFF_CAP_SECONDS": "0.5",
            "BILLING_PUBLISH_POLL_SECONDS": "0.2",
            "BILLING_REDIS_TIMEOUT_SECONDS": "0.5",
            "BILLING_DB_LOCK_TIMEOUT_SECONDS": "30",
            "BILLING_DB_STATEMENT_TIMEOUT_SECONDS": "30",
            "BILLING_DB_TRANSACTION_TIMEOUT_SECONDS": "5",
        }

    async def serve(self, *arguments: str) -> Command:
        """Start a server, and return once it is ready."""
        process = await self._start("serve", *arguments)
        async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE):
            while True:
                try:
                    async with session.get(f"{self._base}/readyz") as response:
                        if response.status == 200:
                            return process
                except aiohttp.ClientConnectionError:
                    pass
                assert process.returncode is None, "the server ended instead of starting"
                await asyncio.sleep(0.05)

    async def work(self, **settings: str) -> Command:
        """Start a worker."""
        return await self._start("worker", "--concurrency", "2", **settings)

    async def _start(self, *arguments: str, **settings: str) -> Command:
        process = await started(*arguments, environment=self._environment | settings)
        self._stack.push_async_callback(killed, process)
        return process

    async def deliver(self, events: Sequence[DemoEvent], *, insist: bool = False) -> None:
        """Post events as Stripe does, out of order; with `insist` again until they are accepted."""
        for event in events:
            self._expected.record(event.account_event)
        queue = sorted(events, key=lambda event: event.event_id)
        async with aiohttp.ClientSession() as session:

            async def post_some() -> None:
                while queue:
                    event = queue.pop()
                    while not await self._post(session, event.body(event.api_version)):
                        assert insist, "a webhook was not accepted"
                        await asyncio.sleep(0.05)

            await asyncio.gather(*(post_some() for _ in range(8)))

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> bool:
        headers = {"Stripe-Signature": sign(body, WEBHOOK_SECRET, datetime.now(UTC))}
        try:
            async with session.post(f"{self._base}/webhooks/stripe", data=body, headers=headers) as response:
                return response.status == 202
        except aiohttp.ClientConnectionError:
            return False

    async def prove(self, *, accepted: int = EVENTS) -> None:
        """Everything that must hold in the end. The server must be running."""
        await self.settled()
        await self.so("SELECT NOT EXISTS (SELECT FROM billing_outbox)")
        async with self.connection() as connection:
            statuses = dict(
                await connection.fetch("SELECT status, count(*) FROM stripe_event_dispatch GROUP BY 1 ORDER BY 1")
            )
            counters = dict(await connection.fetch("SELECT tenant_id, sequence FROM billing_tenants"))
        assert sum(statuses.values()) == accepted
        assert statuses.keys() <= {"applied", "ignored", "parked"}
        await self._prove_state()
        await self._prove_bus(counters)
        database = Database(url=self.database_url)
        async with await database.open_pool(size=1) as pool:
            assert await PostgresInvariantLog(database, pool).everything() == []

    async def _prove_state(self) -> None:
        async with aiohttp.ClientSession() as session:
            api = TenantApi(session=session, base_url=self._base, token=token_of)
            found = [
                line
                for tenant_id in self._expected.tenants
                for line in differences(tenant_id, self._expected.tenant(tenant_id), await api.tenant(tenant_id))
            ]
        assert found == []

    async def _prove_bus(self, counters: Mapping[str, int]) -> None:
        """Each log ends with the tenant's last message, without a hole or a repetition; its beginning may be lost."""
        async with self.connection() as connection:
            token = await connection.fetchval("SELECT token FROM billing_epochs ORDER BY number DESC LIMIT 1")
        async with RedisNodes.open(self.valkey.url, timeout=timedelta(seconds=PATIENCE)) as nodes:
            bus = RedisEventBus(nodes, namespace=f"billing:{token}")
            for tenant_id, counter in counters.items():
                numbers = [each.sequence for each in await bus.read(TenantId(tenant_id), after=0, limit=10_000)]
                if numbers:
                    assert numbers == list(range(numbers[0], counter + 1)), tenant_id

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """A connection of the test's own."""
        return connected(self.database_url)

    @asynccontextmanager
    async def locked(self, lock: str) -> AsyncIterator[None]:
        """Inside the block workers wait where they first need what `lock` keeps from them.

        It must let reads through: a start reads several tables, and does not wait long for any.
        """
        async with self.connection() as holder, holder.transaction():
            await holder.execute(lock)
            yield

    async def halted(self, worker: Command, statement: str) -> None:
        """Return once the worker waits for a lock with a statement that holds this text."""
        await self.so(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'billing-worker'"
            " AND wait_event_type = 'Lock' AND query LIKE $1)",
            f"%{statement}%",
            while_runs=worker,
        )

    async def settled(self) -> None:
        """Return once every event has an end."""
        await self.so("SELECT NOT EXISTS (SELECT FROM stripe_event_dispatch WHERE status IN ('due', 'leased'))")

    async def so(self, question: str, *arguments: str, while_runs: Command | None = None) -> None:
        """Return once the database says yes; fail at once if the process that should make it so has ended."""
        async with self.connection() as connection, asyncio.timeout(PATIENCE):
            while not await connection.fetchval(question, *arguments):
                assert while_runs is None or while_runs.returncode is None, "the process ended"
                await asyncio.sleep(0.02)


async def killed(process: Command) -> None:
    """SIGKILL, if it has not ended yet."""
    if process.returncode is None:
        process.kill()
    await process.wait()


def token_of(tenant_id: str) -> str:
    """A token for the API of a tenant."""
    return issue_token(
        secret=Secret(JWT_SECRET),
        policy=TokenSettings(),
        tenant_id=TenantId(tenant_id),
        role="viewer",
        now=datetime.now(UTC),
        ttl=timedelta(minutes=5),
    )


@pytest.fixture
def events() -> Sequence[DemoEvent]:
    """The first events of the lives of some tenants."""
    return list(islice(Scenario(seed="faults", tenants=8).events(), EVENTS))


@pytest.fixture
async def deployment(database_url: str, valkey: Valkey) -> AsyncIterator[Deployment]:
    async with AsyncExitStack() as stack:
        yield Deployment(database_url, valkey, stack)


async def test_a_killed_server_keeps_what_it_accepted(deployment: Deployment, events: Sequence[DemoEvent]) -> None:
    """SIGKILL in the middle of taking in and applying: the next server applies the rest."""
    server = await deployment.serve()
    await deployment.deliver(events[:80])
    await killed(server)
    await deployment.serve()
    await deployment.deliver(events[80:])
    await deployment.prove()


@pytest.mark.parametrize(
    ("lock", "statement"),
    [
        ("LOCK TABLE billing_customers IN EXCLUSIVE MODE", "INSERT INTO billing_customers (customer_id)"),
        ("LOCK TABLE billing_events IN EXCLUSIVE MODE", WRITES),
    ],
    ids=["before it writes", "while it writes"],
)
async def test_a_killed_worker_leaves_nothing_half_done(
    deployment: Deployment, events: Sequence[DemoEvent], lock: str, statement: str
) -> None:
    """Its unit of work is rolled back whole; its leases run out and another one does the work, once."""
    await deployment.serve("--no-worker")
    await deployment.deliver(events)
    async with deployment.locked(lock):
        worker = await deployment.work()
        await deployment.halted(worker, statement)
        await killed(worker)
    await deployment.work()
    await deployment.prove()


async def test_a_worker_that_is_killed_when_all_is_written_leaves_nothing(
    deployment: Deployment, events: Sequence[DemoEvent]
) -> None:
    """State, messages, counters and the ends of the events are in its transaction, only the commit is missing."""
    await deployment.serve("--no-worker")
    await deployment.deliver(events)
    async with deployment.connection() as connection:
        await connection.execute(HALT_WHEN_WRITTEN)
        async with deployment.locked("SELECT pg_advisory_xact_lock(4711)"):
            worker = await deployment.work()
            await deployment.halted(worker, WRITES)
            await killed(worker)
        await connection.execute("DROP FUNCTION halt CASCADE")
        assert await connection.fetchval("SELECT count(*) FROM billing_events") == 0
    await deployment.work()
    await deployment.prove()


async def test_what_a_worker_committed_and_did_not_publish_is_published_once(
    deployment: Deployment, events: Sequence[DemoEvent]
) -> None:
    """The bus is frozen when it commits, and it is killed before it can say so: another one finds the outbox."""
    await deployment.serve("--no-worker")
    worker = await deployment.work()
    await deployment.deliver(events[:20])
    await deployment.so("SELECT count(*) > 0 FROM billing_events")
    deployment.valkey.freeze()
    await deployment.deliver(events[20:])
    await deployment.settled()
    async with deployment.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM billing_outbox") > 0
    await killed(worker)
    deployment.valkey.thaw()
    await deployment.work()
    await deployment.prove()


async def test_a_worker_that_was_frozen_longer_than_its_lease_does_no_harm(
    deployment: Deployment, events: Sequence[DemoEvent]
) -> None:
    """Stopped inside its unit of work; the database takes its locks away, another worker finishes, and it wakes up."""
    await deployment.serve("--no-worker")
    await deployment.deliver(events[:80])
    async with deployment.locked("LOCK TABLE billing_events IN EXCLUSIVE MODE"):
        frozen = await deployment.work()
        await deployment.halted(frozen, WRITES)
        frozen.send_signal(signal.SIGSTOP)
    other = await deployment.work()
    await deployment.settled()
    await killed(other)
    frozen.send_signal(signal.SIGCONT)
    await deployment.deliver(events[80:])
    await deployment.prove()


async def test_several_workers_and_servers_share_the_work(deployment: Deployment, events: Sequence[DemoEvent]) -> None:
    """Without a leader, and each event once: one of them is killed on the way."""
    await deployment.serve()
    first, *_ = [await deployment.work() for _ in range(2)]
    await deployment.deliver(events[:80])
    await killed(first)
    await deployment.deliver(events[80:])
    await deployment.prove()


async def _kill(valkey: Valkey) -> None:
    valkey.kill()


async def _freeze(valkey: Valkey) -> None:
    valkey.freeze()


async def _fill(valkey: Valkey) -> None:
    await valkey.call("CONFIG", "SET", "maxmemory", "1")


async def _flush(valkey: Valkey) -> None:
    await valkey.call("FLUSHALL")


async def _heal(valkey: Valkey) -> None:
    valkey.thaw()
    valkey.kill()
    await valkey.start()


async def _make_room(valkey: Valkey) -> None:
    await valkey.call("CONFIG", "SET", "maxmemory", "0")


async def _nothing(valkey: Valkey) -> None:
    """A thing that heals by itself."""


async def _thaw(valkey: Valkey) -> None:
    valkey.thaw()


Act: TypeAlias = "Callable[[Valkey], Awaitable[None]]"


@pytest.mark.parametrize(
    ("hurt", "heal"),
    [(_kill, _heal), (_freeze, _thaw), (_fill, _make_room), (_flush, _nothing)],
    ids=["killed", "frozen", "full", "flushed"],
)
async def test_trouble_with_the_bus_costs_nothing_but_time(
    deployment: Deployment, events: Sequence[DemoEvent], hurt: Act, heal: Act
) -> None:
    """Events are taken in and applied meanwhile; afterwards the bus has every message once, behind its predecessor."""
    await deployment.serve()
    await deployment.deliver(events[:60])
    await hurt(deployment.valkey)
    await deployment.deliver(events[60:120])
    await deployment.settled()
    await heal(deployment.valkey)
    await deployment.deliver(events[120:])
    await deployment.prove()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that servers of any user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="billing-faults-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


async def test_a_killed_database_costs_nothing_but_time(
    folder: Path, valkey: Valkey, events: Sequence[DemoEvent]
) -> None:
    """SIGKILL of all of Postgres while webhooks come in and are applied: what was accepted is applied once."""
    with embedded_servers_sync(folder) as urls:
        await migrate(urls.database_url)
        async with AsyncExitStack() as stack:
            deployment = Deployment(urls.database_url, valkey, stack)
            await deployment.serve()
            await deployment.deliver(events[:60])
            postmaster = postmaster_of(folder)
            delivering = asyncio.create_task(deployment.deliver(events[60:], insist=True))
            await asyncio.sleep(0)
            os.kill(postmaster, signal.SIGKILL)
            await delivering
            await deployment.prove()
