"""Events, in three forms: as received, as translated, and as published to the tenant.

A `ProviderEvent` is the provider's message, byte for byte. A `Translation` is its content in our terms. A
`BillingEvent` is the numbered message that follows from it.
"""

from datetime import datetime
from enum import Enum

import attrs

from billing_core.errors import BillingError, dead_reason
from billing_core.frozen import frozen
from billing_core.model.identifiers import CustomerId, EventId, TenantId
from billing_core.model.time import aware
from billing_core.model.tracked import Snapshot


@frozen(kw_only=True)
class EventKey:
    """The identity of a provider event: ids are unique only within an account and a mode."""

    event_id: EventId
    livemode: bool
    account: str = ""
    """The connected account, or "" for the deployment's own."""


@frozen(kw_only=True)
class ProviderEvent:
    """One event as received: the parsed envelope and the raw body."""

    key: EventKey
    type: str
    api_version: str | None
    created_at: datetime = attrs.field(validator=aware)
    """The provider's stamp in whole seconds, clamped to at most one hour after receipt."""
    received_at: datetime = attrs.field(validator=aware)
    body: bytes = attrs.field(repr=False)
    """The raw bytes whose signature was verified; b"" once they were dropped from memory: the store has them."""
    secret_slot: int = 0
    """Index of the webhook secret that matched: shows when an old secret can be retired."""
    trace_context: str | None = attrs.field(default=None, eq=False)
    """The `traceparent` of the span that stored it; None if that was not traced."""

    @property
    def event_id(self) -> EventId:
        """The provider's id of this event."""
        return self.key.event_id

    def without_body(self) -> "ProviderEvent":
        """Return the envelope alone, for a translated event. Spelled out, as `Translation.showing` is."""
        return ProviderEvent(
            key=self.key,
            type=self.type,
            api_version=self.api_version,
            created_at=self.created_at,
            received_at=self.received_at,
            body=b"",
            secret_slot=self.secret_slot,
            trace_context=self.trace_context,
        )


class ReceiptStatus(Enum):
    """The result of a webhook: stored now, or stored before."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"


@frozen(kw_only=True)
class Claim:
    """The right to process a stored event, until its lease runs out or it is claimed again."""

    dispatch_id: int
    """The store's own number of the event."""
    attempt: int
    """Counted when claimed, so that an event that kills its worker runs out of attempts too. Also the fence."""
    event: ProviderEvent
    applied: bool = False
    """The event was applied before and is replayed now: its notices were already published."""
    forgiven: int = 0
    """Attempts before the last replay: they no longer count."""
    parked: bool = False
    """The event was processed before, and waited for a tenant since."""

    @property
    def tries(self) -> int:
        """The attempts that count, this one included."""
        return self.attempt - self.forgiven

    def renewed(self) -> "Claim":
        """Return the claim of a replay: the next attempt, and none of the earlier ones counts."""
        return attrs.evolve(self, attempt=self.attempt + 1, forgiven=self.attempt)

    def without_body(self) -> "Claim":
        """Return the same claim to an event that has been translated."""
        return Claim(
            dispatch_id=self.dispatch_id,
            attempt=self.attempt,
            event=self.event.without_body(),
            applied=self.applied,
            forgiven=self.forgiven,
            parked=self.parked,
        )


@frozen(kw_only=True)
class Receipt:
    """The durable answer to a webhook. `claim` is set when this process may process the event at once."""

    status: ReceiptStatus
    event_id: EventId
    claim: Claim | None = None


class BillingEventType(Enum):
    """The types of messages to tenants. A closed set: they name the stream's frames."""

    SUBSCRIPTION_CREATED = "subscription.created"
    SUBSCRIPTION_ACTIVATED = "subscription.activated"
    SUBSCRIPTION_RENEWED = "subscription.renewed"
    SUBSCRIPTION_RECOVERED = "subscription.recovered"
    SUBSCRIPTION_PAST_DUE = "subscription.past_due"
    SUBSCRIPTION_UNPAID = "subscription.unpaid"
    SUBSCRIPTION_PAUSED = "subscription.paused"
    SUBSCRIPTION_RESUMED = "subscription.resumed"
    SUBSCRIPTION_PLAN_CHANGED = "subscription.plan_changed"
    SUBSCRIPTION_SEATS_CHANGED = "subscription.seats_changed"
    SUBSCRIPTION_PLAN_CHANGE_SCHEDULED = "subscription.plan_change_scheduled"
    SUBSCRIPTION_CANCELLATION_SCHEDULED = "subscription.cancellation_scheduled"
    SUBSCRIPTION_CANCELLATION_WITHDRAWN = "subscription.cancellation_withdrawn"
    SUBSCRIPTION_CANCELED = "subscription.canceled"
    SUBSCRIPTION_EXPIRED = "subscription.expired"
    SUBSCRIPTION_TRIAL_ENDING = "subscription.trial_ending"
    SUBSCRIPTION_UPDATED = "subscription.updated"
    SUBSCRIPTION_LINKED = "subscription.linked"
    SUBSCRIPTION_UNLINKED = "subscription.unlinked"
    INVOICE_CREATED = "invoice.created"
    INVOICE_FINALIZED = "invoice.finalized"
    INVOICE_PAID = "invoice.paid"
    INVOICE_PAYMENT_FAILED = "invoice.payment_failed"
    INVOICE_PAYMENT_ACTION_REQUIRED = "invoice.payment_action_required"
    INVOICE_OVERDUE = "invoice.overdue"
    INVOICE_UPCOMING = "invoice.upcoming"
    INVOICE_VOIDED = "invoice.voided"
    INVOICE_UNCOLLECTIBLE = "invoice.uncollectible"
    INVOICE_DELETED = "invoice.deleted"
    INVOICE_UPDATED = "invoice.updated"
    INVOICE_REFUNDED = "invoice.refunded"
    INVOICE_DISPUTED = "invoice.disputed"
    INVOICE_DISPUTE_CLOSED = "invoice.dispute_closed"
    INVOICE_CREDITED = "invoice.credited"
    ENTITLEMENTS_UPDATED = "entitlements.updated"
    USAGE_THRESHOLD_REACHED = "usage.threshold_reached"
    ACCESS_CHANGED = "access.changed"
    GRANT_ADDED = "grant.added"
    GRANT_REVOKED = "grant.revoked"
    CUSTOMER_LINKED = "customer.linked"
    CUSTOMER_UNLINKED = "customer.unlinked"
    CUSTOMER_DELETED = "customer.deleted"
    WITHDRAWN = "withdrawn"
    """In place of a message about an object that an operator gave to another tenant. It keeps the number."""


class SourceKind(Enum):
    """The kinds of causes of a message. A closed set."""

    WEBHOOK = "webhook"
    """A provider event."""
    OPERATION = "operation"
    """The provider's answer to a call that the application made."""
    CLOCK = "clock"
    """The passing of time: an end was reached."""
    GRANT = "grant"
    """Access that an operator granted or revoked."""
    LINK = "link"
    """An operator's decision on whose a customer or subscription is."""
    CATALOG = "catalog"
    """A change of the rules on plans, access or scope."""
    REFETCH = "refetch"
    """The provider's answer about an object that was uncertain."""


@frozen(kw_only=True)
class MessageSource:
    """The cause of a message."""

    kind: SourceKind
    id: str | None
    """The id of the event, operation, grant or decision; of a refetch, the object's; null for the clock."""

    @property
    def event_id(self) -> EventId | None:
        """The provider event behind the message; None where there is none."""
        return EventId(self.id) if self.kind is SourceKind.WEBHOOK and self.id is not None else None


class Notice(Enum):
    """News for the tenant although no state changed."""

    TRIAL_ENDING = BillingEventType.SUBSCRIPTION_TRIAL_ENDING
    ACTION_REQUIRED = BillingEventType.INVOICE_PAYMENT_ACTION_REQUIRED
    OVERDUE = BillingEventType.INVOICE_OVERDUE
    UPCOMING = BillingEventType.INVOICE_UPCOMING
    USAGE_THRESHOLD_REACHED = BillingEventType.USAGE_THRESHOLD_REACHED


@frozen(kw_only=True)
class Translation:
    """The content of a provider event, in our terms.

    Either `ignored` gives a reason from a closed set, or the event is `thin`, or `customer_id` names its customer and
    `snapshots` holds the objects it shows. `tenant_hint` is the tenant some metadata names: it may create a link, never
    move one. An event that names no customer is `about` objects, or shows the catalog, which has no tenant.
    """

    customer_id: CustomerId | None = None
    about: tuple[str, ...] = ()
    """Ids of invoices, payments, charges or subscriptions: without a customer, the event is their tenant's.

    Beside a customer they are what an event without snapshots concerns; they decide where customers are shared.
    """
    tenant_hint: TenantId | None = None
    refused_hint: str | None = None
    """Why the tenant that the metadata names is none: it does not look like a tenant id."""
    snapshots: tuple[Snapshot, ...] = ()
    creation: bool = False
    """The event says that its object was created just then: any other event of the object came later."""
    notice: Notice | None = None
    notice_of: str | None = None
    """The subject of a notice without a snapshot: two events with the same one give one notice. None: the event."""
    began_at: datetime | None = None
    """When the subscription it shows was created: the period that began by then is its first."""
    payment_failed: bool = False
    """The event says that a payment of the invoice it shows failed just then."""
    request_key: str | None = None
    """The idempotency key of the request that caused the event, if an operation of ours made it."""
    thin: bool = False
    """The event names its object without showing it: the provider has to be asked."""
    ignored: str | None = None
    detail: str | None = None
    """A text for operators about an ignored event. It is logged and kept with the event."""
    missing: tuple[str, ...] = ()
    """Fields that belong to the object in every version and could not be read: counted, never an error."""

    def find(self, object_id: str) -> Snapshot | None:
        """Return the snapshot of an object, if one is shown."""
        return next((snapshot for snapshot in self.snapshots if snapshot.object_id == object_id), None)

    def showing(self, snapshots: tuple[Snapshot, ...]) -> "Translation":
        """Return the same with these snapshots. Spelled out: `attrs.evolve` would look up the fields for each event."""
        return Translation(
            customer_id=self.customer_id,
            about=self.about,
            tenant_hint=self.tenant_hint,
            refused_hint=self.refused_hint,
            snapshots=snapshots,
            creation=self.creation,
            notice=self.notice,
            notice_of=self.notice_of,
            began_at=self.began_at,
            payment_failed=self.payment_failed,
            request_key=self.request_key,
            thin=self.thin,
            ignored=self.ignored,
            detail=self.detail,
            missing=self.missing,
        )


class Disposition(Enum):
    """The status of a stored event."""

    DUE = "due"
    LEASED = "leased"
    APPLIED = "applied"
    IGNORED = "ignored"
    PARKED = "parked"
    DEAD = "dead"


class Effect(Enum):
    """The effect of applying an event."""

    CHANGED = "changed"
    CONFIRMED = "confirmed"
    STALE = "stale"


@frozen(kw_only=True)
class Outcome:
    """The end of one processing attempt, as written to the dispatch row."""

    claim: Claim
    disposition: Disposition
    effect: Effect | None = None
    reason: str | None = None
    """Why it was ignored, parked or buried; of an applied one, why a replay could not confirm it. From a closed set,
    because it is a metric label."""
    error: str | None = None
    """A text for operators: why the event is dead or was not confirmed, or the detail of an ignored one."""
    parked_on: str | None = None
    """The customer, or the first of the objects, that has to get a tenant before the event can be applied."""
    waits_for: tuple[str, ...] = ()
    """All objects whose tenant the event belongs to: each may be the first to get one."""
    tenant_id: TenantId | None = None
    customer_id: CustomerId | None = None
    sequence: int | None = None
    """The message this event caused, if any."""
    outdated_hint: bool = False
    """Its metadata names another tenant than the one that an operator chose. It was applied to the latter."""

    @property
    def kept(self) -> "Outcome":
        """The outcome of an event that was applied before: it stays applied, whatever a replay makes of it."""
        if self.disposition is Disposition.APPLIED or not self.claim.applied:
            return self
        return Outcome(
            claim=self.claim,
            disposition=Disposition.APPLIED,
            effect=Effect.CONFIRMED,
            reason=self.reason,
            error=self.error,
        )

    @property
    def unconfirmed(self) -> str | None:
        """Why a replay could not confirm an applied event; None if it did, and for every other event."""
        return self.reason if self.disposition is Disposition.APPLIED else None

    @classmethod
    def dead(cls, claim: Claim, error: BillingError, *, customer_id: CustomerId | None = None) -> "Outcome":
        """Return the outcome of an event that an operator has to look at.

        Args:
            claim: the event.
            error: the reason it cannot be applied.
            customer_id: the customer it names. Nothing of the customer's tenant changes, but its timeline shows the
                event: the store adds the tenant by the customer's link, never by what the event says.
        """
        return cls(
            claim=claim,
            disposition=Disposition.DEAD,
            reason=dead_reason(error),
            error=str(error),
            customer_id=customer_id,
        )


@attrs.frozen(kw_only=True)
class BillingEvent:
    """A message to one tenant, numbered without gaps; the unit of the outbox, the bus and the stream."""

    tenant_id: TenantId
    sequence: int
    event_type: str
    event_id: EventId | None
    """The provider event it follows from; None where there is none."""
    occurred_at: datetime = attrs.field(validator=aware)
    payload: str = attrs.field(repr=False)
    """`BillingEventPayload` as one line of JSON, encoded once and passed on verbatim."""
    published_at: float | None = attrs.field(default=None, eq=False)
    """When the bus took it (Unix time, by the clock of this process); known of a message that is followed live."""
    trace_context: str | None = attrs.field(default=None, eq=False)
    """The `traceparent` of the span that sent it to the bus; known where it is followed live and was traced."""
