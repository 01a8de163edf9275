"""A complete server on memory adapters and a real socket, with helpers to arrange and read it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web
from tests.containers import container_with

from billing_app.container import memory_adapters
from billing_app.http.app import create_app
from billing_app.http.runner import set_up
from billing_app.http.services import Services
from billing_app.http.tokens import issue_token
from billing_app.settings import Secret, Settings, StripeSettings, Switches, TokenSettings
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.state.ports import Changes
from billing_core.testing.builders import ACME, message
from billing_memory.clock import SystemClock
from billing_memory.database import MemoryDatabase
from billing_memory.stream.bus import MemoryEventBus

STREAM = "/api/v1/billing/stream"
WEBHOOK_SECRET = "whsec_" + "w" * 32
JWT_SECRET = Secret("j" * 32)
OLD_JWT_SECRET = Secret("o" * 32)

CreateApp = Callable[[Services], web.Application]

SETTINGS = Settings(
    switches=Switches(billing=True, retry_worker=False),
    stripe=StripeSettings(webhook_secrets=(Secret(WEBHOOK_SECRET),)),
    tokens=TokenSettings(secrets=(JWT_SECRET, OLD_JWT_SECRET)),
)


class World:
    """The parts of one server, for a test to arrange and inspect."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.database = MemoryDatabase()
        self.bus = MemoryEventBus()
        adapters = memory_adapters(settings, database=self.database, clock=self.clock)
        lent = container_with(**{**adapters, "bus": self.bus}, settings=settings, probes={})
        self.container = stack.enter_context(lent)
        self.repository = self.container.unit_of_work()
        self.metrics = self.container.metrics()
        self.policy = settings.tokens
        self.url = ""
        self.port = 0

    def replace(self, **changes: Any) -> None:
        """Override providers of the container, before the server starts."""
        self.container.override_providers(**changes)

    @asynccontextmanager
    async def serving(self, application: CreateApp = create_app, **runner_options: Any) -> "AsyncIterator[World]":
        """Serve on a free port, with the options of the real server."""
        app = application(self.container.services())
        runner = await set_up(app, **{"shutdown_timeout": 5.0, **runner_options})
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        try:
            yield self
        finally:
            await runner.cleanup()

    def token(self, tenant_id: TenantId = ACME, **changes: Any) -> str:
        """Issue a valid token, apart from the given changes."""
        claims: dict[str, Any] = {
            "secret": JWT_SECRET,
            "policy": self.policy,
            "tenant_id": tenant_id,
            "role": "viewer",
            "now": datetime.now(UTC),
            "ttl": timedelta(hours=1),
        }
        return issue_token(**{**claims, **changes})

    def bearer(self, tenant_id: TenantId = ACME, **changes: Any) -> dict[str, str]:
        """Return the header with such a token."""
        return {"Authorization": f"Bearer {self.token(tenant_id, **changes)}"}

    async def commit(self, tenant_id: TenantId, count: int = 1) -> list[BillingEvent]:
        """Write the tenant's next messages to the history, as dispatch does, without publishing them."""
        async with self.repository.transaction() as transaction:
            last = (await transaction.lock_tenants([tenant_id])).counters[tenant_id]
            events = [message(tenant_id, number) for number in range(last + 1, last + count + 1)]
            await transaction.save(Changes(events=events))
        return events

    async def publish(self, tenant_id: TenantId, count: int = 1) -> list[BillingEvent]:
        """Write the tenant's next messages and publish them."""
        events = await self.commit(tenant_id, count)
        await self.bus.append(events)
        return events

    def sample(self, name: str, **labels: str) -> float:
        """Return the value of a metric; 0 if it was never counted."""
        return self.metrics.registry.get_sample_value(name, labels) or 0


MakeWorld = Callable[..., World]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
RawRequest = Callable[[World, bytes], Awaitable[bytes]]


@pytest.fixture
def make_world() -> Iterator[MakeWorld]:
    """A function that builds a server without starting it; keyword arguments replace sections."""
    with ExitStack() as stack:

        def make(**changes: Any) -> World:
            return World(attrs.evolve(SETTINGS, **changes), stack)

        yield make


@pytest.fixture
async def world(make_world: MakeWorld) -> AsyncIterator[World]:
    """A running server with default settings."""
    async with make_world().serving() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client without cookies; what hangs is ended by the time limit of the test."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(), cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; the test's time limit ends a wait that never does."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.01)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Eventually:
    return eventually


@pytest.fixture
def raw_request() -> RawRequest:
    """A function that sends bytes unchanged and returns all bytes until the server closes the connection."""

    async def send(world: World, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        with closing(writer):
            writer.write(request)
            return await reader.read()

    return send


@attrs.frozen(kw_only=True)
class Received:
    """One frame as a client reads it. A comment has no other field."""

    id: str | None = None
    event: str | None = None
    data: str | None = None
    retry: str | None = None
    comment: bool = False


class Listener:
    """A client of the stream that reads line by line."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def frame(self) -> Received | None:
        """Return the next frame, comments included; None at the end of the stream."""
        lines = []
        while (line := (await self._response.content.readline()).decode()) not in ("\n", ""):
            lines.append(line.rstrip("\n"))
        if not lines:
            return None
        if lines[0].startswith(":"):
            return Received(comment=True)
        fields = dict(each.split(": ", 1) for each in lines)
        assert fields.keys() <= {"id", "event", "data", "retry"}
        return Received(
            id=fields.get("id"), event=fields.get("event"), data=fields.get("data"), retry=fields.get("retry")
        )

    async def event(self) -> Received:
        """Return the next frame that is not a comment."""
        while True:
            frame = await self.frame()
            assert frame is not None, "the stream has ended"
            if not frame.comment:
                return frame

    async def numbers(self, count: int) -> list[int]:
        """Return the numbers of the next messages."""
        return [int((await self.event()).id or "") for _ in range(count)]


Listen = Callable[..., AbstractAsyncContextManager[Listener]]


@pytest.fixture
def listen(http: aiohttp.ClientSession) -> Listen:
    """A function that opens a stream: `listen(world, tenant_id, last_event_id=…, after=…, types=…)`."""

    @asynccontextmanager
    async def open_stream(
        world: World,
        tenant_id: TenantId = ACME,
        *,
        last_event_id: object = None,
        after: object = None,
        types: str | None = None,
        **claims: Any,
    ) -> AsyncIterator[Listener]:
        headers = world.bearer(tenant_id, **claims)
        if last_event_id is not None:
            headers["Last-Event-ID"] = str(last_event_id)
        given = {"after": after, "types": types}
        query = {name: str(value) for name, value in given.items() if value is not None}
        async with http.get(world.url + STREAM, headers=headers, params=query) as response:
            assert response.status == 200, await response.text()
            yield Listener(response)

    return open_stream
