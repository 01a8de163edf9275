"""What a server or a worker opens, and closes at its end."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import attrs
import stamina.instrumentation

from billing_app.container.local_servers import resolve_servers
from billing_app.container.resources import enter, open_pool, open_verifier, prepare_schema
from billing_app.container.wiring import Container, Fetching
from billing_app.settings import Settings
from billing_app.shutdown import ShutdownDeadline
from billing_core.errors import EventBusUnavailableError
from billing_core.model import TenantId
from billing_core.model.epoch import Epoch
from billing_memory.clock import SystemClock
from billing_memory.stream.bus import NullEventBus
from billing_memory.stream_access.quota import MemoryStreamQuota
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.oversight.event_log import PostgresEventLog
from billing_postgres.oversight.invariants import PostgresInvariantLog
from billing_postgres.oversight.upkeep import PostgresStateUpkeep
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.stream.epochs import PostgresEpochLog
from billing_postgres.stream.history import PostgresMessageHistory
from billing_postgres.stream.outbox import PostgresOutbox
from billing_postgres.stream_access.revocations import PostgresRevocations
from billing_postgres.stream_access.tickets import PostgresStreamTickets
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes
from billing_redis.quota import RedisStreamQuota
from billing_stripe.client import open_client
from billing_stripe.gateway import StripeGateway
from billing_stripe.translate import EVENT_TYPES
from billing_telemetry import logging
from billing_telemetry.metrics import Metrics


def configure_logging(settings: Settings) -> None:
    """Once per process, before anything is logged."""
    logging.configure(level=settings.logs.level, format=settings.logs.format)


@asynccontextmanager
async def open_container(
    settings: Settings, *, application_name: str, notify: bool = True, needs_bus: bool = True
) -> AsyncIterator[Container]:
    """Open what a process needs, in order, and close it in reverse, within what is left of the container's deadline.

    Local servers are started for URLs that are not set, and their schema is brought up to date; that of a database of
    the operator's has to be. Raises ConfigurationError and OperatorError, saying what to do.

    Args:
        settings: what is configured.
        application_name: what the database calls the process.
        tells: whether tenants get messages of what changes.
        needs_bus: whether a bus that is away is an error; messages wait in the outbox for it otherwise.
    """
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(resolve_servers(settings))
        await prepare_schema(urls.database_url, ours=settings.database.url is None)
        database = Database(
            url=urls.database_url,
            application_name=application_name,
            acquire_timeout=settings.database.acquire_timeout,
            statement_timeout=settings.database.statement_timeout,
            lock_timeout=settings.database.lock_timeout,
            transaction_timeout=settings.database.transaction_timeout,
        )
        deadline = ShutdownDeadline(settings.server.shutdown_timeout)
        writers = await open_pool(stack, deadline, database, settings.database.pool_size)
        readers = await open_pool(stack, deadline, database, settings.database.pool_size)
        store = PostgresEventInbox(
            database,
            writers,
            flushes=settings.inbox.flushes,
            batch=settings.inbox.batch,
            queue_limit=settings.inbox.queue_limit,
            timeout=settings.inbox.timeout,
        )
        history = PostgresMessageHistory(database, readers)
        epochs = PostgresEpochLog(database, writers)
        epoch = await epochs.enter()
        redis = await _open_redis(stack, deadline, settings, urls.redis_url, epoch, needed=needs_bus)
        metrics = Metrics(event_types=EVENT_TYPES)
        metrics.watch_pool(
            in_use=lambda: writers.get_size() - writers.get_idle_size(), limit=settings.database.pool_size
        )
        container = Container(
            settings=settings,
            deadline=deadline,
            notify=notify,
            event_log=PostgresEventLog(database, readers),
            store=await enter(stack, deadline, "store", store),
            repository=PostgresRepository(database, writers, readers=readers),
            history=history,
            outbox=PostgresOutbox(database, writers),
            state_upkeep=PostgresStateUpkeep(database, readers),
            invariants=PostgresInvariantLog(database, readers),
            epochs=epochs,
            epoch=epoch,
            tickets=PostgresStreamTickets(database, writers),
            revocations=PostgresRevocations(database, writers),
            verifier=await enter(stack, deadline, "issuer_keys", open_verifier(settings)),
            bus=NullEventBus() if redis is None else redis.bus,
            quota=MemoryStreamQuota(SystemClock(), settings.quota) if redis is None else redis.quota,
            probes={
                "database": lambda: _ask(history),
                **({} if redis is None else {"bus": redis.bus.ping}),
            },
            metrics=metrics,
            fetching=Fetching(gateway=await _open_gateway(stack, deadline, settings, metrics)),
        )
        container.check_dependencies()
        yield container


@attrs.frozen(kw_only=True)
class _Redis:
    """What is kept on Redis."""

    bus: RedisEventBus
    quota: RedisStreamQuota


_REDIS_IS_AWAY: Final = (
    "Redis at REDIS_URL does not answer ({}). Start it, or correct REDIS_URL. BILLING_STREAM_FALLBACK=postgres serves "
    "streams without it, seconds late; ENABLE_BILLING_STREAM=false serves none."
)


async def _open_redis(
    stack: AsyncExitStack,
    deadline: ShutdownDeadline,
    settings: Settings,
    url: str | None,
    epoch: Epoch,
    *,
    needed: bool,
) -> _Redis | None:
    """What is kept on Redis under the name of an epoch; None where streams do without.

    Raises EventBusUnavailableError where it does not answer and is needed.
    """
    if not settings.switches.stream or url is None:
        return None
    nodes = await enter(stack, deadline, "redis", RedisNodes.open(url, timeout=settings.redis.timeout))
    namespace = f"billing:{epoch.token}"
    bus = RedisEventBus(nodes, shards=settings.redis.shards, log_length=settings.redis.log_length, namespace=namespace)
    try:
        await bus.check()
    except EventBusUnavailableError as exc:
        if needed and settings.stream.fallback == "none":
            raise EventBusUnavailableError(_REDIS_IS_AWAY.format(exc)) from exc
    return _Redis(bus=bus, quota=RedisStreamQuota(nodes, settings.quota, namespace=namespace))


async def _open_gateway(
    stack: AsyncExitStack, deadline: ShutdownDeadline, settings: Settings, metrics: Metrics
) -> StripeGateway | None:
    """The way to Stripe; None without a key, and where it is switched off."""
    if settings.stripe.secret_key is None or not (settings.switches.billing and settings.stripe.fetch):
        return None
    # The client reports its attempts to our metrics; stamina's own hooks would log each of them beside.
    stamina.instrumentation.set_on_retry_hooks([])
    client = await enter(
        stack,
        deadline,
        "stripe",
        open_client(
            secret_key=settings.stripe.secret_key.reveal(),
            api_version=settings.stripe.api_version,
            base_url=settings.stripe.api_base,
            observe=lambda call: metrics.gateway_called(call.operation, call.result, call.seconds),
        ),
    )
    return StripeGateway(client)


async def _ask(history: PostgresMessageHistory) -> None:
    await history.sequence(TenantId("readiness"))
