"""Ports of folding and reading state. The docstrings are the contracts."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Final, Protocol, runtime_checkable

import attrs

from billing_core.events import BillingEvent, Claim, EventKey, Outcome, ProviderEvent, Translation
from billing_core.model import (
    AccessGrant,
    AnnouncedAccess,
    CustomerId,
    EventId,
    GrantId,
    InvoiceId,
    LinkDecision,
    RulesInForce,
    SubscriptionId,
    SubscriptionInvoice,
    TenantCustomer,
    TenantId,
    TenantOccasion,
    TenantRecord,
    TenantState,
    TenantSubscription,
    Uncertainty,
    UsageRecord,
    Views,
)


@runtime_checkable
class Clock(Protocol):
    """A source of the current time."""

    def now(self) -> datetime:
        """Return the current instant, aware, in UTC."""
        ...


@runtime_checkable
class EventTranslator(Protocol):
    """Reads the provider's payloads, of every API version. Pure: same event, same translation."""

    def translate(self, event: ProviderEvent) -> Translation:
        """Return the content of an event. Never raises for a payload: unreadable fields are absent and listed.

        An event that names its object without showing it is `thin`: the provider has to be asked.
        """
        ...

    def translate_previous(self, event: ProviderEvent) -> Translation | None:
        """Return the object as it was before this event, where the event says so; None otherwise."""
        ...


@runtime_checkable
class PaymentGateway(Protocol):
    """Fetches current objects from the provider: where an event shows part of an object, or two cannot be ordered.

    Every answer is None if the provider says that there is no such object. An answer describes the object as it is now,
    so it never has `creation` or `notice`. Reading changes nothing, so any call may be repeated.

    Raises: GatewayError: unavailable, rate limited, authentication, permission, or an invalid request. The adapter has
    already retried where that helps, and gives up after a timeout of its own.
    """

    async def fetch_subscription(self, subscription_id: SubscriptionId) -> Translation | None:
        """Fetch a subscription with all of its items, also an ended one."""
        ...

    async def fetch_invoice(self, invoice_id: InvoiceId) -> Translation | None:
        """Fetch an invoice with all of its lines, however many."""
        ...

    async def fetch_customer(self, customer_id: CustomerId) -> Translation | None:
        """Fetch a customer; of a deleted one at least the fact that it is deleted."""
        ...

    async def fetch_entitlements(self, customer_id: CustomerId) -> Translation | None:
        """Fetch all features of a customer, however many."""
        ...


@attrs.frozen(kw_only=True)
class Changes:
    """Everything one transaction writes of tenants, in absolute values."""

    customers: Sequence[TenantCustomer] = ()
    subscriptions: Sequence[TenantSubscription] = ()
    invoices: Sequence[SubscriptionInvoice] = ()
    usage: Mapping[InvoiceId, Sequence[UsageRecord]] = attrs.field(factory=dict)
    """The complete billed usage of each of these invoices."""
    records: Sequence[TenantRecord] = ()
    read_by: Mapping[TenantId, int] = attrs.field(factory=dict)
    """The generation of the rules by which the whole state of these locked tenants is read from now on."""
    occasions: Sequence[TenantOccasion] = ()
    """Occasions that no earlier unit of work kept."""
    events: Sequence[BillingEvent] = ()
    """New messages, numbered upwards from each tenant's counter without a gap."""
    access: Mapping[TenantId, AnnouncedAccess] = attrs.field(factory=dict)
    """The access that these locked tenants know of from now on, and when it is due to be decided again."""
    grants: Sequence[AccessGrant] = ()
    """Grants of locked tenants that were made or revoked."""
    views: Views = attrs.field(factory=dict)
    """All provisional views that each of these locked tenants has from now on."""
    echoes: Mapping[int, str] = attrs.field(factory=dict)
    """Events that an operation caused and that were applied, by dispatch id, with the operation's key."""


NO_CHANGES: Final = Changes()


@attrs.frozen(kw_only=True)
class TenantEvent:
    """A stored event that belongs to a tenant: it was applied, or it is dead."""

    dispatch_id: int
    key: EventKey
    customer_id: CustomerId | None
    applied: bool
    body_kept: bool


@attrs.frozen(kw_only=True)
class Holdings:
    """Everything that one tenant has."""

    customers: Sequence[TenantCustomer] = attrs.field(factory=list)
    subscriptions: Sequence[TenantSubscription] = attrs.field(factory=list)
    invoices: Sequence[SubscriptionInvoice] = attrs.field(factory=list)
    records: Sequence[TenantRecord] = attrs.field(factory=list)
    events: Sequence[TenantEvent] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class Transfer:
    """The part of a tenant's holdings that leaves it, and its place afterwards."""

    from_tenant: TenantId
    to_tenant: TenantId | None
    """The new tenant of everything; None if objects are removed, and customers left without a tenant."""
    customers: Collection[CustomerId] = ()
    subscriptions: Collection[SubscriptionId] = ()
    invoices: Collection[InvoiceId] = ()
    """Also their billed usage."""
    records: Collection[str] = ()
    views: Collection[str] = ()
    """Subscriptions and invoices whose provisional views leave. They need no rows."""
    events: Collection[int] = ()
    """Dispatch ids."""
    occasions_of: Collection[str] = ()
    """Objects and provider events. The new tenant gets their occasions, too, so that none is announced again."""
    withdrawn: Sequence[BillingEvent] = ()
    """Messages of the former tenant as they read from now on, under their numbers."""


ERASED: Final = "erased"
"""The reason of ignored events whose customer or objects belonged to a tenant that was erased."""


@attrs.frozen(kw_only=True)
class Erasure:
    """An operator's decision to erase a tenant, with what belongs to it."""

    tenant_id: TenantId
    customers: Collection[CustomerId] = ()
    """Its customers that pay for no other tenant: they are forgotten."""
    shared_customers: Collection[CustomerId] = ()
    """Its customers that pay for others, too: they lose their contact data and their link."""
    objects: Collection[str] = ()
    """The ids of its customers and objects. Events that name one of them are ignored from now on."""
    contacts: Collection[str] = ()
    """Names and e-mail addresses of its customers, which the audit log must not keep."""
    actor: str
    reason: str
    """Kept in the audit log, as the actor is."""
    token_lifetime: timedelta = timedelta(days=30)
    """How long a token may live. For so long those that were issued before are refused."""

    @property
    def names(self) -> frozenset[str]:
        """By what earlier entries of the audit log may name the tenant."""
        return frozenset((self.tenant_id, *self.customers, *self.objects, *self.contacts))


@attrs.frozen(kw_only=True)
class LockedTenants:
    """Tenants that a unit of work has locked, and the instant for which it decides on their access."""

    counters: Mapping[TenantId, int] = attrs.field(factory=dict)
    """Each tenant's highest message number."""
    now: datetime
    """The store's time, read when the last of the locks was held, so that it never runs backwards for a tenant."""
    announced: Mapping[TenantId, AnnouncedAccess] = attrs.field(factory=dict)
    """The access that each tenant was told last; a tenant that was told nothing yet is left out."""
    grants: Mapping[TenantId, Sequence[AccessGrant]] = attrs.field(factory=dict)
    """The grants that were not revoked, of tenants that have any, by the instant at which they were made."""
    views: Views = attrs.field(factory=dict)
    """The provisional views of tenants that have any."""
    generation: int = 0
    """The generation of the rules in force; 0 if none ever were."""
    behind: frozenset[TenantId] = frozenset()
    """Tenants among them whose state was read by earlier rules. One that was just created is not."""
    overtaken: bool = False
    """An object was taken away from one of them after this unit of work read that it is theirs. Start over."""


@attrs.frozen(kw_only=True)
class Held:
    """The claims that a unit of work holds, and the customers that were read with them."""

    claims: Sequence[Claim] = ()
    customers: Mapping[CustomerId, TenantCustomer] = attrs.field(factory=dict)
    """The known ones of the customers that were asked for, as `StateReader.customers` returns them."""


@runtime_checkable
class ClaimFence(Protocol):
    """The dispatch rows of a batch, held by the unit of work that folds it."""

    async def hold(self, claims: Sequence[Claim], *, customers: Collection[CustomerId] = ()) -> Held:
        """Lock the claims that are still ours, until the end, and read the customers of their events.

        The locks are the fence against a lost lease.
        """
        ...

    async def take(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Lock those claims that are not being processed elsewhere, whatever their status; held until the end.

        In place of `hold`, for a unit of work that is rolled back. Each claim has the attempt its event had when it was
        read; events that were claimed since are left out, and so are events that are held elsewhere. Returns the claims
        that a replay would have: renewed, so that their outcomes can be settled.
        """
        ...

    async def settle(self, outcomes: Sequence[Outcome], changes: Changes = NO_CHANGES) -> bool:
        """Save what events changed, as `save` does, and write the outcomes of their held claims.

        Returns whether events that waited for what is saved became due.

        An event whose tenant became known meanwhile is due, not parked. The row of a dead event keeps its customer and
        the tenant that the customer is linked to. Why an applied event was not confirmed is kept as a failed attempt.
        One that ends as `ERASED` loses its body.
        """
        ...


@runtime_checkable
class TenantLocks(Protocol):
    """Locks that are held until the unit of work ends."""

    async def lock_customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """Lock and return these customers; unknown ones are created without a tenant."""
        ...

    async def lock_tenants(self, ids: Collection[TenantId]) -> LockedTenants:
        """Lock these tenants. Unknown ones are created with number 0.

        Links and owners that were read before may have moved until the lock was held; `overtaken` says so. Read under
        the lock they stay until the end.
        """
        ...

    async def lock_catalog(self) -> None:
        """Lock prices, products and test clocks, which no tenant's lock covers."""
        ...


@runtime_checkable
class AccessSchedule(Protocol):
    """When the access of tenants has to be decided again. Each reading costs by what is due."""

    async def lock_due(self, *, policy: str, limit: int) -> LockedTenants:
        """Lock tenants that are due, the longest due first; those that are locked elsewhere are left out.

        `policy` is the fingerprint of the one that is to decide: tenants that another one decided about are due.
        `limit` counts those that the clock made due and those that a changed policy did, each.
        """
        ...


@runtime_checkable
class StateReader(Protocol):
    """Stored objects, as this unit of work sees them."""

    async def customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """Return those of these customers that are known."""
        ...

    async def owners(self, ids: Collection[str]) -> Mapping[str, TenantId]:
        """Return the tenants of these subscriptions, invoices and records; unknown ids are left out.

        May be called before the tenants are locked: `lock_tenants` says if one of the objects was moved meanwhile.
        """
        ...

    async def tenants_under(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, Collection[TenantId]]:
        """Return the tenants of all subscriptions of each of these customers, ended ones included, if it has any."""
        ...

    async def tenants_on(self, clocks: Collection[str]) -> Collection[TenantId]:
        """Return the tenants with subscriptions on these test clocks, ended ones included, at a cost by how many."""
        ...

    async def records(self, ids: Collection[str]) -> Sequence[TenantRecord]:
        """Return the records with these object ids, of any tenant and of none."""
        ...

    async def disputes(self, tenants: Collection[TenantId]) -> Sequence[TenantRecord]:
        """Return all disputes of these tenants, decided ones too, by id."""
        ...

    async def grant(self, grant_id: GrantId) -> AccessGrant | None:
        """Return a grant of any tenant, also a revoked one; None if there is none."""
        ...

    async def subscriptions(
        self, *, tenants: Collection[TenantId], ids: Collection[SubscriptionId]
    ) -> Sequence[TenantSubscription]:
        """Return all subscriptions of these tenants, and those with these ids of any tenant."""
        ...

    async def deciding_subscriptions(
        self,
        *,
        tenants: Collection[TenantId],
        ids: Collection[str] = (),
        billed_by: Collection[InvoiceId] = (),
        each_of: Collection[str] = (),
        live_of: Collection[TenantId] = (),
    ) -> Sequence[TenantSubscription]:
        """Return the subscriptions that decide on the access of tenants, at a cost that hardly grows with the others.

        Args:
            tenants: the tenants. Of their subscriptions without a standing (`standing_of`) all are returned; of equal
                standing the first by `latest_first`, leaving `ids` out of account: they may be about to change.
            ids: subscriptions to return as well, of any tenant. Other ids are skipped.
            billed_by: invoices whose subscriptions are returned as well, of any tenant.
            each_of: statuses whose subscriptions are all returned, because invoices decide on their access.
            live_of: those of the tenants whose live subscriptions are all returned.
        """
        ...

    async def invoices(
        self, *, ids: Collection[InvoiceId] = (), subscriptions: Collection[SubscriptionId] = ()
    ) -> Sequence[SubscriptionInvoice]:
        """Return the invoices with these ids and those of these subscriptions, of any tenant."""
        ...

    async def usage(self, ids: Collection[InvoiceId]) -> Mapping[InvoiceId, Sequence[UsageRecord]]:
        """Return the stored billed usage of each of these invoices, in no particular order; empty if it has none."""
        ...


@runtime_checkable
class StoredEvents(Protocol):
    """Earlier events and occasions, as this unit of work sees them."""

    async def stored_events(self, keys: Collection[EventKey]) -> Sequence[ProviderEvent]:
        """Return the stored events with these keys whose bodies are still kept."""
        ...

    async def echoes(self, operation_key: str) -> Sequence[ProviderEvent]:
        """Return the applied events that an operation caused and whose bodies are still kept, by dispatch id."""
        ...

    async def occasions(
        self, *, tenants: Collection[TenantId], keys: Collection[str]
    ) -> Collection[tuple[TenantId, str]]:
        """Return those of these occasions that these tenants have had, announced or not."""
        ...


@runtime_checkable
class LinkRegister(Protocol):
    """The decisions of operators about the tenants of customers and subscriptions: their log, and what they decide."""

    async def decisions(self, ids: Collection[str]) -> Sequence[LinkDecision]:
        """Return all decisions about these customers and subscriptions, in the order in which they were made.

        Those about an object that this unit of work has locked, itself or by its tenant, stay the same until its end.
        """
        ...

    async def decide(self, decision: LinkDecision, *, customers: Collection[CustomerId]) -> int:
        """Add a decision to the log and return its number. The object's customer and tenants are locked.

        Events that are dead because of a conflict of tenants become due, with fresh attempts, if their bodies are kept:
        those of these customers, and those of no customer.
        """
        ...


@runtime_checkable
class RulesRegister(Protocol):
    """The rules that were ever in force, and the tenants whose state was not yet read by the last of them."""

    async def active(self) -> RulesInForce | None:
        """Return the rules in force; None if none were ever activated."""
        ...

    async def was_active(self, fingerprint: str) -> bool:
        """Return whether rules with this fingerprint are or were in force."""
        ...

    async def activate(self, rules: RulesInForce, *, fingerprint: str, actor: str) -> bool:
        """Put rules in force under their generation. False, and nothing changes, if that is not the next one."""
        ...

    async def live_subscriptions(self, *, after: SubscriptionId, limit: int) -> Sequence[TenantSubscription]:
        """Return subscriptions that have not ended, with ids above `after`, by id."""
        ...

    async def tenants_behind(self, *, limit: int) -> Sequence[TenantId]:
        """Return tenants whose state was read by earlier rules than those in force, at a cost by how many they are."""
        ...

    async def count_behind(self) -> int:
        """Count the same tenants."""
        ...


@runtime_checkable
class TenantMoves(Protocol):
    """Everything that a tenant has, read and moved or removed as a whole. For operators: it may be much."""

    async def lock_events(self, tenant_ids: Collection[TenantId]) -> None:
        """Lock the events of these tenants. In place of `hold`, before everything else is locked."""
        ...

    async def holdings(self, tenant_id: TenantId) -> Holdings:
        """Return everything that a locked tenant has: objects by id, events by dispatch id."""
        ...

    async def messages_about(
        self, tenant_id: TenantId, *, events: Collection[EventId], objects: Collection[str]
    ) -> Sequence[BillingEvent]:
        """Return the tenant's messages that these provider events or objects caused, or that show one of the objects.

        Lowest numbers first, without those that are withdrawn.
        """
        ...

    async def transfer(self, transfer: Transfer) -> None:
        """Move objects and events to another locked tenant, or remove the objects. Called last but for `save`.

        Events that are moved keep what became of them, without a message. Where objects are removed, events that were
        applied become due as if they had never been, those that are being processed stay claimed, and dead ones belong
        to no tenant. Withdrawn messages are replaced, and the tenant's log on the bus is due to be (`LogRewrites`).
        """
        ...


@runtime_checkable
class TenantErasures(Protocol):
    """Deletes everything of a tenant, and recognizes later what belonged to it by digests. For operators."""

    async def lock_payers(self, tenant_id: TenantId) -> Mapping[CustomerId, TenantCustomer]:
        """Lock the events of a tenant and of its customers, then the customers that are linked to it or pay for it.

        In place of `hold` and `lock_customers`.
        """
        ...

    async def unresolved_operations(self, tenant_id: TenantId) -> int:
        """Count the tenant's operations without an outcome: they have to be settled first."""
        ...

    async def erase(self, erasure: Erasure) -> Mapping[str, int]:
        """Delete everything of a locked tenant and return how many rows of each kind went. Called last.

        The tenant's number rises by one and all messages up to it are gone (`MessageHistory.erased_until`). Its events
        keep their keys, so that no delivery brings them back: they are ignored as `ERASED`, without body, customer,
        tenant, errors and attempts. Positions of consumers, tickets, grants, operations with an outcome, and decisions
        about its objects go. Entries of the audit log with one of its names, as a whole string value in the JSON or as
        words of the reason (`Mentions`), lose filter, reason, result and progress. The log on the bus is due to be
        replaced by nothing (`LogRewrites`). Tokens that were issued to the tenant until now are revoked
        (`Revocations`). An entry `erase` is added to the audit log, with the tenant, the actor, the reason and the
        counts.
        """
        ...

    async def erased(self, ids: Collection[str]) -> Collection[str]:
        """Return those of these customers and objects that belonged to a tenant that was erased."""
        ...


@runtime_checkable
class BillingTransaction(
    ClaimFence,
    TenantLocks,
    AccessSchedule,
    StateReader,
    StoredEvents,
    LinkRegister,
    TenantMoves,
    TenantErasures,
    Protocol,
):
    """One unit of work. Everything it writes becomes visible together at its end, or not at all.

    Call `hold`, then `lock_customers`, then `lock_tenants`, then `lock_catalog`, then read: every caller uses this
    order, so that no two deadlock.
    """

    async def save(self, changes: Changes) -> None:
        """Write the changes and move the counters.

        Events that waited for a customer that got a tenant, or for a saved object, become due.
        Raises TenantConflictError when an object belongs to another tenant: nothing is written then.
        """
        ...


@runtime_checkable
class UnitOfWork(Protocol):
    """A source of units of work."""

    def transaction(self) -> AbstractAsyncContextManager[BillingTransaction]:
        """Begin a unit of work: committed at the end of the block, rolled back when an exception leaves it.

        Raises StoreUnavailableError, also when it is unknown whether the commit arrived.
        """
        ...


@runtime_checkable
class TenantReader(Protocol):
    """The state of tenants as they see it: of each object the provisional view, else the row. Only reads."""

    async def state(self, tenant_id: TenantId) -> TenantState:
        """Return a tenant's state and the number of its last message, as of one instant; empty if it is unknown."""
        ...

    async def subscriptions(self, tenant_id: TenantId) -> Sequence[TenantSubscription]:
        """Return all subscriptions, ended ones too, newest period first."""
        ...

    async def invoices(self, tenant_id: TenantId, *, limit: int) -> Sequence[SubscriptionInvoice]:
        """Return invoices, newest first; deleted drafts are left out."""
        ...

    async def usage(self, tenant_id: TenantId, *, limit: int) -> Sequence[UsageRecord]:
        """Return billed usage, newest period first."""
        ...

    async def records(self, tenant_id: TenantId, *, kinds: Collection[str] = (), limit: int) -> Sequence[TenantRecord]:
        """Return records of these kinds, or of all kinds: latest observed first, then by descending id."""
        ...

    async def grants(self, tenant_id: TenantId | None = None, *, limit: int) -> Sequence[AccessGrant]:
        """Return grants of one tenant or of all, the last made first; revoked and ended ones too."""
        ...

    async def customers(self, tenant_id: TenantId) -> Sequence[TenantCustomer]:
        """Return the customers that are linked to a tenant, deleted ones too, by id."""
        ...

    async def catalog(self) -> Sequence[TenantRecord]:
        """Return prices and products, deleted ones too, by ascending id."""
        ...


@runtime_checkable
class UncertainObjects(Protocol):
    """The objects that need a refetch. Only reads."""

    async def uncertain(self, *, after: str, limit: int) -> Sequence[Uncertainty]:
        """Return objects that are ambiguous or lack lines or features, with ids above `after`, by id.

        Also those whose provisional view is due to be replaced, once they have a row of the same tenant.
        """
        ...

    async def count_uncertain(self) -> Mapping[str, int]:
        """Count the same objects by kind, every kind included, at a cost that grows with their number only."""
        ...
