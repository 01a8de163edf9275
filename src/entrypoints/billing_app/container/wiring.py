"""The objects of one process, put together from what was opened for it."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import attrs
from dependency_injector import containers, providers

from billing_app.http.services import Services
from billing_app.http.tokens import JwtAuthenticator, TokenVerifier
from billing_app.observers import Observers
from billing_app.settings import Settings
from billing_app.shutdown import ShutdownDeadline
from billing_app.worker import Worker
from billing_core.inbox.dispatch import Dispatcher
from billing_core.inbox.intake import Intake
from billing_core.inbox.policy import Scope
from billing_core.inbox.replay import Replayer
from billing_core.inbox.thin_events import ThinEventResolver
from billing_core.model import PlanCatalog, Uncertainty
from billing_core.model.epoch import Epoch
from billing_core.oversight.monitors import (
    BacklogMonitor,
    DuplicateMonitor,
    InvariantMonitor,
)
from billing_core.state.ports import Clock
from billing_core.state.refetch import Refetcher, RefetchPolicy
from billing_core.state.service import BillingService
from billing_core.stream.backfill import Backfiller, BackfillPolicy
from billing_core.stream.ports import EventBus
from billing_core.stream.publisher import Publisher
from billing_core.stream_access.ports import StreamQuota
from billing_core.stream_access.revocation_list import RevocationList
from billing_memory.clock import SystemClock
from billing_memory.stream.bus import NullEventBus
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.oversight.event_log import PostgresEventLog
from billing_postgres.oversight.invariants import PostgresInvariantLog
from billing_postgres.oversight.upkeep import PostgresStateUpkeep
from billing_postgres.state.repository import PostgresRepository
from billing_postgres.stream.epochs import PostgresEpochLog
from billing_postgres.stream.history import PostgresMessageHistory
from billing_postgres.stream.outbox import PostgresOutbox
from billing_postgres.stream_access.revocations import PostgresRevocations
from billing_postgres.stream_access.tickets import PostgresStreamTickets
from billing_redis.bus import RedisEventBus
from billing_stripe.gateway import StripeGateway
from billing_stripe.signature import StripeWebhookVerifier
from billing_stripe.translate import StripeTranslator
from billing_telemetry.metrics import Metrics
from billing_telemetry.observed import ObservedEventInbox

_AUDIT_EVERY: Final = timedelta(minutes=1)
_CHECK_EVERY: Final = timedelta(minutes=1)
_WATCH_EVERY = timedelta(seconds=5)


def _intake(
    settings: Settings, clock: Clock, store: PostgresEventInbox, dispatcher: Dispatcher, metrics: Metrics
) -> Intake | None:
    """Nothing is taken in while billing is switched off; the secrets may be missing then."""
    if not settings.switches.billing:
        return None
    secrets = [secret.reveal() for secret in settings.stripe.webhook_secrets]
    return Intake(
        verifier=StripeWebhookVerifier(secrets, tolerance=settings.stripe.webhook_tolerance, clock=clock),
        inbox=ObservedEventInbox(store, metrics),
        handoff=dispatcher if settings.switches.retry_worker else None,
    )


def _scope(settings: Settings) -> Scope:
    return Scope(livemode=bool(settings.stripe.livemode), account=settings.stripe.account_id or "")


def _resolver(fetching: "Fetching", store: PostgresEventInbox) -> ThinEventResolver | None:
    return None if fetching.gateway is None else ThinEventResolver(gateway=fetching.gateway, events=store)


def _refetcher(
    fetching: "Fetching",
    service: BillingService,
    repository: PostgresRepository,
    publisher: Publisher,
    observers: Observers,
) -> Refetcher | None:
    if fetching.gateway is None:
        return None
    return Refetcher(
        gateway=fetching.gateway,
        service=service,
        objects=repository,
        policy=RefetchPolicy(),
        publish=publisher.offer,
        observe=observers.refetched,
    )


def _refetch(refetcher: Refetcher | None) -> Callable[[Sequence[Uncertainty]], None] | None:
    return None if refetcher is None else refetcher.offer


def _duplicate_monitor(upkeep: PostgresStateUpkeep, observers: Observers) -> DuplicateMonitor:
    return DuplicateMonitor(upkeep=upkeep, every=_AUDIT_EVERY, observe=observers.duplicates_seen)


def _backfiller(settings: Settings, outbox: PostgresOutbox, bus: EventBus, observers: Observers) -> Backfiller | None:
    if not settings.switches.stream_replay or not isinstance(bus, RedisEventBus):
        return None
    policy = BackfillPolicy(newest=settings.redis.log_length)
    return Backfiller(outbox=outbox, bus=bus, policy=policy, observe=observers.backfilled)


def _followed(bus: EventBus) -> EventBus | None:
    """What streams hear messages from; None where only the repository has them."""
    return None if isinstance(bus, NullEventBus) else bus


def _invariant_monitor(invariants: PostgresInvariantLog, observers: Observers) -> InvariantMonitor:
    return InvariantMonitor(log=invariants, every=_CHECK_EVERY, observe=observers.invariants_checked)


@attrs.frozen(kw_only=True)
class Fetching:
    """The way to ask the provider, where there is one."""

    gateway: StripeGateway | None = None


class Container(containers.DeclarativeContainer):
    """One process's objects. What has to be opened comes in ready; the rest is made here, without waiting."""

    notify = providers.Dependency(instance_of=bool, default=True)
    """Whether tenants get messages of what changes."""
    settings = providers.Dependency(instance_of=Settings)
    deadline = providers.Dependency(instance_of=ShutdownDeadline)
    store = providers.Dependency(instance_of=PostgresEventInbox)
    repository = providers.Dependency(instance_of=PostgresRepository)
    history = providers.Dependency(instance_of=PostgresMessageHistory)
    outbox = providers.Dependency(instance_of=PostgresOutbox)
    state_upkeep = providers.Dependency(instance_of=PostgresStateUpkeep)
    invariants = providers.Dependency(instance_of=PostgresInvariantLog)
    event_log = providers.Dependency(instance_of=PostgresEventLog)
    epochs = providers.Dependency(instance_of=PostgresEpochLog)
    epoch = providers.Dependency(instance_of=Epoch)
    """The one that this process lives in."""
    tickets = providers.Dependency(instance_of=PostgresStreamTickets)
    revocations = providers.Dependency(instance_of=PostgresRevocations)
    verifier = providers.Dependency(instance_of=TokenVerifier)
    quota: providers.Dependency[StreamQuota] = providers.Dependency()
    """A RedisStreamQuota, or a MemoryStreamQuota where there is no Redis."""
    bus: providers.Dependency[EventBus] = providers.Dependency()
    """A RedisEventBus, or a NullEventBus where the stream is switched off."""
    probes = providers.Dependency(instance_of=dict)
    metrics = providers.Dependency(instance_of=Metrics)
    fetching = providers.Dependency(instance_of=Fetching)

    observers = providers.Singleton(Observers, metrics)
    clock = providers.Singleton(SystemClock)
    translator = providers.Singleton(StripeTranslator)
    policy = settings.provided.access
    service = providers.Singleton(
        BillingService,
        unit_of_work=repository,
        translator=translator,
        catalog=providers.Singleton(PlanCatalog, settings.provided.catalog.plans),
        policy=policy,
        clock=clock,
        notify=notify,
    )
    publisher = providers.Singleton(
        Publisher,
        history=history,
        outbox=outbox,
        bus=bus,
        policy=settings.provided.publishing,
        observe=observers.provided.published,
    )
    refetcher = providers.Singleton(_refetcher, fetching, service, repository, publisher, observers)
    dispatcher = providers.Singleton(
        Dispatcher,
        queue=store,
        translator=translator,
        service=service,
        scope=providers.Singleton(_scope, settings),
        policy=settings.provided.dispatch,
        publish=publisher.provided.offer,
        observe=observers.provided.processed,
        resolver=providers.Singleton(_resolver, fetching, store),
        refetch=providers.Singleton(_refetch, refetcher),
    )
    replayer = providers.Singleton(
        Replayer,
        events=event_log,
        queue=store,
        audits=event_log,
        dispatcher=dispatcher,
        policy=settings.provided.dispatch,
    )
    duplicate_monitor = providers.Singleton(_duplicate_monitor, state_upkeep, observers)
    invariant_monitor = providers.Singleton(_invariant_monitor, invariants, observers)
    backlog_monitor = providers.Singleton(
        BacklogMonitor, inbox=store, outbox=outbox, every=_WATCH_EVERY, observe=observers.provided.backlog_seen
    )
    backfiller = providers.Singleton(_backfiller, settings, outbox, bus, observers)
    worker = providers.Singleton(
        Worker,
        dispatcher=dispatcher,
        publisher=publisher,
        backlog_monitor=backlog_monitor,
        duplicate_monitor=duplicate_monitor,
        invariant_monitor=invariant_monitor,
        refetcher=refetcher,
        backfiller=backfiller,
        deadline=deadline,
    )
    revoked = providers.Singleton(RevocationList, revocations=revocations, every=settings.provided.tokens.recheck)
    intake = providers.Singleton(_intake, settings, clock, store, dispatcher, metrics)
    services = providers.Singleton(
        Services,
        settings=settings,
        intake=intake,
        reader=repository,
        history=history,
        bus=providers.Singleton(_followed, bus),
        policy=policy,
        clock=clock,
        metrics=metrics,
        authenticator=providers.Singleton(
            JwtAuthenticator,
            verifier=verifier,
            policy=settings.provided.tokens,
            revoked=revoked,
        ),
        tickets=tickets,
        quota=quota,
        epoch=epoch,
        probes=probes,
    )
