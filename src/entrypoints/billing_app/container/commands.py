"""What commands open: no more than each of them needs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Final

import asyncpg
import attrs

from billing_app.container.local_servers import resolve_servers
from billing_app.container.process import open_container
from billing_app.container.resources import open_pool, prepare_schema
from billing_app.settings import Settings
from billing_app.shutdown import ShutdownDeadline
from billing_app.worker import publishing
from billing_core.errors import ConfigurationError
from billing_core.inbox.replay import Replayer
from billing_core.model import AccessPolicy, PlanCatalog
from billing_core.state.service import BillingService
from billing_memory.clock import SystemClock
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.migrate import inspect, migrate
from billing_postgres.oversight.event_log import PostgresEventLog
from billing_postgres.oversight.invariants import PostgresInvariantLog
from billing_postgres.oversight.timeline import PostgresTenantTimeline
from billing_postgres.oversight.upkeep import PostgresInboxUpkeep, PostgresStateUpkeep
from billing_postgres.pool import Database
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.stream.epochs import PostgresEpochLog
from billing_postgres.stream.history import PostgresMessageHistory
from billing_postgres.stream.outbox import PostgresOutbox
from billing_postgres.stream_access.revocations import PostgresRevocations
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes
from billing_stripe.translate import StripeTranslator

_PATIENCE_OF_OPERATORS: Final = timedelta(minutes=2)

_Opened = tuple[Database, "asyncpg.Pool[asyncpg.Record]"]


@attrs.frozen(kw_only=True)
class SchemaReport:
    """What was done to a schema, and how it stands; migrations by name."""

    applied: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()
    """Applied by newer code than this."""


def _without_stream(settings: Settings) -> Settings:
    return attrs.evolve(settings, switches=attrs.evolve(settings.switches, stream=False))


async def bring_schema_up_to_date(settings: Settings, *, check: bool) -> SchemaReport:
    """Migrate the configured database, or the local one; with `check` only say what is pending."""
    async with resolve_servers(_without_stream(settings)) as urls:
        database_url = urls.database_url
        applied = () if check else await migrate(database_url)
        status = await inspect(database_url)
    return SchemaReport(
        applied=tuple(one.migration.name for one in applied),
        pending=tuple(migration.name for migration in status.pending),
        ahead=status.ahead,
    )


@asynccontextmanager
async def _open_database(settings: Settings, connections: int, **limits: timedelta) -> AsyncIterator[_Opened]:
    """The configured database, or the local one, with its schema up to date, for one command."""
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(resolve_servers(_without_stream(settings)))
        await prepare_schema(urls.database_url, ours=settings.database.url is None)
        database = Database(url=urls.database_url, application_name="billing-cli", **limits)
        deadline = ShutdownDeadline(settings.server.shutdown_timeout)
        yield database, await open_pool(stack, deadline, database, connections)


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[tuple[BillingService, PostgresStateUpkeep]]:
    """The service and the upkeep alone, for commands that look something up or correct it."""
    async with _open_database(settings, 2) as opened:
        service = BillingService(
            unit_of_work=PostgresRepository(*opened),
            translator=StripeTranslator(),
            catalog=PlanCatalog(settings.catalog.plans),
            policy=settings.access,
            clock=SystemClock(),
        )
        yield service, PostgresStateUpkeep(*opened)


@asynccontextmanager
async def open_replayer(settings: Settings, *, notify: bool, publishes: bool) -> AsyncIterator[Replayer]:
    """What replays stored events, beside whatever else runs.

    Args:
        settings: what is configured.
        tells: whether tenants get messages of what changes.
        publishes: whether messages are sent to the bus from here; those that are left in the outbox at the end are
            sent by any server or worker.
    """
    if settings.stripe.livemode is None:
        raise ConfigurationError(
            "STRIPE_SECRET_KEY is not set, and it tells whether events of live or of test mode are ours: "
            "replay with the settings that the workers have"
        )
    patient = attrs.evolve(settings, database=attrs.evolve(settings.database, statement_timeout=_PATIENCE_OF_OPERATORS))
    async with open_container(patient, application_name="billing-replay", notify=notify, needs_bus=False) as container:
        if not publishes:
            yield container.replayer()
            return
        async with publishing(container.publisher(), container.deadline()):
            yield container.replayer()


@asynccontextmanager
async def open_timeline(settings: Settings) -> AsyncIterator[tuple[PostgresTenantTimeline, AccessPolicy]]:
    """What tells how tenants came to be in their state, and judges it."""
    async with _open_database(settings, 1, statement_timeout=_PATIENCE_OF_OPERATORS) as opened:
        yield PostgresTenantTimeline(*opened), settings.access


@attrs.frozen(kw_only=True)
class Operations:
    """What commands about stored events work with."""

    store: PostgresEventInbox
    log: PostgresEventLog
    upkeep: PostgresInboxUpkeep
    history: PostgresMessageHistory
    outbox: PostgresOutbox
    invariants: PostgresInvariantLog


@asynccontextmanager
async def open_operations(settings: Settings) -> AsyncIterator[Operations]:
    """The inbox for an operator: statements may take their time, and nothing is processed."""
    async with _open_database(
        settings, 4, statement_timeout=_PATIENCE_OF_OPERATORS, transaction_timeout=_PATIENCE_OF_OPERATORS
    ) as opened:
        yield Operations(
            store=PostgresEventInbox(*opened),  # nobody waits for events here, so it need not listen
            log=PostgresEventLog(*opened),
            upkeep=PostgresInboxUpkeep(*opened),
            history=PostgresMessageHistory(*opened),
            outbox=PostgresOutbox(*opened),
            invariants=PostgresInvariantLog(*opened),
        )


@asynccontextmanager
async def open_epochs(settings: Settings) -> AsyncIterator[PostgresEpochLog]:
    """The epochs of the configured database."""
    async with _open_database(settings, 1) as opened:
        yield PostgresEpochLog(*opened)


@asynccontextmanager
async def open_revocations(settings: Settings) -> AsyncIterator[PostgresRevocations]:
    """What was revoked, for all servers of the configured database."""
    async with _open_database(settings, 1) as opened:
        yield PostgresRevocations(*opened)


async def check_bus(settings: Settings) -> None:
    """Return when the bus can be used as configured. Raises ConfigurationError, EventBusUnavailableError."""
    async with resolve_servers(settings) as urls:
        if urls.redis_url is not None:
            async with RedisNodes.open(urls.redis_url, timeout=settings.redis.timeout) as nodes:
                await RedisEventBus(nodes).check()
