"""Entitlements across processes, with real servers: how changes arrive, and what answers while a server is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.patience import PATIENCE
from tests.relay import pump
from yarl import URL

from billing_app.container import Container, postgres_adapters
from billing_app.settings import CatalogSettings, EntitlementSettings, PublishSettings, Settings, Switches
from billing_app.shutdown import ShutdownDeadline
from billing_app.worker import publishing
from billing_core.entitlements.service import Entitlements
from billing_core.errors import StoreUnavailableError
from billing_core.model import FeatureVerdict, Freshness, Plan, PlanFeature, TenantId
from billing_core.state.rules import activate
from billing_core.testing.builders import ACME
from billing_postgres.pool import Database
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes

if TYPE_CHECKING:
    from tests.valkey import Valkey

pytestmark = [pytest.mark.redis, pytest.mark.postgres]


def plans(projects: int) -> tuple[Plan, ...]:
    features = (PlanFeature(key="exports"), PlanFeature(key="projects", limit=projects))
    return (attrs.evolve(Plan.of_prices("pro", base=["price_pro"]), features=features),)


SETTINGS = Settings(
    switches=Switches(billing=True),
    publishing=PublishSettings(poll=timedelta(milliseconds=200)),
    catalog=CatalogSettings(plans=plans(5)),
    # An hour: within it, nothing but the bus and a new generation of rules makes a state be read again.
    entitlements=EntitlementSettings(live_for=timedelta(hours=1), stale_for=timedelta(hours=1)),
)


class Gate:
    """A relay in front of Postgres that can be shut."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._connections = set[asyncio.Task[None]]()
        self._open = True

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if self._open:
                await pump(reader, writer, self._host, self._port)
        except OSError:
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def shut(self) -> None:
        """Cut all connections, and refuse new ones."""
        self._open = False
        cut = list(self._connections)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)

    def open(self) -> None:
        """Let connections through again."""
        self._open = True


class Processes:
    """A process that writes and publishes, and one that answers."""

    def __init__(self, writer: Container, reader: Container, gate: Gate) -> None:
        self.writer = writer
        self.entitlements: Entitlements = reader.entitlements()
        self.gate = gate

    async def grant(self) -> Callable[[], Awaitable[None]]:
        """Grant the plan; return a function that revokes the grant."""
        service, publisher = self.writer.service(), self.writer.publisher()
        done = await service.grant(ACME, plan_code="pro", until=None, reason="pilot", actor="ops")
        publisher.offer(done.events)

        async def revoke() -> None:
            revoked = await service.revoke_grant(done.grant.grant_id, reason="over", actor="ops")
            publisher.offer(revoked.events)

        return revoke

    async def until(self, condition: Callable[[FeatureVerdict], bool], feature: str = "exports") -> FeatureVerdict:
        """Ask until the answer is as wanted."""
        async with asyncio.timeout(PATIENCE):
            while not condition(verdict := await self.entitlements.allows(ACME, feature)):  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.01)
            return verdict


@pytest.fixture
async def processes(database_url: str, valkey: Valkey) -> AsyncIterator[Processes]:
    url = URL(database_url)
    gate = Gate(url.host or "127.0.0.1", url.port or 5432)
    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(await asyncio.start_server(gate.connected, "127.0.0.1", 0))
        through = str(url.with_host("127.0.0.1").with_port(listener.sockets[0].getsockname()[1]))
        writer = await stack.enter_async_context(process(database_url, valkey.url))
        reader = await stack.enter_async_context(process(through, valkey.url))
        await activate(writer.rules_register(), writer.own_rules(), actor="test")
        await stack.enter_async_context(publishing(writer.publisher(), ShutdownDeadline(timedelta(seconds=10))))
        following = asyncio.create_task(reader.entitlements().run())
        found = Processes(writer, reader, gate)
        await found.until(lambda verdict: verdict.freshness is Freshness.LIVE)
        yield found
        gate.open()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@asynccontextmanager
async def process(database_url: str, redis_url: str) -> AsyncIterator[Container]:
    async with (
        await Database(url=database_url).open_pool(size=4) as pool,
        RedisNodes.open(redis_url, timeout=timedelta(seconds=1)) as nodes,
    ):
        adapters = postgres_adapters(
            SETTINGS, database=Database(url=database_url), writers=pool, bus=RedisEventBus(nodes)
        )
        yield Container(**adapters, settings=SETTINGS)


async def test_a_change_of_another_process_arrives_by_the_bus(processes: Processes) -> None:
    """Each of many, although nothing else would show it within the hour."""
    for _ in range(5):
        revoke = await processes.grant()
        verdict = await processes.until(bool)
        assert (verdict.sources, verdict.freshness) == (("grant:pro",), Freshness.LIVE)
        await revoke()
        assert (await processes.until(lambda verdict: not verdict)).freshness is Freshness.LIVE


async def test_without_the_bus_changes_are_read_and_the_answer_says_so(processes: Processes, valkey: Valkey) -> None:
    """Back on the bus, they arrive by it again."""
    valkey.kill()
    await processes.grant()
    assert (await processes.until(bool)).freshness is Freshness.POLLED
    await valkey.start()
    verdict = await processes.until(lambda verdict: verdict.freshness is Freshness.LIVE)
    assert verdict.allowed


async def test_rules_of_another_process_count_without_a_message(processes: Processes) -> None:
    """They are looked for every five seconds."""
    await processes.grant()
    await processes.until(bool)
    assert (await processes.entitlements.allows(ACME, "projects")).limit == 5
    rules = attrs.evolve(processes.writer.own_rules(), plans=plans(9))
    await activate(processes.writer.rules_register(), rules, actor="test")
    await processes.until(lambda verdict: verdict.limit == 9, "projects")


async def test_without_postgres_the_last_known_state_answers_and_says_so(processes: Processes, valkey: Valkey) -> None:
    """A tenant that was never asked for is an error; afterwards answers are current again."""
    await processes.grant()
    await processes.until(bool)
    valkey.kill()
    await processes.gate.shut()
    verdict = await processes.until(lambda verdict: verdict.stale)
    assert verdict.allowed
    with pytest.raises(StoreUnavailableError):
        await processes.entitlements.allows(TenantId("globex"), "exports")
    processes.gate.open()
    await processes.until(lambda verdict: not verdict.stale)
