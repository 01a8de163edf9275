"""The state of every tenant, in process."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from billing_core.model import (
    CATALOG_KINDS,
    DELETED,
    UNCERTAIN_KINDS,
    AccessGrant,
    EntitlementsSnapshot,
    InvoiceId,
    ProvisionalView,
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
    any_open,
    clock_times,
    invoice_order,
    is_out_of_scope,
    subscription_order,
    uncertainty_of,
    view_invoices,
    view_subscriptions,
)
from billing_core.model.time import end_of
from billing_core.state.ports import Clock
from billing_core.state.provisional import replacement_of
from billing_memory.database import MemoryDatabase, by_instant
from billing_memory.state.transaction import MemoryTransaction

_NEVER = datetime.min.replace(tzinfo=UTC)
_PERIODS_IN_STATE = 2
"""The running period and the one before."""


class MemoryRepository:
    """A `UnitOfWork`, `TenantReader` and `UncertainObjects` on a `MemoryDatabase`."""

    def __init__(self, database: MemoryDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        """Begin a unit of work; there is one at a time."""
        database = self._database
        async with database.writing:
            transaction = MemoryTransaction(database, self._clock.now())
            try:
                yield transaction
                transaction.commit()
            finally:
                database.held.clear()

    async def state(self, tenant_id: TenantId) -> TenantState:
        """Return a tenant's state and the number of its last message."""
        billed = self._invoices(tenant_id)
        paid = {invoice.snapshot.subscription_id for invoice in billed if invoice.snapshot.amount_paid > 0}
        owed = [invoice for invoice in billed if invoice.snapshot.outstanding]
        return TenantState(
            tenant_id=tenant_id,
            sequence=self._database.tables.counters.get(tenant_id, 0),
            as_of=self._clock.now(),
            generation=self._database.generation,
            subscriptions=tuple(self._subscriptions(tenant_id)),
            invoices=tuple(reversed(owed)),
            usage=tuple(_of_latest_periods(self._usage(tenant_id))),
            paying=frozenset(id_ for id_ in paid if id_ is not None),
            disputed=any_open(each for each in self._database.tables.records.values() if each.tenant_id == tenant_id),
            grants=tuple(each for each in reversed(self._grants(tenant_id)) if each.holds(self._clock.now())),
            clocks=self._clocks(tenant_id),
            features=tuple(sorted(self._features(tenant_id))),
            views=tuple(view for view in self._views(tenant_id) if not view.confirmed),
        )

    async def subscriptions(self, tenant_id: TenantId) -> Sequence[TenantSubscription]:
        """Return all subscriptions, newest period first."""
        return self._subscriptions(tenant_id)

    async def invoices(self, tenant_id: TenantId, *, limit: int) -> Sequence[SubscriptionInvoice]:
        """Return invoices without deleted drafts, newest first."""
        return [invoice for invoice in self._invoices(tenant_id) if invoice.snapshot.status != DELETED][:limit]

    async def usage(self, tenant_id: TenantId, *, limit: int) -> Sequence[UsageRecord]:
        """Return billed usage, newest period first."""
        return self._usage(tenant_id)[:limit]

    async def records(self, tenant_id: TenantId, *, kinds: Collection[str] = (), limit: int) -> Sequence[TenantRecord]:
        """Return records of these kinds, latest first."""
        mine = [
            found
            for found in self._database.tables.records.values()
            if found.tenant_id == tenant_id and (not kinds or found.snapshot.kind in kinds)
        ]
        mine.sort(key=lambda found: (found.provenance.observed_at, found.snapshot.object_id), reverse=True)
        return mine[:limit]

    async def grants(self, tenant_id: TenantId | None = None, *, limit: int) -> Sequence[AccessGrant]:
        """Return grants, the last made first."""
        return self._grants(tenant_id)[:limit]

    def _grants(self, tenant_id: TenantId | None) -> list[AccessGrant]:
        held = [each for each in self._database.tables.grants.values() if tenant_id in (None, each.tenant_id)]
        return sorted(held, key=by_instant, reverse=True)

    async def customers(self, tenant_id: TenantId) -> Sequence[TenantCustomer]:
        """Return the customers of a tenant by id."""
        stored = self._database.tables.customers
        return [stored[id_] for id_ in sorted(stored) if stored[id_].tenant_id == tenant_id]

    async def catalog(self) -> Sequence[TenantRecord]:
        """Return prices and products by id."""
        records = self._database.tables.records
        return [records[id_] for id_ in sorted(records) if records[id_].snapshot.kind in CATALOG_KINDS]

    async def uncertain(self, *, after: str, limit: int) -> Sequence[Uncertainty]:
        """Return objects whose state may be wrong, by id."""
        return [found for found in self._refetchable() if found.object_id > after][:limit]

    async def count_uncertain(self) -> Mapping[str, int]:
        """Count these objects by kind."""
        return {**dict.fromkeys(UNCERTAIN_KINDS, 0), **Counter(found.kind for found in self._refetchable())}

    def uncertain_of(self, tenant_id: TenantId | None = None) -> Sequence[Uncertainty]:
        """Return the uncertain objects of one tenant, or of all, by id."""
        tables = self._database.tables
        held: list[Tracked] = [*tables.subscriptions.values(), *tables.invoices.values()]
        held += [*tables.customers.values(), *tables.records.values()]
        mine = (each for each in held if tenant_id in (None, each.tenant_id))
        found = [uncertainty for each in mine if (uncertainty := uncertainty_of(each)) is not None]
        return sorted(found, key=lambda uncertainty: uncertainty.object_id)

    def _clocks(self, tenant_id: TenantId) -> Mapping[str, datetime]:
        named = {each.snapshot.test_clock for each in self._subscriptions(tenant_id)}
        return clock_times(each for id_, each in self._database.tables.records.items() if id_ in named)

    def _refetchable(self) -> Sequence[Uncertainty]:
        """Return uncertain objects and those whose provisional view is due to be replaced, by id."""
        found = {each.object_id: each for each in (*self.uncertain_of(), *self._due_views())}
        return [found[object_id] for object_id in sorted(found)]

    def _due_views(self) -> Iterable[Uncertainty]:
        """Yield the objects whose provisional view is due to be replaced and that have a row."""
        tables = self._database.tables
        for view in (view for views in tables.views.values() for view in views):
            subscription = tables.subscriptions.get(SubscriptionId(view.object_id))
            row = subscription or tables.invoices.get(InvoiceId(view.object_id))
            if row is None or row.tenant_id != view.tenant_id:
                continue
            if view.refetch_due_at <= self._clock.now() and not view.confirmed:
                yield replacement_of(view, row)

    def _features(self, tenant_id: TenantId) -> set[str]:
        entitled = [
            record.snapshot.features
            for record in self._database.tables.records.values()
            if record.tenant_id == tenant_id and isinstance(record.snapshot, EntitlementsSnapshot)
        ]
        return set().union(*entitled)

    def _views(self, tenant_id: TenantId) -> Sequence[ProvisionalView]:
        return self._database.tables.views.get(tenant_id, ())

    def _all_subscriptions(self, tenant_id: TenantId) -> Sequence[TenantSubscription]:
        stored = self._database.tables.subscriptions.values()
        return view_subscriptions(self._views(tenant_id), [each for each in stored if each.tenant_id == tenant_id])

    def _subscriptions(self, tenant_id: TenantId) -> list[TenantSubscription]:
        mine = [each for each in self._all_subscriptions(tenant_id) if not each.snapshot.out_of_scope]
        return sorted(mine, key=subscription_order, reverse=True)

    def _invoices(self, tenant_id: TenantId) -> list[SubscriptionInvoice]:
        stored = self._database.tables.invoices.values()
        shown = view_invoices(self._views(tenant_id), [each for each in stored if each.tenant_id == tenant_id])
        billed = {each.object_id: each.snapshot for each in self._all_subscriptions(tenant_id)}
        mine = [
            each
            for each in shown
            if not is_out_of_scope(each.snapshot, billed.get(each.snapshot.subscription_id or ""))
        ]
        return sorted(mine, key=invoice_order, reverse=True)

    def _is_out_of_scope(self, invoice: SubscriptionInvoice) -> bool:
        billed = self._database.tables.subscriptions.get(invoice.snapshot.subscription_id or SubscriptionId(""))
        return is_out_of_scope(invoice.snapshot, None if billed is None else billed.snapshot)

    def _usage(self, tenant_id: TenantId) -> list[UsageRecord]:
        invoices = self._database.tables.invoices
        mine = [
            record
            for invoice_id, of_invoice in self._database.tables.usage.items()
            if (invoice := invoices.get(invoice_id)) is None or not self._is_out_of_scope(invoice)
            for record in of_invoice
            if record.tenant_id == tenant_id
        ]
        return sorted(
            mine, key=lambda record: (end_of(record.period) or _NEVER, record.invoice_id, record.line_id), reverse=True
        )


def _of_latest_periods(newest_first: Iterable[UsageRecord]) -> Iterable[UsageRecord]:
    """Yield the records of the two newest periods that each feature of each subscription was billed for."""
    ends: dict[tuple[SubscriptionId | None, str], set[datetime | None]] = {}
    for record in newest_first:
        seen = ends.setdefault((record.subscription_id, record.feature_key), set())
        end = end_of(record.period)
        if end in seen or len(seen) < _PERIODS_IN_STATE:
            seen.add(end)
            yield record
