"""Objects that depend on the configuration: some of them only exist under a condition."""

import os
import secrets
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import billing_core
from billing_app.bus_watch import BusWatch
from billing_app.consumer_observers import ConsumerObservers
from billing_app.dependencies import Dependencies
from billing_app.http.services import Probe
from billing_app.observers import Observers
from billing_app.settings import GatewaySettings, OutgoingSettings, Settings, StripeSettings
from billing_app.tracing import Tracing
from billing_core.consumers.ports import ConsumerRegister
from billing_core.consumers.runner import ConsumerRunner
from billing_core.errors import StoreUnavailableError
from billing_core.events import BillingEvent
from billing_core.inbox.dispatch import Dispatcher
from billing_core.inbox.intake import Intake
from billing_core.inbox.policy import Scope
from billing_core.inbox.ports import EventInbox, KnownEvents, ThinEventGateway
from billing_core.inbox.thin_events import ThinEventResolver
from billing_core.model import TenantId, Uncertainty
from billing_core.operations.answers import AnswerKeeper
from billing_core.operations.facade import Operations, compose_operations
from billing_core.operations.performing import KeepAnswer, OperationPerformer, OperationPolicy
from billing_core.operations.ports import BillingReader, OperationGateway, OperationLog, PreviewGateway
from billing_core.operations.runner import OperationRunner
from billing_core.operations.settling import OperationSettler
from billing_core.outgoing.delivering import WebhookDeliverer, WebhookPolicy
from billing_core.outgoing.following import ReceiverFollower
from billing_core.outgoing.ports import WebhookEndpoints, WebhookSender
from billing_core.oversight.heartbeat import Heartbeat
from billing_core.oversight.ports import ProcessKind, RunningProcess
from billing_core.state.ports import Clock, PaymentGateway, TenantReader, UncertainObjects
from billing_core.state.refetch import Refetcher, RefetchPolicy
from billing_core.state.rules import RulesBook
from billing_core.state.service import BillingService
from billing_core.stream.backfill import Backfiller, BackfillPolicy
from billing_core.stream.ports import BackfillableBus, EventBus, MessageHistory, Outbox
from billing_core.stream.publisher import Publisher
from billing_core.tracing import NOT_TRACED, Tracer
from billing_memory.stream.bus import NullEventBus
from billing_stripe.signature import StripeWebhookVerifier
from billing_stripe.translate import EVENT_TYPES
from billing_stripe.versions import API_VERSIONS
from billing_telemetry.metrics import Metrics
from billing_telemetry.observed import ObservedEventInbox

_NO_TENANT: Final = TenantId("readiness")


def metrics(settings: Settings, *, plan_codes: Collection[str], dependencies: Dependencies) -> Metrics:
    """Return the metrics of a process, with the API key that it calls with."""
    metrics = Metrics(
        event_types=EVENT_TYPES,
        api_versions=API_VERSIONS,
        plan_codes=plan_codes,
        version=billing_core.__version__,
    )
    metrics.watch_dependencies(
        {
            "postgres": lambda: dependencies.database.error is None,
            "redis": lambda: dependencies.bus.error is None,
            "stripe": lambda: dependencies.stripe.error is None,
        }
    )
    if settings.stripe.secret_key is not None:
        metrics.api_key_configured(settings.stripe.secret_key.fingerprint())
    return metrics


def intake(
    settings: Settings,
    *,
    clock: Clock,
    inbox: EventInbox,
    dispatcher: Dispatcher,
    metrics: Metrics,
    tracing: Tracing | None,
) -> Intake | None:
    """Return None while billing is switched off; the secrets may be missing then."""
    if not settings.switches.billing:
        return None
    stripe = settings.stripe
    fingerprints = [secret.fingerprint() for secret in stripe.webhook_secrets]
    metrics.webhook_secrets_configured(fingerprints)

    def matched(slots: Sequence[int], ahead: float) -> None:
        metrics.webhook_secrets_matched([fingerprints[slot] for slot in slots])
        metrics.webhook_compared(ahead)

    verifier = StripeWebhookVerifier(
        [secret.reveal() for secret in stripe.webhook_secrets],
        tolerance=stripe.webhook_tolerance,
        clock=clock,
        on_match=matched,
    )
    return Intake(
        verifier=verifier,
        inbox=ObservedEventInbox(inbox if tracing is None else tracing.around(inbox), metrics),
        handoff=dispatcher if settings.switches.retry_worker else None,
    )


def tracer(tracing: Tracing | None) -> Tracer:
    """Return the tracer of the domain's loops."""
    return NOT_TRACED if tracing is None else tracing


def plan_codes(settings: Settings) -> Collection[str]:
    """Return the plans that are metric labels of their own: those that this process was configured with."""
    return frozenset(plan.plan_code for plan in settings.catalog.plans)


def scope(stripe: StripeSettings) -> Scope:
    """Return the mode and account whose events this deployment processes."""
    return Scope(livemode=bool(stripe.livemode), account=stripe.account_id or "")


def operation_performer(
    gateway: OperationGateway | None,
    *,
    log: OperationLog,
    keep: KeepAnswer,
    policy: OperationPolicy,
    observers: Observers,
) -> OperationPerformer | None:
    """Return None if the provider cannot be asked."""
    if gateway is None:
        return None
    return OperationPerformer(log=log, gateway=gateway, keep=keep, policy=policy, report_bug=observers.operation_broke)


def operation_runner(
    performer: OperationPerformer | None, *, log: OperationLog, policy: OperationPolicy, observers: Observers
) -> OperationRunner | None:
    """Return None if the provider cannot be asked."""
    if performer is None:
        return None
    return OperationRunner(log=log, performer=performer, policy=policy, observe=observers.operation_ended)


def operation_policy(settings: GatewaySettings) -> OperationPolicy:
    """Return a policy whose leases are longer than what they cover."""
    return OperationPolicy(call_timeout=settings.operation_timeout, lease=settings.operation_timeout * 1.5)


def operations(
    runner: OperationRunner | None,
    *,
    stored: TenantReader,
    rules: RulesBook,
    reader: BillingReader | None,
    previews: PreviewGateway | None,
    answers: AnswerKeeper,
    clock: Clock,
    portal_configuration: str | None,
) -> Operations | None:
    """Return None if the provider cannot be asked."""
    if runner is None or reader is None or previews is None:
        return None
    return compose_operations(
        runner=runner,
        stored=stored,
        rules=rules,
        reader=reader,
        previews=previews,
        answers=answers,
        clock=clock,
        portal_configuration=portal_configuration,
    )


def operation_settler(
    performer: OperationPerformer | None,
    *,
    log: OperationLog,
    policy: OperationPolicy,
    every: timedelta,
    observers: Observers,
) -> OperationSettler | None:
    """Return None if the provider cannot be asked: unresolved operations wait for a process that can."""
    if performer is None:
        return None
    return OperationSettler(
        log=log, performer=performer, policy=policy, every=every, observe=observers.operations_settled
    )


def thin_event_resolver(gateway: ThinEventGateway | None, events: KnownEvents) -> ThinEventResolver | None:
    """Return None if the provider cannot be asked: thin events are parked then."""
    return None if gateway is None else ThinEventResolver(gateway=gateway, events=events)


def publish(*, publisher: Publisher, consumers: ConsumerRunner) -> Callable[[Sequence[BillingEvent]], None]:
    """Return the function that is given every message this process has committed."""

    def offer(events: Sequence[BillingEvent]) -> None:
        publisher.offer(events)
        consumers.offer(events)

    return offer


def receiver_follower(
    sender: WebhookSender | None,
    *,
    settings: OutgoingSettings,
    endpoints: WebhookEndpoints,
    register: ConsumerRegister,
    runner: ConsumerRunner,
    clock: Clock,
    every: timedelta,
    observers: ConsumerObservers,
) -> ReceiverFollower | None:
    """Return None if this process sends no outgoing webhooks."""
    if sender is None:
        return None
    deliverer = WebhookDeliverer(
        endpoints=endpoints,
        register=register,
        sender=sender,
        clock=clock,
        policy=WebhookPolicy(disable_after=settings.disable_after),
        observe=observers.sent,
    )
    return ReceiverFollower(
        endpoints=endpoints,
        register=register,
        runner=runner,
        deliverer=deliverer,
        every=every,
        observe=observers.followed,
    )


def refetcher(
    gateway: PaymentGateway | None,
    *,
    service: BillingService,
    objects: UncertainObjects,
    policy: RefetchPolicy,
    publish: Callable[[Sequence[BillingEvent]], None],
    observers: Observers,
) -> Refetcher | None:
    """Return None if the provider cannot be asked: uncertain objects wait for a newer event then."""
    if gateway is None:
        return None
    return Refetcher(
        gateway=gateway,
        service=service,
        objects=objects,
        policy=policy,
        publish=publish,
        observe=observers.refetched,
    )


def refetch(refetcher: Refetcher | None) -> Callable[[Sequence[Uncertainty]], None] | None:
    """Return the way to offer uncertain objects to the refetcher, if there is one."""
    return None if refetcher is None else refetcher.offer


def backfiller(settings: Settings, *, outbox: Outbox, bus: EventBus, observers: Observers) -> Backfiller | None:
    """Return None if the bus keeps nothing, or is not filled when a process starts."""
    if not settings.switches.stream_replay or not isinstance(bus, BackfillableBus):
        return None
    policy = BackfillPolicy(newest=settings.redis.log_length)
    return Backfiller(outbox=outbox, bus=bus, policy=policy, observe=observers.backfilled)


def followed(bus: EventBus) -> EventBus | None:
    """Return the bus that streams follow; None if only the history has messages."""
    return None if isinstance(bus, NullEventBus) else bus


def process(settings: Settings, *, kind: ProcessKind) -> RunningProcess:
    """Return the description of this process; a server may leave events to workers, and an application begins so."""
    switches = settings.switches
    return RunningProcess(
        process_id=secrets.token_hex(8),
        kind=kind,
        processes_events=kind == "worker" or (kind == "serve" and switches.billing and switches.retry_worker),
        host=socket.gethostname(),
        pid=os.getpid(),
        version=billing_core.__version__,
        started_at=datetime.now(UTC),
    )


def probes(
    history: MessageHistory, *, heartbeat: Heartbeat, bus: BusWatch, dependencies: Dependencies
) -> Mapping[str, Probe]:
    """Return the checks of /readyz by name: each is what the process really does with a dependency."""

    async def database() -> None:
        await heartbeat.check()
        await history.sequence(_NO_TENANT)
        if dependencies.database.error is not None:
            raise StoreUnavailableError(dependencies.database.error)

    checks = {"database": database, "schema": heartbeat.check_schema}
    return {**checks, "bus": bus.check} if bus.watches else checks
