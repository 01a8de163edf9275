"""Two servers and a publisher over one Postgres and one Redis, as two processes would be, and clients of theirs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
from aiohttp import web

from billing_app.http.app import create_app
from billing_app.http.services import Services
from billing_app.http.tokens import JwtAuthenticator, TokenVerifier, issue_token
from billing_app.settings import Secret, Settings, StreamSettings, Switches, TokenSettings
from billing_core.errors import EventBusUnavailableError
from billing_core.inbox.intake import Intake
from billing_core.model import AccessPolicy, TenantId
from billing_core.state.ports import Changes
from billing_core.stream.ports import EventBus
from billing_core.stream.publisher import Publisher, PublishPolicy
from billing_core.stream_access.ports import QuotaPolicy
from billing_core.stream_access.revocation_list import RevocationList
from billing_core.testing.builders import message
from billing_memory.clock import SystemClock
from billing_memory.database import MemoryDatabase
from billing_memory.inbox.event_inbox import MemoryEventInbox
from billing_memory.stream_access.quota import MemoryStreamQuota
from billing_memory.stream_access.revocations import MemoryRevocations
from billing_memory.stream_access.tickets import MemoryStreamTickets
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.stream.history import PostgresMessageHistory
from billing_postgres.stream.outbox import PostgresOutbox
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes
from billing_stripe.signature import StripeWebhookVerifier
from billing_telemetry.metrics import Metrics

TENANTS = [TenantId(f"tenant-{number}") for number in range(4)]
SETTINGS = Settings(
    switches=Switches(billing=True),
    tokens=TokenSettings(secrets=(Secret("j" * 32),)),
    stream=StreamSettings(
        keepalive=timedelta(milliseconds=300), max_life=timedelta(seconds=3), retry=timedelta(milliseconds=20)
    ),
)


class Deployment:
    """What is running."""

    def __init__(self, repository: PostgresRepository, publisher: Publisher, bus: EventBus) -> None:
        self.repository = repository
        self.bus = bus
        self.publisher = publisher
        self.urls: list[str] = []

    async def write(self, tenant_id: TenantId, count: int) -> None:
        """Commit a tenant's next messages and hand them to the publisher."""
        async with self.repository.transaction() as transaction:
            last = (await transaction.lock_tenants([tenant_id]))[tenant_id]
            events = [message(tenant_id, number) for number in range(last + 1, last + count + 1)]
            await transaction.save(Changes(events=events))
        self.publisher.offer(events)


@asynccontextmanager
async def deployed(database_url: str, redis_url: str) -> AsyncIterator[Deployment]:
    """A deployment without any messages."""
    async with AsyncExitStack() as stack:
        database = Database(url=database_url)
        pool = await stack.enter_async_context(await database.open_pool(size=8))
        repository, history = PostgresRepository(database, pool), PostgresMessageHistory(database, pool)
        nodes = [
            await stack.enter_async_context(RedisNodes.open(redis_url, timeout=timedelta(seconds=1))) for _ in range(3)
        ]
        buses = [RedisEventBus(each) for each in nodes]
        publisher = Publisher(
            history=history,
            outbox=PostgresOutbox(database, pool),
            bus=buses[0],
            policy=PublishPolicy(poll=timedelta(milliseconds=200)),
            observe=lambda _: None,
        )
        publishing = asyncio.create_task(publisher.run())
        running = Deployment(repository, publisher, buses[0])
        for bus in buses[1:]:
            running.urls.append(await stack.enter_async_context(serving(repository, history, bus)))
        yield running
        publisher.stop()
        await publishing


@asynccontextmanager
async def serving(repository: PostgresRepository, history: PostgresMessageHistory, bus: EventBus) -> AsyncIterator[str]:
    clock = SystemClock()
    verifier = StripeWebhookVerifier(["whsec_x"], tolerance=timedelta(minutes=5), clock=clock)
    services = Services(
        settings=SETTINGS,
        intake=Intake(verifier=verifier, inbox=MemoryEventInbox(MemoryDatabase(), clock)),
        reader=repository,
        history=history,
        bus=bus,
        policy=AccessPolicy(),
        clock=clock,
        metrics=Metrics(),
        authenticator=JwtAuthenticator(
            verifier=TokenVerifier(policy=SETTINGS.tokens, published=None),
            policy=SETTINGS.tokens,
            revoked=RevocationList(revocations=MemoryRevocations(clock), every=SETTINGS.tokens.recheck),
        ),
        tickets=MemoryStreamTickets(clock),
        quota=MemoryStreamQuota(clock, QuotaPolicy(rate_per_minute=0, concurrent=0, lease=timedelta(minutes=1))),
        probes={},
    )
    runner = web.AppRunner(create_app(services), handler_cancellation=True, shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Client:
    """A browser of one tenant: it resumes with the last id it got, on any server, and now and then just goes away."""

    def __init__(self, urls: list[str], tenant_id: TenantId, seed: int) -> None:
        self.numbers: list[int] = []
        self.resets = 0
        self._tenant_id = tenant_id
        self._random = random.Random(seed)
        self._urls = urls
        token = issue_token(
            secret=SETTINGS.tokens.secrets[0],
            policy=SETTINGS.tokens,
            tenant_id=tenant_id,
            role="viewer",
            now=datetime.now(UTC),
            ttl=timedelta(hours=1),
        )
        self._authorization = {"Authorization": f"Bearer {token}"}

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen(session, patience=self._random.randint(20, 120))
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)

    async def _listen(self, session: aiohttp.ClientSession, *, patience: int) -> None:
        last = self.numbers[-1] if self.numbers else 0
        headers = {**self._authorization, "Last-Event-ID": str(last)}
        url = f"{self._random.choice(self._urls)}/api/v1/billing/stream"
        async with session.get(url, headers=headers) as response:
            assert response.status == 200
            number = 0
            async for raw in response.content:
                line = raw.decode().rstrip("\n")
                if line.startswith("id: "):
                    number = int(line[4:])
                elif line == "event: reset":
                    self.resets += 1
                elif line.startswith('data: {"tenant_id"'):
                    assert line == f'data: {{"tenant_id":"{self._tenant_id}","sequence":{number}}}'
                    self.numbers.append(number)
                    patience -= 1
                    if patience == 0:
                        return


async def eventually(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for sets no event of ours
        await asyncio.sleep(0.02)


async def logs_end_at(bus: EventBus, tenants: Collection[TenantId], number: int) -> None:
    """Return when the log of each tenant ends with that message."""
    while {await _log_end(bus, tenant_id) for tenant_id in tenants} != {number}:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.02)


async def _log_end(bus: EventBus, tenant_id: TenantId) -> int:
    """0 while it cannot be told."""
    try:
        log = await bus.read(tenant_id, after=0, limit=10_000)
    except EventBusUnavailableError:
        return 0
    return log[-1].sequence if log else 0
