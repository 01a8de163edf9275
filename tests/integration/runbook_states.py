"""The states of an installation that the runbook shows commands in, each made with the product's own parts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeAlias

import aiohttp
import attrs
from tests.integration.processes import bearer, environment_of, post, running, subscription_event, token
from tests.patience import PATIENCE

from billing_app.container import Tools, open_tools
from billing_app.settings import Settings
from billing_core.consumers.ports import Progress, Step, Want
from billing_core.consumers.values import ConsumerName
from billing_core.events import Claim
from billing_core.model import CustomerId
from billing_core.oversight.ports import RefusedWebhooks
from billing_core.state.ports import Changes
from billing_core.testing.arrange import save
from billing_core.testing.builders import provider_event, subscription
from billing_core.testing.consumers.arrange import consumer, number_up_to
from billing_core.testing.operations.operation_log import COMMAND, begun
from billing_core.testing.timing import LONG
from billing_embedded.loopback import free_port
from billing_postgres.consumers.queue import PostgresConsumerQueue
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.state.repository import PostgresRepository
from billing_stripe.testing.fake_stripe import fake_stripe, faults
from billing_stripe.translate import StripeTranslator

CRM: Final = ConsumerName("crm")
OF_ACME: Final = MappingProxyType({"tenant_id": "acme"})
NOWHERE: Final = "127.0.0.1:1"
"""An address at which no server listens."""


@attrs.frozen
class Stage:
    """An empty installation."""

    environment: Mapping[str, str]
    tools: Tools
    inbox: PostgresEventInbox

    @property
    def repository(self) -> PostgresRepository:
        """Its state."""
        return PostgresRepository(self.tools.database, self.tools.pool)

    async def record(self, number: int, metadata: Mapping[str, str] = OF_ACME) -> Claim:
        """Store and claim the n-th event of a subscription, as if it had been received just now."""
        body = json.loads(subscription_event(number))
        body["data"]["object"]["metadata"] = dict(metadata)
        now = datetime.now(UTC)
        event = provider_event(f"evt_{number}", body=json.dumps(body).encode(), created_at=now, received_at=now)
        receipt = await self.inbox.record(event, lease=LONG)
        assert receipt.claim is not None
        return receipt.claim

    async def apply(self, number: int, metadata: Mapping[str, str] = OF_ACME) -> None:
        """Store an event and process it."""
        claim = await self.record(number, metadata)
        await self.tools.service().apply([(claim, StripeTranslator().translate(claim.event))])

    async def bury(self, number: int, *, reason: str, error: str) -> None:
        """Store an event and let it be dead."""
        claim = await self.record(number)
        assert await self.inbox.bury(claim, reason=reason, error=error, customer_id=CustomerId("cus_1"))


State: TypeAlias = Callable[[Stage], AbstractAsyncContextManager[Mapping[str, str]]]
STATES: dict[str, State] = {}


def state(name: str) -> Callable[[Callable[[Stage], AsyncIterator[Mapping[str, str]]]], None]:
    """Register a state under the name that the runbook calls it."""

    def register(made: Callable[[Stage], AsyncIterator[Mapping[str, str]]]) -> None:
        STATES[name] = asynccontextmanager(made)

    return register


@asynccontextmanager
async def staged(database_url: str, redis_url: str) -> AsyncIterator[Stage]:
    """Open an installation on an empty database."""
    environment = environment_of(database_url, redis_url)
    async with open_tools(Settings.load(environment)) as tools, PostgresEventInbox(tools.database, tools.pool) as inbox:
        yield Stage(environment, tools, inbox)


@state("applied")
async def _applied(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    await stage.apply(1)
    await stage.apply(2)
    yield stage.environment


@state("running")
async def _running(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    base = f"http://127.0.0.1:{stage.environment['BILLING_PORT']}"
    async with running("serve", environment=stage.environment, ready=f"{base}/readyz"):
        async with aiohttp.ClientSession() as session:
            status, _ = await post(session, base, subscription_event(1))
            assert status == 202
            async with asyncio.timeout(PATIENCE):
                while not await _sequence(session, base):  # noqa: ASYNC110 - the server does not say when
                    await asyncio.sleep(0.05)
        yield stage.environment


async def _sequence(session: aiohttp.ClientSession, base: str) -> int:
    url = f"{base}/api/v1/billing/tenants/acme/state"
    async with session.get(url, headers=bearer(token("acme"))) as response:
        found: int = (await response.json())["sequence"]
        return found


@state("nothing runs")
async def _nothing_runs(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    for number in (1, 2, 3):
        await stage.inbox.release([await stage.record(number)])
    yield stage.environment


@state("a dead event")
async def _dead(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    await stage.apply(1)
    await stage.bury(2, reason="bug", error="KeyError: 'quantity'")
    yield stage.environment


@state("a webhook that waits for a tenant")
async def _parked(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    await stage.apply(1, metadata={})
    yield stage.environment


@state("another tenant in the metadata")
async def _conflict(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    await stage.apply(1)
    await stage.apply(2, metadata={"tenant_id": "globex"})
    yield stage.environment


@state("refused webhooks")
async def _refused(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    refused = [
        RefusedWebhooks(hour=hour, reason="bad_signature", count=48, largest=2_310),
        RefusedWebhooks(hour=hour - timedelta(hours=2), reason="too_large", count=3, largest=2_500_000),
    ]
    await stage.tools.refusal_tally().add(refused)
    yield stage.environment


@state("a gap in the numbers")
async def _damaged(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    await stage.apply(1)
    await stage.tools.pool.execute("UPDATE billing_tenants SET sequence = sequence + 1")
    yield stage.environment


@state("a price of no plan")
async def _unmapped(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    await save(stage.repository, Changes(subscriptions=[subscription(plan_code=None, price_id="price_new")]))
    yield stage.environment


@state("two subscriptions of one plan")
async def _duplicate(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    await save(stage.repository, Changes(subscriptions=[subscription("sub_1"), subscription("sub_2")]))
    yield stage.environment


@state("an operation without an outcome")
async def _operation(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    log = stage.tools.operation_log()
    sent = await log.plan(await begun(log), COMMAND, lease=LONG)
    await log.release(sent, due_in=timedelta(), error="internal_error: KeyError")
    await stage.tools.pool.execute("UPDATE gateway_operations SET key = 'bo_4c1f'")
    yield stage.environment


@state("a message that is dead for a consumer")
async def _held(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    await stage.tools.consumer_register().register(consumer(CRM))
    await number_up_to(stage.repository, 2)
    queue = PostgresConsumerQueue(stage.tools.database, stage.tools.pool)
    (claim,) = await queue.claim([Want(consumer=CRM, limit=10, lease=LONG)])
    dead = Progress(claim=claim, step=Step.HOLD, position=0, attempts=12, error="answered 500")
    assert await queue.settle([dead]) == [True]
    yield stage.environment


@state("a disabled consumer")
async def _disabled(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    await stage.tools.consumer_register().register(consumer(CRM))
    await number_up_to(stage.repository, 2)
    await stage.tools.consumer_register().disable(CRM, reason="no answer for 72 h")
    yield stage.environment


@state("two signing secrets")
async def _rotating(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    environment = {
        **stage.environment,
        "STRIPE_WEBHOOK_SECRET": f"{'whsec_new' + 'b' * 20},{'whsec_old' + 'a' * 20}",
        "BILLING_METRICS_PORT": str(free_port()),
    }
    base = f"http://127.0.0.1:{environment['BILLING_PORT']}"
    async with running("serve", environment=environment, ready=f"{base}/readyz"):
        yield environment


@state("a key that Stripe refuses")
async def _refused_key(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    async with fake_stripe() as fake:
        yield {**stage.environment, "STRIPE_API_BASE": fake.url, "STRIPE_FETCH": "true"}


@state("Stripe is unavailable")
async def _no_stripe(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    async with fake_stripe() as fake:
        fake.fail("/v1/account", faults.server_error())
        yield {
            **stage.environment,
            "STRIPE_API_BASE": fake.url,
            "STRIPE_FETCH": "true",
            "STRIPE_SECRET_KEY": fake.secret_key,
        }


@state("no Redis")
async def _no_redis(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    await stage.apply(1)
    yield {**stage.environment, "REDIS_URL": f"redis://{NOWHERE}/0"}


@state("no Postgres")
async def _no_postgres(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    yield {**stage.environment, "DATABASE_URL": f"postgresql://billing@{NOWHERE}/billing"}
