"""What the domain needs from the outside. The docstrings are the contracts; `billing_core.testing` holds the suites.

Adapters satisfy a port by shape. All methods may be called concurrently.
"""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Protocol

import attrs

from billing_core.events import BillingEvent, Claim, EventKey, Outcome, ProviderEvent, Receipt, Translation
from billing_core.explaining import TenantHistory
from billing_core.inspection import Audit, EventFilter, FailedAttempt, Pruned, StoredEvent
from billing_core.invariants import Violation
from billing_core.model import (
    CustomerId,
    Doubt,
    DuplicateSubscriptions,
    EventId,
    InvoiceId,
    SubscriptionId,
    SubscriptionInvoice,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantState,
    TenantSubscription,
    UsageRecord,
)


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        ...


class WebhookVerifier(Protocol):
    """Knows the provider's signature scheme and its envelope."""

    def verify(self, body: bytes, signature: str) -> ProviderEvent:
        """Check that the provider signed exactly these bytes, and read the envelope; pure computation.

        Raises: SignatureVerificationError (StaleSignatureError among them); MalformedEventError for signed bytes that
        are no event. Nothing else, whatever the bytes are.
        """
        ...


class EventTranslator(Protocol):
    """Knows the provider's payloads, in every API version it ever had. Pure: same event, same translation."""

    def translate(self, event: ProviderEvent) -> Translation:
        """What the event says. Never raises for what a payload holds: unreadable fields are absent and listed.

        An event that names its object without showing it is ignored as `THIN`: somebody has to ask what it is about.
        """
        ...

    def translate_previous(self, event: ProviderEvent) -> Translation | None:
        """What the object was before this event, where the event says so; None otherwise."""
        ...


@attrs.frozen(kw_only=True)
class FetchedEvent:
    """What an event that names an object without showing it comes to once the provider was asked."""

    snapshot_event_id: EventId | None
    """The event that tells of the same fact and shows the object, where the provider makes both: they are one."""
    translation: Translation | None
    """The object as it is now, not as it was at the event; None when it does not exist any more."""


class PaymentGateway(Protocol):
    """Asks the provider how things stand now: where an event shows part of an object, or two cannot be ordered.

    Every answer is None when the provider says that there is no such thing. A translation from here speaks of now, so
    it never has `creation` or `notice`. Reading changes nothing, so any call may be repeated.

    Raises: GatewayUnavailableError, GatewayRateLimitedError, GatewayUnauthorizedError, GatewayRejectedError. The
    adapter has tried again already where that helps, and gives up after a time of its own.
    """

    async def fetch_subscription(self, subscription_id: SubscriptionId) -> Translation | None:
        """The subscription with all of its items; an ended one too."""
        ...

    async def fetch_invoice(self, invoice_id: InvoiceId) -> Translation | None:
        """The invoice with all of its lines, however many."""
        ...

    async def fetch_customer(self, customer_id: CustomerId) -> Translation | None:
        """The customer; of a deleted one at least that it is deleted."""
        ...

    async def fetch_entitlements(self, customer_id: CustomerId) -> Translation | None:
        """All features that the customer has, however many."""
        ...

    async def fetch_checkout_session(self, session_id: str) -> Translation | None:
        """Whose customer somebody became in a checkout; ignored with a reason while nobody has completed it."""
        ...

    async def fetch_event(self, event_id: EventId) -> FetchedEvent | None:
        """What an event that shows no object is about. Of snapshot events it knows nothing."""
        ...


@attrs.frozen(kw_only=True)
class Backlog:
    """What waits in the inbox."""

    oldest_due: timedelta = timedelta(0)
    """How long the longest waiting event has been due, or claimed by somebody whose lease ran out."""
    due: int = 0
    parked: int = 0
    dead: Mapping[str, int] = attrs.field(factory=dict)
    """Dead events by reason."""


class EventStore(Protocol):
    """The inbox: provider events and how far each has been processed."""

    async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
        """Store an event and its dispatch row durably, in one transaction; return after the commit.

        With `lease`, a new event is claimed for the caller in the same breath (attempt 1) and the receipt carries the
        claim; a duplicate never does. Of concurrent records of one key exactly one is ACCEPTED.
        Raises StoreUnavailableError when the outcome is not certain: recording again is safe.
        """
        ...

    async def claim(self, *, limit: int, lease: timedelta) -> Sequence[Claim]:
        """Claim up to `limit` events that are due or whose lease has run out, oldest due first.

        Counts the attempt and commits. No event is claimed twice at a time. Time is the store's own.
        """
        ...

    async def retry(self, claim: Claim, *, after: timedelta, reason: str, error: str) -> bool:
        """Give a claim back, due again `after` from now. False if it was lost meanwhile: then nothing changes."""
        ...

    async def bury(self, claim: Claim, *, reason: str, error: str) -> bool:
        """End a claim as dead, visible and replayable. False if it was lost meanwhile: then nothing changes."""
        ...

    async def release(self, claims: Collection[Claim]) -> None:
        """Give unprocessed claims back at once, uncounted: for an orderly shutdown. Lost ones are left alone."""
        ...

    async def unpark(self) -> int:
        """Make due what is parked on a customer or an object that has a tenant by now; how many events that were.

        A unit of work does so for what it saves itself. What is parked while another one saves it is found here.
        """
        ...

    async def backlog(self) -> Backlog:
        """What waits right now; for gauges, so at the cost of what waits and not of what was ever stored."""
        ...

    async def known(self, keys: Collection[EventKey]) -> Collection[EventKey]:
        """Those of the keys that are stored, however far their events have been processed."""
        ...

    async def wait(self, *, at_most: timedelta) -> None:
        """Return when events may have become due, at the latest after `at_most`. A hint: it may return early."""
        ...


class EventMaintenance(Protocol):
    """What operators do to stored events."""

    async def reclaim(self, dispatch_ids: Collection[int], *, lease: timedelta) -> Sequence[Claim]:
        """Claim these events whatever became of them, with fresh attempts: for a replay.

        Left out are those that somebody works on, and those whose bodies are gone. What an event did when it was
        applied stays known should it do nothing now.
        """
        ...

    async def read(self, dispatch_ids: Collection[int]) -> Sequence[Claim]:
        """What `reclaim` would give, without claiming: for a rehearsal. The attempt is the one the event has now.

        Events that somebody works on are among them, those whose bodies are gone are not.
        """
        ...

    async def ignore(self, dispatch_ids: Collection[int], *, reason: str) -> Collection[int]:
        """End these events as ignored; which ones that were. Applied ones, and those somebody works on, stay."""
        ...

    async def prunable(self, *, older_than: timedelta) -> int:
        """How many bodies `prune` would let go in all."""
        ...

    async def prune(self, *, older_than: timedelta, after: int, limit: int) -> Pruned:
        """Let go the bodies of up to `limit` events received longer ago, numbered above `after`, lowest first.

        Only of applied and ignored ones. Key, type, hash and outcome stay, so that duplicates are recognised for ever.
        """
        ...


class EventLog(Protocol):
    """The inbox as operators see it: every event that was ever stored, whatever became of it. Only reads."""

    async def find(self, wanted: EventFilter, *, before: int | None, limit: int) -> Sequence[StoredEvent]:
        """Events that a filter means, latest received first; with `before` those whose number is below it."""
        ...

    async def select(self, wanted: EventFilter, *, limit: int | None = None) -> Sequence[int]:
        """The numbers of the events that a filter means, by the provider's clock: the order they happened in."""
        ...

    async def attempts(self, dispatch_id: int) -> Sequence[FailedAttempt]:
        """The attempts at an event that failed, first one first."""
        ...

    async def body(self, dispatch_id: int) -> bytes | None:
        """The raw bytes as received; None once they were pruned."""
        ...

    async def messages(self, event_id: EventId) -> Sequence[BillingEvent]:
        """Everything that tenants were told because of a provider event."""
        ...


class Historian(Protocol):
    """What happened to a tenant. Only reads."""

    async def history(
        self, tenant_id: TenantId, *, since: datetime | None, until: datetime | None, limit: int
    ) -> TenantHistory | None:
        """A tenant's state and the latest `limit` events received in `[since, until)`, read at one instant.

        Its events are those that were found to be its own, and those parked on its customers; the messages are those
        they caused, and enough of the earlier ones to say what changed. None when nothing is known of such a tenant.
        """
        ...


class AuditLog(Protocol):
    """What operators did to stored events. An entry is never changed once it is finished."""

    async def begin(self, action: str, *, actor: str, reason: str | None, filter: Mapping[str, object]) -> int:
        """Note durably that something begins; the entry's number."""
        ...

    async def finish(self, audit_id: int, result: Mapping[str, object]) -> None:
        """Note what it came to."""
        ...

    async def latest(self, *, limit: int, action: str | None = None) -> Sequence[Audit]:
        """Entries, latest first; of one action only where it is named."""
        ...


class InvariantLog(Protocol):
    """Looks for rows of which a `billing_core.invariants.Invariant` does not hold. Only reads."""

    async def sample(self) -> Sequence[Violation]:
        """Look at what waits, the newest events and some tenants, others each time; bounded, however much is stored."""
        ...

    async def everything(self) -> Sequence[Violation]:
        """Look at every row."""
        ...


@attrs.frozen(kw_only=True)
class Changes:
    """Everything one transaction writes of tenants, in absolute values."""

    customers: Sequence[TenantCustomer] = ()
    subscriptions: Sequence[TenantSubscription] = ()
    invoices: Sequence[SubscriptionInvoice] = ()
    usage: Mapping[InvoiceId, Sequence[UsageRecord]] = attrs.field(factory=dict)
    """The whole billed usage of each invoice named."""
    records: Sequence[TenantRecord] = ()
    events: Sequence[BillingEvent] = ()
    """Numbered upwards from each tenant's counter, without a gap."""


class BillingTransaction(Protocol):
    """One unit of work. Everything it writes becomes visible together at its end, or not at all.

    Call `hold`, then `lock_customers`, then `lock_tenants`, then `lock_catalogue`, then read: one order for everybody,
    so nobody deadlocks.
    """

    async def hold(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Those of the claims that are still ours, locked until the end: the fence against a lost lease."""
        ...

    async def take(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Those of the claims whose events nobody works on, ours until the end, whatever became of the events.

        In place of `hold`, for a unit of work that is taken back. Each claim has the attempt its event had when it was
        read; an event that somebody claimed since is left out, and so is one that somebody holds.
        """
        ...

    async def customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """The known ones of these customers."""
        ...

    async def lock_customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """These customers, all of them: unknown ones are created without a tenant. Locked until the end."""
        ...

    async def lock_tenants(self, ids: Collection[TenantId]) -> Mapping[TenantId, int]:
        """Each tenant's counter: its highest message number. Unknown ones start at 0. Locked until the end."""
        ...

    async def lock_catalogue(self) -> None:
        """Keep prices and products, which no tenant's lock covers, to this unit of work until the end."""
        ...

    async def owners(self, ids: Collection[str]) -> Mapping[str, TenantId]:
        """Whose subscriptions, invoices and records these are; ids of unknown objects are left out.

        May be asked before the tenants are locked: an object never changes hands.
        """
        ...

    async def records(self, ids: Collection[str]) -> Sequence[TenantRecord]:
        """The records with these object ids, whoever has them."""
        ...

    async def subscriptions(
        self, *, tenants: Collection[TenantId], ids: Collection[SubscriptionId]
    ) -> Sequence[TenantSubscription]:
        """All subscriptions of these tenants, and those with these ids whoever has them."""
        ...

    async def invoices(
        self, *, ids: Collection[InvoiceId] = (), subscriptions: Collection[SubscriptionId] = ()
    ) -> Sequence[SubscriptionInvoice]:
        """The invoices with these ids and those of these subscriptions, whoever has them."""
        ...

    async def usage(self, ids: Collection[InvoiceId]) -> Mapping[InvoiceId, Sequence[UsageRecord]]:
        """The billed usage that is stored of each of these invoices, in no particular order; of some there is none."""
        ...

    async def stored_events(self, keys: Collection[EventKey]) -> Sequence[ProviderEvent]:
        """The stored events with these keys whose bodies are still kept."""
        ...

    async def told(self, ids: Collection[EventId]) -> Collection[tuple[TenantId, EventId]]:
        """Which of these provider events a tenant has a message of."""
        ...

    async def save(self, changes: Changes) -> None:
        """Write the changes and move the counters.

        Events of customers that got a tenant, and of objects that are saved, leave the car park.
        Raises TenantConflictError when an object belongs to another tenant: nothing is written then.
        """
        ...

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Write what became of held claims. An event whose tenant became known meanwhile is due, not parked."""
        ...


@attrs.frozen(kw_only=True)
class CustomerLink:
    """Whose customer somebody is, and how many events wait to know."""

    customer_id: CustomerId
    tenant_id: TenantId | None
    waiting: int


class BillingRepository(Protocol):
    """What every tenant has, and the history of how it came about."""

    def transaction(self) -> AbstractAsyncContextManager[BillingTransaction]:
        """A unit of work: committed at the end of the block, rolled back when an exception leaves it.

        Raises StoreUnavailableError, also when it is unknown whether the commit arrived.
        """
        ...

    async def state(self, tenant_id: TenantId) -> TenantState:
        """A tenant's state and the number of its last message, read at one instant. Unknown tenants are empty."""
        ...

    async def subscriptions(self, tenant_id: TenantId) -> Sequence[TenantSubscription]:
        """All subscriptions, ended ones too, newest period first."""
        ...

    async def invoices(self, tenant_id: TenantId, *, limit: int) -> Sequence[SubscriptionInvoice]:
        """Invoices, newest first; deleted drafts are left out."""
        ...

    async def usage(self, tenant_id: TenantId, *, limit: int) -> Sequence[UsageRecord]:
        """Billed usage, newest period first."""
        ...

    async def records(self, tenant_id: TenantId, *, kinds: Collection[str] = (), limit: int) -> Sequence[TenantRecord]:
        """Records of these kinds, of all kinds when none is named: latest observed first, then by descending id."""
        ...

    async def catalogue(self) -> Sequence[TenantRecord]:
        """Prices and products, deleted ones too, by ascending id."""
        ...

    async def events(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """Messages numbered strictly above `after`, lowest first, without a gap."""
        ...

    async def doubtful(self, *, after: str, limit: int) -> Sequence[Doubt]:
        """Objects marked as ambiguous, and those that lack lines or features; those with ids above `after`, by id."""
        ...

    async def duplicate_subscriptions(self) -> Sequence[DuplicateSubscriptions]:
        """What `billing_core.model.duplicate_subscriptions` finds among all subscriptions."""
        ...

    async def customers(self, *, linked: bool, after: str, limit: int) -> Sequence[CustomerLink]:
        """Customers with a tenant, or those without one; ids above `after`, by id."""
        ...

    async def sequence(self, tenant_id: TenantId) -> int:
        """The number of a tenant's last message; 0 when there is none."""
        ...

    async def sequences(self, tenant_ids: Collection[TenantId]) -> Mapping[TenantId, int]:
        """The numbers of many tenants' last messages, of those that have any."""
        ...


@attrs.frozen(kw_only=True)
class OutboxEntry:
    """A committed message on its way to the bus, and since when it has been waiting."""

    event: BillingEvent
    committed_at: datetime


class Outbox(Protocol):
    """The messages that the bus has not confirmed yet."""

    async def unpublished(self, *, older_than: timedelta, limit: int) -> Sequence[OutboxEntry]:
        """Messages that have waited at least `older_than`, lowest numbers of each tenant first."""
        ...

    async def published(self, events: Collection[BillingEvent]) -> None:
        """Take messages out. Saying it twice is harmless."""
        ...

    async def oldest(self) -> timedelta:
        """How long the longest waiting message has waited; nothing when none waits."""
        ...

    async def history(self, *, after: tuple[TenantId, int], newest: int, limit: int) -> Sequence[BillingEvent]:
        """Messages that were taken out, by tenant and number, those behind `after`; of each tenant the `newest`."""
        ...


class EventBus(Protocol):
    """Per-tenant, contiguous log of messages, followed live by every server.

    A cache of the history in the repository: it may lose its tail or everything, it may neither reorder nor skip.
    """

    async def append(self, events: Sequence[BillingEvent], *, announced: bool = True) -> Mapping[TenantId, int]:
        """Append messages, ordered by number within each tenant, and say how far each tenant's log reaches now.

        A message that is there already is skipped, so a repeated call is safe. A message that would leave a hole is
        not taken, nor are its successors: the answer is then lower than the number asked for, and the caller sends
        what is missing first. An empty log takes any first number. Followers hear of what was taken, unless it is not
        to be `announced`.

        A tenant whose part of the bus does not answer is left out, and it is unknown what became of its messages.
        Raises EventBusUnavailableError when that is so for all of them.
        """
        ...

    async def read(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """Messages of the log numbered strictly above `after`, lowest first; () when the log does not have them."""
        ...

    def follow(self) -> AsyncGenerator[Sequence[BillingEvent], None]:
        """Messages of all tenants as they are appended. Ends never; raises EventBusUnavailableError.

        The first batch is empty: it comes when the follower listens, and from then on it misses nothing without a
        word. Another empty batch says that something may have been missed, as when a part of the bus is away.
        """
        ...
