"""Records received events: many callers, few commits, on connections kept for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from operator import attrgetter
from typing import Final, TypeAlias

import asyncpg

from billing_core.events import Claim, ProviderEvent, Receipt, ReceiptStatus
from billing_postgres import queries
from billing_postgres.columns import unless_usual
from billing_postgres.errors import UNAVAILABLE, translated
from billing_postgres.inbox.group_commit import Flusher
from billing_postgres.inbox.rows import EVENTS
from billing_postgres.pool import Database

_QUERIES: Final = queries.load("write_inbox")
_KEY: Final = attrgetter("key.event_id", "key.livemode", "key.account")

Arrival = tuple[ProviderEvent, timedelta | None]
"""An event to record, and the lease if it is claimed at once."""
_Statement: TypeAlias = "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]"


class Recorder:
    """Shares commits among concurrent callers: each of `flushes` connections writes one queued batch at a time."""

    def __init__(
        self,
        database: Database,
        *,
        flushes: int,
        batch: int,
        queue_limit: int,
        timeout: timedelta,
        due: Callable[[], None],
        abandoned: Callable[[Receipt], None],
    ) -> None:
        """`due` is called when an event became due; `abandoned` gets the receipts of callers that are gone."""
        self._writers = [_Writer(database, due) for _ in range(flushes)]
        self._flusher = Flusher[Arrival, Receipt](
            [writer.write for writer in self._writers],
            batch=batch,
            queue_limit=queue_limit,
            timeout=timeout.total_seconds(),
            abandoned=abandoned,
        )

    async def record(self, event: ProviderEvent, lease: timedelta | None) -> Receipt:
        """Store an event in the next commit. Raises StoreUnavailableError."""
        return await self._flusher.submit((event, lease))

    async def flush(self) -> None:
        """Write what is queued, and accept nothing more."""
        await self._flusher.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        for writer in self._writers:
            await writer.aclose()


class _Writer:
    """One connection that is kept for recording, and the statements prepared on it."""

    def __init__(self, database: Database, due: Callable[[], None]) -> None:
        self._database = database
        self._due = due
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._statements: dict[str, _Statement] = {}

    async def write(self, batch: Sequence[Arrival]) -> Sequence[Receipt]:
        """Record a batch in one statement and one commit. After a failure the next batch gets a new connection."""
        if len(batch) == 1:
            return [await self._write_one(*batch[0])]
        first_of_key: dict[tuple[object, ...], int] = {}
        for position, (event, _) in enumerate(batch):
            first_of_key.setdefault(_KEY(event), position)
        # Ordered by key: of two batches that share keys, one waits for the other, never both.
        events, leases = zip(*(batch[first_of_key[key]] for key in sorted(first_of_key)), strict=True)
        bodies = [event.body for event in events]
        rows = await self._record("record_events", bodies, unless_usual(leases), *EVENTS.arrays(events))
        new = {first_of_key[row["event_id"], row["livemode"], row["account"]]: row["id"] for row in rows}
        if any(batch[position][1] is None for position in new):
            self._due()
        return [_receipt(arrival, new.get(position)) for position, arrival in enumerate(batch)]

    async def _write_one(self, event: ProviderEvent, lease: timedelta | None) -> Receipt:
        rows = await self._record("record_event", event.body, lease, *EVENTS.row(event))
        if rows and lease is None:
            self._due()
        return _receipt((event, lease), rows[0]["id"] if rows else None)

    async def _record(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        try:
            with translated("record"):
                return await (await self._prepared(query)).fetch(*arguments)
        except BaseException:
            self._drop()
            raise

    async def aclose(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with suppress(*UNAVAILABLE):
                await self._connection.close(timeout=1)

    def _drop(self) -> None:
        """Abandon the connection, whatever state it is in."""
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None
        self._statements = {}

    async def _prepared(self, query: str) -> _Statement:
        if self._connection is None or self._connection.is_closed():
            self._drop()
            # Nothing in the plans of these statements depends on what the tables hold, so each is planned once.
            self._connection = await self._database.connect(plan_cache_mode="force_generic_plan")
        if query not in self._statements:
            self._statements[query] = await self._connection.prepare(_QUERIES[query])
        return self._statements[query]


def _receipt(arrival: Arrival, number: int | None) -> Receipt:
    """Return the answer for an event that was stored just now as `number`, or before."""
    event, lease = arrival
    if number is None:
        return Receipt(status=ReceiptStatus.DUPLICATE, event_id=event.key.event_id)
    claim = None if lease is None else Claim(dispatch_id=number, attempt=1, event=event)
    return Receipt(status=ReceiptStatus.ACCEPTED, event_id=event.key.event_id, claim=claim)
