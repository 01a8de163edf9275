"""The inbox: what the provider sent, byte for byte, and how far each event has been processed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from types import MappingProxyType
from typing import Final, Self, TypeAlias

import asyncpg

from billing_core.errors import StoreUnavailableError
from billing_core.events import Claim, EventKey, ProviderEvent, Receipt, ReceiptStatus
from billing_core.oversight.ports import Backlog
from billing_postgres import queries
from billing_postgres.errors import UNAVAILABLE, translated
from billing_postgres.inbox.group_commit import Flusher
from billing_postgres.inbox.wakeup import Wakeup
from billing_postgres.pool import Database
from billing_postgres.state.rows import columns, event_from_row, storable

_QUERIES: Final = MappingProxyType({**queries.load("write_inbox"), **queries.load("records")})

Arrival = tuple[ProviderEvent, timedelta | None]
"""An event to record, and the lease if it is claimed at once."""


class PostgresEventInbox:
    """An `EventStore`. Time is the database's.

    Concurrent records share commits: each of `flushes` connections writes what has queued up since the last commit as
    one statement. `timeout` bounds the whole wait of a caller; the event may then be stored all the same.
    Use it as an async context manager, or call `start` and `aclose`.
    """

    def __init__(
        self,
        database: Database,
        pool: asyncpg.Pool[asyncpg.Record],
        *,
        flushes: int = 2,
        batch: int = 256,
        queue_limit: int = 2048,
        timeout: timedelta = timedelta(seconds=4),
    ) -> None:
        self._database = database
        self._pool = pool
        self._wakeup = Wakeup(database)
        self._writers = [_Writer(database, self._wakeup) for _ in range(flushes)]
        self._flusher = Flusher[Arrival, Receipt](
            [writer.write for writer in self._writers],
            batch=batch,
            queue_limit=queue_limit,
            timeout=timeout.total_seconds(),
            abandoned=self._abandon,
        )
        self._repeated: Counter[EventKey] = Counter()
        """Duplicates that are not noted yet."""
        self._counting = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def start(self) -> None:
        """Start listening for the other processes. The database may still be down: each call finds out for itself."""
        self._wakeup.start()

    async def aclose(self) -> None:
        """Write what is queued, then close the connections of our own. The pool stays with its owner."""
        await self._flusher.aclose()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._wakeup.aclose()
        for writer in self._writers:
            await writer.aclose()

    async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
        """Store an event in the next commit, claimed for the caller when `lease` is given."""
        receipt = await self._flusher.submit((event, lease))
        if receipt.status is ReceiptStatus.DUPLICATE:
            self._repeated[event.key] += 1
            if not self._counting:
                self._counting = True
                self._background(self._count_duplicates())
        return receipt

    async def claim(self, *, limit: int, lease: timedelta) -> Sequence[Claim]:
        """Claim due events, oldest due first. One whose body was pruned is buried instead."""
        self._wakeup.mute()
        rows = await self._fetch("claim_events", limit, lease)
        rows.sort(key=lambda row: (row["waited_since"], row["event"]))
        return [_claim(row) for row in rows if row["body"] is not None]

    async def retry(self, claim: Claim, *, after: timedelta, reason: str, error: str) -> bool:
        """Give a claim back, due again `after` from now."""
        ours = await self._fetch(
            "retry_event", claim.dispatch_id, claim.attempt, after, storable(reason), storable(error)
        )
        return bool(ours)

    async def bury(self, claim: Claim, *, reason: str, error: str) -> bool:
        """End a claim as dead."""
        ours = await self._fetch("bury_event", claim.dispatch_id, claim.attempt, storable(reason), storable(error))
        return bool(ours)

    async def release(self, claims: Collection[Claim]) -> None:
        """Give unprocessed claims back at once, uncounted, and tell the other processes."""
        if claims:
            await self._fetch(
                "release_events", [claim.dispatch_id for claim in claims], [claim.attempt for claim in claims]
            )
            self._wakeup.ring()

    async def reclaim(self, dispatch_ids: Collection[int], *, lease: timedelta) -> Sequence[Claim]:
        """Claim these events whatever became of them, in the order they happened."""
        return [_claim(row) for row in await self._fetch("reclaim_events", list(dispatch_ids), lease)]

    async def read(self, dispatch_ids: Collection[int]) -> Sequence[Claim]:
        """These events as they stand, in the order they happened."""
        return [_claim(row) for row in await self._fetch("read_events", list(dispatch_ids))]

    async def known(self, keys: Collection[EventKey]) -> Collection[EventKey]:
        """Those of the keys that are stored."""
        arguments = columns([(key.event_id, key.livemode, key.account) for key in keys], 3)
        found = {tuple(row) for row in await self._fetch("known_events", *arguments)}
        return [key for key in keys if (key.event_id, key.livemode, key.account) in found]

    async def unpark(self) -> int:
        """Make due what is parked on something that has a tenant by now, and tell the other processes."""
        return len(await self._fetch("unpark_events"))

    async def backlog(self) -> Backlog:
        """What waits right now."""
        (row,) = await self._fetch("count_backlog")
        dead = await self._fetch("count_dead")
        return Backlog(
            oldest_due=row["oldest_due"],
            due=row["due"],
            parked=row["parked"],
            dead={row["reason"]: row["dead"] for row in dead},
        )

    async def wait(self, *, at_most: timedelta) -> None:
        """Return when something was recorded or given back here or elsewhere since the last `claim`."""
        await self._wakeup.wait(at_most=at_most)

    def _abandon(self, receipt: Receipt) -> None:
        """Nobody works on a claim whose caller has gone: give it back before its lease runs out."""
        if receipt.claim is not None:
            self._background(self._release_quietly(receipt.claim))

    def _background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _count_duplicates(self) -> None:
        """Note what came again. Nobody waits for it, and it is a trace only: what is lost with the store is lost."""
        while self._repeated:
            repeated, self._repeated = self._repeated, Counter()
            rows = sorted((key.event_id, key.livemode, key.account, times) for key, times in repeated.items())
            with suppress(StoreUnavailableError):
                await self._fetch("count_duplicates", *columns(rows, 4))
        self._counting = False

    async def _release_quietly(self, claim: Claim) -> None:
        try:
            await self.release([claim])
        except StoreUnavailableError:
            return  # the lease runs out by itself

    async def _fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._database.acquire(self._pool) as connection:
            with translated(query):
                return await connection.fetch(_QUERIES[query], *arguments)


_Statement: TypeAlias = "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]"


class _Writer:
    """One connection that is kept for recording, and the statements prepared on it."""

    def __init__(self, database: Database, wakeup: Wakeup) -> None:
        self._database = database
        self._wakeup = wakeup
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._statements: dict[str, _Statement] = {}

    async def write(self, batch: Sequence[Arrival]) -> Sequence[Receipt]:
        """Record a batch in one statement and one commit. After a failure the next batch gets a new connection."""
        if len(batch) == 1:
            return [await self._write_one(*batch[0])]
        first_of_key: dict[tuple[str, bool, str], int] = {}
        for position, (event, _) in enumerate(batch):
            first_of_key.setdefault((event.key.event_id, event.key.livemode, event.key.account), position)
        # Ordered by key: of two batches that share keys, one waits for the other, never both.
        firsts = [batch[first_of_key[key]] for key in sorted(first_of_key)]
        rows = await self._record("record_events", *_columns(firsts))
        new = {first_of_key[event_id, livemode, account]: number for number, event_id, livemode, account in rows}
        if any(batch[position][1] is None for position in new):
            self._wakeup.ring()
        return [_receipt(arrival, new.get(position)) for position, arrival in enumerate(batch)]

    async def _write_one(self, event: ProviderEvent, lease: timedelta | None) -> Receipt:
        """Record an event that came alone: the same in a statement that takes values, which is quicker than arrays."""
        rows = await self._record("record_event", *_values(event, lease))
        if rows and lease is None:
            self._wakeup.ring()
        return _receipt((event, lease), rows[0]["id"] if rows else None)

    async def _record(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        try:
            with translated("record"):
                return await (await self._prepared(query)).fetch(*arguments)
        except BaseException:
            self._drop()
            raise

    async def aclose(self) -> None:
        """Take leave of the database."""
        if self._connection is not None:
            with suppress(*UNAVAILABLE):
                await self._connection.close(timeout=1)

    def _drop(self) -> None:
        """Forget the connection, whatever state it is in."""
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


def _claim(row: asyncpg.Record) -> Claim:
    return Claim(
        dispatch_id=row["event"],
        attempt=row["attempt"],
        event=event_from_row(row),
        forgiven=row["forgiven"],
        applied=row["applied"],
    )


def _receipt(arrival: Arrival, number: int | None) -> Receipt:
    """The answer for an event that was stored as `number` just now, or that was there before."""
    event, lease = arrival
    if number is None:
        return Receipt(status=ReceiptStatus.DUPLICATE, event_id=event.key.event_id)
    claim = None if lease is None else Claim(dispatch_id=number, attempt=1, event=event)
    return Receipt(status=ReceiptStatus.ACCEPTED, event_id=event.key.event_id, claim=claim)


def _columns(arrivals: Sequence[Arrival]) -> tuple[Sequence[object], ...]:
    """The arguments of `record_events`: one array per column."""
    return tuple(zip(*[_values(event, lease) for event, lease in arrivals], strict=True))


def _values(event: ProviderEvent, lease: timedelta | None) -> tuple[object, ...]:
    """The arguments of `record_event`."""
    return (
        event.key.event_id,
        event.key.livemode,
        event.key.account,
        event.type,
        event.api_version,
        event.created_at,
        event.received_at,
        event.secret_slot,
        event.body,
        lease,
    )
