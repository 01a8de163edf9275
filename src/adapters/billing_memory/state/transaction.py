"""One unit of work over tenants' state, in process."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from datetime import datetime
from itertools import product
from typing import Any, TypeVar

import attrs

from billing_core.errors import TenantConflictError
from billing_core.events import BillingEvent, BillingEventType, Claim, Disposition, EventKey, Outcome, ProviderEvent
from billing_core.model import (
    AccessGrant,
    CustomerId,
    DisputeSnapshot,
    EventId,
    GrantId,
    InvoiceId,
    LinkDecision,
    ProvisionalView,
    Standing,
    SubscriptionId,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantSubscription,
    UsageRecord,
    latest_first,
    standing_of,
)
from billing_core.operations.stored import OperationStatus
from billing_core.oversight.ports import LoggedDecision
from billing_core.state.ports import (
    ERASED,
    NO_CHANGES,
    Changes,
    Erasure,
    Held,
    Holdings,
    LockedTenants,
    TenantEvent,
    Transfer,
)
from billing_core.stream.numbering import numbers_by_tenant
from billing_memory.database import MemoryDatabase, Tables, by_instant
from billing_memory.state.erasing import Eraser, digest

Key = TypeVar("Key")
Owned = TypeVar("Owned", TenantSubscription, SubscriptionInvoice, TenantRecord)
Tracked = TypeVar("Tracked", TenantCustomer, TenantSubscription, SubscriptionInvoice, TenantRecord)


class MemoryTransaction:
    """A `BillingTransaction`: the rows it writes lie over the stored ones until its end."""

    def __init__(self, database: MemoryDatabase, now: datetime) -> None:
        self._database = database
        self._now = now
        self._written = Tables()
        self._tables = self._written.over(database.tables)
        self._transferred: list[Transfer] = []
        self._erasures: list[tuple[Eraser, Mapping[str, int]]] = []

    def commit(self) -> None:
        """Make everything visible in one step: nothing else runs meanwhile."""
        stored = self._database.tables
        numbered = self._written.messages.keys() - stored.messages.keys()
        stored.update(self._written)
        self._database.outbox.update(dict.fromkeys(sorted(numbered), self._now))
        self._database.consumers.add((stored.messages[key] for key in sorted(numbered)), self._now)
        for transfer in self._transferred:
            if transfer.to_tenant is None:
                _remove(stored.subscriptions, transfer.subscriptions)
                _remove(stored.invoices, transfer.invoices)
                _remove(stored.usage, transfer.invoices)
                _remove(stored.records, transfer.records)
            for message in transfer.withdrawn:
                known = self._database.rewrites.get(message.tenant_id, 0)
                self._database.rewrites[message.tenant_id] = max(known, message.sequence)
        for eraser, counted in self._erasures:
            eraser.carry_out(counted)
        self._database.due.set()

    async def hold(self, claims: Sequence[Claim], *, customers: Collection[CustomerId] = ()) -> Held:
        """Lock those claims that still hold, and return the customers that are known."""
        held = [claim for claim in claims if self._tables.dispatch[claim.dispatch_id].held_by(claim)]
        self._database.held.update(claim.dispatch_id for claim in held)
        return Held(claims=held, customers=await self.customers(customers))

    async def take(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Lock those claims that are not being processed elsewhere, whatever their status, and return them renewed."""
        free = [claim for claim in claims if self._tables.dispatch[claim.dispatch_id].free_for(claim, self._now)]
        taken = [claim.renewed() for claim in free]
        for claim in taken:
            row = self._tables.dispatch[claim.dispatch_id]
            self._tables.dispatch[claim.dispatch_id] = attrs.evolve(
                row, disposition=Disposition.LEASED, attempt=claim.attempt, forgiven=claim.forgiven
            )
        self._database.held.update(claim.dispatch_id for claim in taken)
        return taken

    async def customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """Return those of these customers that are known."""
        known = self._tables.customers
        return {customer_id: known[customer_id] for customer_id in ids if customer_id in known}

    async def lock_customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """Return these customers; unknown ones are created without a tenant."""
        known = self._tables.customers
        return {each: known.setdefault(each, TenantCustomer(customer_id=each)) for each in ids}

    async def lock_tenants(self, ids: Collection[TenantId]) -> LockedTenants:
        """Return these tenants; unknown ones are created."""
        known = self._tables.access
        generation, generations = self._database.generation, self._tables.generations
        for tenant_id in ids:
            if tenant_id not in self._tables.counters:
                generations[tenant_id] = generation
        return LockedTenants(
            counters={tenant_id: self._tables.counters.setdefault(tenant_id, 0) for tenant_id in ids},
            announced={tenant_id: known[tenant_id] for tenant_id in ids if tenant_id in known},
            grants={tenant_id: held for tenant_id in ids if (held := self._grants_of(tenant_id))},
            views={tenant_id: views for tenant_id in ids if (views := self._tables.views.get(tenant_id))},
            now=self._now,
            generation=generation,
            behind=frozenset(id_ for id_ in ids if generations.get(id_, 0) < generation),
        )

    def _grants_of(self, tenant_id: TenantId) -> Sequence[AccessGrant]:
        held = [each for each in self._tables.grants.values() if each.tenant_id == tenant_id]
        return sorted((each for each in held if each.revoked_at is None), key=by_instant)

    async def grant(self, grant_id: GrantId) -> AccessGrant | None:
        """Return a grant of any tenant."""
        return self._tables.grants.get(grant_id)

    async def lock_due(self, *, policy: str, limit: int) -> LockedTenants:
        """Return tenants that are due; there is one unit of work at a time."""
        known = self._tables.access
        by_clock = [(each.due_at, id_) for id_, each in known.items() if each.due_at and each.due_at <= self._now]
        tenants = sorted(self._tables.counters)
        by_policy = [id_ for id_ in tenants if id_ not in known or known[id_].policy != policy]
        return await self.lock_tenants({*(id_ for _, id_ in sorted(by_clock)[:limit]), *by_policy[:limit]})

    async def lock_catalog(self) -> None:
        """Do nothing: there is one unit of work at a time."""

    async def owners(self, ids: Collection[str]) -> Mapping[str, TenantId]:
        """Return the tenants that own these objects; unknown objects are left out."""
        return self._tables.owners(ids)

    async def tenants_under(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, Collection[TenantId]]:
        """Return the tenants of all subscriptions of each of these customers."""
        found: defaultdict[CustomerId, set[TenantId]] = defaultdict(set)
        for each in self._tables.subscriptions.values():
            if each.snapshot.customer_id in ids:
                found[each.snapshot.customer_id].add(each.tenant_id)
        return found

    async def tenants_on(self, clocks: Collection[str]) -> Collection[TenantId]:
        """Return the tenants with subscriptions on these test clocks."""
        held = self._tables.subscriptions.values()
        return {each.tenant_id for each in held if each.snapshot.test_clock in clocks}

    async def records(self, ids: Collection[str]) -> Sequence[TenantRecord]:
        """Return the records with these object ids."""
        return [self._tables.records[id_] for id_ in sorted(set(ids)) if id_ in self._tables.records]

    async def disputes(self, tenants: Collection[TenantId]) -> Sequence[TenantRecord]:
        """Return all disputes of these tenants."""
        held = [self._tables.records[id_] for id_ in sorted(self._tables.records)]
        return [each for each in held if each.kind == DisputeSnapshot.kind and each.tenant_id in tenants]

    async def subscriptions(
        self, *, tenants: Collection[TenantId], ids: Collection[SubscriptionId]
    ) -> Sequence[TenantSubscription]:
        """Return all subscriptions of these tenants, and those with these ids."""
        return [
            found
            for found in self._tables.subscriptions.values()
            if found.snapshot.subscription_id in ids or found.tenant_id in tenants
        ]

    async def deciding_subscriptions(
        self,
        *,
        tenants: Collection[TenantId],
        ids: Collection[str] = (),
        billed_by: Collection[InvoiceId] = (),
        each_of: Collection[str] = (),
        live_of: Collection[TenantId] = (),
    ) -> Sequence[TenantSubscription]:
        """Return the subscriptions that decide on the access of these tenants, and those that are named otherwise."""
        invoices = self._tables.invoices
        billed = {invoices[id_].snapshot.subscription_id for id_ in billed_by if id_ in invoices}
        named = {held for held in self._tables.subscriptions if held in ids or held in billed}
        first: dict[tuple[TenantId, Standing], SubscriptionSnapshot] = {}
        for held in self._tables.subscriptions.values():
            seen = held.snapshot
            if held.tenant_id not in tenants or seen.subscription_id in ids:
                continue
            standing = standing_of(seen)
            if standing is None or seen.status in each_of or (held.tenant_id in live_of and not seen.ended):
                named.add(seen.subscription_id)
            else:
                key = held.tenant_id, standing
                first[key] = min(first.get(key, seen), seen, key=latest_first)
        named.update(seen.subscription_id for seen in first.values())
        return [held for id_, held in self._tables.subscriptions.items() if id_ in named]

    async def invoices(
        self, *, ids: Collection[InvoiceId] = (), subscriptions: Collection[SubscriptionId] = ()
    ) -> Sequence[SubscriptionInvoice]:
        """Return the invoices with these ids and those of these subscriptions."""
        return [
            found
            for found in self._tables.invoices.values()
            if found.snapshot.invoice_id in ids or found.snapshot.subscription_id in subscriptions
        ]

    async def usage(self, ids: Collection[InvoiceId]) -> Mapping[InvoiceId, Sequence[UsageRecord]]:
        """Return the billed usage that is stored for each of these invoices."""
        return {invoice_id: self._tables.usage.get(invoice_id, ()) for invoice_id in ids}

    async def stored_events(self, keys: Collection[EventKey]) -> Sequence[ProviderEvent]:
        """Return those of these events that are stored."""
        numbers = self._database.numbers
        return [self._tables.dispatch[numbers[key]].event for key in keys if key in numbers]

    async def echoes(self, operation_key: str) -> Sequence[ProviderEvent]:
        """Return the applied events that an operation caused and whose bodies are still kept, by dispatch id."""
        caused = sorted(id_ for id_, key in self._tables.echoes.items() if key == operation_key)
        rows = [self._tables.dispatch[id_] for id_ in caused]
        return [row.event for row in rows if row.claim.applied and row.event.body]

    async def occasions(
        self, *, tenants: Collection[TenantId], keys: Collection[str]
    ) -> Collection[tuple[TenantId, str]]:
        """Return those of these occasions that these tenants have had."""
        return [each for each in product(tenants, keys) if each in self._tables.occasions]

    async def decisions(self, ids: Collection[str]) -> Sequence[LinkDecision]:
        """Return all decisions about these customers and subscriptions, the first one first."""
        logged = sorted(self._tables.decisions.items())
        return [each.decision for _, each in logged if each.decision.object_id in ids]

    async def decide(self, decision: LinkDecision, *, customers: Collection[CustomerId]) -> int:
        """Add a decision to the log; events that are dead because of a conflict become due."""
        number = len(self._tables.decisions) + 1
        self._tables.decisions[number] = LoggedDecision(number=number, made_at=self._now, decision=decision)
        self._tables.revive(self._now, of=customers)
        return number

    async def lock_events(self, tenant_ids: Collection[TenantId]) -> None:
        """Do nothing: there is one unit of work at a time."""

    async def holdings(self, tenant_id: TenantId) -> Holdings:
        """Return everything that a tenant has."""
        tables = self._tables
        return Holdings(
            customers=_owned(tables.customers, tenant_id),
            subscriptions=_owned(tables.subscriptions, tenant_id),
            invoices=_owned(tables.invoices, tenant_id),
            records=_owned(tables.records, tenant_id),
            events=[
                TenantEvent(
                    dispatch_id=row.dispatch_id,
                    key=row.event.key,
                    customer_id=row.outcome.customer_id,
                    applied=row.claim.applied,
                    body_kept=bool(row.event.body),
                )
                for _, row in sorted(tables.dispatch.items())
                if row.outcome is not None and row.outcome.tenant_id == tenant_id
            ],
        )

    async def messages_about(
        self, tenant_id: TenantId, *, events: Collection[EventId], objects: Collection[str]
    ) -> Sequence[BillingEvent]:
        """Return the tenant's messages that these events or objects caused, or that show one of the objects."""
        mine = (message for (owner, _), message in sorted(self._tables.messages.items()) if owner == tenant_id)
        return [
            message
            for message in mine
            if message.event_type != BillingEventType.WITHDRAWN.value
            and (message.event_id in events or not _mentioned(message).isdisjoint(objects))
        ]

    async def transfer(self, transfer: Transfer) -> None:
        """Move objects and events to another tenant, or remove the objects, at the end."""
        to = transfer.to_tenant
        for customer_id in transfer.customers:
            customer = self._tables.customers.get(customer_id)
            if customer is None or customer.tenant_id != transfer.from_tenant:
                continue
            bare = TenantCustomer(customer_id=customer_id)
            self._tables.customers[customer_id] = bare if to is None else attrs.evolve(customer, tenant_id=to)
        if to is not None:
            _give(self._tables.subscriptions, transfer.subscriptions, to)
            _give(self._tables.invoices, transfer.invoices, to)
            _give(self._tables.records, transfer.records, to)
            for invoice_id in transfer.invoices:
                billed = self._tables.usage.get(invoice_id, ())
                self._tables.usage[invoice_id] = tuple(attrs.evolve(each, tenant_id=to) for each in billed)
            for tenant_id, key in list(self._tables.occasions):
                if tenant_id == transfer.from_tenant and key.split(":")[1] in transfer.occasions_of:
                    self._tables.occasions.setdefault((to, key), None)
        self._give_views(transfer)
        for dispatch_id in transfer.events:
            row = self._tables.dispatch[dispatch_id]
            self._tables.dispatch[dispatch_id] = row.taken_back(self._now) if to is None else row.moved(to)
        self._tables.messages.update({(each.tenant_id, each.sequence): each for each in transfer.withdrawn})
        self._transferred.append(transfer)

    def _give_views(self, transfer: Transfer) -> None:
        held = self._tables.views.get(transfer.from_tenant, ())
        moved = [view for view in held if view.object_id in transfer.views]
        if not moved:
            return
        self._tables.views[transfer.from_tenant] = tuple(view for view in held if view not in moved)
        if transfer.to_tenant is not None:
            views = [*self._tables.views.get(transfer.to_tenant, ()), *moved]
            theirs = [attrs.evolve(view, tenant_id=transfer.to_tenant) for view in views]
            self._tables.views[transfer.to_tenant] = tuple(sorted(theirs, key=lambda view: view.object_id))

    async def lock_payers(self, tenant_id: TenantId) -> Mapping[CustomerId, TenantCustomer]:
        """Return the customers that are linked to a tenant or pay for it."""
        linked = {id_ for id_, each in self._tables.customers.items() if each.tenant_id == tenant_id}
        held = self._tables.subscriptions.values()
        return await self.lock_customers(
            linked | {each.snapshot.customer_id for each in held if each.tenant_id == tenant_id}
        )

    async def unresolved_operations(self, tenant_id: TenantId) -> int:
        """Count the tenant's operations without an outcome."""
        known = self._database.operations.values()
        return sum(each.request.tenant_id == tenant_id and each.status is OperationStatus.BEGUN for each in known)

    async def erase(self, erasure: Erasure) -> Mapping[str, int]:
        """Count everything of a tenant, and delete it at the end."""
        eraser = Eraser(self._database, self._tables, erasure, self._now)
        counted = eraser.count()
        self._erasures.append((eraser, counted))
        return counted

    async def erased(self, ids: Collection[str]) -> Collection[str]:
        """Return those of these customers and objects that belonged to a tenant that was erased."""
        return [id_ for id_ in ids if digest(id_) in self._database.erased_objects]

    async def save(self, changes: Changes) -> None:
        """Write the changes, move the counters, and make due the events that waited for what is saved."""
        self._save(changes)

    def _save(self, changes: Changes) -> int:
        """Return how many events became due."""
        runs = numbers_by_tenant(changes.events)
        if any(self._tables.counters.get(tenant_id) != run.start - 1 for tenant_id, run in runs.items()):
            raise ValueError("messages must continue the counters of locked tenants")
        self._tables.counters.update({tenant_id: run[-1] for tenant_id, run in runs.items()})
        self._tables.messages.update({(event.tenant_id, event.sequence): event for event in changes.events})
        self._tables.access.update(changes.access)
        self._tables.generations.update(changes.read_by)
        for occasion in changes.occasions:
            self._tables.occasions.setdefault((occasion.tenant_id, occasion.key), occasion.sequence)
        self._tables.grants.update({each.grant_id: each for each in changes.grants})
        for tenant_id, views in changes.views.items():
            self._save_views(tenant_id, views)
        self._tables.echoes.update(changes.echoes)
        released = sum(map(self._save_customer, changes.customers))
        saved = [
            *(each.snapshot.object_id for each in changes.subscriptions),
            *(each.snapshot.object_id for each in changes.invoices),
            *(each.named_as for each in changes.records),
        ]
        arrived = set(saved) - self._tables.owners(saved).keys()
        _put_owned(self._tables.subscriptions, {each.snapshot.subscription_id: each for each in changes.subscriptions})
        _put_owned(self._tables.invoices, {each.snapshot.invoice_id: each for each in changes.invoices})
        _put_owned(self._tables.records, {each.snapshot.object_id: each for each in changes.records})
        for invoice_id, records in changes.usage.items():
            self._save_usage(invoice_id, records)
        return released + (self._tables.unpark(self._now, on=arrived) if arrived else 0)

    async def settle(self, outcomes: Sequence[Outcome], changes: Changes = NO_CHANGES) -> bool:
        """Write changes and the outcomes of held claims. An event parked on an object with a tenant is due again."""
        released = self._save(changes)
        for outcome in outcomes:
            row = self._tables.dispatch[outcome.claim.dispatch_id]
            if row.dispatch_id not in self._database.held or not row.held_by(outcome.claim):
                raise ValueError("only held claims can be settled, and each once")
            if outcome.disposition is Disposition.DEAD and outcome.tenant_id is None:
                outcome = attrs.evolve(outcome, tenant_id=self._tables.tenant_of(outcome.customer_id))  # noqa: PLW2901
            settled = row.settled(outcome, at=self._now)
            if outcome.reason == ERASED:
                settled = attrs.evolve(settled, event=attrs.evolve(settled.event, body=b""))
            self._tables.dispatch[row.dispatch_id] = settled
            if outcome.disposition is Disposition.PARKED and outcome.parked_on is not None:
                self._tables.unpark(self._now, on={outcome.parked_on, *outcome.waits_for})
        return released > 0

    def _save_customer(self, customer: TenantCustomer) -> int:
        known = self._tables.customers.get(customer.customer_id)
        owner = None if known is None else known.tenant_id
        if owner is not None and customer.tenant_id not in (None, owner):
            raise TenantConflictError(f"{customer.customer_id} is linked to another tenant")
        self._tables.customers[customer.customer_id] = attrs.evolve(customer, tenant_id=customer.tenant_id or owner)
        return self._tables.unpark(self._now, on={customer.customer_id}) if owner is None else 0

    def _save_views(self, tenant_id: TenantId, views: Sequence[ProvisionalView]) -> None:
        others = [views for id_, views in self._tables.views.items() if id_ != tenant_id]
        taken = {view.object_id for views in others for view in views}
        if not taken.isdisjoint(view.object_id for view in views):
            raise TenantConflictError("another tenant has a view of this object")
        self._tables.views[tenant_id] = tuple(views)

    def _save_usage(self, invoice_id: InvoiceId, records: Sequence[UsageRecord]) -> None:
        owners = {record.tenant_id for record in [*self._tables.usage.get(invoice_id, ()), *records]}
        if len(owners) > 1:
            raise TenantConflictError(f"the usage of {invoice_id} belongs to another tenant")
        self._tables.usage[invoice_id] = tuple(records)


def _owned(table: Mapping[Key, Tracked], tenant_id: TenantId) -> Sequence[Tracked]:
    return [row for _, row in sorted(table.items()) if row.tenant_id == tenant_id]


def _give(table: MutableMapping[Key, Owned], keys: Iterable[Key], to: TenantId) -> None:
    for key in keys:
        if key in table:
            table[key] = attrs.evolve(table[key], tenant_id=to)


def _remove(table: MutableMapping[Key, Any], keys: Iterable[Key]) -> None:
    for key in keys:
        table.pop(key, None)


def _mentioned(message: BillingEvent) -> set[str]:
    """Return the ids of the objects that a message shows, or that caused it."""
    payload = json.loads(message.payload)
    sections = (("source", "id"), ("subscription", "subscription_id"), ("invoice", "invoice_id"))
    return {id_ for section, name in sections if (id_ := (payload.get(section) or {}).get(name)) is not None}


def _put_owned(table: MutableMapping[Key, Owned], rows: Mapping[Key, Owned]) -> None:
    """Insert or replace rows. TenantConflictError for a row that belongs to another tenant."""
    for key, row in rows.items():
        known = table.get(key)
        if known is not None and known.tenant_id != row.tenant_id:
            raise TenantConflictError(f"{key} belongs to another tenant")
        table[key] = row
