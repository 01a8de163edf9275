"""Questions across all tenants, and actions on stored events, in process."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import attrs

from billing_core.events import Disposition
from billing_core.model import (
    CustomerId,
    DuplicateSubscriptions,
    InvoiceId,
    PriceId,
    SubscriptionId,
    TenantCustomer,
    TenantId,
    TenantSubscription,
    duplicate_subscriptions,
)
from billing_core.oversight.inspection import Pruned
from billing_core.oversight.ports import CustomerLink, LoggedDecision, UnmappedPrice
from billing_core.state.ports import Clock
from billing_memory.database import Dispatch, MemoryDatabase


def _found(customer: TenantCustomer, search: str | None) -> bool:
    if search is None:
        return True
    email = None if customer.snapshot is None else customer.snapshot.email
    ids = (customer.customer_id, customer.tenant_id or "")
    return any(each.startswith(search) for each in ids) or email == search


class MemoryStateUpkeep:
    """A `StateUpkeep`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def duplicate_subscriptions(self) -> Sequence[DuplicateSubscriptions]:
        """Return tenants with several live subscriptions of one plan."""
        return duplicate_subscriptions(self._database.tables.subscriptions.values())

    async def unmapped_prices(self) -> Sequence[UnmappedPrice]:
        """Return the prices of live subscriptions without a plan."""
        found: defaultdict[PriceId, list[TenantSubscription]] = defaultdict(list)
        for each in self._database.tables.subscriptions.values():
            seen = each.snapshot
            if seen.plan_code is None and seen.price_id is not None and not (seen.ended or seen.out_of_scope):
                found[seen.price_id].append(each)
        return [_unmapped_price(price_id, found[price_id]) for price_id in sorted(found)]

    async def customers(
        self, *, linked: bool | None, after: str, limit: int, search: str | None = None
    ) -> Sequence[CustomerLink]:
        """Return customers with or without a tenant, by id."""
        settled = [(row.disposition, row.outcome) for row in self._database.tables.dispatch.values() if row.outcome]
        parked = Counter(outcome.parked_on for status, outcome in settled if status is Disposition.PARKED)
        dead = Counter(outcome.customer_id for status, outcome in settled if status is Disposition.DEAD)
        return [
            CustomerLink(
                customer_id=each.customer_id,
                tenant_id=each.tenant_id,
                waiting=parked[each.customer_id],
                dead=dead[each.customer_id],
                **self._shown(each),
            )
            for _, each in sorted(self._database.tables.customers.items())
            if linked in (None, each.tenant_id is not None) and each.customer_id > after and _found(each, search)
        ][:limit]

    def _shown(self, customer: TenantCustomer) -> dict[str, Any]:
        tables = self._database.tables
        live = [
            held.snapshot
            for held in tables.subscriptions.values()
            if held.snapshot.customer_id == customer.customer_id
            and not (held.snapshot.ended or held.snapshot.out_of_scope)
        ]
        announced = None if customer.tenant_id is None else tables.access.get(customer.tenant_id)
        return {
            "email": None if customer.snapshot is None else customer.snapshot.email,
            "access": None if announced is None else announced.verdict.state,
            "plans": tuple(sorted({seen.plan_code for seen in live if seen.plan_code is not None})),
            "statuses": tuple(sorted({seen.status for seen in live})),
        }

    async def decisions(self, *, about: str | None, before: int | None, limit: int) -> Sequence[LoggedDecision]:
        """Return decisions about links, the last made first."""
        return [
            each
            for number, each in sorted(self._database.tables.decisions.items(), reverse=True)
            if before is None or number < before
            if about in (None, each.decision.object_id, each.decision.from_tenant, each.decision.to_tenant)
        ][:limit]

    async def owner(self, object_id: str) -> TenantId | None:
        """Return the tenant that an object belongs to."""
        tables = self._database.tables
        if (tenant := TenantId(object_id)) in tables.counters:
            return tenant
        held = (
            tables.customers.get(CustomerId(object_id)),
            tables.subscriptions.get(SubscriptionId(object_id)),
            tables.invoices.get(InvoiceId(object_id)),
        )
        owners = [each.tenant_id for each in held if each is not None]
        owners += [tables.owner(row) for row in tables.dispatch.values() if row.event.event_id == object_id]
        return next((each for each in owners if each is not None), None)

    async def knows(self, *, payer: str, tenant: TenantId) -> tuple[bool, bool]:
        """Return whether there are rows of a customer or subscription, and of a tenant."""
        tables = self._database.tables
        seen = CustomerId(payer) in tables.customers or SubscriptionId(payer) in tables.subscriptions
        return seen, tenant in tables.counters


def _unmapped_price(price_id: PriceId, subscriptions: Sequence[TenantSubscription]) -> UnmappedPrice:
    items = [item for each in subscriptions for item in each.snapshot.items if item.price_id == price_id]
    return UnmappedPrice(
        price_id=price_id,
        product_id=max([item.product_id for item in items if item.product_id is not None], default=None),
        lookup_key=max([item.lookup_key for item in items if item.lookup_key is not None], default=None),
        subscriptions=len(subscriptions),
        tenants=tuple(sorted({each.tenant_id for each in subscriptions})),
    )


class MemoryInboxUpkeep:
    """An `InboxUpkeep`."""

    def __init__(self, database: MemoryDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def ignore(self, dispatch_ids: Collection[int], *, reason: str) -> Collection[int]:
        """End these events as ignored."""
        async with self._database.writing:
            now = self._clock.now()
            ended = (Disposition.APPLIED, Disposition.IGNORED)
            rows = [row for row in self._database.at_rest(dispatch_ids, now) if row.disposition not in ended]
            for row in rows:
                ignored = attrs.evolve(row, disposition=Disposition.IGNORED, reason=reason, finished_at=now)
                self._database.tables.dispatch[row.dispatch_id] = ignored
            return [row.dispatch_id for row in rows]

    async def prunable(self, *, older_than: timedelta) -> int:
        """Count the bodies that `prune` would delete."""
        return len(self._prunable(older_than))

    async def prune(self, *, older_than: timedelta, after: int, limit: int) -> Pruned:
        """Delete the bodies of old events that were applied or ignored."""
        async with self._database.writing:
            old = [row for row in self._prunable(older_than) if row.dispatch_id > after][:limit]
            for row in old:
                bare = attrs.evolve(row, event=row.event.without_body())
                self._database.tables.dispatch[row.dispatch_id] = bare
            return Pruned(bodies=len(old), reached=old[-1].dispatch_id if old else None)

    def _prunable(self, older_than: timedelta) -> list[Dispatch]:
        latest = self._clock.now() - older_than
        return [
            row
            for _, row in sorted(self._database.tables.dispatch.items())
            if row.event.body and row.event.received_at < latest
            if row.disposition in (Disposition.APPLIED, Disposition.IGNORED)
        ]
