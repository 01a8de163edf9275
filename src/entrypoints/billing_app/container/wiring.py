"""The objects of one process, wired from the adapters that it is given."""

# mypy: disable-error-code="type-abstract"
# A port is given where the library asks for a class to check instances with.

from datetime import timedelta
from typing import Final

from dependency_injector import containers, providers

from billing_app.bus_watch import BusWatch
from billing_app.consumer_observers import ConsumerObservers
from billing_app.container import parts
from billing_app.container.rules import own_rules as own_rules_of
from billing_app.dependencies import Dependencies
from billing_app.http.operator.feed import OperatorFeed
from billing_app.http.operator.identity import JwtOperatorAuthenticator
from billing_app.http.operator.jobs import ReplayJobs
from billing_app.http.operator.services import OperatorServices
from billing_app.http.services import Services
from billing_app.http.stream.hub import StreamHub
from billing_app.http.stream.quota import StreamLeases
from billing_app.http.stream.revalidation import Revalidator
from billing_app.http.tokens import JwtAuthenticator, PublishedKeys, TokenVerifier
from billing_app.observers import Observers
from billing_app.settings import Settings
from billing_app.shutdown import ShutdownDeadline
from billing_app.tracing import Tracing
from billing_app.worker import Worker
from billing_core.consumers.monitor import ConsumerMonitor
from billing_core.consumers.ports import ConsumerOversight, ConsumerQueue, ConsumerRegister
from billing_core.consumers.runner import ConsumerPolicy, ConsumerRunner
from billing_core.entitlements.loading import EntitlementLoader
from billing_core.entitlements.ports import UsageMeter
from billing_core.entitlements.service import Entitlements
from billing_core.inbox.batch import BatchProcessor
from billing_core.inbox.dispatch import Dispatcher
from billing_core.inbox.ports import EventInbox, EventQueue, KnownEvents, ReplayQueue, ThinEventGateway
from billing_core.inbox.replay import Replayer
from billing_core.model import TenantRules
from billing_core.model.epoch import FIRST_EPOCH, Epoch
from billing_core.operations.answers import AnswerKeeper
from billing_core.operations.ports import BillingReader, OperationGateway, OperationLog, PreviewGateway
from billing_core.operations.pruning import OperationPruner
from billing_core.outgoing.administration import ReceiverAdministration
from billing_core.outgoing.ports import WebhookEndpoints, WebhookSender
from billing_core.oversight.delay_recorder import DelayRecorder
from billing_core.oversight.heartbeat import Heartbeat
from billing_core.oversight.monitors import (
    BacklogMonitor,
    DuplicateMonitor,
    InvariantMonitor,
    ProcessMonitor,
    UnmappedMonitor,
)
from billing_core.oversight.ports import (
    AuditLog,
    DelayTally,
    EventLog,
    InboxBacklog,
    InboxFlow,
    InboxUpkeep,
    InvariantLog,
    ProcessKind,
    ProcessRegister,
    RefusalTally,
    StateUpkeep,
    TenantTimeline,
)
from billing_core.state.access_review import AccessReviewer
from billing_core.state.following_products import ProductFollower
from billing_core.state.following_rules import RulesFollower
from billing_core.state.ports import Clock, PaymentGateway, RulesRegister, TenantReader, UncertainObjects, UnitOfWork
from billing_core.state.refetch import RefetchPolicy
from billing_core.state.rules import RulesBook
from billing_core.state.service import BillingService
from billing_core.stream.ports import EpochLog, EventBus, LogRewrites, MessageHistory, Outbox
from billing_core.stream.publisher import Publisher
from billing_core.stream.rewrite import LogRewriter
from billing_core.stream_access.ports import Revocations, StreamQuota, StreamTickets
from billing_core.stream_access.revocation_list import RevocationList
from billing_stripe.redaction import read_body
from billing_stripe.translate import HANDLED_TYPES, METER_REPORTS, StripeTranslator
from billing_telemetry.consumer_metrics import ConsumerMetrics

SNAPSHOT_EVENTS: Final = HANDLED_TYPES
THIN_EVENTS: Final = tuple(sorted(METER_REPORTS))
"""The types of events that a deployment is to receive: with their objects, and without."""

_DUPLICATES_EVERY: Final = timedelta(minutes=1)
_UNMAPPED_EVERY: Final = timedelta(minutes=1)
_INVARIANTS_EVERY: Final = timedelta(minutes=1)
_ACCESS_EVERY: Final = timedelta(seconds=5)
_PRODUCTS_EVERY: Final = timedelta(minutes=1)
_RULES_EVERY: Final = timedelta(seconds=15)
_SETTLING_EVERY: Final = timedelta(seconds=5)
_HEARTBEAT_EVERY: Final = timedelta(seconds=5)
_DELAYS_EVERY: Final = timedelta(seconds=10)
_BUS_WATCHED_EVERY: Final = timedelta(seconds=1)
_CONSUMERS_EVERY: Final = timedelta(seconds=5)
_RECEIVERS_EVERY: Final = timedelta(seconds=2)
_PROCESSES_EVERY: Final = timedelta(seconds=10)
_BACKLOG_EVERY: Final = timedelta(seconds=5)
_REWRITES_EVERY: Final = timedelta(seconds=2)
_PRUNING_EVERY: Final = timedelta(hours=1)


class Container(containers.DeclarativeContainer):
    """One process's objects. Adapters come in ready for use; everything else is made here, once, without waiting.

    `Container(settings=settings, **memory_adapters(settings))` is complete. Any other provider can be replaced by a
    keyword, too. Nothing here is checked by the type checker: tests/unit/test_container.py compares each argument with
    its parameter's annotation.
    """

    # --- given: settings, and an adapter per port (see `adapters.Adapters`) -----------------------------------------
    settings = providers.Dependency(instance_of=Settings)
    inbox = providers.Dependency(instance_of=EventInbox)
    queue = providers.Dependency(instance_of=EventQueue)
    known_events = providers.Dependency(instance_of=KnownEvents)
    replay_queue = providers.Dependency(instance_of=ReplayQueue)
    unit_of_work = providers.Dependency(instance_of=UnitOfWork)
    tenant_reader = providers.Dependency(instance_of=TenantReader)
    uncertain_objects = providers.Dependency(instance_of=UncertainObjects)
    rules_register = providers.Dependency(instance_of=RulesRegister)
    history = providers.Dependency(instance_of=MessageHistory)
    outbox = providers.Dependency(instance_of=Outbox)
    log_rewrites = providers.Dependency(instance_of=LogRewrites)
    bus = providers.Dependency(instance_of=EventBus)
    epochs = providers.Dependency(instance_of=EpochLog)
    tickets = providers.Dependency(instance_of=StreamTickets)
    quota = providers.Dependency(instance_of=StreamQuota)
    revocations = providers.Dependency(instance_of=Revocations)
    event_log = providers.Dependency(instance_of=EventLog)
    audit_log = providers.Dependency(instance_of=AuditLog)
    timeline = providers.Dependency(instance_of=TenantTimeline)
    invariants = providers.Dependency(instance_of=InvariantLog)
    inbox_backlog = providers.Dependency(instance_of=InboxBacklog)
    inbox_flow = providers.Dependency(instance_of=InboxFlow)
    inbox_upkeep = providers.Dependency(instance_of=InboxUpkeep)
    state_upkeep = providers.Dependency(instance_of=StateUpkeep)
    refusal_tally = providers.Dependency(instance_of=RefusalTally)
    delay_tally = providers.Dependency(instance_of=DelayTally)
    process_register = providers.Dependency(instance_of=ProcessRegister)
    operation_log = providers.Dependency(instance_of=OperationLog)
    consumer_register = providers.Dependency(instance_of=ConsumerRegister)
    consumer_queue = providers.Dependency(instance_of=ConsumerQueue)
    consumer_oversight = providers.Dependency(instance_of=ConsumerOversight)
    webhook_endpoints = providers.Dependency(instance_of=WebhookEndpoints)
    clock = providers.Dependency(instance_of=Clock)

    # --- given if the process has it --------------------------------------------------------------------------------
    gateway: providers.Provider[PaymentGateway | None] = providers.Object(None)
    """None if the provider cannot be asked."""
    thin_gateway: providers.Provider[ThinEventGateway | None] = providers.Object(None)
    operation_gateway: providers.Provider[OperationGateway | None] = providers.Object(None)
    preview_gateway: providers.Provider[PreviewGateway | None] = providers.Object(None)
    billing_reader: providers.Provider[BillingReader | None] = providers.Object(None)
    usage_meter: providers.Provider[UsageMeter | None] = providers.Object(None)
    """None if billed usage counts for metered features."""
    webhook_sender: providers.Provider[WebhookSender | None] = providers.Object(None)
    """None if this process sends no outgoing webhooks."""
    tracing: providers.Provider[Tracing | None] = providers.Object(None)
    """None if nothing is traced."""
    issuer_keys: providers.Provider[PublishedKeys | None] = providers.Object(None)
    """None if only shared secrets sign tokens."""
    epoch: providers.Provider[Epoch] = providers.Object(FIRST_EPOCH)
    """The epoch that this process has entered."""
    process_kind: providers.Provider[ProcessKind] = providers.Object("serve")
    """The kind of this process on the list of processes."""
    notify: providers.Provider[bool] = providers.Object(True)
    """Whether tenants get messages about changes."""
    tenant_rules: providers.Provider[TenantRules] = settings.provided.tenants
    """The way tenants are named, and the form of their ids."""

    # --- one process ------------------------------------------------------------------------------------------------
    deadline = providers.Singleton(ShutdownDeadline, settings.provided.server.shutdown_timeout)
    plan_codes = providers.Singleton(parts.plan_codes, settings)
    relied_on = providers.Singleton(Dependencies)
    metrics = providers.Singleton(parts.metrics, settings, plan_codes=plan_codes, dependencies=relied_on)
    observers = providers.Singleton(Observers, metrics, relied_on, tracing)
    tracer = providers.Singleton(parts.tracer, tracing)
    consumer_metrics = providers.Singleton(
        ConsumerMetrics, metrics.provided.declarations, ran=metrics.provided.monitor_ran
    )
    consumer_observers = providers.Singleton(ConsumerObservers, consumer_metrics)
    process = providers.Singleton(parts.process, settings, kind=process_kind)
    heartbeat = providers.Singleton(
        Heartbeat,
        register=process_register,
        process=process,
        every=_HEARTBEAT_EVERY,
        observe=observers.provided.beaten,
        now=clock.provided.now,
    )
    delay_recorder = providers.Singleton(
        DelayRecorder, tally=delay_tally, read=metrics.provided.delay_counts, clock=clock, every=_DELAYS_EVERY
    )
    bus_watch = providers.Singleton(
        BusWatch,
        bus,
        relied_on.provided.bus,
        every=_BUS_WATCHED_EVERY,
        compared=metrics.provided.bus_compared,
    )
    probes = providers.Singleton(parts.probes, history, heartbeat=heartbeat, bus=bus_watch, dependencies=relied_on)

    # --- events to state --------------------------------------------------------------------------------------------
    translator = providers.Singleton(StripeTranslator)
    own_rules = providers.Singleton(own_rules_of, settings, tenants=tenant_rules)
    rules = providers.Singleton(RulesBook, own_rules, rules_register)
    service = providers.Singleton(
        BillingService,
        unit_of_work=unit_of_work,
        translator=translator,
        rules=rules,
        notify=notify,
    )
    publisher = providers.Singleton(
        Publisher,
        history=history,
        outbox=outbox,
        bus=bus,
        policy=settings.provided.publishing,
        observe=observers.provided.published,
        tracer=tracer,
    )
    consumer_policy = providers.Singleton(ConsumerPolicy)
    consumer_runner = providers.Singleton(
        ConsumerRunner,
        register=consumer_register,
        queue=consumer_queue,
        policy=consumer_policy,
        observe=consumer_observers.provided.handled,
    )
    publish = providers.Singleton(parts.publish, publisher=publisher, consumers=consumer_runner)
    refetch_policy = providers.Singleton(RefetchPolicy)
    refetcher = providers.Singleton(
        parts.refetcher,
        gateway,
        service=service,
        objects=uncertain_objects,
        policy=refetch_policy,
        publish=publish,
        observers=observers,
    )
    refetch = providers.Singleton(parts.refetch, refetcher)
    scope = providers.Singleton(parts.scope, settings.provided.stripe)
    resolver = providers.Singleton(parts.thin_event_resolver, thin_gateway, known_events)
    batches = providers.Singleton(
        BatchProcessor,
        queue=queue,
        translator=translator,
        service=service,
        scope=scope,
        policy=settings.provided.dispatch,
        publish=publish,
        observe=observers.provided.processed,
        resolver=resolver,
        refetch=refetch,
        tracer=tracer,
    )
    dispatcher = providers.Singleton(Dispatcher, queue=queue, batches=batches, policy=settings.provided.dispatch)
    intake = providers.Singleton(
        parts.intake, settings, clock=clock, inbox=inbox, dispatcher=dispatcher, metrics=metrics, tracing=tracing
    )
    replayer = providers.Singleton(
        Replayer,
        events=event_log,
        queue=replay_queue,
        audits=audit_log,
        batches=batches,
        reader=tenant_reader,
        rules=rules,
        policy=settings.provided.dispatch,
    )

    quiet_service = providers.Singleton(
        BillingService, unit_of_work=unit_of_work, translator=translator, rules=rules, notify=False
    )
    quiet_batches = providers.Singleton(
        BatchProcessor,
        queue=queue,
        translator=translator,
        service=quiet_service,
        scope=scope,
        policy=settings.provided.dispatch,
        publish=publish,
        observe=observers.provided.processed,
        resolver=resolver,
        refetch=refetch,
        tracer=tracer,
    )
    """Batches that update state without messages."""
    quiet_replayer = providers.Singleton(
        Replayer,
        events=event_log,
        queue=replay_queue,
        audits=audit_log,
        batches=quiet_batches,
        reader=tenant_reader,
        rules=rules,
        policy=settings.provided.dispatch,
    )

    # --- operations -------------------------------------------------------------------------------------------------
    operation_policy = providers.Singleton(parts.operation_policy, settings.provided.gateway)
    answers = providers.Singleton(AnswerKeeper, service=service, publish=publish, refetch=refetch)
    operation_performer = providers.Singleton(
        parts.operation_performer,
        operation_gateway,
        log=operation_log,
        keep=answers.provided.keep,
        policy=operation_policy,
        observers=observers,
    )
    operation_runner = providers.Singleton(
        parts.operation_runner,
        operation_performer,
        log=operation_log,
        policy=operation_policy,
        observers=observers,
    )

    operations = providers.Singleton(
        parts.operations,
        operation_runner,
        stored=tenant_reader,
        rules=rules,
        reader=billing_reader,
        previews=preview_gateway,
        answers=answers,
        clock=clock,
        portal_configuration=settings.provided.stripe.portal_configuration,
    )

    # --- what a worker runs -----------------------------------------------------------------------------------------
    backlog_monitor = providers.Singleton(
        BacklogMonitor,
        inbox=inbox_backlog,
        outbox=outbox,
        objects=uncertain_objects,
        every=_BACKLOG_EVERY,
        observe=observers.provided.backlog_seen,
    )
    consumer_monitor = providers.Singleton(
        ConsumerMonitor,
        oversight=consumer_oversight,
        every=_CONSUMERS_EVERY,
        observe=consumer_observers.provided.lagged,
    )
    receiver_follower = providers.Singleton(
        parts.receiver_follower,
        webhook_sender,
        settings=settings.provided.outgoing,
        endpoints=webhook_endpoints,
        register=consumer_register,
        runner=consumer_runner,
        clock=clock,
        every=_RECEIVERS_EVERY,
        observers=consumer_observers,
    )
    receiver_administration = providers.Singleton(
        ReceiverAdministration, endpoints=webhook_endpoints, register=consumer_register, audits=audit_log, clock=clock
    )
    process_monitor = providers.Singleton(
        ProcessMonitor, register=process_register, every=_PROCESSES_EVERY, observe=observers.provided.processes_seen
    )
    duplicate_monitor = providers.Singleton(
        DuplicateMonitor, upkeep=state_upkeep, every=_DUPLICATES_EVERY, observe=observers.provided.duplicates_seen
    )
    unmapped_monitor = providers.Singleton(
        UnmappedMonitor, upkeep=state_upkeep, every=_UNMAPPED_EVERY, observe=observers.provided.unmapped_seen
    )
    invariant_monitor = providers.Singleton(
        InvariantMonitor, log=invariants, every=_INVARIANTS_EVERY, observe=observers.provided.invariants_checked
    )
    access_reviewer = providers.Singleton(
        AccessReviewer,
        service=service,
        every=_ACCESS_EVERY,
        publish=publish,
        observe=observers.provided.access_reviewed,
    )
    rules_follower = providers.Singleton(
        RulesFollower,
        service=service,
        rules=rules,
        register=rules_register,
        every=_RULES_EVERY,
        publish=publish,
        observe=observers.provided.rules_followed,
    )
    product_follower = providers.Singleton(
        ProductFollower,
        reader=tenant_reader,
        register=rules_register,
        every=_PRODUCTS_EVERY,
        observe=observers.provided.products_followed,
    )
    operation_settler = providers.Singleton(
        parts.operation_settler,
        operation_performer,
        log=operation_log,
        policy=operation_policy,
        every=_SETTLING_EVERY,
        observers=observers,
    )
    operation_pruner = providers.Singleton(
        OperationPruner,
        log=operation_log,
        older_than=settings.provided.retention.operations,
        every=_PRUNING_EVERY,
        observe=observers.provided.operations_pruned,
    )
    backfiller = providers.Singleton(parts.backfiller, settings, outbox=outbox, bus=bus, observers=observers)
    log_rewriter = providers.Singleton(
        LogRewriter,
        rewrites=log_rewrites,
        outbox=outbox,
        bus=bus,
        newest=settings.provided.publishing.batch,
        every=_REWRITES_EVERY,
        observe=observers.provided.logs_replaced,
    )
    worker = providers.Singleton(
        Worker,
        dispatcher=dispatcher,
        publisher=publisher,
        backlog_monitor=backlog_monitor,
        process_monitor=process_monitor,
        duplicate_monitor=duplicate_monitor,
        unmapped_monitor=unmapped_monitor,
        invariant_monitor=invariant_monitor,
        access_reviewer=access_reviewer,
        product_follower=product_follower,
        rules_follower=rules_follower,
        refetcher=refetcher,
        operation_settler=operation_settler,
        operation_pruner=operation_pruner,
        backfiller=backfiller,
        log_rewriter=log_rewriter,
        consumer_runner=consumer_runner,
        consumer_monitor=consumer_monitor,
        receiver_follower=receiver_follower,
        deadline=deadline,
    )

    # --- what tenants may use ---------------------------------------------------------------------------------------
    followed_bus = providers.Singleton(parts.followed, bus)
    entitlement_loader = providers.Singleton(EntitlementLoader, reader=tenant_reader, rules=rules, meter=usage_meter)
    entitlements = providers.Singleton(
        Entitlements,
        loader=entitlement_loader,
        bus=followed_bus,
        policy=settings.provided.entitlements,
        observe=observers.provided.entitlements_read,
    )

    # --- what a server answers with ---------------------------------------------------------------------------------
    token_verifier = providers.Singleton(TokenVerifier, policy=settings.provided.tokens, published=issuer_keys)
    revoked = providers.Singleton(
        RevocationList, revocations=revocations, every=settings.provided.tokens.revalidate_every
    )
    authenticator = providers.Singleton(
        JwtAuthenticator, verifier=token_verifier, policy=settings.provided.tokens, revoked=revoked
    )
    hub = providers.Singleton(
        StreamHub,
        bus=followed_bus,
        history=history,
        metrics=metrics,
        policy=settings.provided.stream,
        epoch=epoch,
        dependency=relied_on.provided.bus,
        tracing=tracing,
    )
    leases = providers.Singleton(StreamLeases, quota, metrics, policy=settings.provided.quota)
    revalidator = providers.Singleton(Revalidator, authenticator, every=settings.provided.tokens.revalidate_every)
    operator_authenticator = providers.Singleton(
        JwtOperatorAuthenticator, verifier=token_verifier, policy=settings.provided.tokens, revoked=revoked
    )
    replay_jobs = providers.Singleton(ReplayJobs, replayer=replayer, quiet_replayer=quiet_replayer)
    operator_feed = providers.Singleton(
        OperatorFeed, events=event_log, audits=audit_log, backlog=inbox_backlog, outbox=outbox, clock=clock
    )
    operator_services = providers.Singleton(
        OperatorServices,
        authenticator=operator_authenticator,
        events=event_log,
        audits=audit_log,
        flow=inbox_flow,
        delays=delay_tally,
        backlog=inbox_backlog,
        inbox_upkeep=inbox_upkeep,
        state_upkeep=state_upkeep,
        service=service,
        publish=publish,
        replays=replay_jobs,
        feed=operator_feed,
        invariants=invariants,
        processes=process_register,
        outbox=outbox,
        operation_log=operation_log,
        read_body=providers.Object(read_body),
    )
    services = providers.Singleton(
        Services,
        settings=settings,
        intake=intake,
        reader=tenant_reader,
        history=history,
        timeline=timeline,
        refusal_tally=refusal_tally,
        rules=rules,
        clock=clock,
        metrics=metrics,
        authenticator=authenticator,
        tickets=tickets,
        hub=hub,
        leases=leases,
        revalidator=revalidator,
        operations=operations,
        entitlements=entitlements,
        operator=operator_services,
        epoch=epoch,
        probes=probes,
        dependencies=relied_on,
        tracing=tracing,
    )
