"""The composition root: the only module that names adapters, and the only place where objects are put together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Final

import asyncpg
import attrs
import stamina.instrumentation
import structlog
from dependency_injector import containers, providers

from billing_app.embedded import resolve_servers
from billing_app.http.auth import JwtAuthenticator
from billing_app.http.services import Probe, Services
from billing_app.settings import PlanPrices, Settings
from billing_app.worker import Worker, publishing
from billing_core.auditing import Auditor, AuditReport
from billing_core.checking import Checker, CheckReport
from billing_core.dispatch import Dispatcher, DispatchPolicy, ProcessingReport, Scope
from billing_core.errors import ConfigurationError, EventBusUnavailableError
from billing_core.intake import Intake
from billing_core.mending import Mender, MendingPolicy, MendingReport
from billing_core.model import AccessPolicy, Doubt, Plan, PlanCatalog, PriceId, TenantId
from billing_core.ports import Clock, EventBus, PaymentGateway
from billing_core.publishing import Publisher, PublishPolicy
from billing_core.replaying import Replayer
from billing_core.resolving import EventResolver
from billing_core.service import BillingService
from billing_core.watching import Watcher
from billing_memory.bus import NullEventBus
from billing_memory.clock import SystemClock
from billing_postgres.event_log import PostgresEventLog
from billing_postgres.historian import PostgresHistorian
from billing_postgres.invariants import PostgresInvariantLog
from billing_postgres.migrate import inspect, migrate, pending
from billing_postgres.pool import Database
from billing_postgres.repository import PostgresOutbox, PostgresRepository
from billing_postgres.store import PostgresEventStore
from billing_redis.bus import RedisEventBus
from billing_stripe.client import open_client
from billing_stripe.gateway import StripeGateway
from billing_stripe.signature import StripeWebhookVerifier
from billing_stripe.translate import StripeTranslator
from billing_telemetry import logging
from billing_telemetry.metrics import Metrics
from billing_telemetry.observed import ObservedEventStore

log = structlog.get_logger()

_AUDIT_EVERY: Final = timedelta(minutes=1)
_CHECK_EVERY: Final = timedelta(minutes=1)
_WATCH_EVERY = timedelta(seconds=5)
_PATIENCE_OF_OPERATORS: Final = timedelta(minutes=2)
_SHOWN: Final = 5
"""Of many findings of one kind, how many are logged."""


def _intake(
    settings: Settings, clock: Clock, store: PostgresEventStore, dispatcher: Dispatcher, metrics: Metrics
) -> Intake | None:
    """Nothing is taken in while billing is switched off; the secrets may be missing then."""
    if not settings.enable_billing:
        return None
    secrets = [secret.reveal() for secret in settings.stripe_webhook_secrets]
    return Intake(
        verifier=StripeWebhookVerifier(secrets, tolerance=settings.stripe_webhook_tolerance, clock=clock),
        store=ObservedEventStore(store, metrics),
        handoff=dispatcher if settings.enable_retry_worker else None,
    )


def _catalog(prices: Mapping[str, PlanPrices]) -> PlanCatalog:
    return PlanCatalog(
        tuple(
            Plan(
                plan_code=code,
                base_prices=tuple(map(PriceId, plan.base)),
                seat_prices=tuple(map(PriceId, plan.seat)),
                metered_prices={feature: PriceId(price) for feature, price in plan.metered.items()},
            )
            for code, plan in prices.items()
        )
    )


def _scope(settings: Settings) -> Scope:
    return Scope(livemode=bool(settings.livemode), account=settings.stripe_account_id or "")


def _dispatch_policy(settings: Settings) -> DispatchPolicy:
    return DispatchPolicy(
        batch=settings.dispatch_batch,
        lease=settings.dispatch_lease,
        max_attempts=settings.dispatch_max_attempts,
        backoff_base=settings.dispatch_backoff_base,
        backoff_cap=settings.dispatch_backoff_cap,
        poll=settings.dispatch_poll,
    )


def _publish_policy(settings: Settings) -> PublishPolicy:
    return PublishPolicy(batch=settings.publish_batch, poll=settings.publish_poll)


def _note_processing(report: ProcessingReport, metrics: Metrics) -> None:
    metrics.processed(report)
    for outcome in report.outcomes:
        if outcome.error is not None:
            event = outcome.claim.event
            log.warning(
                "event.needs_attention",
                event_id=event.event_id,
                event_type=event.type,
                disposition=outcome.disposition.value,
                reason=outcome.reason,
                error=outcome.error,
            )


def _observe_processing(metrics: Metrics) -> Callable[[ProcessingReport], None]:
    return lambda report: _note_processing(report, metrics)


def _resolver(fetching: "Fetching", store: PostgresEventStore) -> EventResolver | None:
    return None if fetching.gateway is None else EventResolver(gateway=fetching.gateway, store=store)


def _mender(
    fetching: "Fetching",
    service: BillingService,
    repository: PostgresRepository,
    publisher: Publisher,
    metrics: Metrics,
) -> Mender | None:
    if fetching.gateway is None:
        return None
    return Mender(
        gateway=fetching.gateway,
        service=service,
        repository=repository,
        policy=MendingPolicy(),
        publish=publisher.offer,
        observe=lambda report: _note_mending(report, metrics),
    )


def _note_mending(report: MendingReport, metrics: Metrics) -> None:
    metrics.mended(report)
    say = log.info if report.error is None else log.warning
    say(
        "object.asked_for",
        kind=report.doubt.kind,
        object_id=report.doubt.object_id,
        result=report.result,
        error=report.error,
        seconds=round(report.seconds, 3),
    )


def _mend(mender: Mender | None) -> Callable[[Sequence[Doubt]], None] | None:
    return None if mender is None else mender.offer


def _auditor(repository: PostgresRepository, metrics: Metrics) -> Auditor:
    return Auditor(repository=repository, every=_AUDIT_EVERY, observe=lambda report: _note_audit(report, metrics))


def _note_audit(report: AuditReport, metrics: Metrics) -> None:
    metrics.audited(report)
    if report.duplicates:
        shown = [f"{each.tenant_id}: {', '.join(each.subscription_ids)}" for each in report.duplicates[:_SHOWN]]
        log.warning("audit.duplicate_subscriptions", count=len(report.duplicates), first=shown)


def _followed(bus: EventBus) -> EventBus | None:
    """What streams hear messages from; None where only the repository has them."""
    return None if isinstance(bus, NullEventBus) else bus


def _checker(invariants: PostgresInvariantLog, metrics: Metrics) -> Checker:
    return Checker(log=invariants, every=_CHECK_EVERY, observe=lambda report: _note_check(report, metrics))


def _note_check(report: CheckReport, metrics: Metrics) -> None:
    metrics.checked(report)
    for violation in report.violations:
        log.error(
            "invariant.violated",
            invariant=violation.invariant.value,
            meaning=violation.invariant.meaning,
            count=violation.count,
            examples=violation.examples,
        )


@attrs.frozen(kw_only=True)
class Fetching:
    """The way to ask the provider, where there is one."""

    gateway: PaymentGateway | None = None


class Container(containers.DeclarativeContainer):
    """One process's objects. What has to be opened comes in ready; the rest is made here, without waiting."""

    tells = providers.Dependency(instance_of=bool, default=True)
    """Whether tenants get messages of what changes."""
    settings = providers.Dependency(instance_of=Settings)
    store = providers.Dependency(instance_of=PostgresEventStore)
    repository = providers.Dependency(instance_of=PostgresRepository)
    outbox = providers.Dependency(instance_of=PostgresOutbox)
    invariants = providers.Dependency(instance_of=PostgresInvariantLog)
    event_log = providers.Dependency(instance_of=PostgresEventLog)
    bus: providers.Dependency[EventBus] = providers.Dependency()
    """A RedisEventBus, or a NullEventBus where the stream is switched off."""
    probes = providers.Dependency(instance_of=dict)
    metrics = providers.Dependency(instance_of=Metrics)
    fetching = providers.Dependency(instance_of=Fetching)

    clock = providers.Singleton(SystemClock)
    translator = providers.Singleton(StripeTranslator)
    policy = providers.Singleton(AccessPolicy, past_due_grace=settings.provided.past_due_grace)
    service = providers.Singleton(
        BillingService,
        repository=repository,
        translator=translator,
        catalog=providers.Singleton(_catalog, settings.provided.stripe_product_price_map),
        policy=policy,
        clock=clock,
        tells=tells,
    )
    publisher = providers.Singleton(
        Publisher,
        repository=repository,
        outbox=outbox,
        bus=bus,
        policy=providers.Singleton(_publish_policy, settings),
        observe=metrics.provided.published,
    )
    mender = providers.Singleton(_mender, fetching, service, repository, publisher, metrics)
    dispatch_policy = providers.Singleton(_dispatch_policy, settings)
    dispatcher = providers.Singleton(
        Dispatcher,
        store=store,
        translator=translator,
        service=service,
        scope=providers.Singleton(_scope, settings),
        policy=dispatch_policy,
        publish=publisher.provided.offer,
        observe=providers.Singleton(_observe_processing, metrics),
        resolver=providers.Singleton(_resolver, fetching, store),
        mend=providers.Singleton(_mend, mender),
    )
    replayer = providers.Singleton(
        Replayer, log=event_log, maintenance=store, audits=event_log, dispatcher=dispatcher, policy=dispatch_policy
    )
    auditor = providers.Singleton(_auditor, repository, metrics)
    checker = providers.Singleton(_checker, invariants, metrics)
    watcher = providers.Singleton(
        Watcher, store=store, outbox=outbox, every=_WATCH_EVERY, observe=metrics.provided.watched
    )
    worker = providers.Singleton(
        Worker,
        dispatcher=dispatcher,
        publisher=publisher,
        watcher=watcher,
        auditor=auditor,
        checker=checker,
        mender=mender,
    )
    intake = providers.Singleton(_intake, settings, clock, store, dispatcher, metrics)
    services = providers.Singleton(
        Services,
        settings=settings,
        intake=intake,
        repository=repository,
        bus=providers.Singleton(_followed, bus),
        policy=policy,
        clock=clock,
        metrics=metrics,
        authenticator=providers.Singleton(
            JwtAuthenticator,
            secrets=settings.provided.jwt_secrets,
            audience=settings.provided.jwt_audience,
            issuer=settings.provided.jwt_issuer,
        ),
        probes=probes,
        demo_ticket_secret=settings.provided.demo_ticket_secret,
    )


def configure_logging(settings: Settings) -> None:
    """Once per process, before anything is logged."""
    logging.configure(level=settings.log_level, format=settings.log_format)


@asynccontextmanager
async def open_container(
    settings: Settings, *, application_name: str, tells: bool = True, needs_bus: bool = True
) -> AsyncIterator[Container]:
    """Open what a process needs, in order, and close it in reverse.

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
        await _prepare_schema(urls.database_url.reveal(), ours=settings.database_url is None)
        database = Database(
            url=urls.database_url.reveal(),
            application_name=application_name,
            acquire_timeout=settings.db_acquire_timeout,
            statement_timeout=settings.db_statement_timeout,
            lock_timeout=settings.db_lock_timeout,
            transaction_timeout=settings.db_transaction_timeout,
        )
        writers = await _open_pool(stack, database, settings.db_pool_size)
        readers = await _open_pool(stack, database, settings.db_pool_size)
        store = PostgresEventStore(
            database,
            writers,
            flushes=settings.store_flushes,
            batch=settings.store_batch,
            queue_limit=settings.store_queue_limit,
            timeout=settings.store_timeout,
        )
        repository = PostgresRepository(database, writers, readers=readers)
        probes: dict[str, Probe] = {"database": lambda: _ask(repository)}
        bus: RedisEventBus | NullEventBus = NullEventBus()
        if settings.enable_stream and urls.redis_url is not None:
            bus = await stack.enter_async_context(_redis_bus(settings, urls.redis_url.reveal()))
            tolerated = () if needs_bus and settings.stream_fallback == "none" else (EventBusUnavailableError,)
            with contextlib.suppress(*tolerated):
                await bus.check()
            probes["bus"] = bus.ping
        metrics = Metrics()
        metrics.watch_pool(in_use=lambda: writers.get_size() - writers.get_idle_size(), limit=settings.db_pool_size)
        container = Container(
            settings=settings,
            tells=tells,
            event_log=PostgresEventLog(database, readers),
            store=await stack.enter_async_context(store),
            repository=repository,
            outbox=PostgresOutbox(database, writers),
            invariants=PostgresInvariantLog(database, readers),
            bus=bus,
            probes=probes,
            metrics=metrics,
            fetching=Fetching(gateway=await _open_gateway(stack, settings, metrics)),
        )
        container.check_dependencies()
        yield container


@attrs.frozen(kw_only=True)
class SchemaReport:
    """What was done to a schema, and how it stands; migrations by name."""

    applied: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()
    """Applied by newer code than this."""


async def bring_schema_up_to_date(settings: Settings, *, check: bool) -> SchemaReport:
    """Migrate the configured database, or the local one; with `check` only say what is pending."""
    async with resolve_servers(attrs.evolve(settings, enable_stream=False)) as urls:
        database_url = urls.database_url.reveal()
        applied = () if check else await migrate(database_url)
        status = await inspect(database_url)
    return SchemaReport(
        applied=tuple(one.migration.name for one in applied),
        pending=tuple(migration.name for migration in status.pending),
        ahead=status.ahead,
    )


async def _open_gateway(stack: AsyncExitStack, settings: Settings, metrics: Metrics) -> StripeGateway | None:
    """The way to Stripe; None without a key, and where it is switched off."""
    if settings.stripe_secret_key is None or not (settings.enable_billing and settings.stripe_fetch):
        return None
    # The client reports its attempts to our metrics; stamina's own hooks would log each of them beside.
    stamina.instrumentation.set_on_retry_hooks([])
    client = await stack.enter_async_context(
        open_client(
            secret_key=settings.stripe_secret_key.reveal(),
            api_version=settings.stripe_api_version,
            base_url=settings.stripe_api_base,
            observe=lambda call: metrics.gateway_called(call.operation, call.result, call.seconds),
        )
    )
    return StripeGateway(client)


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[tuple[BillingService, PostgresRepository]]:
    """The service and its repository alone, for commands that look something up or put it right."""
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(resolve_servers(attrs.evolve(settings, enable_stream=False)))
        await _prepare_schema(urls.database_url.reveal(), ours=settings.database_url is None)
        database = Database(url=urls.database_url.reveal(), application_name="billing-cli")
        repository = PostgresRepository(database, await _open_pool(stack, database, 2))
        service = BillingService(
            repository=repository,
            translator=StripeTranslator(),
            catalog=_catalog(settings.stripe_product_price_map),
            policy=AccessPolicy(past_due_grace=settings.past_due_grace),
            clock=SystemClock(),
        )
        yield service, repository


@asynccontextmanager
async def open_replayer(settings: Settings, *, tells: bool, publishes: bool) -> AsyncIterator[Replayer]:
    """What replays stored events, beside whatever else runs.

    Args:
        settings: what is configured.
        tells: whether tenants get messages of what changes.
        publishes: whether messages are sent to the bus from here; those that are left in the outbox at the end are
            sent by any server or worker.
    """
    if settings.livemode is None:
        raise ConfigurationError(
            "STRIPE_SECRET_KEY is not set, and it tells whether events of live or of test mode are ours: "
            "replay with the settings that the workers have"
        )
    patient = attrs.evolve(settings, db_statement_timeout=_PATIENCE_OF_OPERATORS)
    async with open_container(patient, application_name="billing-replay", tells=tells, needs_bus=False) as container:
        if not publishes:
            yield container.replayer()
            return
        async with publishing(container.publisher(), patience=settings.shutdown_timeout):
            yield container.replayer()


@asynccontextmanager
async def open_historian(settings: Settings) -> AsyncIterator[tuple[PostgresHistorian, AccessPolicy]]:
    """What tells how tenants came to be in their state, and judges it."""
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(resolve_servers(attrs.evolve(settings, enable_stream=False)))
        await _prepare_schema(urls.database_url.reveal(), ours=settings.database_url is None)
        database = Database(
            url=urls.database_url.reveal(), application_name="billing-cli", statement_timeout=_PATIENCE_OF_OPERATORS
        )
        pool = await _open_pool(stack, database, 1)
        yield PostgresHistorian(database, pool), AccessPolicy(past_due_grace=settings.past_due_grace)


@attrs.frozen(kw_only=True)
class Operations:
    """What commands about stored events work with."""

    store: PostgresEventStore
    log: PostgresEventLog
    repository: PostgresRepository
    outbox: PostgresOutbox
    invariants: PostgresInvariantLog


@asynccontextmanager
async def open_operations(settings: Settings) -> AsyncIterator[Operations]:
    """The inbox for an operator: statements may take their time, and nothing is processed."""
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(resolve_servers(attrs.evolve(settings, enable_stream=False)))
        await _prepare_schema(urls.database_url.reveal(), ours=settings.database_url is None)
        database = Database(
            url=urls.database_url.reveal(),
            application_name="billing-cli",
            statement_timeout=_PATIENCE_OF_OPERATORS,
            transaction_timeout=_PATIENCE_OF_OPERATORS,
        )
        pool = await _open_pool(stack, database, 4)
        yield Operations(
            store=PostgresEventStore(database, pool),  # nobody waits for events here, so it need not listen
            log=PostgresEventLog(database, pool),
            repository=PostgresRepository(database, pool),
            outbox=PostgresOutbox(database, pool),
            invariants=PostgresInvariantLog(database, pool),
        )


async def check_bus(settings: Settings) -> None:
    """Return when the bus can be used as configured. Raises ConfigurationError, EventBusUnavailableError."""
    async with resolve_servers(settings) as urls:
        if urls.redis_url is not None:
            async with _redis_bus(settings, urls.redis_url.reveal()) as bus:
                await bus.check()


async def _prepare_schema(database_url: str, *, ours: bool) -> None:
    if ours:
        await migrate(database_url)
        return
    names = [migration.name for migration in await pending(database_url)]
    if names:
        raise ConfigurationError(
            f"the database lacks {len(names)} migrations ({names[0]} first): run `billing migrate`"
        )


async def _open_pool(stack: AsyncExitStack, database: Database, size: int) -> "asyncpg.Pool[asyncpg.Record]":
    """A pool whose connections are closed politely at the end, or dropped when the server does not answer."""
    pool = await database.open_pool(size=size)

    async def close() -> None:
        try:
            async with asyncio.timeout(2):
                await pool.close()
        except (TimeoutError, OSError):
            pool.terminate()

    stack.push_async_callback(close)
    return pool


def _redis_bus(settings: Settings, url: str) -> AbstractAsyncContextManager[RedisEventBus]:
    return RedisEventBus.open(
        url, timeout=settings.redis_timeout, shards=settings.stream_shards, log_length=settings.stream_maxlen
    )


async def _ask(repository: PostgresRepository) -> None:
    await repository.sequence(TenantId("readiness"))
