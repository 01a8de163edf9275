"""One unit of work over tenants' state: a constant number of statements, however many events it applies."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeVar

import asyncpg
import attrs

from billing_core.errors import TenantConflictError
from billing_core.events import BillingEvent, Claim, EventKey, Outcome, ProviderEvent
from billing_core.model import (
    AccessGrant,
    CustomerId,
    EventId,
    GrantId,
    InvoiceId,
    LinkDecision,
    ProvisionalView,
    SubscriptionId,
    SubscriptionInvoice,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantSubscription,
    UsageRecord,
    Views,
)
from billing_core.state.mentions import Mentions
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
from billing_postgres import queries
from billing_postgres.errors import translated
from billing_postgres.inbox.rows import CLAIMS, KEYS, OUTCOMES, event_from_row, key_from_row
from billing_postgres.pool import Connection
from billing_postgres.state import rows
from billing_postgres.stream.rows import MESSAGES, message_from_row
from billing_postgres.text import storable

_QUERIES: Final = MappingProxyType(
    {**queries.load("read_state"), **queries.load("write_state"), **queries.load("write_erasures")}
)
_BROKEN_COUNT: Final = "messages must continue the counters of locked tenants"
Owned = TypeVar("Owned", AccessGrant, ProvisionalView)


class PostgresTransaction:
    """A `BillingTransaction` on a connection that is inside a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._departures: dict[TenantId, int] = {}
        """The tenants of what was read, with their departures at the first reading. They need not be created."""

    async def hold(self, claims: Sequence[Claim], *, customers: Collection[CustomerId] = ()) -> Held:
        """Lock those claims that still hold, and return the customers that are known."""
        found = await self._fetch("hold_events", list(customers), *CLAIMS.arrays(claims))
        read = [row for row in found if row["customer_id"] is not None]
        return Held(claims=_of_rows(claims, found), customers=self._known(read))

    async def take(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Lock those claims that are not being processed elsewhere, whatever their status, and return them renewed."""
        taken = await self._fetch("take_events", *CLAIMS.arrays(claims))
        return [claim.renewed() for claim in _of_rows(claims, taken)]

    async def customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """Return those of these customers that are known."""
        return self._known(await self._fetch("find_customers", list(ids)))

    def _known(self, found: Sequence[asyncpg.Record]) -> Mapping[CustomerId, TenantCustomer]:
        self._note_departures(found)
        return _by_id(found)

    async def lock_customers(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        """Lock these customers; unknown ones are created without a tenant."""
        ascending = sorted(set(ids))
        await self._fetch("create_customers", ascending)
        return _by_id(await self._fetch("lock_customers", ascending))

    async def lock_tenants(self, ids: Collection[TenantId]) -> LockedTenants:
        """Lock these tenants; unknown ones are created."""
        ascending = sorted(set(ids))
        if new := [id_ for id_ in ascending if id_ not in self._departures]:
            await self._fetch("create_tenants", new)
        return await self._locked(await self._fetch("lock_tenants", ascending))

    async def _locked(self, found: Sequence[asyncpg.Record]) -> LockedTenants:
        """Return locked tenants with their grants and provisional views, which are read under the locks."""
        tenants = rows.locked_tenants(found, self._departures)
        if granted := [row["tenant_id"] for row in found if row["granted"]]:
            held = map(rows.grant_from_row, await self._fetch("find_held_grants", granted))
            tenants = attrs.evolve(tenants, grants=_by_tenant(held))
        if provisional := [row["tenant_id"] for row in found if row["provisional"]]:
            views = map(rows.view_from_row, await self._fetch("find_views", provisional))
            tenants = attrs.evolve(tenants, views=_by_tenant(views))
        return tenants

    async def grant(self, grant_id: GrantId) -> AccessGrant | None:
        """Return a grant of any tenant."""
        return next(map(rows.grant_from_row, await self._fetch("find_grant", grant_id)), None)

    async def lock_due(self, *, policy: str, limit: int) -> LockedTenants:
        """Lock tenants that are due and not locked elsewhere."""
        return await self._locked(await self._fetch("lock_due_tenants", policy, limit))

    async def lock_catalog(self) -> None:
        """Keep other units of work from prices, products and test clocks until the end."""
        await self._fetch("lock_catalog")

    async def subscriptions(
        self, *, tenants: Collection[TenantId], ids: Collection[SubscriptionId]
    ) -> Sequence[TenantSubscription]:
        """Return all subscriptions of these tenants, and those with these ids."""
        found = await self._fetch("find_subscriptions", list(tenants), list(ids))
        return list(map(rows.subscription_from_row, found))

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
        arguments = map(list, (tenants, ids, billed_by, each_of, live_of))
        found = await self._fetch("find_deciding_subscriptions", *arguments)
        return list(map(rows.subscription_from_row, found))

    async def invoices(
        self, *, ids: Collection[InvoiceId] = (), subscriptions: Collection[SubscriptionId] = ()
    ) -> Sequence[SubscriptionInvoice]:
        """Return the invoices with these ids and those of these subscriptions."""
        if not ids and not subscriptions:
            return []
        return [
            rows.invoice_from_row(row) for row in await self._fetch("find_invoices", list(ids), list(subscriptions))
        ]

    async def owners(self, ids: Collection[str]) -> Mapping[str, TenantId]:
        """Return the tenants that own these objects; unknown objects are left out."""
        found = await self._fetch("find_owners", list(ids))
        self._note_departures(found)
        return {row["object_id"]: row["tenant_id"] for row in found}

    async def tenants_under(self, ids: Collection[CustomerId]) -> Mapping[CustomerId, Collection[TenantId]]:
        """Return the tenants of all subscriptions of each of these customers."""
        return {row["customer_id"]: row["tenants"] for row in await self._fetch("find_tenants_under", list(ids))}

    async def tenants_on(self, clocks: Collection[str]) -> Collection[TenantId]:
        """Return the tenants with subscriptions on these test clocks."""
        return {row["tenant_id"] for row in await self._fetch("find_tenants_on", list(clocks))}

    async def records(self, ids: Collection[str]) -> Sequence[TenantRecord]:
        """Return the records with these object ids."""
        return [rows.record_from_row(row) for row in await self._fetch("find_records", list(ids))]

    async def disputes(self, tenants: Collection[TenantId]) -> Sequence[TenantRecord]:
        """Return all disputes of these tenants."""
        return [rows.record_from_row(row) for row in await self._fetch("find_disputes", list(tenants))]

    async def usage(self, ids: Collection[InvoiceId]) -> Mapping[InvoiceId, Sequence[UsageRecord]]:
        """Return the billed usage that is stored for each of these invoices."""
        found: dict[InvoiceId, list[UsageRecord]] = {invoice_id: [] for invoice_id in ids}
        for row in await self._fetch("find_usage", list(found)):
            found[row["invoice_id"]].append(rows.usage_from_row(row))
        return found

    async def stored_events(self, keys: Collection[EventKey]) -> Sequence[ProviderEvent]:
        """Return those of these events whose bodies are still kept."""
        return [event_from_row(row) for row in await self._fetch("find_stored_events", *KEYS.arrays(keys))]

    async def echoes(self, operation_key: str) -> Sequence[ProviderEvent]:
        """Return the applied events that an operation caused and whose bodies are still kept, by dispatch id."""
        return [event_from_row(row) for row in await self._fetch("find_echoes", operation_key)]

    async def occasions(
        self, *, tenants: Collection[TenantId], keys: Collection[str]
    ) -> Collection[tuple[TenantId, str]]:
        """Return those of these occasions that these tenants have had."""
        found = await self._fetch("find_occasions", list(tenants), list(keys))
        return [(row["tenant_id"], row["key"]) for row in found]

    async def decisions(self, ids: Collection[str]) -> Sequence[LinkDecision]:
        """Return all decisions about these customers and subscriptions, the first one first."""
        return [rows.decision_from_row(row) for row in await self._fetch("find_decisions", list(ids))]

    async def decide(self, decision: LinkDecision, *, customers: Collection[CustomerId]) -> int:
        """Add a decision to the log; events that are dead because of a conflict become due."""
        (row,) = await self._fetch("save_decision", list(customers), *rows.DECISIONS.row(decision))
        number: int = row["decision_id"]
        return number

    async def lock_events(self, tenant_ids: Collection[TenantId]) -> None:
        """Lock the events of these tenants."""
        await self._fetch("lock_events_of", list(tenant_ids))

    async def holdings(self, tenant_id: TenantId) -> Holdings:
        """Return everything that a tenant has."""
        subscriptions = await self.subscriptions(tenants=[tenant_id], ids=())
        return Holdings(
            customers=[rows.customer_from_row(row) for row in await self._fetch("list_customers_of", tenant_id)],
            subscriptions=sorted(subscriptions, key=lambda each: each.object_id),
            invoices=[rows.invoice_from_row(row) for row in await self._fetch("list_invoices_of", tenant_id)],
            records=[rows.record_from_row(row) for row in await self._fetch("list_records_of", tenant_id)],
            events=[
                TenantEvent(
                    dispatch_id=row["event"],
                    key=key_from_row(row),
                    customer_id=row["customer_id"],
                    applied=row["applied"],
                    body_kept=row["body_kept"],
                )
                for row in await self._fetch("list_events_of", tenant_id)
            ],
        )

    async def messages_about(
        self, tenant_id: TenantId, *, events: Collection[EventId], objects: Collection[str]
    ) -> Sequence[BillingEvent]:
        """Return the tenant's messages that these events or objects caused, or that show one of the objects."""
        found = await self._fetch("find_messages_about", tenant_id, list(events), list(objects))
        return [message_from_row(row) for row in found]

    async def transfer(self, transfer: Transfer) -> None:
        """Move objects and events to another tenant, or remove the objects."""
        objects = [
            list(ids) for ids in (transfer.customers, transfer.subscriptions, transfer.invoices, transfer.records)
        ]
        events, views = list(transfer.events), list(transfer.views)
        if transfer.to_tenant is None:
            await self._fetch("remove_objects", transfer.from_tenant, *objects, events, views)
        else:
            ends = transfer.from_tenant, transfer.to_tenant
            await self._fetch("move_objects", *ends, *objects, events, views)
            await self._fetch("copy_occasions", *ends, list(transfer.occasions_of))
        if transfer.withdrawn:
            await self._fetch("withdraw_messages", *MESSAGES.arrays(transfer.withdrawn))

    async def lock_payers(self, tenant_id: TenantId) -> Mapping[CustomerId, TenantCustomer]:
        """Lock the events of a tenant and of its customers, then those customers."""
        payers = [row["customer_id"] for row in await self._fetch("find_payers", tenant_id)]
        await self._fetch("lock_events_to_erase", tenant_id, payers)
        return _by_id(await self._fetch("lock_customers", payers))

    async def unresolved_operations(self, tenant_id: TenantId) -> int:
        """Count the tenant's operations without an outcome."""
        (row,) = await self._fetch("count_unresolved_operations", tenant_id)
        count: int = row["operations"]
        return count

    async def erase(self, erasure: Erasure) -> Mapping[str, int]:
        """Delete everything of a tenant, and return how many rows of each kind went."""
        tenant_id, customers, objects = erasure.tenant_id, list(erasure.customers), list(erasure.objects)
        reasons = [row["reason"] for row in await self._fetch("list_reasons")]
        rows: dict[str, int] = {}
        for query, *arguments in (
            ("erase_state", tenant_id, customers, list(erasure.shared_customers)),
            ("erase_messages", tenant_id),
            ("erase_events", tenant_id, customers),
            ("erase_operations", tenant_id),
            ("erase_notes", objects, list(erasure.names), Mentions(erasure.names).among(reasons)),
        ):
            (counted,) = await self._fetch(query, *arguments)
            rows |= counted
        await self._fetch("note_erasure", tenant_id, objects, erasure.token_lifetime)
        noted = json.dumps({"tenant": tenant_id}), json.dumps(rows)
        await self._fetch("log_erasure", storable(erasure.actor), storable(erasure.reason), *noted)
        return rows

    async def erased(self, ids: Collection[str]) -> Collection[str]:
        """Return those of these customers and objects that belonged to a tenant that was erased."""
        return [row["id"] for row in await self._fetch("find_erased", list(ids))]

    async def save(self, changes: Changes) -> None:
        """Write the changes.

        Raises: TenantConflictError when an object belongs to another tenant; the transaction has to be rolled back.
        """
        await self._save(changes, ())

    async def settle(self, outcomes: Sequence[Outcome], changes: Changes = NO_CHANGES) -> bool:
        """Write changes and the outcomes of held claims; return whether events that waited became due.

        An event parked on a customer that has a tenant by now is due again. Raises: as `save`.
        """
        released = await self._save(changes, outcomes)
        waits = [(outcome.claim.dispatch_id, id_) for outcome in outcomes for id_ in outcome.waits_for]
        if waits:
            await self._fetch("wait_for_objects", [event for event, _ in waits], [id_ for _, id_ in waits])
        if erased := [outcome.claim.dispatch_id for outcome in outcomes if outcome.reason == ERASED]:
            await self._fetch("erase_bodies", erased)
        return released

    async def _save(self, changes: Changes, outcomes: Sequence[Outcome]) -> bool:
        """Return whether events became due."""
        released = False
        if changes.customers:
            released |= await self._save_customers(changes.customers)
        if changes.invoices:
            released |= await self._save_invoices(changes.invoices)
        if changes.usage:
            await self._save_usage(changes.usage)
        if changes.records:
            released |= await self._save_records(changes.records)
        if changes.read_by:
            await self._fetch("note_rules", list(changes.read_by), list(changes.read_by.values()))
        if changes.occasions:
            await self._fetch("save_occasions", *rows.OCCASIONS.arrays(changes.occasions))
        if changes.grants:
            await self._fetch("save_grants", *rows.GRANTS.arrays(changes.grants))
        if changes.views:
            await self._save_views(changes.views)
        if changes.echoes:
            await self._fetch("save_echoes", list(changes.echoes.values()), list(changes.echoes))
        if changes.subscriptions or changes.events or outcomes:
            released |= await self._save_batch(changes, outcomes)
        if changes.access:
            access = [rows.TenantAccess(tenant_id, known) for tenant_id, known in changes.access.items()]
            await self._fetch("save_access", *rows.ACCESS.arrays(access))
        return released

    def _note_departures(self, found: Iterable[asyncpg.Record]) -> None:
        """Remember when something was read of a tenant that is not locked yet."""
        for row in found:
            if row["tenant_id"] is not None:
                self._departures.setdefault(row["tenant_id"], row["departures"])

    async def _save_customers(self, customers: Sequence[TenantCustomer]) -> bool:
        latest = {customer.customer_id: rows.with_snapshot(customer) for customer in customers}
        return _released(latest, await self._fetch("save_customers", *rows.CUSTOMERS.arrays(latest.values())))

    async def _save_batch(self, changes: Changes, outcomes: Sequence[Outcome]) -> bool:
        """Write what nearly every batch writes, in one statement."""
        latest = {each.snapshot.subscription_id: each for each in changes.subscriptions}
        items = [
            rows.SubscriptionItem(subscription_id, item)
            for subscription_id, each in latest.items()
            for item in each.snapshot.items
        ]
        runs = numbers_by_tenant(changes.events)
        try:
            (done,) = await self._fetch(
                "save_batch",
                list(runs),
                [run.start for run in runs.values()],
                [run[-1] for run in runs.values()],
                list(latest),
                *rows.SUBSCRIPTIONS.arrays(latest.values()),
                *rows.ITEMS.arrays(items),
                *MESSAGES.arrays(changes.events),
                *OUTCOMES.arrays(outcomes),
            )
        except asyncpg.UniqueViolationError as error:
            raise ValueError(_BROKEN_COUNT) from error
        _require_all(latest, done["saved"])
        if len(done["moved"]) != len(runs):
            raise ValueError(_BROKEN_COUNT)
        if len(done["settled"]) != len(outcomes):
            raise ValueError("only held claims can be settled, and each once")
        return bool(done["unparked"])

    async def _save_invoices(self, invoices: Sequence[SubscriptionInvoice]) -> bool:
        latest = {each.snapshot.invoice_id: each for each in invoices}
        return _released(latest, await self._fetch("save_invoices", *rows.INVOICES.arrays(latest.values())))

    async def _save_usage(self, usage: Mapping[InvoiceId, Sequence[UsageRecord]]) -> None:
        records = [record for of_invoice in usage.values() for record in of_invoice]
        saved = await self._fetch("save_usage", list(usage), *rows.USAGE.arrays(records))
        if len(saved) != len(records):
            _require({record.invoice_id for record in records}, saved)

    async def _save_records(self, records: Sequence[TenantRecord]) -> bool:
        latest = {each.snapshot.object_id: each for each in records}
        owned = [each.named_as for each in latest.values() if each.tenant_id is not None]
        return _released(latest, await self._fetch("save_records", owned, *rows.RECORDS.arrays(latest.values())))

    async def _save_views(self, views: Views) -> None:
        latest = {view.object_id: view for of_tenant in views.values() for view in of_tenant}
        _require(latest, await self._fetch("save_views", list(views), *rows.VIEWS.arrays(latest.values())))

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        with translated(query):
            return await self._connection.fetch(_QUERIES[query], *arguments)


def _by_tenant(held: Iterable[Owned]) -> Mapping[TenantId, Sequence[Owned]]:
    found: defaultdict[TenantId, list[Owned]] = defaultdict(list)
    for each in held:
        found[each.tenant_id].append(each)
    return dict(found)


def _of_rows(claims: Sequence[Claim], found: Iterable[asyncpg.Record]) -> Sequence[Claim]:
    locked = {row["event"] for row in found}
    return [claim for claim in claims if claim.dispatch_id in locked]


def _by_id(found: Iterable[asyncpg.Record]) -> dict[CustomerId, TenantCustomer]:
    return {customer.customer_id: customer for customer in map(rows.customer_from_row, found)}


def _released(ids: Iterable[str], saved: Sequence[asyncpg.Record]) -> bool:
    """Return whether events became due by what was saved. Raises: as `_require`."""
    _require(ids, saved)
    return any(row["unparked"] for row in saved)


def _require(ids: Iterable[str], saved: Iterable[asyncpg.Record]) -> None:
    """Raise TenantConflictError for an object that was not saved, because its row belongs to another tenant."""
    _require_all(ids, [row["saved"] for row in saved])


def _require_all(ids: Iterable[str], saved: Iterable[str]) -> None:
    refused = set(ids).difference(saved)
    if refused:
        raise TenantConflictError(f"{min(refused)} belongs to another tenant")
