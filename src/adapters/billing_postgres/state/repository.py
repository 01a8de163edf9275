"""The state of every tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final

import asyncpg
import attrs

from billing_core.model import (
    DELETED,
    AccessGrant,
    InvoiceSnapshot,
    ProvisionalView,
    SubscriptionId,
    SubscriptionInvoice,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantState,
    TenantSubscription,
    Uncertainty,
    UsageRecord,
    any_open,
    clock_times,
    invoice_order,
    is_out_of_scope,
    subscription_order,
    view_invoices,
    view_subscriptions,
)
from billing_core.state.clocks import read_clocks
from billing_postgres import queries
from billing_postgres.errors import translated
from billing_postgres.pool import Connection, Database
from billing_postgres.state import rows
from billing_postgres.state.transaction import PostgresTransaction
from billing_postgres.statements import Statements

_QUERIES: Final = MappingProxyType({**queries.load("read_state"), **queries.load("read_messages")})


async def read_state(connection: Connection, tenant_id: TenantId) -> TenantState:
    """Return a tenant's state; at one instant if the transaction of the connection has one snapshot."""
    with translated("state"):
        instant = await connection.fetchrow(_QUERIES["read_instant"])
        assert instant is not None  # it reads no table that could be empty
        tenant = await connection.fetchrow(_QUERIES["read_tenant"], tenant_id)
        invoices = await connection.fetch(_QUERIES["list_owed_invoices"], tenant_id)
        paying = await connection.fetch(_QUERIES["list_paying_subscriptions"], tenant_id)
        grants = await connection.fetch(_QUERIES["find_held_grants"], [tenant_id])
        disputes = await connection.fetch(_QUERIES["find_disputes"], [tenant_id])
        usage = await connection.fetch(_QUERIES["list_recent_usage"], tenant_id)
        features = await connection.fetch(_QUERIES["list_features"], tenant_id)
    shown = await _Shown.read(connection, tenant_id, provisional=tenant is not None and tenant["provisional"])
    owed = [each for each in await shown.invoices(map(rows.invoice_from_row, invoices)) if each.snapshot.outstanding]
    subscriptions = await shown.subscriptions()
    clocks = await read_clocks(shown.transaction, subscriptions)
    return TenantState(
        tenant_id=tenant_id,
        sequence=tenant["sequence"] if tenant else 0,
        as_of=instant["now"],
        generation=instant["generation"],
        subscriptions=tuple(subscriptions),
        invoices=tuple(owed),
        usage=tuple(map(rows.usage_from_row, usage)),
        paying=frozenset({*(row["subscription_id"] for row in paying), *shown.paying}),
        disputed=any_open(map(rows.record_from_row, disputes)),
        grants=tuple(grant for row in grants if (grant := rows.grant_from_row(row)).holds(instant["now"])),
        clocks=clock_times(clocks),
        features=tuple(row["feature"] for row in features),
        views=tuple(view for view in shown.views if not view.confirmed),
    )


@attrs.frozen(kw_only=True)
class _Shown:
    """The objects of a tenant as it sees them, read over one connection."""

    transaction: PostgresTransaction
    tenant_id: TenantId
    views: Sequence[ProvisionalView]

    @classmethod
    async def read(cls, connection: Connection, tenant_id: TenantId, *, provisional: bool = True) -> _Shown:
        """Read the provisional views of a tenant, if it has any."""
        with translated("find_views"):
            found = await connection.fetch(_QUERIES["find_views"], [tenant_id]) if provisional else ()
        views = list(map(rows.view_from_row, found))
        return cls(transaction=PostgresTransaction(connection), tenant_id=tenant_id, views=views)

    @property
    def paying(self) -> Iterable[SubscriptionId]:
        """The subscriptions for which an answer shows a payment."""
        for view in self.views:
            match view.snapshot:
                case InvoiceSnapshot(subscription_id=paid, amount_paid=amount) if paid is not None and amount > 0:
                    yield paid

    async def subscriptions(self) -> Sequence[TenantSubscription]:
        """Return the subscriptions without those to other products, newest period first."""
        shown = await self._all_subscriptions()
        return [each for each in shown if not each.snapshot.out_of_scope]

    async def invoices(self, stored: Iterable[SubscriptionInvoice]) -> Sequence[SubscriptionInvoice]:
        """Return stored invoices, and those that answers show, as the tenant sees them: oldest first."""
        found = {each.object_id: each for each in stored}
        viewed = [view.snapshot.invoice_id for view in self.views if isinstance(view.snapshot, InvoiceSnapshot)]
        if not viewed:
            return list(found.values())
        rows_of_views = await self.transaction.invoices(ids=viewed)
        found.update({each.object_id: each for each in rows_of_views if each.tenant_id == self.tenant_id})
        billed = {each.object_id: each.snapshot for each in await self._all_subscriptions()}
        shown = [
            each
            for each in view_invoices(self.views, found.values())
            if not is_out_of_scope(each.snapshot, billed.get(each.snapshot.subscription_id or ""))
        ]
        return sorted(shown, key=invoice_order)

    async def _all_subscriptions(self) -> Sequence[TenantSubscription]:
        stored = await self.transaction.subscriptions(tenants=[self.tenant_id], ids=[])
        if not self.views:
            return stored
        return sorted(view_subscriptions(self.views, stored), key=subscription_order, reverse=True)


class PostgresRepository:
    """A `UnitOfWork`, `TenantReader` and `UncertainObjects`. Reads take connections of `readers`, if given."""

    def __init__(
        self,
        database: Database,
        pool: asyncpg.Pool[asyncpg.Record],
        *,
        readers: asyncpg.Pool[asyncpg.Record] | None = None,
    ) -> None:
        self._database = database
        self._writers = pool
        self._readers = readers or pool
        self._statements = Statements(database, self._readers, _QUERIES)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        """Begin a unit of work. Each statement sees what was committed before it; locks keep that from changing."""
        async with self._database.begun(self._writers, isolation="read_committed", readonly=False) as connection:
            yield PostgresTransaction(connection)

    async def state(self, tenant_id: TenantId) -> TenantState:
        """Return a tenant's state and the number of its last message, read at one instant."""
        async with self._snapshot() as connection:
            return await read_state(connection, tenant_id)

    async def subscriptions(self, tenant_id: TenantId) -> Sequence[TenantSubscription]:
        """Return all subscriptions, newest period first."""
        async with self._snapshot() as connection:
            return await (await _Shown.read(connection, tenant_id)).subscriptions()

    async def invoices(self, tenant_id: TenantId, *, limit: int) -> Sequence[SubscriptionInvoice]:
        """Return invoices without deleted drafts, newest first."""
        async with self._snapshot() as connection:
            shown = await _Shown.read(connection, tenant_id)
            with translated("list_invoices"):
                found = await connection.fetch(_QUERIES["list_invoices"], tenant_id, limit)
            invoices = await shown.invoices(rows.invoice_from_row(row) for row in reversed(found))
        return [each for each in reversed(invoices) if each.snapshot.status != DELETED][:limit]

    async def usage(self, tenant_id: TenantId, *, limit: int) -> Sequence[UsageRecord]:
        """Return billed usage, newest period first."""
        return list(map(rows.usage_from_row, await self._statements.fetch("list_usage", tenant_id, limit)))

    async def records(self, tenant_id: TenantId, *, kinds: Collection[str] = (), limit: int) -> Sequence[TenantRecord]:
        """Return records of these kinds, latest first."""
        return list(
            map(rows.record_from_row, await self._statements.fetch("list_records", tenant_id, list(kinds), limit))
        )

    async def grants(self, tenant_id: TenantId | None = None, *, limit: int) -> Sequence[AccessGrant]:
        """Return grants, the last made first."""
        if tenant_id is None:
            return list(map(rows.grant_from_row, await self._statements.fetch("list_grants", limit)))
        return list(map(rows.grant_from_row, await self._statements.fetch("list_grants_of", tenant_id, limit)))

    async def customers(self, tenant_id: TenantId) -> Sequence[TenantCustomer]:
        """Return the customers of a tenant by id."""
        return list(map(rows.customer_from_row, await self._statements.fetch("list_customers_of", tenant_id)))

    async def catalog(self) -> Sequence[TenantRecord]:
        """Return prices and products by id."""
        return list(map(rows.record_from_row, await self._statements.fetch("list_catalog")))

    async def uncertain(self, *, after: str, limit: int) -> Sequence[Uncertainty]:
        """Return objects whose state may be wrong, by id."""
        return list(map(rows.uncertainty_from_row, await self._statements.fetch("list_uncertain", after, limit)))

    async def count_uncertain(self) -> Mapping[str, int]:
        """Count these objects by kind."""
        (row,) = await self._statements.fetch("count_uncertain")
        return dict(row)

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Connection]:
        """Borrow a connection that sees the database as it is now, whatever is committed meanwhile."""
        async with self._database.begun(self._readers, isolation="repeatable_read", readonly=True) as connection:
            yield connection
