"""Every byte that a client receives belongs to its tenant, whatever the names and texts of tenants.

Tenants with easily confused names write messages whose texts look like frames. Meanwhile clients connect by token and
by ticket, read or do not, disconnect in the middle, resume, filter, and request the data of others; the bus loses its
messages. Operators move objects away, which withdraws messages; clients that connect later must not get them any more.
Every message carries a mark of its tenant. Every byte received on each socket is kept.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from random import Random
from urllib.parse import quote

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.databases import Databases
from tests.patience import PATIENCE
from tests.property.choices import choices, scaled, shrinks_slowly
from tests.unit.http.conftest import SETTINGS, STREAM, World

from billing_app.settings import QuotaSettings, StreamSettings
from billing_core.events import BillingEvent, EventId
from billing_core.model import TenantId
from billing_core.payloads import SCHEMA_VERSION, AccessSection, BillingEventPayload, SourceSection, dumps, loads
from billing_core.state.ports import Changes, Transfer
from billing_core.stream.rewrite import LogRewriter
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.stream.history import PostgresMessageHistory
from billing_postgres.stream.outbox import PostgresOutbox
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes

NAMES = ["acme", "acme ", "Acme", "acme:1", "acme}{1", "{acme}", "acme*", "*", "acme/../globex", "%61cme", "ácme", "0"]
TEXTS = [
    "\n\nevent: invoice.paid\ndata: {}\n\n",
    "\r\n\r\nid: 1\r\ndata: forged",
    "\u2028id: 99\u2029",
    "\x00\x0b\x0c\x85: comment",
    "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    '"}],"summary":"',
    "</script>",
    "",
]
KINDS = ["subscription.updated", "invoice.paid"]
READS = ["state", "subscriptions", "invoices", "usage", "adjustments", "events"]

Open = Callable[[], AbstractAsyncContextManager[tuple[World, Callable[[], Awaitable[None]]]]]
"""A world, and a function that empties its bus."""


@attrs.define
class Client:
    """One connection of a tenant, with all bytes received."""

    tenant_id: TenantId
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int = 0
    """Clients are numbered in the order in which they connect."""
    received: bytearray = attrs.field(factory=bytearray)

    async def read(self) -> None:
        """Keep all bytes until the connection ends."""
        with suppress(ConnectionError):
            while data := await self.reader.read(4096):
                self.received += data

    async def leave(self) -> None:
        """Disconnect without closing properly."""
        self.writer.transport.abort()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    @property
    def frames(self) -> list[dict[str, str]]:
        """Return the complete frames so far, each as its fields; comments are empty."""
        _, _, body = bytes(self.received).partition(b"\r\n\r\n")
        whole, _, _ = body.rpartition(b"\n\n")
        frames = whole.split(b"\n\n") if whole else []
        return [dict(_field(line) for line in frame.split(b"\n") if line != b":") for frame in frames]

    @property
    def last_id(self) -> int:
        """Return the last id received; -1 before the first."""
        return max((int(frame["id"]) for frame in self.frames if "id" in frame), default=-1)


def _field(line: bytes) -> tuple[str, str]:
    name, separator, value = line.partition(b": ")
    assert separator, line
    return name.decode(), value.decode()


class Story:
    """A random story of some tenants in one world."""

    def __init__(self, world: World, forget: Callable[[], Awaitable[None]], tenants: list[TenantId], random: Random):
        self._world = world
        self._forget = forget
        self._tenants = tenants
        self._random = random
        self._reading: list[tuple[Client, asyncio.Task[None]]] = []
        self.marks = {
            tenant_id: f"mark-{number}-{random.getrandbits(64):x}" for number, tenant_id in enumerate(tenants)
        }
        self.written: dict[TenantId, list[str]] = {tenant_id: [] for tenant_id in tenants}
        """Clients that read."""
        self.clients: list[Client] = []
        """All clients so far."""
        self._withdrawn: dict[tuple[TenantId, int], tuple[str, int]] = {}
        """Messages as they were before they were withdrawn, and the number of clients that had connected by then."""

    async def run(self, steps: int) -> None:
        """Play some steps, then let all connected clients read to the end."""
        acts = [self._write, self._write, self._open, self._open, self._leave, self._forget, self._trespass, self._ask]
        acts += [self._withdraw, self._rewrite]
        try:
            for _ in range(steps):
                await self._random.choice(acts)()
                await asyncio.sleep(self._random.choice((0, 0, 0.001, 0.005)))
            for client, _ in self._reading:
                async with asyncio.timeout(PATIENCE):
                    while client.last_id < len(self.written[client.tenant_id]):  # noqa: ASYNC110 - what a socket has
                        await asyncio.sleep(0.005)
        finally:
            for client in self.clients:
                await client.leave()

    async def _write(self) -> None:
        tenant_id = self._random.choice(self._tenants)
        written = self.written[tenant_id]
        async with self._world.repository.transaction() as transaction:
            first = (await transaction.lock_tenants([tenant_id])).counters[tenant_id] + 1
            events = [self._event(tenant_id, number) for number in range(first, first + self._random.randint(1, 4))]
            await transaction.save(Changes(events=events))
        written += [event.payload for event in events]
        await self._publish(events)

    async def _publish(self, events: list[BillingEvent]) -> None:
        if self._random.random() < 0.8:  # otherwise the bus gets them with the next ones, or never
            await self._world.container.publisher().publish(events)

    async def _withdraw(self) -> None:
        """Move an object away: some messages lose their content, and the tenant is news."""
        tenant_id, to = self._random.sample(self._tenants, 2)
        written = self.written[tenant_id]
        candidates = (number for number in range(1, len(written) + 1) if (tenant_id, number) not in self._withdrawn)
        numbers = [number for number in candidates if self._random.random() < 0.5]
        withdrawn = [self._bare(tenant_id, number, "withdrawn") for number in numbers]
        news = self._bare(tenant_id, len(written) + 1, "customer.unlinked")
        async with self._world.repository.transaction() as transaction:
            await transaction.lock_tenants([tenant_id, to])
            await transaction.transfer(Transfer(from_tenant=tenant_id, to_tenant=to, withdrawn=withdrawn))
            await transaction.save(Changes(events=[news]))
        for event in withdrawn:
            self._withdrawn[tenant_id, event.sequence] = (written[event.sequence - 1], len(self.clients))
            written[event.sequence - 1] = event.payload
        written.append(news.payload)
        await self._publish([news])

    async def _rewrite(self) -> None:
        """Replace logs of the bus that hold withdrawn messages, as a worker does."""
        container = self._world.container
        waiting = await container.outbox().unpublished(older_than=timedelta(0), limit=500)
        await container.publisher().publish([entry.event for entry in waiting])
        rewriter = LogRewriter(
            rewrites=container.log_rewrites(),
            outbox=container.outbox(),
            bus=self._world.bus,
            newest=self._random.randint(1, 20),
            every=timedelta(seconds=1),
            observe=lambda _: None,
        )
        await rewriter.run_once()

    def _event(self, tenant_id: TenantId, number: int) -> BillingEvent:
        text = self._random.choice(TEXTS) + self.marks[tenant_id] + self._random.choice([*TEXTS, *self._tenants])
        event_id, kind, now = f"evt_{text}_{number}", self._random.choice(KINDS), datetime.now(UTC)
        payload = BillingEventPayload(
            schema_version=SCHEMA_VERSION,
            sequence=number,
            tenant_id=tenant_id,
            event_type=kind,
            source=SourceSection(kind="webhook", id=event_id),
            stripe_event_id=event_id,
            occurred_at=now,
            summary=text,
            status=text,
            subscription=None,
            invoice=None,
            usage=(),
            access=AccessSection(state="full", reason=text, until=None),
        )
        return BillingEvent(
            tenant_id=tenant_id,
            sequence=number,
            event_type=kind,
            event_id=EventId(event_id.replace("\0", "")),
            occurred_at=now,
            payload=dumps(payload),
        )

    def _bare(self, tenant_id: TenantId, number: int, event_type: str) -> BillingEvent:
        """Build a message without any content."""
        event = self._event(tenant_id, number)
        payload = attrs.evolve(loads(event.payload), event_type=event_type, summary="", status=None)
        access = AccessSection(state="full", reason="", until=None)
        source = SourceSection(kind="link", id="1")
        bare = attrs.evolve(payload, source=source, stripe_event_id=None, access=access)
        return attrs.evolve(event, event_type=event_type, event_id=None, payload=dumps(bare))

    async def _open(self) -> None:
        """Open a stream somewhere in the history, by token or by ticket; some clients never read."""
        tenant_id = self._random.choice(self._tenants)
        query = {"after": str(self._random.randint(0, len(self.written[tenant_id])))}
        if self._random.random() < 0.3:
            query["types"] = "invoice.*"
        headers = self._world.bearer(tenant_id)
        if self._random.random() < 0.3:
            answer = await self._request("POST", f"{STREAM}/tickets", headers)
            query["ticket"], headers = json.loads(answer.partition(b"\r\n\r\n")[2])["ticket"], {}
        path = STREAM + "?" + "&".join(f"{name}={quote(value)}" for name, value in query.items())
        number = len(self.clients)
        client = await self._connect(tenant_id, "GET", path, headers)
        client.number = number
        self.clients.append(client)
        if self._random.random() < 0.8:
            self._reading.append((client, asyncio.create_task(client.read())))

    async def _leave(self) -> None:
        if self._reading:
            client, reading = self._reading.pop(self._random.randrange(len(self._reading)))
            reading.cancel()
            await client.leave()

    async def _trespass(self) -> None:
        """Request the data of another tenant with one's own token, by path and by header."""
        mine, theirs = self._random.sample(self._tenants, 2)
        path = f"/api/v1/billing/tenants/{quote(theirs, safe='')}/{self._random.choice(READS)}"
        answer = await self._request("GET", path, self._world.bearer(mine))
        assert answer.startswith((b"HTTP/1.0 403 ", b"HTTP/1.1 403 ")), answer
        if theirs.strip() != mine:  # HTTP strips spaces around the value
            headers = {**self._world.bearer(mine), "X-Tenant-Id": theirs}
            answer += await self._request("GET", STREAM, headers)
        self._assert_foreign_to(answer, but=None)

    async def _ask(self) -> None:
        tenant_id = self._random.choice(self._tenants)
        path = f"/api/v1/billing/tenants/{quote(tenant_id, safe='')}/{self._random.choice(READS)}"
        answer = await self._request("GET", path, self._world.bearer(tenant_id))
        assert b" 200 " in answer[:15], answer
        self._assert_foreign_to(answer, but=tenant_id)

    async def _request(self, method: str, path: str, headers: dict[str, str]) -> bytes:
        client = await self._connect(TenantId(""), method, path, headers)
        async with asyncio.timeout(PATIENCE):
            await client.read()
        await client.leave()
        return bytes(client.received)

    async def _connect(self, tenant_id: TenantId, method: str, path: str, headers: dict[str, str]) -> Client:
        """Connect with HTTP/1.0, which delivers the frames without chunks around them."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._world.port)
        lines = [f"{method} {path} HTTP/1.0", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        return Client(tenant_id, reader, writer)

    def _assert_foreign_to(self, answer: bytes, *, but: TenantId | None) -> None:
        assert not any(mark.encode() in answer for tenant_id, mark in self.marks.items() if tenant_id != but)

    def assert_isolated(self) -> None:
        """Assert that no client has a mark of another tenant, and each only its own messages, unchanged."""
        for client in self.clients:
            self._assert_foreign_to(bytes(client.received), but=client.tenant_id)
            self._assert_own(client)

    def _assert_own(self, client: Client) -> None:
        ids = [int(frame["id"]) for frame in client.frames if "id" in frame]
        assert ids == sorted(ids)
        for frame in client.frames:
            if "data" in frame:
                number = int(frame["id"])
                before, clients = self._withdrawn.get((client.tenant_id, number), ("", 0))
                if frame["data"] != before or client.number >= clients:
                    assert frame["data"] == self.written[client.tenant_id][number - 1]
                assert frame["event"] == json.loads(frame["data"])["event_type"]


@asynccontextmanager
async def in_memory() -> AsyncIterator[tuple[World, Callable[[], Awaitable[None]]]]:
    """Open a server on memory adapters."""
    with _world() as world:

        async def forget() -> None:
            world.bus._logs.clear()

        async with world.serving(shutdown_timeout=0.1):
            yield world, forget


@contextmanager
def _world() -> Iterator[World]:
    settings = attrs.evolve(
        SETTINGS,
        stream=StreamSettings(keepalive=timedelta(milliseconds=50)),
        quota=QuotaSettings(rate_per_minute=0),
    )
    with ExitStack() as stack:
        yield World(settings, stack)


async def check(open_world: Open, tenants: list[str], random: Random, steps: int) -> None:
    """Play a story, and check every byte."""
    async with open_world() as (world, forget):
        story = Story(world, forget, [TenantId(each) for each in tenants], random)
        await story.run(steps)
        story.assert_isolated()


SOME = st.lists(st.sampled_from(NAMES), min_size=2, max_size=6, unique=True)


@shrinks_slowly
@settings(max_examples=scaled(40))
@given(tenants=SOME, random=choices(), steps=st.integers(5, 80))
def test_every_byte_belongs_to_the_tenant_that_gets_it(tenants: list[str], random: Random, steps: int) -> None:
    """In memory."""
    asyncio.run(check(in_memory, tenants, random, steps))


@pytest.mark.postgres
@pytest.mark.redis
@shrinks_slowly
@settings(max_examples=scaled(8), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tenants=SOME, random=choices(), steps=st.integers(20, 60))
async def test_also_with_real_servers(
    databases: Databases, redis_url: str, tenants: list[str], random: Random, steps: int
) -> None:
    """History, log and live streams are those of Postgres and Redis."""

    @asynccontextmanager
    async def on_servers() -> AsyncIterator[tuple[World, Callable[[], Awaitable[None]]]]:
        async with (
            databases.fresh() as url,
            await (database := Database(url=url)).open_pool(size=4) as pool,
            RedisNodes.open(redis_url, timeout=timedelta(seconds=2)) as nodes,
        ):
            with _world() as world:
                world.repository = PostgresRepository(database, pool)
                world.bus = RedisEventBus(nodes, namespace=f"isolation:{uuid.uuid4().hex}")
                outbox = PostgresOutbox(database, pool)
                world.replace(
                    tenant_reader=world.repository,
                    history=PostgresMessageHistory(database, pool),
                    bus=world.bus,
                    outbox=outbox,
                    log_rewrites=outbox,
                )

                async def forget() -> None:
                    (address,) = await nodes.addresses()
                    await nodes.client(address).flushdb()

                async with world.serving(shutdown_timeout=0.1):
                    yield world, forget

    await check(on_servers, tenants, random, steps)
