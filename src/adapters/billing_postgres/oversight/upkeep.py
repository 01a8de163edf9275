"""Questions across all tenants, and actions on stored events."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Final

import asyncpg

from billing_core.model import AccessState, DuplicateSubscriptions, TenantId
from billing_core.oversight.inspection import Pruned
from billing_core.oversight.ports import CustomerLink, LoggedDecision, UnmappedPrice
from billing_postgres import queries
from billing_postgres.pool import Database
from billing_postgres.state.rows import decision_from_row
from billing_postgres.statements import Statements
from billing_postgres.text import storable

_STATE: Final = queries.load("read_upkeep")
_INBOX: Final = queries.load("write_inbox_upkeep")


class PostgresStateUpkeep:
    """A `StateUpkeep`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._statements = Statements(database, pool, _STATE)

    async def duplicate_subscriptions(self) -> Sequence[DuplicateSubscriptions]:
        """Return tenants with several live subscriptions of one plan."""
        return [
            DuplicateSubscriptions(
                tenant_id=row["tenant_id"],
                plan_code=row["plan_code"],
                subscription_ids=tuple(row["subscription_ids"]),
            )
            for row in await self._statements.fetch("list_duplicate_subscriptions")
        ]

    async def unmapped_prices(self) -> Sequence[UnmappedPrice]:
        """Return the prices of live subscriptions without a plan."""
        return [
            UnmappedPrice(
                price_id=row["price_id"],
                product_id=row["product_id"],
                lookup_key=row["lookup_key"],
                subscriptions=row["subscriptions"],
                tenants=tuple(row["tenants"]),
            )
            for row in await self._statements.fetch("list_unmapped_prices")
        ]

    async def customers(
        self, *, linked: bool | None, after: str, limit: int, search: str | None = None
    ) -> Sequence[CustomerLink]:
        """Return customers with or without a tenant, by id."""
        found = await self._statements.fetch("list_customers", linked, storable(after), limit, storable(search))
        return [_customer_link(row) for row in found]

    async def decisions(self, *, about: str | None, before: int | None, limit: int) -> Sequence[LoggedDecision]:
        """Return decisions about links, the last made first."""
        return [
            LoggedDecision(number=row["decision_id"], made_at=row["made_at"], decision=decision_from_row(row))
            for row in await self._statements.fetch("list_decisions", about, before, limit)
        ]

    async def owner(self, object_id: str) -> TenantId | None:
        """Return the tenant that an object belongs to."""
        found = await self._statements.fetch("find_owner", storable(object_id))
        return found[0]["tenant_id"] if found else None

    async def knows(self, *, payer: str, tenant: TenantId) -> tuple[bool, bool]:
        """Return whether there are rows of a customer or subscription, and of a tenant."""
        (row,) = await self._statements.fetch("find_known", payer, tenant)
        return row["payer"], row["tenant"]


def _customer_link(row: asyncpg.Record) -> CustomerLink:
    given = {
        **row,
        "access": None if row["access"] is None else AccessState(row["access"]),
        "plans": tuple(row["plans"]),
        "statuses": tuple(row["statuses"]),
    }
    return CustomerLink(**given)


class PostgresInboxUpkeep:
    """An `InboxUpkeep`. Time is the database's."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._statements = Statements(database, pool, _INBOX)

    async def ignore(self, dispatch_ids: Collection[int], *, reason: str) -> Collection[int]:
        """End these events as ignored."""
        return [
            row["event"] for row in await self._statements.fetch("ignore_events", list(dispatch_ids), storable(reason))
        ]

    async def prunable(self, *, older_than: timedelta) -> int:
        """Count the bodies that `prune` would delete."""
        (row,) = await self._statements.fetch("count_prunable", older_than)
        count: int = row["bodies"]
        return count

    async def prune(self, *, older_than: timedelta, after: int, limit: int) -> Pruned:
        """Delete the bodies of old events that were applied or ignored."""
        (row,) = await self._statements.fetch("prune_bodies", older_than, after, limit)
        return Pruned(bodies=row["bodies"], reached=row["reached"])
