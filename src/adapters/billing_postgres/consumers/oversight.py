"""Consumers as operators see them, and their actions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Final

import asyncpg
import attrs

from billing_core import converters
from billing_core.consumers.ports import ConsumerStanding, Lag, SkippedMessage, WaitingTenant
from billing_core.consumers.values import ConsumerName, Start, check_number
from billing_core.model import TenantId
from billing_postgres import queries
from billing_postgres.consumers.rows import registered_from_row
from billing_postgres.errors import translated
from billing_postgres.pool import Connection, Database
from billing_postgres.statements import Statements
from billing_postgres.text import storable

_QUERIES: Final = MappingProxyType(
    {
        **queries.load("read_consumers"),
        **queries.load("write_consumers"),
        **queries.load("write_consumer_actions"),
        **queries.load("write_audits"),
    }
)
_PAGE: Final = 10_000


class PostgresConsumerOversight:
    """A `ConsumerOversight`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._database = database
        self._pool = pool
        self._statements = Statements(database, pool, _QUERIES)

    async def standings(self) -> Sequence[ConsumerStanding]:
        """Return all consumers by name."""
        counts = {row["consumer"]: row for row in await self._statements.fetch("count_waiting")}
        lags = await self.lags()
        return [
            ConsumerStanding(
                registered=registered_from_row(row),
                lag=lags[row["consumer"]],
                waiting=counts[row["consumer"]]["waiting"],
                skipped=counts[row["consumer"]]["skipped"],
            )
            for row in await self._statements.fetch("list_consumers")
            if row["consumer"] in counts and row["consumer"] in lags  # registered or removed in between
        ]

    async def lags(self) -> Mapping[ConsumerName, Lag]:
        """Return how far behind each consumer is."""
        found = await self._statements.fetch("list_lags")
        return {row["consumer"]: Lag(oldest=row["oldest"], held=row["held"]) for row in found}

    async def waiting(
        self, name: ConsumerName, *, held: bool = False, tenant_id: TenantId | None = None, limit: int
    ) -> Sequence[WaitingTenant]:
        """Return tenants that wait, the longest first."""
        return [
            WaitingTenant(**row) for row in await self._statements.fetch("list_waiting", name, held, tenant_id, limit)
        ]

    async def skipped(self, name: ConsumerName, *, limit: int) -> Sequence[SkippedMessage]:
        """Return messages that were passed over, the last one first."""
        return [SkippedMessage(**row) for row in await self._statements.fetch("list_skipped", name, limit)]

    async def retry(
        self, name: ConsumerName, *, tenant_id: TenantId | None = None, actor: str, reason: str | None
    ) -> int:
        """Try dead messages again."""
        async with self._action("consumer_retry", name, tenant_id, actor=actor, reason=reason) as action:
            (row,) = await action.fetch("retry_dead", name, tenant_id)
            tenants: int = row["tenants"]
            action.result = {"tenants": tenants}
        return tenants

    async def skip(
        self, name: ConsumerName, *, tenant_id: TenantId, sequence: int, actor: str, reason: str | None
    ) -> bool:
        """Pass over a tenant's dead message."""
        async with self._action("consumer_skip", name, tenant_id, actor=actor, reason=reason) as action:
            found = await action.fetch("skip_dead", name, tenant_id, storable(actor), storable(reason), sequence)
            action.result = {"sequence": sequence} if found else None
        return bool(found)

    async def rewind(
        self,
        name: ConsumerName,
        *,
        to: Start | int,
        tenant_id: TenantId | None = None,
        actor: str,
        reason: str | None,
    ) -> bool:
        """Set a consumer's position."""
        if isinstance(to, int) and tenant_id is None:
            raise ValueError("a number is of one tenant: name the tenant")
        async with self._action("consumer_rewind", name, tenant_id, actor=actor, reason=reason) as action:
            rewound = await _rewind(action, name, to, tenant_id)
            action.result = {"to": str(to)} if rewound else None
        if rewound and to == "now" and tenant_id is None:
            await self._pass_over(name)
        return rewound

    async def _pass_over(self, name: ConsumerName) -> None:
        """Forget everything that waited until the search was ended. Pages keep numbering from waiting for long."""
        deleted = True
        while deleted:
            ((deleted,),) = await self._statements.fetch("delete_earlier_positions", name, _PAGE)

    @asynccontextmanager
    async def _action(
        self, action: str, name: ConsumerName, tenant_id: TenantId | None, *, actor: str, reason: str | None
    ) -> AsyncIterator[_Action]:
        """Open the transaction of an action, which is noted at its end if it had a result."""
        async with self._database.begun(self._pool, isolation="read_committed", readonly=False) as connection:
            running = _Action(connection)
            yield running
            if running.result is None:
                return
            subject = converters.dumps({"consumer": name, "tenant": tenant_id})
            (row,) = await running.fetch("begin_audit", action, storable(actor), storable(reason), subject)
            await running.fetch("finish_audit", row["audit_id"], converters.dumps(running.result))


@attrs.define
class _Action:
    connection: Connection
    result: Mapping[str, object] | None = None

    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        with translated(name):
            return await self.connection.fetch(_QUERIES[name], *arguments)


async def _rewind(action: _Action, name: ConsumerName, to: Start | int, tenant_id: TenantId | None) -> bool:
    instant = to if isinstance(to, datetime) else None
    found = await action.fetch("find_rewind", name, tenant_id, instant)
    if not found:
        return False
    if tenant_id is None:
        if to == "now":
            await action.fetch("end_search", name)
        else:
            await action.fetch("rewind_all", name, instant)
        return True
    if isinstance(to, int):
        check_number(to, found[0]["sequence"])
    position = max(to - 1, 0) if isinstance(to, int) else found[0]["sequence" if to == "now" else "position"]
    await action.fetch("rewind_tenant", name, tenant_id, position)
    return True
