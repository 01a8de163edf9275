"""What every tenant has, the history of how it came about, and what of it the bus has not confirmed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import asyncpg

from billing_core.events import BillingEvent
from billing_core.model import (
    DuplicateSubscriptions,
    SubscriptionInvoice,
    TenantId,
    TenantRecord,
    TenantState,
    TenantSubscription,
    Uncertainty,
    UsageRecord,
)
from billing_core.oversight.ports import CustomerLink
from billing_core.stream.ports import OutboxEntry
from billing_postgres import queries, rows
from billing_postgres.errors import translated
from billing_postgres.pool import Connection, Database
from billing_postgres.transaction import PostgresTransaction

_READ: Final = MappingProxyType({**queries.load("read_state"), **queries.load("records")})
_UPKEEP: Final = queries.load("read_upkeep")
_OUTBOX: Final = queries.load("write_outbox")


async def read_state(connection: Connection, tenant_id: TenantId) -> TenantState:
    """A tenant's state, at one instant if the connection is in a transaction that sees only one."""
    with translated("state"):
        sequence = await connection.fetchval(_READ["get_sequence"], tenant_id)
        invoices = await connection.fetch(_READ["list_owed_invoices"], tenant_id)
        usage = await connection.fetch(_READ["list_recent_usage"], tenant_id)
        features = await connection.fetch(_READ["list_features"], tenant_id)
    subscriptions = await PostgresTransaction(connection).subscriptions(tenants=[tenant_id], ids=[])
    return TenantState(
        tenant_id=tenant_id,
        sequence=sequence or 0,
        subscriptions=tuple(subscriptions),
        invoices=tuple(map(rows.invoice_from_row, invoices)),
        usage=tuple(map(rows.usage_from_row, usage)),
        features=tuple(row["feature"] for row in features),
    )


class PostgresRepository:
    """A `BillingRepository`. With `readers`, readers cannot take the connections that writers need."""

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

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        """A unit of work. Each statement sees what was committed before it: the locks keep that from changing."""
        async with self._database.begun(self._writers, isolation="read_committed", readonly=False) as connection:
            yield PostgresTransaction(connection)

    async def state(self, tenant_id: TenantId) -> TenantState:
        """A tenant's state and the number of its last message, read at one instant."""
        async with self._snapshot() as connection:
            return await read_state(connection, tenant_id)

    async def subscriptions(self, tenant_id: TenantId) -> Sequence[TenantSubscription]:
        """All subscriptions, newest period first."""
        async with self._snapshot() as connection:
            return await PostgresTransaction(connection).subscriptions(tenants=[tenant_id], ids=[])

    async def invoices(self, tenant_id: TenantId, *, limit: int) -> Sequence[SubscriptionInvoice]:
        """Invoices without deleted drafts, newest first."""
        return list(map(rows.invoice_from_row, await self._read("list_invoices", tenant_id, limit)))

    async def usage(self, tenant_id: TenantId, *, limit: int) -> Sequence[UsageRecord]:
        """Billed usage, newest period first."""
        return list(map(rows.usage_from_row, await self._read("list_usage", tenant_id, limit)))

    async def records(self, tenant_id: TenantId, *, kinds: Collection[str] = (), limit: int) -> Sequence[TenantRecord]:
        """Records of these kinds, latest first."""
        return list(map(rows.record_from_row, await self._read("list_records", tenant_id, list(kinds), limit)))

    async def catalog(self) -> Sequence[TenantRecord]:
        """Prices and products by id."""
        return list(map(rows.record_from_row, await self._read("list_catalog")))

    async def events(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """Messages numbered above `after`, lowest first."""
        return list(map(rows.message_from_row, await self._read("list_messages", tenant_id, after, limit)))

    async def uncertain(self, *, after: str, limit: int) -> Sequence[Uncertainty]:
        """Objects whose state may be wrong, by id."""
        return list(map(rows.uncertainty_from_row, await self._look("list_uncertain", after, limit)))

    async def duplicate_subscriptions(self) -> Sequence[DuplicateSubscriptions]:
        """Tenants with several live subscriptions of one plan."""
        return [
            DuplicateSubscriptions(tenant_id=tenant_id, plan_code=plan_code, subscription_ids=tuple(subscription_ids))
            for tenant_id, plan_code, subscription_ids in await self._look("list_duplicate_subscriptions")
        ]

    async def customers(self, *, linked: bool, after: str, limit: int) -> Sequence[CustomerLink]:
        """Customers with or without a tenant, by id."""
        return [
            CustomerLink(customer_id=customer_id, tenant_id=tenant_id, waiting=waiting)
            for customer_id, tenant_id, waiting in await self._look("list_customers", linked, after, limit)
        ]

    async def sequence(self, tenant_id: TenantId) -> int:
        """The number of a tenant's last message."""
        found = await self._read("get_sequence", tenant_id)
        return found[0]["sequence"] if found else 0

    async def sequences(self, tenant_ids: Collection[TenantId]) -> Mapping[TenantId, int]:
        """See BillingRepository."""
        found = await self._read("get_sequences", list(tenant_ids))
        return {row["tenant_id"]: row["sequence"] for row in found}

    async def _read(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._database.acquire(self._readers) as connection:
            with translated(query):
                return await connection.fetch(_READ[query], *arguments)

    async def _look(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Across all tenants."""
        async with self._database.acquire(self._readers) as connection:
            with translated(query):
                return await connection.fetch(_UPKEEP[query], *arguments)

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Connection]:
        """A connection that sees the database as it is now, whatever is committed meanwhile."""
        async with self._database.begun(self._readers, isolation="repeatable_read", readonly=True) as connection:
            yield connection


class PostgresOutbox:
    """An `Outbox`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._database = database
        self._pool = pool

    async def unpublished(self, *, older_than: timedelta, limit: int) -> Sequence[OutboxEntry]:
        """Messages that have waited at least `older_than`, the longest waiting first."""
        found = await self._fetch("list_unpublished", older_than, limit)
        return [rows.outbox_entry_from_row(row) for row in found]

    async def published(self, events: Collection[BillingEvent]) -> None:
        """Take messages out."""
        if events:
            await self._fetch(
                "delete_published", [event.tenant_id for event in events], [event.sequence for event in events]
            )

    async def oldest(self) -> timedelta:
        """How long the longest waiting message has waited."""
        (row,) = await self._fetch("find_oldest_unpublished")
        waited: timedelta = row["waited"]
        return waited

    async def history(self, *, after: tuple[TenantId, int], newest: int, limit: int) -> Sequence[BillingEvent]:
        """Messages that were taken out, by tenant and number, those behind `after`; of each tenant the `newest`."""
        found = await self._fetch("list_published", *after, newest, limit)
        return [rows.message_from_row(row) for row in found]

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._database.acquire(self._pool) as connection:
            with translated(query):
                return await connection.fetch(_OUTBOX[query], *arguments)
