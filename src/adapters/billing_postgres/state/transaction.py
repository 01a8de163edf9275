"""One unit of work over tenants' state: a constant number of statements, however many events it folds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import asyncpg

from billing_core.errors import TenantConflictError
from billing_core.events import Claim, EventKey, Outcome, ProviderEvent
from billing_core.model import (
    CustomerId,
    EventId,
    InvoiceId,
    SubscriptionId,
    SubscriptionInvoice,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantSubscription,
    UsageRecord,
)
from billing_core.state.ports import Changes
from billing_core.stream.numbering import numbers_by_tenant
from billing_postgres import queries
from billing_postgres.errors import translated
from billing_postgres.pool import Connection
from billing_postgres.state import rows

_QUERIES: Final[Mapping[str, str]] = MappingProxyType(
    {**queries.load("write_state"), **queries.load("read_state"), **queries.load("records")}
)


class PostgresTransaction:
    """A `BillingTransaction` on a connection that is inside a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._existing: set[TenantId] = set()
        """Tenants that customers were found to have: they need not be created."""

    async def hold(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Those of the claims that are still ours."""
        found = await self._fetch(
            "hold_events", [claim.dispatch_id for claim in claims], [claim.attempt for claim in claims]
        )
        ours = {row["event"] for row in found}
        return [claim for claim in claims if claim.dispatch_id in ours]

    async def take(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Those of the claims whose events nobody works on."""
        taken = await self._fetch(
            "take_events", [claim.dispatch_id for claim in claims], [claim.attempt for claim in claims]
        )
        ours = {row["event"] for row in taken}
        return [claim for claim in claims if claim.dispatch_id in ours]

    async def customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """The known ones of these customers."""
        found = _by_id(await self._fetch("find_customers", list(ids)))
        self._existing.update(each.tenant_id for each in found.values() if each.tenant_id is not None)
        return found

    async def lock_customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """These customers; unknown ones are created without a tenant."""
        ascending = sorted(set(ids))
        await self._fetch("create_customers", ascending)
        return _by_id(await self._fetch("lock_customers", ascending))

    async def lock_tenants(self, ids: Collection[TenantId]) -> Mapping[TenantId, int]:
        """Each tenant's counter; unknown ones are created."""
        ascending = sorted(set(ids))
        if new := [id_ for id_ in ascending if id_ not in self._existing]:
            await self._fetch("create_tenants", new)
        return {row["tenant_id"]: row["sequence"] for row in await self._fetch("lock_tenants", ascending)}

    async def subscriptions(
        self, *, tenants: Collection[TenantId], ids: Collection[SubscriptionId]
    ) -> Sequence[TenantSubscription]:
        """All subscriptions of these tenants, and those with these ids."""
        found = await self._fetch("find_subscriptions", list(tenants), list(ids))
        if not found:
            return []
        items = rows.items_by_subscription(await self._fetch("find_items", [row[0] for row in found]))
        return [rows.subscription_from_row(row, items.get(row[0], ())) for row in found]

    async def invoices(
        self, *, ids: Collection[InvoiceId] = (), subscriptions: Collection[SubscriptionId] = ()
    ) -> Sequence[SubscriptionInvoice]:
        """Invoices with these ids and of these subscriptions."""
        if not ids and not subscriptions:
            return []
        return [
            rows.invoice_from_row(row) for row in await self._fetch("find_invoices", list(ids), list(subscriptions))
        ]

    async def lock_catalog(self) -> None:
        """Keep prices and products to this unit of work until the end."""
        await self._fetch("lock_catalog")

    async def owners(self, ids: Collection[str]) -> Mapping[str, TenantId]:
        """Whose subscriptions, invoices and records these are."""
        return {row["object_id"]: row["tenant_id"] for row in await self._fetch("find_owners", list(ids))}

    async def records(self, ids: Collection[str]) -> Sequence[TenantRecord]:
        """The records with these object ids."""
        return [rows.record_from_row(row) for row in await self._fetch("find_records", list(ids))]

    async def usage(self, ids: Collection[InvoiceId]) -> Mapping[InvoiceId, Sequence[UsageRecord]]:
        """The billed usage that is stored of each of these invoices."""
        found: dict[InvoiceId, list[UsageRecord]] = {invoice_id: [] for invoice_id in ids}
        for row in await self._fetch("find_usage", list(found)):
            found[row["invoice_id"]].append(rows.usage_from_row(row))
        return found

    async def stored_events(self, keys: Collection[EventKey]) -> Sequence[ProviderEvent]:
        """The stored ones of these events whose bodies are still kept."""
        arguments = rows.columns([(key.event_id, key.livemode, key.account) for key in keys], 3)
        return [rows.event_from_row(row) for row in await self._fetch("find_stored_events", *arguments)]

    async def notified(self, ids: Collection[EventId]) -> Collection[tuple[TenantId, EventId]]:
        """Which of these provider events a tenant has a message of."""
        return [(row["tenant_id"], row["event_id"]) for row in await self._fetch("find_notified_events", list(ids))]

    async def save(self, changes: Changes) -> None:
        """Write the changes. TenantConflictError when an object belongs to another tenant: then all is rolled back."""
        if changes.customers:
            await self._save_customers(changes.customers)
        if changes.subscriptions:
            await self._save_subscriptions(changes.subscriptions)
        if changes.invoices:
            await self._save_invoices(changes.invoices)
        if changes.usage:
            await self._save_usage(changes.usage)
        if changes.records:
            await self._save_records(changes.records)
        if changes.events:
            await self._save_messages(changes)

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Write what became of held claims. An event parked on a customer that has a tenant by now is due again."""
        arguments = rows.columns(map(rows.row_from_outcome, outcomes), 10)
        settled = await self._fetch("settle_events", *arguments)
        if len(settled) != len(outcomes):
            raise ValueError("only held claims can be settled, and each once")
        waits = [(outcome.claim.dispatch_id, id_) for outcome in outcomes for id_ in outcome.waits_for]
        if waits:
            await self._fetch("wait_for_objects", *rows.columns(waits, 2))

    async def _save_customers(self, customers: Sequence[TenantCustomer]) -> None:
        latest = {customer.customer_id: customer for customer in customers}
        saved = await self._fetch("save_customers", *rows.columns(map(rows.row_from_customer, latest.values()), 9))
        _demand_all(latest, saved)

    async def _save_subscriptions(self, subscriptions: Sequence[TenantSubscription]) -> None:
        latest = {each.snapshot.subscription_id: each for each in subscriptions}
        arguments = rows.columns(map(rows.row_from_subscription, latest.values()), 22)
        _demand_all(latest, await self._fetch("save_subscriptions", *arguments))
        items = [row for each in latest.values() for row in rows.rows_from_items(each.snapshot)]
        await self._fetch("save_items", list(latest), *rows.columns(items, 10))

    async def _save_invoices(self, invoices: Sequence[SubscriptionInvoice]) -> None:
        latest = {each.snapshot.invoice_id: each for each in invoices}
        arguments = rows.columns(map(rows.row_from_invoice, latest.values()), 26)
        _demand_all(latest, await self._fetch("save_invoices", *arguments))

    async def _save_usage(self, usage: Mapping[InvoiceId, Sequence[UsageRecord]]) -> None:
        records = [rows.row_from_usage(record) for of_invoice in usage.values() for record in of_invoice]
        saved = await self._fetch("save_usage", list(usage), *rows.columns(records, 10))
        if len(saved) != len(records):
            _demand_all({row[0] for row in records}, saved)

    async def _save_records(self, records: Sequence[TenantRecord]) -> None:
        latest = {each.snapshot.object_id: each for each in records}
        saved = await self._fetch("save_records", *rows.columns(map(rows.row_from_record, latest.values()), 10))
        _demand_all(latest, saved)

    async def _save_messages(self, changes: Changes) -> None:
        runs = numbers_by_tenant(changes.events)
        firsts, lasts = [run.start for run in runs.values()], [run[-1] for run in runs.values()]
        columns = rows.columns(map(rows.row_from_message, changes.events), 6)
        try:
            moved = await self._fetch("save_messages", list(runs), firsts, lasts, *columns)
        except asyncpg.UniqueViolationError:
            moved = []
        if len(moved) != len(runs):
            raise ValueError("messages must continue the counters of locked tenants")

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        with translated(query):
            return await self._connection.fetch(_QUERIES[query], *arguments)


def _by_id(found: Iterable[asyncpg.Record]) -> dict[CustomerId, TenantCustomer]:
    return {customer.customer_id: customer for customer in map(rows.customer_from_row, found)}


def _demand_all(ids: Collection[Any], saved: Iterable[asyncpg.Record]) -> None:
    """TenantConflictError for an object that was not saved, because its row belongs to another tenant."""
    refused = set(ids) - {row[0] for row in saved}
    if refused:
        raise TenantConflictError(f"{min(refused)} belongs to another tenant")
