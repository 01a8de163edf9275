"""The store while the database is lost, frozen, refusing or not answering: a timely error, and recovery."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import attrs
import pytest
from tests import patience
from tests.postgres import Connection, connected, postmaster_of

from billing_core.errors import StoreUnavailableError
from billing_core.events import Disposition, Outcome, ReceiptStatus
from billing_core.model import CustomerId
from billing_core.state.ports import Changes
from billing_core.testing.builders import ACME, message, provider_event
from billing_embedded import embedded_servers_sync
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.migrate import migrate
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.stream.history import PostgresMessageHistory

pytestmark = [pytest.mark.postgres, pytest.mark.faults]

LONG = timedelta(minutes=5)
SHORT = timedelta(milliseconds=300)
PATIENCE = timedelta(seconds=20)
CUSTOMER = CustomerId("cus_1")


class Proxy:
    """A TCP proxy between client and server that fails on demand."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.cut_before: bytes | None = None
        """Cut the connection instead of forwarding a request that contains this."""
        self.cut_after: bytes | None = None
        """Forward a request that contains this, and cut the connection before the answer."""

    @property
    def address(self) -> str:
        """The address that the proxy listens on."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Proxy"]:
        """Listen until the end of the block."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self.thaw()
            self._server.close()
            self.cut()

    def freeze(self) -> None:
        """Forward nothing, in either direction, until `thaw`."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Forward everything again, beginning with what was held back."""
        self._flowing.set()

    def cut(self) -> None:
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(*self._target)
        self._writers |= {to_client, to_server}
        try:
            lost = asyncio.Event()  # of this connection: the answer to lose comes over no other one
            await asyncio.gather(self._requests(client, to_server, lost), self._answers(server, to_client, lost))
        except ConnectionError:
            self.cut()
        finally:
            for writer in (to_client, to_server):
                self._writers.discard(writer)
                writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(1 << 16):
            await self._flowing.wait()
            if self.cut_before is not None and self.cut_before in data:
                self.cut_before = None
                raise ConnectionResetError
            if self.cut_after is not None and self.cut_after in data:
                self.cut_after = None
                lost.set()
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(1 << 16):
            await self._flowing.wait()
            if lost.is_set():
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
async def direct(database_url: str) -> AsyncIterator[Connection]:
    """A connection that no fault of the test touches."""
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of the test's database."""
    url = urlsplit(database_url)
    assert url.hostname is not None
    async with Proxy(url.hostname, url.port or 5432).serving() as proxy:
        yield proxy


@pytest.fixture
def database(database_url: str, proxy: Proxy) -> Database:
    """The database behind the proxy, with longer timeouts than a busy machine needs."""
    url = urlsplit(database_url)
    credentials, _, _ = url.netloc.rpartition("@")
    return Database(
        url=urlunsplit(url._replace(netloc=f"{credentials}@{proxy.address}")),
        connect_timeout=PATIENCE,
        acquire_timeout=PATIENCE,
    )


@pytest.fixture
async def pool(database: Database) -> "AsyncIterator[asyncpg.Pool[asyncpg.Record]]":
    """A small pool through the proxy."""
    pool = await database.open_pool(size=2)
    yield pool
    pool.terminate()


@pytest.fixture
async def store(database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[PostgresEventInbox]:
    """A store through the proxy, with one connection for recording."""
    async with PostgresEventInbox(database, pool, timeout=PATIENCE, queue_limit=20, flushes=1) as store:
        yield store


async def record_until_accepted(store: PostgresEventInbox, event_id: str) -> ReceiptStatus:
    """Deliver an event as the provider does: repeatedly, until it is accepted."""
    while True:
        try:
            return (await store.record(provider_event(event_id))).status
        except StoreUnavailableError:
            await asyncio.sleep(0.02)


class TestRecording:
    """The inbox refuses in time, and never accepts too early."""

    async def test_a_cut_connection_fails_the_current_calls_and_no_later_ones(
        self, store: PostgresEventInbox, proxy: Proxy
    ) -> None:
        """The process needs no restart: the next record opens a new connection."""
        await store.record(provider_event("evt_1"))
        proxy.cut_before = b"evt_2"
        with pytest.raises(StoreUnavailableError) as caught:
            await store.record(provider_event("evt_2"))
        assert caught.value.__cause__ is not None
        assert await record_until_accepted(store, "evt_2") is ReceiptStatus.ACCEPTED

    async def test_a_connection_that_was_cut_while_idle_is_replaced_unnoticed(
        self, store: PostgresEventInbox, direct: Connection
    ) -> None:
        """A failover at night costs the first webhook in the morning nothing."""
        await store.record(provider_event("evt_1"))
        await direct.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for _ in range(20):  # the server has closed; each pass of the loop takes that one step further
            await asyncio.sleep(0.005)
        assert (await store.record(provider_event("evt_2"))).status is ReceiptStatus.ACCEPTED

    async def test_a_lost_answer_does_not_count_as_stored(self, store: PostgresEventInbox, proxy: Proxy) -> None:
        """The commit arrived, its answer did not: the caller gets an error, and its retry finds the event stored."""
        await store.record(provider_event("evt_1"))
        proxy.cut_after = b"evt_2"
        with pytest.raises(StoreUnavailableError):
            await store.record(provider_event("evt_2"))
        assert await record_until_accepted(store, "evt_2") is ReceiptStatus.DUPLICATE

    async def test_a_frozen_server_times_out_and_is_used_again(
        self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]", proxy: Proxy
    ) -> None:
        """Callers get an answer within the timeout although the server gives none."""
        async with PostgresEventInbox(database, pool, timeout=SHORT, flushes=1) as store:
            await record_until_accepted(store, "evt_0")
            proxy.freeze()
            results = await asyncio.gather(
                *(store.record(provider_event(f"evt_{number}")) for number in range(1, 6)), return_exceptions=True
            )
            assert [type(result) for result in results] == [StoreUnavailableError] * 5
            proxy.thaw()
            for number in range(1, 6):
                await record_until_accepted(store, f"evt_{number}")
            claims = await store.claim(limit=10, lease=LONG)
        assert sorted(claim.event.event_id for claim in claims) == [f"evt_{number}" for number in range(6)]

    async def test_a_full_queue_refuses_at_once(self, store: PostgresEventInbox, proxy: Proxy) -> None:
        """Memory is bounded: the provider keeps what cannot be stored soon."""
        await store.record(provider_event("evt_0"))
        proxy.freeze()
        tasks = [asyncio.create_task(store.record(provider_event(f"evt_{number}"))) for number in range(40)]
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailableError, match="queue is full"):
            await store.record(provider_event("evt_late"))
        proxy.thaw()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def test_a_claim_is_released_when_its_caller_is_gone(self, store: PostgresEventInbox, proxy: Proxy) -> None:
        """The event is stored and is not being processed: it must not wait until the lease runs out."""
        await store.record(provider_event("evt_0"), lease=LONG)
        proxy.freeze()
        caller = asyncio.create_task(store.record(provider_event("evt_1"), lease=LONG))
        await asyncio.sleep(0.05)
        caller.cancel()
        proxy.thaw()
        async with asyncio.timeout(patience.PATIENCE):
            while not (claims := await store.claim(limit=10, lease=LONG)):
                await store.wait(at_most=SHORT)
        assert [(claim.event.event_id, claim.attempt) for claim in claims] == [("evt_1", 1)]

    async def test_an_event_that_the_database_refuses_fails_alone(self, store: PostgresEventInbox) -> None:
        """The other events of its commit are stored."""
        events = [provider_event(f"evt_{number}") for number in range(5)]
        events[2] = attrs.evolve(events[2], type="no\x00text")
        results = await asyncio.gather(*(store.record(event) for event in events), return_exceptions=True)
        assert [isinstance(result, Exception) for result in results] == [False, False, True, False, False]
        assert not isinstance(results[2], StoreUnavailableError)

    async def test_a_read_only_server_is_unavailable(
        self, store: PostgresEventInbox, direct: Connection, proxy: Proxy
    ) -> None:
        """A standby answers so after a failover; once writes are possible again, so is recording."""
        name = await direct.fetchval("SELECT current_database()")
        await direct.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        proxy.cut()
        with pytest.raises(StoreUnavailableError):
            await store.record(provider_event("evt_1"))
        await direct.execute("SET default_transaction_read_only = off")
        await direct.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        assert await record_until_accepted(store, "evt_1") is ReceiptStatus.ACCEPTED

    async def test_closing_writes_what_is_queued_and_refuses_the_rest(
        self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]", direct: Connection
    ) -> None:
        """An orderly shutdown loses no accepted event."""
        async with PostgresEventInbox(database, pool) as store:
            tasks = [asyncio.create_task(store.record(provider_event(f"evt_{number}"))) for number in range(50)]
            await asyncio.sleep(0)
        receipts = await asyncio.gather(*tasks)
        assert {receipt.status for receipt in receipts} == {ReceiptStatus.ACCEPTED}
        assert await direct.fetchval("SELECT count(*) FROM stripe_events") == 50
        with pytest.raises(StoreUnavailableError, match="shutting down"):
            await store.record(provider_event("evt_late"))


class TestProcessing:
    """A unit of work is written as a whole or not at all, and none can block the others permanently."""

    @pytest.fixture
    def repository(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> PostgresRepository:
        return PostgresRepository(database, pool)

    @pytest.fixture
    async def impatient(self, database: Database) -> AsyncIterator[PostgresRepository]:
        """A repository whose transactions the server ends when they are idle for a moment."""
        hasty = attrs.evolve(database, idle_in_transaction_timeout=SHORT)
        pool = await hasty.open_pool(size=1)
        yield PostgresRepository(hasty, pool)
        pool.terminate()

    @pytest.fixture
    def history(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> PostgresMessageHistory:
        return PostgresMessageHistory(database, pool)

    @pytest.mark.parametrize(("lost", "sequence"), [("request", 0), ("answer", 1)])
    async def test_a_connection_lost_at_commit_leaves_the_outcome_to_the_next_read(
        self, repository: PostgresRepository, history: PostgresMessageHistory, proxy: Proxy, lost: str, sequence: int
    ) -> None:
        """The caller learns that the outcome is unknown; the counter shows what it was."""
        if lost == "request":
            proxy.cut_before = b"COMMIT;"
        else:
            proxy.cut_after = b"COMMIT;"
        with pytest.raises(StoreUnavailableError, match="commit"):  # noqa: PT012 - its end is what fails
            async with repository.transaction() as transaction:
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(events=[message()]))
        assert await history.sequence(ACME) == sequence
        assert len(await history.events(ACME, after=0, limit=10)) == sequence

    async def test_a_frozen_unit_of_work_loses_its_locks(
        self,
        impatient: PostgresRepository,
        repository: PostgresRepository,
        store: PostgresEventInbox,
        direct: Connection,
    ) -> None:
        """Another one takes over; the frozen one can write nothing when it continues."""
        receipt = await store.record(provider_event(), lease=LONG)
        assert receipt.claim is not None
        done = Outcome(claim=receipt.claim, disposition=Disposition.APPLIED, tenant_id=ACME, sequence=1)
        taken_over = False
        while not taken_over:  # a pause of this process may end the session before it is meant to freeze
            with pytest.raises(StoreUnavailableError):  # noqa: PT012 - the rest has to happen inside
                async with impatient.transaction() as frozen:
                    assert (await frozen.hold([receipt.claim])).claims
                    await frozen.lock_tenants([ACME])
                    async with repository.transaction() as other:
                        held = await other.hold([receipt.claim])  # waits until the server has ended the frozen session
                        assert held.claims
                        await other.lock_tenants([ACME])
                        await other.save(Changes(events=[message()]))
                        await other.settle([done])
                    taken_over = True
                    await frozen.save(Changes(events=[message()]))
        assert await direct.fetchval("SELECT sequence FROM billing_tenants WHERE tenant_id = $1", ACME) == 1

    async def test_a_pool_that_is_used_up_is_unavailable(
        self,
        repository: PostgresRepository,
        history: PostgresMessageHistory,
        database: Database,
        pool: "asyncpg.Pool[asyncpg.Record]",
    ) -> None:
        """Waiting for a connection times out, and borrowed connections are returned."""
        impatient = PostgresMessageHistory(attrs.evolve(database, acquire_timeout=SHORT), pool)
        async with repository.transaction(), repository.transaction():
            with pytest.raises(StoreUnavailableError, match="all 2 connections to Postgres were in use"):
                await impatient.sequence(ACME)
        assert await history.sequence(ACME) == 0

    async def test_a_failed_unit_of_work_leaves_its_connection_clean(
        self, repository: PostgresRepository, database: Database
    ) -> None:
        """The next user of the connection starts afresh, also when the block was canceled during a statement."""

        async def hang() -> None:
            async with repository.transaction() as transaction:
                await transaction.lock_tenants([ACME])
                async with repository.transaction() as second:
                    await second.lock_tenants([ACME])

        task = asyncio.create_task(hang())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(4):
            async with repository.transaction() as transaction:
                assert (await transaction.lock_tenants([ACME])).counters == {ACME: 0}


class TestWakeup:
    """Other processes are notified of events soon, and never notice a lost connection."""

    @pytest.fixture
    async def elsewhere(self, database_url: str) -> AsyncIterator[PostgresEventInbox]:
        """The store of another process."""
        database = Database(url=database_url)
        async with await database.open_pool(size=2) as pool, PostgresEventInbox(database, pool) as store:
            yield store

    async def claimed(self, listener: PostgresEventInbox, recorder: PostgresEventInbox, event_id: str) -> None:
        """Record an event at `recorder`, and wait until `listener` has claimed it after nothing but a notice."""
        await recorder.record(provider_event(event_id))
        async with asyncio.timeout(patience.PATIENCE):
            while not await listener.claim(limit=10, lease=LONG):
                await listener.wait(at_most=LONG)

    async def test_an_event_wakes_the_other_process(
        self, store: PostgresEventInbox, elsewhere: PostgresEventInbox
    ) -> None:
        """Without waiting for its poll."""
        await self.claimed(store, elsewhere, "evt_1")
        await self.claimed(elsewhere, store, "evt_2")

    async def test_a_lost_listener_comes_back(
        self, store: PostgresEventInbox, elsewhere: PostgresEventInbox, proxy: Proxy
    ) -> None:
        """It looks at once for events whose notices it missed."""
        await self.claimed(store, elsewhere, "evt_1")
        proxy.cut()
        await self.claimed(store, elsewhere, "evt_2")
        await self.claimed(elsewhere, store, "evt_3")

    async def test_unparked_events_wake_all_processes(
        self,
        store: PostgresEventInbox,
        elsewhere: PostgresEventInbox,
        database: Database,
        pool: "asyncpg.Pool[asyncpg.Record]",
        direct: Connection,
    ) -> None:
        """A link that is made in one process wakes another."""
        await elsewhere.record(provider_event())
        (claim,) = await elsewhere.claim(limit=10, lease=LONG)
        await direct.execute(
            "UPDATE stripe_event_dispatch SET status = 'parked', parked_on = 'cus_1' WHERE event = $1",
            claim.dispatch_id,
        )
        assert await store.claim(limit=10, lease=LONG) == []
        async with PostgresRepository(database, pool).transaction() as transaction:
            known = await transaction.lock_customers([CUSTOMER])
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(customers=[attrs.evolve(known[CUSTOMER], tenant_id=ACME)]))
        async with asyncio.timeout(patience.PATIENCE):
            while not await store.claim(limit=10, lease=LONG):
                await store.wait(at_most=LONG)


class TestServerKilled:
    """The server is killed with SIGKILL."""

    async def test_every_acknowledged_event_survives_and_service_resumes(self, data_dir: Path) -> None:
        """Webhooks that arrive meanwhile are refused in time; the same process accepts later ones."""
        with embedded_servers_sync(data_dir) as urls:
            url = urls.database_url
            await migrate(url)
            database = Database(url=url)
            async with (
                await database.open_pool(size=2) as pool,
                PostgresEventInbox(database, pool, timeout=PATIENCE) as store,
            ):
                accepted: set[str] = set()
                under_way, refused = asyncio.Event(), asyncio.Event()

                async def deliver(worker: int) -> None:
                    for number in range(10_000):
                        event_id = f"evt_{worker}_{number}"
                        try:
                            await store.record(provider_event(event_id))
                            accepted.add(event_id)
                            if number == 20:
                                under_way.set()
                        except StoreUnavailableError:
                            refused.set()
                            return

                deliveries = [asyncio.create_task(deliver(worker)) for worker in range(16)]
                await under_way.wait()
                os.kill(postmaster_of(data_dir), signal.SIGKILL)
                await refused.wait()
                await asyncio.gather(*deliveries)
                async with asyncio.timeout(patience.PATIENCE):
                    await record_until_accepted(store, "evt_after")
                stored = {claim.event.event_id for claim in await store.claim(limit=100_000, lease=LONG)}
                assert accepted | {"evt_after"} <= stored
