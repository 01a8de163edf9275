"""A billing loop to embed: provider webhooks in, each tenant's billing state and numbered messages out.

The names below are what a host application imports. Each is loaded when it is first asked for, so that
`import billing_core` alone costs nothing.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from billing_core.consumers.values import Consumer, ConsumerMessage, RetryLater, Undeliverable
    from billing_core.entitlements.cache import CachePolicy
    from billing_core.entitlements.loading import EntitlementLoader
    from billing_core.entitlements.ports import UsageMeter
    from billing_core.entitlements.service import Entitlements
    from billing_core.errors import (
        BillingError,
        ConfigurationError,
        EventBusUnavailableError,
        FoldingError,
        GatewayAuthenticationError,
        GatewayCardDeclinedError,
        GatewayConflictError,
        GatewayError,
        GatewayIdempotencyConflictError,
        GatewayInvalidRequestError,
        GatewayNotFoundError,
        GatewayPermissionError,
        GatewayRateLimitedError,
        GatewayUnavailableError,
        MalformedEventError,
        SignatureVerificationError,
        StaleSignatureError,
        StoreUnavailableError,
        TenantConflictError,
        WebhookBodyTooLargeError,
        WebhookError,
    )
    from billing_core.events import (
        BillingEvent,
        BillingEventType,
        Claim,
        Disposition,
        Effect,
        EventKey,
        Notice,
        Outcome,
        ProviderEvent,
        Receipt,
        ReceiptStatus,
        Translation,
    )
    from billing_core.inbox.batch import BatchProcessor, ProcessingReport
    from billing_core.inbox.dispatch import Dispatcher
    from billing_core.inbox.intake import Handoff, Intake
    from billing_core.inbox.policy import DispatchPolicy, Scope
    from billing_core.inbox.ports import (
        AuditTrail,
        EventInbox,
        EventQueue,
        EventSelector,
        FetchedEvent,
        KnownEvents,
        ReplayQueue,
        ThinEventGateway,
        WebhookVerifier,
    )
    from billing_core.inbox.replay import Replayer, ReplayReport, ReplayRequest
    from billing_core.inbox.selection import EventFilter
    from billing_core.inbox.thin_events import ThinEventResolver
    from billing_core.model import (
        AccessFacts,
        AccessPolicy,
        AccessReason,
        AccessState,
        AccessVerdict,
        CustomerId,
        CustomerSnapshot,
        EventId,
        FeatureReason,
        FeatureVerdict,
        Freshness,
        Grace,
        InvoiceId,
        InvoiceLine,
        InvoiceSnapshot,
        ItemSnapshot,
        Money,
        Period,
        Plan,
        PlanCatalog,
        PriceId,
        RecordSnapshot,
        Snapshot,
        SubscriptionId,
        SubscriptionInvoice,
        SubscriptionSnapshot,
        TenantCustomer,
        TenantEntitlements,
        TenantId,
        TenantRecord,
        TenantRules,
        TenantState,
        TenantSubscription,
        Uncertainty,
        UsageRecord,
    )
    from billing_core.operations.checkouts import CheckoutOptions
    from billing_core.operations.commands import Cancellation, CheckoutReturn
    from billing_core.operations.decisions.changing import PlanChange
    from billing_core.operations.decisions.starting import NewSubscription
    from billing_core.operations.errors import (
        IdempotencyConflictError,
        OperationFailedError,
        OperationInProgressError,
        OperationRefusedError,
        Refusal,
    )
    from billing_core.operations.facade import Operations
    from billing_core.operations.items import Terms
    from billing_core.operations.requests import Caller
    from billing_core.operations.runner import OperationOutcome
    from billing_core.oversight.ports import (
        AuditLog,
        EventLog,
        InboxBacklog,
        InboxUpkeep,
        InvariantLog,
        RefusalTally,
        StateUpkeep,
        TenantTimeline,
    )
    from billing_core.payloads import BillingEventPayload, OperatorStatePayload, StatePayload
    from billing_core.state.ports import (
        BillingTransaction,
        Changes,
        Clock,
        EventTranslator,
        PaymentGateway,
        TenantReader,
        UncertainObjects,
        UnitOfWork,
    )
    from billing_core.state.refetch import Refetcher, RefetchPolicy, RefetchReport
    from billing_core.state.results import AppliedBatch, DryRun
    from billing_core.state.service import BillingService
    from billing_core.stream.backfill import Backfiller, BackfillPolicy
    from billing_core.stream.ports import EpochLog, EventBus, MessageHistory, Outbox
    from billing_core.stream.publisher import Publisher, PublishingReport, PublishPolicy
    from billing_core.stream_access.ports import Principal, QuotaPolicy, Revocations, StreamQuota, StreamTickets

    __version__: str

_NAMES: Final = MappingProxyType(
    {
        "entitlements.cache": "CachePolicy",
        "entitlements.loading": "EntitlementLoader",
        "entitlements.ports": "UsageMeter",
        "entitlements.service": "Entitlements",
        "errors": (
            "BillingError ConfigurationError EventBusUnavailableError FoldingError GatewayAuthenticationError "
            "GatewayCardDeclinedError GatewayConflictError GatewayError GatewayIdempotencyConflictError "
            "GatewayInvalidRequestError GatewayNotFoundError GatewayPermissionError GatewayRateLimitedError "
            "GatewayUnavailableError MalformedEventError SignatureVerificationError StaleSignatureError "
            "StoreUnavailableError TenantConflictError WebhookBodyTooLargeError "
            "WebhookError"
        ),
        "events": (
            "BillingEvent BillingEventType Claim Disposition Effect EventKey Notice Outcome ProviderEvent Receipt "
            "ReceiptStatus Translation"
        ),
        "inbox.batch": "BatchProcessor ProcessingReport",
        "inbox.dispatch": "Dispatcher",
        "inbox.intake": "Handoff Intake",
        "inbox.policy": "DispatchPolicy Scope",
        "inbox.ports": (
            "AuditTrail EventInbox EventQueue EventSelector FetchedEvent KnownEvents ReplayQueue ThinEventGateway "
            "WebhookVerifier"
        ),
        "inbox.replay": "ReplayReport ReplayRequest Replayer",
        "inbox.selection": "EventFilter",
        "inbox.thin_events": "ThinEventResolver",
        "model": (
            "AccessFacts AccessPolicy AccessReason AccessState AccessVerdict CustomerId CustomerSnapshot EventId "
            "FeatureReason FeatureVerdict Freshness Grace InvoiceId InvoiceLine InvoiceSnapshot ItemSnapshot "
            "Money Period Plan PlanCatalog PriceId RecordSnapshot Snapshot SubscriptionId SubscriptionInvoice "
            "SubscriptionSnapshot TenantCustomer TenantEntitlements TenantId TenantRecord TenantRules "
            "TenantState TenantSubscription Uncertainty UsageRecord"
        ),
        "operations.checkouts": "CheckoutOptions",
        "operations.commands": "Cancellation CheckoutReturn",
        "operations.decisions.changing": "PlanChange",
        "operations.decisions.starting": "NewSubscription",
        "operations.errors": (
            "IdempotencyConflictError OperationFailedError OperationInProgressError OperationRefusedError Refusal"
        ),
        "operations.facade": "Operations",
        "operations.items": "Terms",
        "operations.requests": "Caller",
        "operations.runner": "OperationOutcome",
        "consumers.values": "Consumer ConsumerMessage RetryLater Undeliverable",
        "oversight.ports": (
            "AuditLog EventLog InboxBacklog InboxUpkeep InvariantLog RefusalTally StateUpkeep TenantTimeline"
        ),
        "payloads": "BillingEventPayload OperatorStatePayload StatePayload",
        "state.ports": (
            "BillingTransaction Changes Clock EventTranslator PaymentGateway TenantReader UncertainObjects UnitOfWork"
        ),
        "state.refetch": "RefetchPolicy RefetchReport Refetcher",
        "state.results": "AppliedBatch DryRun",
        "state.service": "BillingService",
        "stream.backfill": "BackfillPolicy Backfiller",
        "stream.ports": "EpochLog EventBus MessageHistory Outbox",
        "stream.publisher": "PublishPolicy Publisher PublishingReport",
        "stream_access.ports": "Principal QuotaPolicy Revocations StreamQuota StreamTickets",
    }
)
"""The public names by the module they come from."""

_HOMES: Final = {name: f"billing_core.{module}" for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "__version__",
    "AccessFacts",
    "AccessPolicy",
    "AccessReason",
    "AccessState",
    "AccessVerdict",
    "AppliedBatch",
    "AuditLog",
    "AuditTrail",
    "BackfillPolicy",
    "Backfiller",
    "BatchProcessor",
    "BillingError",
    "BillingEvent",
    "BillingEventPayload",
    "BillingEventType",
    "BillingService",
    "BillingTransaction",
    "CachePolicy",
    "Caller",
    "Cancellation",
    "Changes",
    "CheckoutOptions",
    "CheckoutReturn",
    "Claim",
    "Clock",
    "ConfigurationError",
    "Consumer",
    "ConsumerMessage",
    "CustomerId",
    "CustomerSnapshot",
    "DispatchPolicy",
    "Dispatcher",
    "Disposition",
    "DryRun",
    "Effect",
    "EntitlementLoader",
    "Entitlements",
    "EpochLog",
    "EventBus",
    "EventBusUnavailableError",
    "EventFilter",
    "EventId",
    "EventInbox",
    "EventKey",
    "EventLog",
    "EventQueue",
    "EventSelector",
    "EventTranslator",
    "FeatureReason",
    "FeatureVerdict",
    "FetchedEvent",
    "FoldingError",
    "Freshness",
    "GatewayAuthenticationError",
    "GatewayCardDeclinedError",
    "GatewayConflictError",
    "GatewayError",
    "GatewayIdempotencyConflictError",
    "GatewayInvalidRequestError",
    "GatewayNotFoundError",
    "GatewayPermissionError",
    "GatewayRateLimitedError",
    "GatewayUnavailableError",
    "Grace",
    "Handoff",
    "IdempotencyConflictError",
    "InboxBacklog",
    "InboxUpkeep",
    "Intake",
    "InvariantLog",
    "InvoiceId",
    "InvoiceLine",
    "InvoiceSnapshot",
    "ItemSnapshot",
    "KnownEvents",
    "MalformedEventError",
    "MessageHistory",
    "Money",
    "NewSubscription",
    "Notice",
    "OperationFailedError",
    "OperationInProgressError",
    "OperationOutcome",
    "OperationRefusedError",
    "Operations",
    "OperatorStatePayload",
    "Outbox",
    "Outcome",
    "PaymentGateway",
    "Period",
    "Plan",
    "PlanCatalog",
    "PlanChange",
    "PriceId",
    "Principal",
    "ProcessingReport",
    "ProviderEvent",
    "PublishPolicy",
    "Publisher",
    "PublishingReport",
    "QuotaPolicy",
    "Receipt",
    "ReceiptStatus",
    "RecordSnapshot",
    "RefetchPolicy",
    "RefetchReport",
    "Refetcher",
    "Refusal",
    "RefusalTally",
    "ReplayQueue",
    "ReplayReport",
    "ReplayRequest",
    "Replayer",
    "RetryLater",
    "Revocations",
    "Scope",
    "SignatureVerificationError",
    "Snapshot",
    "StaleSignatureError",
    "StatePayload",
    "StateUpkeep",
    "StoreUnavailableError",
    "StreamQuota",
    "StreamTickets",
    "SubscriptionId",
    "SubscriptionInvoice",
    "SubscriptionSnapshot",
    "TenantConflictError",
    "TenantCustomer",
    "TenantEntitlements",
    "TenantId",
    "TenantReader",
    "TenantRecord",
    "TenantRules",
    "TenantState",
    "TenantSubscription",
    "TenantTimeline",
    "Terms",
    "ThinEventGateway",
    "ThinEventResolver",
    "Translation",
    "UncertainObjects",
    "Uncertainty",
    "Undeliverable",
    "UnitOfWork",
    "UsageMeter",
    "UsageRecord",
    "WebhookBodyTooLargeError",
    "WebhookError",
    "WebhookVerifier",
]


def __getattr__(name: str) -> object:
    """Load a public name on its first use and keep it."""
    if name == "__version__":
        value: object = import_module("importlib.metadata").version("billing-core")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name everything public, loaded or not."""
    return sorted({*globals(), *__all__})
