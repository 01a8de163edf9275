"""The state of every tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final

import asyncpg

from billing_core.model import (
    AccessGrant,
    SubscriptionInvoice,
    TenantId,
    TenantRecord,
    TenantState,
    TenantSubscription,
    Uncertainty,
    UsageRecord,
    any_open,
    clock_times,
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
        sequence = await connection.fetchval(_QUERIES["get_sequence"], tenant_id)
        invoices = await connection.fetch(_QUERIES["list_owed_invoices"], tenant_id)
        paying = await connection.fetch(_QUERIES["list_paying_subscriptions"], tenant_id)
        grants = await connection.fetch(_QUERIES["find_held_grants"], [tenant_id])
        disputes = await connection.fetch(_QUERIES["find_disputes"], [tenant_id])
        usage = await connection.fetch(_QUERIES["list_recent_usage"], tenant_id)
        features = await connection.fetch(_QUERIES["list_features"], tenant_id)
    subscriptions = await _read_subscriptions(connection, tenant_id)
    clocks = await read_clocks(PostgresTransaction(connection), subscriptions)
    return TenantState(
        tenant_id=tenant_id,
        sequence=sequence or 0,
        as_of=instant["now"],
        generation=instant["generation"],
        subscriptions=tuple(subscriptions),
        invoices=tuple(map(rows.invoice_from_row, invoices)),
        usage=tuple(map(rows.usage_from_row, usage)),
        paying=frozenset(row["subscription_id"] for row in paying),
        disputed=any_open(map(rows.record_from_row, disputes)),
        grants=tuple(grant for row in grants if (grant := rows.grant_from_row(row)).holds(instant["now"])),
        clocks=clock_times(clocks),
        features=tuple(row["feature"] for row in features),
    )


async def _read_subscriptions(connection: Connection, tenant_id: TenantId) -> Sequence[TenantSubscription]:
    """Return a tenant's subscriptions without those to other products."""
    stored = await PostgresTransaction(connection).subscriptions(tenants=[tenant_id], ids=[])
    return [each for each in stored if not each.snapshot.out_of_scope]


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
            return await _read_subscriptions(connection, tenant_id)

    async def invoices(self, tenant_id: TenantId, *, limit: int) -> Sequence[SubscriptionInvoice]:
        """Return invoices without deleted drafts, newest first."""
        return list(map(rows.invoice_from_row, await self._statements.fetch("list_invoices", tenant_id, limit)))

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
