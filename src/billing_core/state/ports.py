"""What folding and reading state need from the outside. The docstrings are the contracts."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol, runtime_checkable

import attrs

from billing_core.events import BillingEvent, Claim, EventKey, Outcome, ProviderEvent, Translation
from billing_core.model import (
    CustomerId,
    EventId,
    InvoiceId,
    SubscriptionId,
    SubscriptionInvoice,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantState,
    TenantSubscription,
    Uncertainty,
    UsageRecord,
)


@runtime_checkable
class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        ...


@runtime_checkable
class EventTranslator(Protocol):
    """Knows the provider's payloads, in every API version it ever had. Pure: same event, same translation."""

    def translate(self, event: ProviderEvent) -> Translation:
        """What the event says. Never raises for what a payload holds: unreadable fields are absent and listed.

        An event that names its object without showing it is `thin`: the provider has to be asked.
        """
        ...

    def translate_previous(self, event: ProviderEvent) -> Translation | None:
        """What the object was before this event, where the event says so; None otherwise."""
        ...


@runtime_checkable
class PaymentGateway(Protocol):
    """Fetches current objects from the provider: where an event shows part of an object, or two cannot be ordered.

    Every answer is None if the provider says that there is no such object. An answer describes the object as it is now,
    so it never has `creation` or `notice`. Reading changes nothing, so any call may be repeated.

    Raises: GatewayUnavailableError, GatewayRateLimitedError, GatewayUnauthorizedError, GatewayRejectedError. The
    adapter has already retried where that helps, and gives up after a timeout of its own.
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


@runtime_checkable
class ClaimFence(Protocol):
    """The dispatch rows of a batch, held by the unit of work that folds it."""

    async def hold(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Those of the claims that are still ours, locked until the end: the fence against a lost lease."""
        ...

    async def take(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Those of the claims whose events nobody works on, ours until the end, whatever became of the events.

        In place of `hold`, for a unit of work that is taken back. Each claim has the attempt its event had when it was
        read; an event that somebody claimed since is left out, and so is one that somebody holds.
        """
        ...

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Write what became of held claims. An event whose tenant became known meanwhile is due, not parked."""
        ...


@runtime_checkable
class TenantLocks(Protocol):
    """Locks, all held until the unit of work ends."""

    async def lock_customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """These customers, all of them: unknown ones are created without a tenant. Locked until the end."""
        ...

    async def lock_tenants(self, ids: Collection[TenantId]) -> Mapping[TenantId, int]:
        """Each tenant's counter: its highest message number. Unknown ones start at 0. Locked until the end."""
        ...

    async def lock_catalog(self) -> None:
        """Keep prices and products, which no tenant's lock covers, to this unit of work until the end."""
        ...


@runtime_checkable
class StateReader(Protocol):
    """Stored objects, as this unit of work sees them."""

    async def customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """The known ones of these customers."""
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


@runtime_checkable
class StoredEvents(Protocol):
    """What was received and published before, as this unit of work sees it."""

    async def stored_events(self, keys: Collection[EventKey]) -> Sequence[ProviderEvent]:
        """The stored events with these keys whose bodies are still kept."""
        ...

    async def notified(self, ids: Collection[EventId]) -> Collection[tuple[TenantId, EventId]]:
        """Which of these provider events a tenant has a message of."""
        ...


@runtime_checkable
class BillingTransaction(ClaimFence, TenantLocks, StateReader, StoredEvents, Protocol):
    """One unit of work. Everything it writes becomes visible together at its end, or not at all.

    Call `hold`, then `lock_customers`, then `lock_tenants`, then `lock_catalog`, then read: every caller uses this
    order, so that no two deadlock.
    """

    async def save(self, changes: Changes) -> None:
        """Write the changes and move the counters.

        Events of customers that got a tenant, and of objects that are saved, leave the car park.
        Raises TenantConflictError when an object belongs to another tenant: nothing is written then.
        """
        ...


@runtime_checkable
class UnitOfWork(Protocol):
    """Where units of work begin."""

    def transaction(self) -> AbstractAsyncContextManager[BillingTransaction]:
        """A unit of work: committed at the end of the block, rolled back when an exception leaves it.

        Raises StoreUnavailableError, also when it is unknown whether the commit arrived.
        """
        ...


@runtime_checkable
class TenantReader(Protocol):
    """What every tenant has. Only reads."""

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

    async def catalog(self) -> Sequence[TenantRecord]:
        """Prices and products, deleted ones too, by ascending id."""
        ...


@runtime_checkable
class UncertainObjects(Protocol):
    """The objects that the provider should be asked about. Only reads."""

    async def uncertain(self, *, after: str, limit: int) -> Sequence[Uncertainty]:
        """Objects marked as ambiguous, and those that lack lines or features; those with ids above `after`, by id."""
        ...
