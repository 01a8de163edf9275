"""The inbox as operators see it, and the log of their actions."""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import asyncpg

from billing_core.events import BillingEvent, Disposition
from billing_core.inbox.ports import HeldPlan
from billing_core.inbox.selection import EventFilter
from billing_core.model import EventId
from billing_core.oversight.inspection import Audit, EventTally, FailedAttempt, StoredEvent
from billing_core.oversight.ports import TallyBy
from billing_postgres import queries
from billing_postgres.oversight.rows import failed_attempt_from_row, stored_event_from_row
from billing_postgres.pool import Database
from billing_postgres.statements import Statements
from billing_postgres.stream.rows import message_from_row
from billing_postgres.text import storable

_QUERIES: Final = MappingProxyType({**queries.load("read_event_log"), **queries.load("write_audits")})
_ALL: Final = None


class PostgresEventLog:
    """An `EventLog` and an `AuditLog`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._statements = Statements(database, pool, _QUERIES)

    async def find(self, wanted: EventFilter, *, before: int | None, limit: int) -> Sequence[StoredEvent]:
        """Return the events that match a filter, latest received first."""
        found = await self._statements.fetch("find_events", *_conditions(wanted), before, limit)
        return [stored_event_from_row(row) for row in found]

    async def select(self, wanted: EventFilter, *, limit: int | None = None) -> Sequence[int]:
        """Return the numbers of the events that match a filter, in the order they happened: eight bytes for each."""
        (row,) = await self._statements.fetch("select_events", *_conditions(wanted), limit)
        numbers = array("q", row["ids"] or b"")
        if sys.byteorder == "little":  # Postgres sends big-endian
            numbers.byteswap()
        return numbers

    async def fingerprint(self, dispatch_ids: Sequence[int]) -> str:
        """Identify events with their ends, by a digest that the database makes."""
        (row,) = await self._statements.fetch("digest_events", list(dispatch_ids))
        digest: bytes = row["digest"]
        return digest.hex()

    async def plans(self, dispatch_ids: Collection[int]) -> Sequence[HeldPlan]:
        """Return the plans of live subscriptions of the events' tenants, by code."""
        found = await self._statements.fetch("list_plans_of_events", list(dispatch_ids))
        return [HeldPlan(**row) for row in found]

    async def tally(self, wanted: EventFilter, *, by: TallyBy) -> Sequence[EventTally]:
        """Count the events that match a filter, in groups ordered by name."""
        groups: dict[str, dict[Disposition, int]] = {}
        for row in await self._statements.fetch("tally_events", *_conditions(wanted), by):
            groups.setdefault(row["name"], {})[Disposition(row["status"])] = row["count"]
        return [EventTally(name=name, counts=counts) for name, counts in groups.items()]

    async def attempts(self, dispatch_id: int) -> Sequence[FailedAttempt]:
        """Return the failed attempts at an event."""
        return [failed_attempt_from_row(row) for row in await self._statements.fetch("list_attempts", dispatch_id)]

    async def body(self, dispatch_id: int) -> bytes | None:
        """Return the raw bytes as received."""
        found = await self._statements.fetch("get_body", dispatch_id)
        return found[0]["body"] if found else None

    async def messages(self, event_id: EventId) -> Sequence[BillingEvent]:
        """Return the messages that a provider event caused."""
        return list(map(message_from_row, await self._statements.fetch("list_caused_messages", event_id)))

    async def begin(self, action: str, *, actor: str, reason: str | None, filter: Mapping[str, object]) -> int:
        """Record that an action begins."""
        (row,) = await self._statements.fetch("begin_audit", action, storable(actor), storable(reason), _json(filter))
        number: int = row["audit_id"]
        return number

    async def advance(self, audit_id: int, progress: Mapping[str, object]) -> bool:
        """Record the progress of a running action."""
        found = await self._statements.fetch("advance_audit", audit_id, _json(progress))
        return bool(found) and found[0]["canceled"] is True

    async def cancel(self, audit_id: int, *, actor: str) -> bool:
        """Ask a running action to end."""
        return bool(await self._statements.fetch("cancel_audit", audit_id, storable(actor)))

    async def finish(self, audit_id: int, result: Mapping[str, object]) -> None:
        """Record the result of an action."""
        await self._statements.fetch("finish_audit", audit_id, _json(result))

    async def latest(
        self, *, limit: int, action: str | None = None, actor: str | None = None, before: int | None = None
    ) -> Sequence[Audit]:
        """Return entries, latest first."""
        return [
            Audit(**{**row, **{name: row[name] and json.loads(row[name]) for name in ("filter", "result", "progress")}})
            for row in await self._statements.fetch("list_audits", limit, storable(action), storable(actor), before)
        ]


def _json(value: Mapping[str, object]) -> str:
    """Encode without NUL and lone surrogates, which jsonb refuses: an operator may have typed them."""
    text = json.dumps(value, ensure_ascii=False).replace("\\u0000", "\\ufffd")
    return text.encode("utf-8", "replace").decode()


def _conditions(wanted: EventFilter) -> Sequence[object]:
    """Return the first arguments of every search. Empty conditions are null: they match everything."""
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
    """Turn a glob into a LIKE pattern: `*` and `?` are wildcards, and nothing else is."""
    plain = glob.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return storable(plain.replace("*", "%").replace("?", "_"))
