"""Two servers and a publisher over one Postgres and one Redis, as two processes would be, and clients of theirs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
from aiohttp import web

from billing_app.container import Container, postgres_adapters
from billing_app.http.app import create_app
from billing_app.http.runner import set_up
from billing_app.http.tokens import issue_token
from billing_app.secret import Secret
from billing_app.settings import (
    PublishSettings,
    QuotaSettings,
    Settings,
    StreamSettings,
    StripeSettings,
    Switches,
    TokenSettings,
)
from billing_app.shutdown import ShutdownDeadline
from billing_app.worker import publishing
from billing_core.errors import EventBusUnavailableError
from billing_core.model import TenantId
from billing_core.state.ports import Changes
from billing_core.stream.ports import EventBus
from billing_core.testing.builders import message
from billing_postgres.pool import Database
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes

TENANTS = [TenantId(f"tenant-{number}") for number in range(4)]
SETTINGS = Settings(
    switches=Switches(billing=True),
    stripe=StripeSettings(webhook_secrets=(Secret("whsec_x"),)),
    publishing=PublishSettings(poll=timedelta(milliseconds=200)),
    quota=QuotaSettings(rate_per_minute=0, concurrent=0),
    tokens=TokenSettings(secrets=(Secret("j" * 32),)),
    stream=StreamSettings(
        keepalive=timedelta(milliseconds=300), max_life=timedelta(seconds=3), retry=timedelta(milliseconds=20)
    ),
)


class Deployment:
    """Running servers, and the process that writes and publishes."""

    def __init__(self, writer: Container) -> None:
        self.urls: list[str] = []
        self.bus = writer.bus()
        self.publisher = writer.publisher()
        self._unit_of_work = writer.unit_of_work()

    async def write(self, tenant_id: TenantId, count: int) -> None:
        """Commit a tenant's next messages and hand them to the publisher."""
        async with self._unit_of_work.transaction() as transaction:
            last = (await transaction.lock_tenants([tenant_id])).counters[tenant_id]
            events = [message(tenant_id, number) for number in range(last + 1, last + count + 1)]
            await transaction.save(Changes(events=events))
        self.publisher.offer(events)


@asynccontextmanager
async def deployed(database_url: str, redis_url: str) -> AsyncIterator[Deployment]:
    """A deployment without any messages."""
    async with AsyncExitStack() as stack:
        database = Database(url=database_url)
        pool = await stack.enter_async_context(await database.open_pool(size=8))

        async def process() -> Container:
            nodes = await stack.enter_async_context(RedisNodes.open(redis_url, timeout=timedelta(seconds=1)))
            adapters = postgres_adapters(SETTINGS, database=database, writers=pool, bus=RedisEventBus(nodes))
            return Container(**adapters, settings=SETTINGS)

        running = Deployment(await process())
        async with publishing(running.publisher, ShutdownDeadline(timedelta(seconds=10))):
            for _ in range(2):
                running.urls.append(await stack.enter_async_context(serving(await process())))
            yield running


@asynccontextmanager
async def serving(container: Container) -> AsyncIterator[str]:
    runner = await set_up(create_app(container.services()), shutdown_timeout=5)
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
    """Return the number of the last message; 0 while the bus is unavailable."""
    try:
        log = await bus.read(tenant_id, after=0, limit=10_000)
    except EventBusUnavailableError:
        return 0
    return log[-1].sequence if log else 0
