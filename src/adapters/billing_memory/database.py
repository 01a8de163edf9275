"""The tables that the memory adapters share, and the one lock that makes a unit of work."""

import asyncio
import itertools
from collections import ChainMap
from collections.abc import Collection, Iterable, MutableMapping
from datetime import datetime
from typing import Final

import attrs

from billing_core.errors import TenantConflictError
from billing_core.events import BillingEvent, Claim, Disposition, Effect, EventKey, Outcome, ProviderEvent
from billing_core.model import (
    OUT_OF_SCOPE,
    AccessGrant,
    AnnouncedAccess,
    CustomerId,
    GrantId,
    InvoiceId,
    ProvisionalView,
    RulesInForce,
    SubscriptionId,
    SubscriptionInvoice,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantSubscription,
    UsageRecord,
    payment_object_id,
)
from billing_core.operations.stored import StoredOperation
from billing_core.oversight.inspection import Audit, FailedAttempt
from billing_core.oversight.ports import LoggedDecision
from billing_core.state.shared_customers import SHARED_CUSTOMER
from billing_core.stream_access.ports import Revocation
from billing_memory.consumers.tables import ConsumerTables

NO_TENANT: Final = "no_tenant"
"""The reason of ignored events that waited too long for a tenant."""


@attrs.frozen(kw_only=True)
class Dispatch:
    """A stored event and how far it has been processed."""

    dispatch_id: int
    event: ProviderEvent
    disposition: Disposition
    due_at: datetime
    """While leased: when the lease runs out."""
    attempt: int = 0
    forgiven: int = 0
    reason: str | None = None
    error: str | None = None
    outcome: Outcome | None = None
    finished_at: datetime | None = None
    failures: tuple[FailedAttempt, ...] = ()
    duplicates: int = 0
    last_duplicate_at: datetime | None = None

    @property
    def claim(self) -> Claim:
        """Return the right to process the event in its current attempt."""
        return Claim(
            dispatch_id=self.dispatch_id,
            attempt=self.attempt,
            event=self.event,
            forgiven=self.forgiven,
            applied=self.outcome is not None and self.outcome.effect is not None,
            parked=self.outcome is not None and self.outcome.parked_on is not None,
        )

    def failed(self, *, at: datetime, reason: str, error: str | None) -> "Dispatch":
        """Return the row with its current attempt added to the failed ones."""
        failure = FailedAttempt(attempt=self.attempt, failed_at=at, reason=reason, error=error)
        return attrs.evolve(self, reason=reason, error=error, failures=(*self.failures, failure))

    def restored(self, *, at: datetime, reason: str, error: str) -> "Dispatch":
        """Return the row of an applied event that a replay could not confirm: applied, as it was."""
        row = self.failed(at=at, reason=reason, error=error)
        finished_at = self.finished_at or at
        return attrs.evolve(row, disposition=Disposition.APPLIED, reason=None, error=None, finished_at=finished_at)

    def settled(self, outcome: Outcome, *, at: datetime) -> "Dispatch":
        """Return the row with an outcome. Applied again without a new effect, it keeps its first effect."""
        before = self.outcome
        if before is not None and outcome.disposition is Disposition.APPLIED and outcome.effect is not Effect.CHANGED:
            outcome = attrs.evolve(outcome, effect=before.effect or outcome.effect)
        if before is not None:
            outcome = attrs.evolve(
                outcome,
                sequence=before.sequence if outcome.sequence is None else outcome.sequence,
                tenant_id=outcome.tenant_id or before.tenant_id,
                customer_id=outcome.customer_id or before.customer_id,
            )
        row = self
        if outcome.disposition is Disposition.DEAD or outcome.unconfirmed is not None:
            row = self.failed(at=at, reason=outcome.reason or "", error=outcome.error)
        if outcome.unconfirmed is not None:
            outcome = attrs.evolve(outcome, reason=None, error=None)
        return attrs.evolve(
            row,
            disposition=outcome.disposition,
            due_at=at,
            reason=outcome.reason,
            error=outcome.error,
            outcome=outcome,
            finished_at=None if outcome.disposition is Disposition.PARKED else at,
        )

    def moved(self, to: TenantId) -> "Dispatch":
        """Return the row of an event whose objects went to another tenant."""
        outcome = None if self.outcome is None else attrs.evolve(self.outcome, tenant_id=to, sequence=None)
        return attrs.evolve(self, outcome=outcome)

    def taken_back(self, now: datetime) -> "Dispatch":
        """Return the row of an event whose objects were removed: an applied one is due as if it never had been."""
        outcome = self.outcome
        if outcome is not None:
            outcome = attrs.evolve(outcome, tenant_id=None, sequence=None, effect=None)
        if self.disposition is not Disposition.APPLIED:
            return attrs.evolve(self, outcome=outcome)
        return attrs.evolve(
            self,
            outcome=outcome,
            disposition=Disposition.DUE,
            due_at=now,
            finished_at=None,
            forgiven=self.attempt,
        )

    def claimable(self, now: datetime) -> bool:
        """Return whether the event is due, or its lease has run out."""
        return self.disposition in (Disposition.DUE, Disposition.LEASED) and self.due_at <= now

    def free_for(self, claim: Claim, now: datetime) -> bool:
        """Return whether the event is not being processed, and was not claimed since `claim` was read."""
        leased = self.disposition is Disposition.LEASED and self.due_at > now
        return not leased and self.attempt == claim.attempt

    @property
    def waits(self) -> bool:
        """Return whether the event is parked on a customer or an object."""
        parked = self.outcome if self.disposition is Disposition.PARKED else None
        return parked is not None and parked.parked_on is not None

    @property
    def lapsed(self) -> bool:
        """Return whether the event stopped waiting and can still be processed."""
        ended = self.disposition is Disposition.IGNORED and self.reason in (NO_TENANT, SHARED_CUSTOMER, OUT_OF_SCOPE)
        return ended and bool(self.event.body)

    def held_by(self, claim: Claim) -> bool:
        """Return whether `claim` is the current one: the fence against a lost lease."""
        return self.disposition is Disposition.LEASED and self.attempt == claim.attempt


MessageKey = tuple[TenantId, int]


@attrs.define
class Tables:
    """All stored rows. Rows are added and replaced; a transaction lays its own over them."""

    dispatch: MutableMapping[int, Dispatch] = attrs.field(factory=dict)
    counters: MutableMapping[TenantId, int] = attrs.field(factory=dict)
    customers: MutableMapping[CustomerId, TenantCustomer] = attrs.field(factory=dict)
    subscriptions: MutableMapping[SubscriptionId, TenantSubscription] = attrs.field(factory=dict)
    invoices: MutableMapping[InvoiceId, SubscriptionInvoice] = attrs.field(factory=dict)
    usage: MutableMapping[InvoiceId, tuple[UsageRecord, ...]] = attrs.field(factory=dict)
    records: MutableMapping[str, TenantRecord] = attrs.field(factory=dict)
    messages: MutableMapping[MessageKey, BillingEvent] = attrs.field(factory=dict)
    access: MutableMapping[TenantId, AnnouncedAccess] = attrs.field(factory=dict)
    grants: MutableMapping[GrantId, AccessGrant] = attrs.field(factory=dict)
    decisions: MutableMapping[int, LoggedDecision] = attrs.field(factory=dict)
    """Decisions about links by their numbers."""
    generations: MutableMapping[TenantId, int] = attrs.field(factory=dict)
    """The rules by which each tenant's state was read."""
    occasions: MutableMapping[tuple[TenantId, str], int | None] = attrs.field(factory=dict)
    """The numbers of the messages that announced them."""
    views: MutableMapping[TenantId, tuple[ProvisionalView, ...]] = attrs.field(factory=dict)
    echoes: MutableMapping[int, str] = attrs.field(factory=dict)
    """The operation that caused each of these events."""

    def over(self, stored: "Tables") -> "Tables":
        """Return a view that reads through to `stored` and writes to these tables only."""
        return Tables(
            dispatch=ChainMap(self.dispatch, stored.dispatch),
            counters=ChainMap(self.counters, stored.counters),
            customers=ChainMap(self.customers, stored.customers),
            subscriptions=ChainMap(self.subscriptions, stored.subscriptions),
            invoices=ChainMap(self.invoices, stored.invoices),
            usage=ChainMap(self.usage, stored.usage),
            records=ChainMap(self.records, stored.records),
            messages=ChainMap(self.messages, stored.messages),
            access=ChainMap(self.access, stored.access),
            grants=ChainMap(self.grants, stored.grants),
            decisions=ChainMap(self.decisions, stored.decisions),
            generations=ChainMap(self.generations, stored.generations),
            occasions=ChainMap(self.occasions, stored.occasions),
            views=ChainMap(self.views, stored.views),
            echoes=ChainMap(self.echoes, stored.echoes),
        )

    def update(self, written: "Tables") -> None:
        """Add and replace the rows of `written`."""
        self.dispatch.update(written.dispatch)
        self.counters.update(written.counters)
        self.customers.update(written.customers)
        self.subscriptions.update(written.subscriptions)
        self.invoices.update(written.invoices)
        self.usage.update(written.usage)
        self.records.update(written.records)
        self.messages.update(written.messages)
        self.access.update(written.access)
        self.grants.update(written.grants)
        self.decisions.update(written.decisions)
        self.generations.update(written.generations)
        self.occasions.update(written.occasions)
        self.views.update(written.views)
        self.echoes.update(written.echoes)

    def owners(self, ids: Iterable[str]) -> dict[str, TenantId]:
        """Return the tenants that own these objects; unknown objects are left out."""
        found: dict[str, TenantId] = {}
        for id_ in ids:
            known = (
                self.subscriptions.get(SubscriptionId(id_))
                or self.invoices.get(InvoiceId(id_))
                or self.records.get(id_)
                or self.records.get(payment_object_id(id_))
            )
            if known is not None and known.tenant_id is not None:
                found[id_] = known.tenant_id
        return found

    def tenant_of(self, customer_id: CustomerId | None, about: Iterable[str] = ()) -> TenantId | None:
        """Return the tenant of a dead event: that of its customer, or without one the only owner of its objects."""
        if customer_id is not None:
            customer = self.customers.get(customer_id)
            return None if customer is None else customer.tenant_id
        owners = set(self.owners(about).values())
        return owners.pop() if len(owners) == 1 else None

    def owner(self, row: Dispatch) -> TenantId | None:
        """Return the tenant of an event. One that died before its customer got a tenant is that tenant's."""
        if row.outcome is None or row.outcome.tenant_id is not None or row.disposition is not Disposition.DEAD:
            return None if row.outcome is None else row.outcome.tenant_id
        return self.tenant_of(row.outcome.customer_id)

    def unpark(self, now: datetime, *, on: Collection[str] | None = None) -> int:
        """Make due the events that wait for an object, one of `on` if given, that has a tenant now; return how many."""
        ready = [
            row
            for row in self.dispatch.values()
            if row.disposition is Disposition.PARKED or row.lapsed
            if row.outcome is not None and self._tenant_known(row.outcome, on)
        ]
        for row in ready:
            due = attrs.evolve(row, disposition=Disposition.DUE, due_at=now, finished_at=None)
            self.dispatch[row.dispatch_id] = due
        return len(ready)

    def revive(self, now: datetime, *, of: Collection[CustomerId]) -> None:
        """Make due what is dead because of a conflict of tenants, of these customers and of no customer."""
        for row in list(self.dispatch.values()):
            customer_id = None if row.outcome is None else row.outcome.customer_id
            dead = row.disposition is Disposition.DEAD and row.reason == TenantConflictError.code
            if dead and bool(row.event.body) and (customer_id is None or customer_id in of):
                self.dispatch[row.dispatch_id] = attrs.evolve(
                    row, disposition=Disposition.DUE, due_at=now, finished_at=None, forgiven=row.attempt
                )

    def _tenant_known(self, parked: Outcome, on: Collection[str] | None) -> bool:
        if self.owners(id_ for id_ in parked.waits_for if on is None or id_ in on):
            return True
        if parked.parked_on is None or (on is not None and parked.parked_on not in on):
            return False
        customer = self.customers.get(CustomerId(parked.parked_on))
        return customer is not None and customer.tenant_id is not None


def by_instant(grant: AccessGrant) -> tuple[datetime, str]:
    """Return the key that sorts grants by the instant at which they were made."""
    return grant.granted_at, grant.grant_id


class MemoryDatabase:
    """The state that the memory adapters of one application share. Not for threads, and lost with the process."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.numbers: dict[EventKey, int] = {}
        self.audits: list[Audit] = []
        self.rewrites: dict[TenantId, int] = {}
        """Tenants whose log on the bus has to be replaced, each with the last of the messages that were withdrawn."""
        self.erased_until: dict[TenantId, int] = {}
        """Erased tenants, each with the number up to which its messages are gone."""
        self.erased_objects: set[bytes] = set()
        """Digests of the ids of their customers and objects."""
        self.revocations: dict[tuple[str, str], Revocation] = {}
        """Revoked tokens, by subject and name."""
        self.consumers = ConsumerTables()
        self.outbox: dict[MessageKey, datetime] = {}
        """Unpublished messages and when they were committed."""
        self.held: set[int] = set()
        """Dispatch rows that the running transaction holds: they cannot be claimed."""
        self.writing = asyncio.Lock()
        """Held by a transaction from beginning to end: there is one at a time."""
        self.rules: list[tuple[RulesInForce, str]] = []
        """All that were ever in force, each with its fingerprint; the last ones are in force."""
        self.operations: dict[int, StoredOperation] = {}
        """Decisions that were sent to the provider, by number."""
        self.operation_ids = itertools.count(1)
        self.operations_due: dict[int, datetime] = {}
        """When each of them is due to be settled, unless it is resolved."""
        self.due = asyncio.Event()
        """Set when events may have become due; cleared by `claim`."""

    @property
    def generation(self) -> int:
        """The generation of the rules in force; 0 if none ever were."""
        return len(self.rules)

    def revoke(self, revocation: Revocation) -> None:
        """Store a revocation; of two with the same subject the later instants are kept."""
        key = (revocation.subject, revocation.name)
        known = self.revocations.get(key, revocation)
        self.revocations[key] = attrs.evolve(
            revocation,
            revoked_at=max(known.revoked_at, revocation.revoked_at),
            kept_until=max(known.kept_until, revocation.kept_until),
        )

    def at_rest(self, dispatch_ids: Collection[int], now: datetime) -> list[Dispatch]:
        """Return those of these events that are not being processed, by number."""
        found = [row for id_ in sorted(set(dispatch_ids)) if (row := self.tables.dispatch.get(id_))]
        return [
            row
            for row in found
            if (row.disposition is not Disposition.LEASED or row.due_at <= now) and row.dispatch_id not in self.held
        ]
