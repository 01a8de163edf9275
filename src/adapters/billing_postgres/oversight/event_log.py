"""The inbox as operators see it, and what they did to it."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import asyncpg

from billing_core.events import BillingEvent, Disposition, Effect, EventKey
from billing_core.inbox.selection import EventFilter
from billing_core.model import EventId
from billing_core.oversight.inspection import Audit, FailedAttempt, StoredEvent
from billing_postgres import queries
from billing_postgres.errors import translated
from billing_postgres.pool import Database
from billing_postgres.state.rows import message_from_row, storable

_QUERIES: Final = MappingProxyType({**queries.load("read_events"), **queries.load("write_audits")})
_ALL: Final = None
_PAGE: Final = 10_000


class PostgresEventLog:
    """An `EventLog` and an `AuditLog`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._database = database
        self._pool = pool

    async def find(self, wanted: EventFilter, *, before: int | None, limit: int) -> Sequence[StoredEvent]:
        """Events that a filter means, latest received first."""
        return [
            stored_event_from_row(row) for row in await self._fetch("find_events", *_conditions(wanted), before, limit)
        ]

    async def select(self, wanted: EventFilter, *, limit: int | None = None) -> Sequence[int]:
        """The numbers of the events that a filter means, in the order they happened: eight bytes for each."""
        numbers = array("q")
        async with self._database.begun(self._pool, isolation="repeatable_read", readonly=True) as connection:
            with translated("select_events"):
                cursor = await connection.cursor(_QUERIES["select_events"], *_conditions(wanted), limit)
                while page := await cursor.fetch(_PAGE):
                    numbers.extend(row["id"] for row in page)
        return numbers

    async def attempts(self, dispatch_id: int) -> Sequence[FailedAttempt]:
        """The attempts at an event that failed."""
        return [FailedAttempt(**row) for row in await self._fetch("list_attempts", dispatch_id)]

    async def body(self, dispatch_id: int) -> bytes | None:
        """The raw bytes as received."""
        found = await self._fetch("get_body", dispatch_id)
        return found[0]["body"] if found else None

    async def messages(self, event_id: EventId) -> Sequence[BillingEvent]:
        """Everything that tenants were told because of a provider event."""
        return list(map(message_from_row, await self._fetch("list_caused_messages", event_id)))

    async def begin(self, action: str, *, actor: str, reason: str | None, filter: Mapping[str, object]) -> int:
        """Note that something begins."""
        (row,) = await self._fetch("begin_audit", action, storable(actor), storable(reason), _json(filter))
        number: int = row["audit_id"]
        return number

    async def finish(self, audit_id: int, result: Mapping[str, object]) -> None:
        """Note what it came to."""
        await self._fetch("finish_audit", audit_id, _json(result))

    async def latest(self, *, limit: int, action: str | None = None) -> Sequence[Audit]:
        """Entries, latest first."""
        return [
            Audit(**{**row, "filter": json.loads(row["filter"]), "result": row["result"] and json.loads(row["result"])})
            for row in await self._fetch("list_audits", limit, action)
        ]

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._database.acquire(self._pool) as connection:
            with translated(query):
                return await connection.fetch(_QUERIES[query], *arguments)


def _json(value: Mapping[str, object]) -> str:
    """Without NUL and lone surrogates, which jsonb refuses: somebody may have typed them."""
    text = json.dumps(value, ensure_ascii=False).replace("\\u0000", "\\ufffd")
    return text.encode("utf-8", "replace").decode()


def _conditions(wanted: EventFilter) -> Sequence[object]:
    """The first arguments of every search. Empty conditions are null: they hold of everything."""
    return (
        [storable(id_) for id_ in wanted.ids] or _ALL,
        [_like(glob) for glob in wanted.types] or _ALL,
        storable(wanted.tenant_id),
        storable(wanted.customer_id),
        [status.value for status in wanted.statuses] or _ALL,
        [storable(reason) for reason in wanted.reasons] or _ALL,
        wanted.since,
        wanted.until,
    )


def _like(glob: str) -> str | None:
    """A glob as a LIKE pattern: of all that LIKE understands, only what stands for `*` and `?` keeps a meaning."""
    plain = glob.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return storable(plain.replace("*", "%").replace("?", "_"))


def stored_event_from_row(row: asyncpg.Record) -> StoredEvent:
    """One event of the inbox as operators see it."""
    return StoredEvent(
        dispatch_id=row["id"],
        key=EventKey(event_id=row["event_id"], livemode=row["livemode"], account=row["account"]),
        type=row["type"],
        api_version=row["api_version"],
        created_at=row["created_at"],
        received_at=row["received_at"],
        secret_slot=row["secret_slot"],
        status=Disposition(row["status"]),
        attempt=row["attempt"],
        due_at=row["due_at"],
        effect=row["effect"] and Effect(row["effect"]),
        reason=row["reason"],
        error=row["error"],
        customer_id=row["customer_id"],
        parked_on=row["parked_on"],
        tenant_id=row["tenant_id"],
        sequence=row["sequence"],
        finished_at=row["finished_at"],
        duplicates=row["duplicates"],
        last_duplicate_at=row["last_duplicate_at"],
        body_kept=row["body_kept"],
    )
