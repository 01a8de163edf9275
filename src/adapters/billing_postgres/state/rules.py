"""The rules in force."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

import asyncpg

from billing_core.converters import rules_from_json, rules_to_json
from billing_core.model import RulesInForce, SubscriptionId, TenantId, TenantSubscription
from billing_postgres import queries
from billing_postgres.errors import translated
from billing_postgres.pool import Database
from billing_postgres.state import rows

_QUERIES: Final = MappingProxyType(
    {**queries.load("read_rules"), **queries.load("write_rules"), **queries.load("read_state")}
)


class PostgresRulesRegister:
    """A `RulesRegister`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._database = database
        self._pool = pool

    async def active(self) -> RulesInForce | None:
        """Return the rules in force."""
        found = await self._fetch("find_active_rules")
        return RulesInForce(rules_from_json(found[0]["document"]), found[0]["generation"]) if found else None

    async def was_active(self, fingerprint: str) -> bool:
        """Return whether rules with this fingerprint are or were in force."""
        return bool(await self._fetch("find_rules", fingerprint))

    async def activate(self, rules: RulesInForce, *, fingerprint: str, actor: str) -> bool:
        """Put rules in force under their generation."""
        document = rules_to_json(rules.rules)
        return bool(await self._fetch("activate_rules", rules.generation, fingerprint, document, actor))

    async def live_subscriptions(self, *, after: SubscriptionId, limit: int) -> Sequence[TenantSubscription]:
        """Return subscriptions that have not ended, by id."""
        found = await self._fetch("list_live_subscriptions", after, limit)
        return list(map(rows.subscription_from_row, found))

    async def tenants_behind(self, *, limit: int) -> Sequence[TenantId]:
        """Return tenants whose state was read by earlier rules."""
        return [row["tenant_id"] for row in await self._fetch("list_tenants_behind", limit)]

    async def count_behind(self) -> int:
        """Count the same tenants."""
        (row,) = await self._fetch("count_tenants_behind")
        return int(row["behind"])

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._database.acquire(self._pool) as connection:
            with translated(query):
                return await connection.fetch(_QUERIES[query], *arguments)
