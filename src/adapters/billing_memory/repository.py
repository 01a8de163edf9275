"""Tenants' state, history and outbox in process."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import attrs

from billing_core.errors import TenantConflictError
from billing_core.events import BillingEvent, Claim, Disposition, EventKey, Outcome, ProviderEvent
from billing_core.model import (
    CATALOG_KINDS,
    DELETED,
    CustomerId,
    DuplicateSubscriptions,
    EntitlementsSnapshot,
    EventId,
    InvoiceId,
    SubscriptionId,
    SubscriptionInvoice,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantState,
    TenantSubscription,
    Tracked,
    Uncertainty,
    UsageRecord,
    duplicate_subscriptions,
)
from billing_core.model.time import end_of
from billing_core.oversight.ports import CustomerLink
from billing_core.state.ports import Changes, Clock
from billing_core.state.precedence import uncertainty_of
from billing_core.stream.numbering import numbers_by_tenant
from billing_core.stream.ports import OutboxEntry
from billing_memory.database import MemoryDatabase, Tables

_NEVER = datetime.min.replace(tzinfo=UTC)
_PERIODS_IN_STATE = 2
"""The running period and the one before."""


class MemoryRepository:
    """A `BillingRepository` that works on a `MemoryDatabase`."""

    def __init__(self, database: MemoryDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["MemoryTransaction"]:
        """A unit of work; there is one at a time."""
        database = self._database
        async with database.writing:
            transaction = MemoryTransaction(database, self._clock.now())
            try:
                yield transaction
                transaction.commit()
            finally:
                database.held.clear()

    async def state(self, tenant_id: TenantId) -> TenantState:
        """A tenant's state and the number of its last message."""
        owed = [invoice for invoice in self._invoices(tenant_id) if invoice.snapshot.outstanding]
        return TenantState(
            tenant_id=tenant_id,
            sequence=self._database.tables.counters.get(tenant_id, 0),
            subscriptions=tuple(self._subscriptions(tenant_id)),
            invoices=tuple(reversed(owed)),
            usage=tuple(_of_latest_periods(self._usage(tenant_id))),
            features=tuple(sorted(self._features(tenant_id))),
        )

    async def subscriptions(self, tenant_id: TenantId) -> Sequence[TenantSubscription]:
        """All subscriptions, newest period first."""
        return self._subscriptions(tenant_id)

    async def invoices(self, tenant_id: TenantId, *, limit: int) -> Sequence[SubscriptionInvoice]:
        """Invoices without deleted drafts, newest first."""
        return [invoice for invoice in self._invoices(tenant_id) if invoice.snapshot.status != DELETED][:limit]

    async def usage(self, tenant_id: TenantId, *, limit: int) -> Sequence[UsageRecord]:
        """Billed usage, newest period first."""
        return self._usage(tenant_id)[:limit]

    async def records(self, tenant_id: TenantId, *, kinds: Collection[str] = (), limit: int) -> Sequence[TenantRecord]:
        """Records of these kinds, latest first."""
        mine = [
            found
            for found in self._database.tables.records.values()
            if found.tenant_id == tenant_id and (not kinds or found.snapshot.kind in kinds)
        ]
        mine.sort(key=lambda found: (found.provenance.observed_at, found.snapshot.object_id), reverse=True)
        return mine[:limit]

    async def catalog(self) -> Sequence[TenantRecord]:
        """Prices and products by id."""
        records = self._database.tables.records
        return [records[id_] for id_ in sorted(records) if records[id_].snapshot.kind in CATALOG_KINDS]

    async def events(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """Messages numbered above `after`, lowest first."""
        last = min(self._database.tables.counters.get(tenant_id, 0), after + limit)
        return [self._database.tables.messages[tenant_id, number] for number in range(after + 1, last + 1)]

    async def uncertain(self, *, after: str, limit: int) -> Sequence[Uncertainty]:
        """Objects whose state may be wrong, by id."""
        tables = self._database.tables
        held: list[Tracked] = [*tables.subscriptions.values(), *tables.invoices.values()]
        held += [*tables.customers.values(), *tables.records.values()]
        found = [
            uncertainty
            for each in held
            if (uncertainty := uncertainty_of(each)) is not None and uncertainty.object_id > after
        ]
        return sorted(found, key=lambda uncertainty: uncertainty.object_id)[:limit]

    async def duplicate_subscriptions(self) -> Sequence[DuplicateSubscriptions]:
        """Tenants with several live subscriptions of one plan."""
        return duplicate_subscriptions(self._database.tables.subscriptions.values())

    async def customers(self, *, linked: bool, after: str, limit: int) -> Sequence[CustomerLink]:
        """Customers with or without a tenant, by id."""
        parked = Counter(
            row.outcome.parked_on
            for row in self._database.tables.dispatch.values()
            if row.disposition is Disposition.PARKED and row.outcome
        )
        return [
            CustomerLink(customer_id=each.customer_id, tenant_id=each.tenant_id, waiting=parked[each.customer_id])
            for _, each in sorted(self._database.tables.customers.items())
            if (each.tenant_id is not None) == linked and each.customer_id > after
        ][:limit]

    async def sequence(self, tenant_id: TenantId) -> int:
        """The number of a tenant's last message."""
        return self._database.tables.counters.get(tenant_id, 0)

    async def sequences(self, tenant_ids: Collection[TenantId]) -> Mapping[TenantId, int]:
        """See BillingRepository."""
        counters = self._database.tables.counters
        return {tenant_id: counters[tenant_id] for tenant_id in tenant_ids if tenant_id in counters}

    def _features(self, tenant_id: TenantId) -> set[str]:
        entitled = [
            record.snapshot.features
            for record in self._database.tables.records.values()
            if record.tenant_id == tenant_id and isinstance(record.snapshot, EntitlementsSnapshot)
        ]
        return set().union(*entitled)

    def _subscriptions(self, tenant_id: TenantId) -> list[TenantSubscription]:
        mine = [found for found in self._database.tables.subscriptions.values() if found.tenant_id == tenant_id]
        return sorted(
            mine,
            key=lambda found: (found.snapshot.current_period_end or _NEVER, found.snapshot.subscription_id),
            reverse=True,
        )

    def _invoices(self, tenant_id: TenantId) -> list[SubscriptionInvoice]:
        mine = [found for found in self._database.tables.invoices.values() if found.tenant_id == tenant_id]
        return sorted(
            mine,
            key=lambda found: (end_of(found.snapshot.period) or _NEVER, found.snapshot.invoice_id),
            reverse=True,
        )

    def _usage(self, tenant_id: TenantId) -> list[UsageRecord]:
        records = self._database.tables.usage.values()
        mine = [record for of_invoice in records for record in of_invoice if record.tenant_id == tenant_id]
        return sorted(
            mine,
            key=lambda record: (end_of(record.period) or _NEVER, record.invoice_id, record.line_id),
            reverse=True,
        )


def _of_latest_periods(newest_first: Iterable[UsageRecord]) -> Iterable[UsageRecord]:
    """The records of the two newest periods that each feature of each subscription was billed for."""
    ends: dict[tuple[SubscriptionId | None, str], set[datetime | None]] = {}
    for record in newest_first:
        seen = ends.setdefault((record.subscription_id, record.feature_key), set())
        end = end_of(record.period)
        if end in seen or len(seen) < _PERIODS_IN_STATE:
            seen.add(end)
            yield record


Key = TypeVar("Key")
Owned = TypeVar("Owned", TenantSubscription, SubscriptionInvoice, TenantRecord)


class MemoryTransaction:
    """A unit of work: the rows it writes lie over the stored ones until its end."""

    def __init__(self, database: MemoryDatabase, now: datetime) -> None:
        self._database = database
        self._now = now
        self._written = Tables()
        self._tables = self._written.over(database.tables)

    def commit(self) -> None:
        """Make everything visible in one step: nothing else runs meanwhile."""
        self._database.tables.update(self._written)
        self._database.outbox.update(dict.fromkeys(self._written.messages, self._now))
        self._database.due.set()

    async def hold(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Those of the claims that are still ours."""
        ours = [claim for claim in claims if self._tables.dispatch[claim.dispatch_id].held_by(claim)]
        self._database.held.update(claim.dispatch_id for claim in ours)
        return ours

    async def take(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Those of the claims whose events nobody works on."""
        free = [claim for claim in claims if self._tables.dispatch[claim.dispatch_id].free_for(claim, self._now)]
        for claim in free:
            row = self._tables.dispatch[claim.dispatch_id]
            self._tables.dispatch[claim.dispatch_id] = attrs.evolve(row, disposition=Disposition.LEASED)
        self._database.held.update(claim.dispatch_id for claim in free)
        return free

    async def customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """The known ones of these customers."""
        known = self._tables.customers
        return {customer_id: known[customer_id] for customer_id in ids if customer_id in known}

    async def lock_customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """These customers; unknown ones are created without a tenant."""
        known = self._tables.customers
        return {each: known.setdefault(each, TenantCustomer(customer_id=each)) for each in ids}

    async def lock_tenants(self, ids: Collection[TenantId]) -> Mapping[TenantId, int]:
        """Each tenant's counter."""
        return {tenant_id: self._tables.counters.setdefault(tenant_id, 0) for tenant_id in ids}

    async def lock_catalog(self) -> None:
        """Nothing to do: there is one unit of work at a time."""

    async def owners(self, ids: Collection[str]) -> Mapping[str, TenantId]:
        """Whose subscriptions, invoices and records these are."""
        return self._tables.owners(ids)

    async def records(self, ids: Collection[str]) -> Sequence[TenantRecord]:
        """The records with these object ids."""
        return [self._tables.records[id_] for id_ in sorted(set(ids)) if id_ in self._tables.records]

    async def subscriptions(
        self, *, tenants: Collection[TenantId], ids: Collection[SubscriptionId]
    ) -> Sequence[TenantSubscription]:
        """All subscriptions of these tenants, and those with these ids."""
        return [
            found
            for found in self._tables.subscriptions.values()
            if found.snapshot.subscription_id in ids or found.tenant_id in tenants
        ]

    async def invoices(
        self, *, ids: Collection[InvoiceId] = (), subscriptions: Collection[SubscriptionId] = ()
    ) -> Sequence[SubscriptionInvoice]:
        """Invoices with these ids and of these subscriptions."""
        return [
            found
            for found in self._tables.invoices.values()
            if found.snapshot.invoice_id in ids or found.snapshot.subscription_id in subscriptions
        ]

    async def usage(self, ids: Collection[InvoiceId]) -> Mapping[InvoiceId, Sequence[UsageRecord]]:
        """The billed usage that is stored of each of these invoices."""
        return {invoice_id: self._tables.usage.get(invoice_id, ()) for invoice_id in ids}

    async def stored_events(self, keys: Collection[EventKey]) -> Sequence[ProviderEvent]:
        """The stored ones of these events."""
        numbers = self._database.numbers
        return [self._tables.dispatch[numbers[key]].event for key in keys if key in numbers]

    async def notified(self, ids: Collection[EventId]) -> Collection[tuple[TenantId, EventId]]:
        """Which of these provider events a tenant has a message of."""
        messages = self._tables.messages.values()
        return {(message.tenant_id, message.event_id) for message in messages if message.event_id in ids}

    async def save(self, changes: Changes) -> None:
        """Write the changes, move the counters, and let the events that waited for them leave the car park."""
        runs = numbers_by_tenant(changes.events)
        if any(self._tables.counters.get(tenant_id) != run.start - 1 for tenant_id, run in runs.items()):
            raise ValueError("messages must continue the counters of locked tenants")
        self._tables.counters.update({tenant_id: run[-1] for tenant_id, run in runs.items()})
        self._tables.messages.update({(event.tenant_id, event.sequence): event for event in changes.events})
        for customer in changes.customers:
            self._save_customer(customer)
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
        if arrived:
            self._tables.unpark(self._now, on=arrived)

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Write what became of held claims. An event that is parked on what has a tenant by now is due again."""
        for outcome in outcomes:
            row = self._tables.dispatch[outcome.claim.dispatch_id]
            if row.dispatch_id not in self._database.held or not row.held_by(outcome.claim):
                raise ValueError("only held claims can be settled, and each once")
            self._tables.dispatch[row.dispatch_id] = row.settled(outcome, at=self._now)
            if outcome.disposition is Disposition.PARKED and outcome.parked_on is not None:
                self._tables.unpark(self._now, on={outcome.parked_on, *outcome.waits_for})

    def _save_customer(self, customer: TenantCustomer) -> None:
        known = self._tables.customers.get(customer.customer_id)
        owner = None if known is None else known.tenant_id
        if owner is not None and customer.tenant_id not in (None, owner):
            raise TenantConflictError(f"{customer.customer_id} is linked to another tenant")
        self._tables.customers[customer.customer_id] = attrs.evolve(customer, tenant_id=customer.tenant_id or owner)
        if owner is None:
            self._tables.unpark(self._now, on={customer.customer_id})

    def _save_usage(self, invoice_id: InvoiceId, records: Sequence[UsageRecord]) -> None:
        owners = {record.tenant_id for record in [*self._tables.usage.get(invoice_id, ()), *records]}
        if len(owners) > 1:
            raise TenantConflictError(f"the usage of {invoice_id} belongs to another tenant")
        self._tables.usage[invoice_id] = tuple(records)


def _put_owned(table: MutableMapping[Key, Owned], rows: Mapping[Key, Owned]) -> None:
    """Insert or replace rows; none that belongs to another tenant."""
    for key, row in rows.items():
        known = table.get(key)
        if known is not None and known.tenant_id != row.tenant_id:
            raise TenantConflictError(f"{key} belongs to another tenant")
        table[key] = row


class MemoryOutbox:
    """An `Outbox` over the messages of a `MemoryDatabase`."""

    def __init__(self, database: MemoryDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def unpublished(self, *, older_than: timedelta, limit: int) -> Sequence[OutboxEntry]:
        """Messages that have waited at least `older_than`, the longest waiting first."""
        latest = self._clock.now() - older_than
        waiting = sorted((at, key) for key, at in self._database.outbox.items() if at <= latest)
        return [OutboxEntry(event=self._database.tables.messages[key], committed_at=at) for at, key in waiting[:limit]]

    async def published(self, events: Collection[BillingEvent]) -> None:
        """Take messages out."""
        for event in events:
            self._database.outbox.pop((event.tenant_id, event.sequence), None)

    async def oldest(self) -> timedelta:
        """How long the longest waiting message has waited."""
        now = self._clock.now()
        return max((now - at for at in self._database.outbox.values()), default=timedelta(0))

    async def history(self, *, after: tuple[TenantId, int], newest: int, limit: int) -> Sequence[BillingEvent]:
        """Messages that were taken out, by tenant and number, those behind `after`; of each tenant the `newest`."""
        tables = self._database.tables
        found = [
            (tenant_id, sequence)
            for tenant_id, sequence in sorted(tables.messages)
            if (tenant_id, sequence) > after
            and sequence > tables.counters[tenant_id] - newest
            and (tenant_id, sequence) not in self._database.outbox
        ]
        return [tables.messages[key] for key in found[:limit]]
