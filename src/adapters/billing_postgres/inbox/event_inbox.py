"""The inbox: what the provider sent, byte for byte, and how far each event has been processed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from operator import attrgetter
from types import MappingProxyType
from typing import Final, Self

import asyncpg

from billing_core.errors import StoreUnavailableError
from billing_core.events import Claim, EventKey, ProviderEvent, Receipt, ReceiptStatus
from billing_core.model import CustomerId
from billing_core.oversight.ports import Backlog
from billing_postgres import queries
from billing_postgres.inbox.recorder import Recorder
from billing_postgres.inbox.rows import CLAIMS, KEYS, claim_from_row, key_from_row
from billing_postgres.inbox.wakeup import Wakeup
from billing_postgres.pool import Database
from billing_postgres.statements import Statements
from billing_postgres.text import storable

_QUERIES: Final = MappingProxyType({**queries.load("read_inbox"), **queries.load("write_inbox")})


class PostgresEventInbox:
    """An `EventInbox`, `EventQueue`, `KnownEvents`, `ReplayQueue` and `InboxBacklog`. Time is the database's.

    One object, because recording and releasing wake the tasks that wait for due events. Concurrent records share
    commits: each of `flushes` connections writes what has queued up since the last commit as one statement. `timeout`
    bounds the whole wait of a caller; the event may then be stored all the same.
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
        self._statements = Statements(database, pool, _QUERIES)
        self._wakeup = Wakeup(database)
        self._recorder = Recorder(
            database,
            flushes=flushes,
            batch=batch,
            queue_limit=queue_limit,
            timeout=timeout,
            due=self._wakeup.notify,
            abandoned=self._release_abandoned,
        )
        self._duplicates: Counter[EventKey] = Counter()
        """Deliveries that are not counted in the database yet."""
        self._counting = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def start(self) -> None:
        """Start listening to the other processes. The database may be down: each call finds out for itself."""
        self._wakeup.start()

    async def aclose(self) -> None:
        """Write what is queued, then close the inbox's own connections. The pool stays with its owner."""
        await self._recorder.flush()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._wakeup.aclose()
        await self._recorder.aclose()

    async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
        """Store an event in the next commit, claimed for the caller when `lease` is given."""
        receipt = await self._recorder.record(event, lease)
        if receipt.status is ReceiptStatus.DUPLICATE:
            self._duplicates[event.key] += 1
            if not self._counting:
                self._counting = True
                self._background(self._count_duplicates())
        return receipt

    async def claim(self, *, limit: int, lease: timedelta) -> Sequence[Claim]:
        """Claim due events, oldest due first. One whose body was pruned is buried instead."""
        self._wakeup.clear()
        rows = await self._statements.fetch("claim_events", limit, lease)
        rows.sort(key=lambda row: (row["waited_since"], row["event"]))
        return [claim_from_row(row) for row in rows if row["body"] is not None]

    async def retry(self, claim: Claim, *, after: timedelta, reason: str, error: str) -> bool:
        """Return a claim to the queue, due again `after` from now."""
        kept = await self._statements.fetch(
            "retry_event", claim.dispatch_id, claim.attempt, after, storable(reason), storable(error)
        )
        return bool(kept)

    async def bury(
        self,
        claim: Claim,
        *,
        reason: str,
        error: str,
        customer_id: CustomerId | None = None,
        about: Sequence[str] = (),
    ) -> bool:
        """End a claim as dead, with the customer and the tenant that are known of it."""
        kept = await self._statements.fetch(
            "bury_event",
            claim.dispatch_id,
            claim.attempt,
            storable(reason),
            storable(error),
            storable(customer_id),
            [storable(object_id) for object_id in about],
        )
        return bool(kept)

    async def restore(self, claim: Claim, *, reason: str, error: str) -> bool:
        """End the claim of a replay of an applied event, which stays applied."""
        kept = await self._statements.fetch(
            "restore_event", claim.dispatch_id, claim.attempt, storable(reason), storable(error)
        )
        return bool(kept)

    async def release(self, claims: Collection[Claim]) -> None:
        """Return unprocessed claims to the queue at once, uncounted, and wake the other processes."""
        if claims:
            await self._statements.fetch("release_events", *CLAIMS.arrays(claims))
            self._wakeup.notify()

    async def reclaim(self, dispatch_ids: Collection[int], *, lease: timedelta) -> Sequence[Claim]:
        """Claim these events whatever their status, in the order they happened."""
        return [
            claim_from_row(row) for row in await self._statements.fetch("reclaim_events", list(dispatch_ids), lease)
        ]

    async def read(self, dispatch_ids: Collection[int]) -> Sequence[Claim]:
        """Return these events without claiming them, in the order they happened."""
        return [claim_from_row(row) for row in await self._statements.fetch("read_events", list(dispatch_ids))]

    async def known(self, keys: Collection[EventKey]) -> Collection[EventKey]:
        """Return the keys that are stored."""
        found = {key_from_row(row) for row in await self._statements.fetch("known_events", *KEYS.arrays(keys))}
        return [key for key in keys if key in found]

    async def unpark(self) -> int:
        """Make due what waits for a customer or an object that is known by now, and wake the other processes."""
        return len(await self._statements.fetch("unpark_events"))

    async def backlog(self) -> Backlog:
        """Count what waits right now."""
        (row,) = await self._statements.fetch("count_backlog")
        dead = await self._statements.fetch("count_dead")
        return Backlog(
            oldest_due=row["oldest_due"],
            due=row["due"],
            parked=row["parked"],
            oldest_parked=row["oldest_parked"],
            dead={row["reason"]: row["dead"] for row in dead},
            oldest_dead={row["reason"]: row["oldest"] for row in dead},
        )

    async def lapse(self, *, after: timedelta, limit: int) -> int:
        """End events that have been parked for too long."""
        return len(await self._statements.fetch("lapse_events", after, limit))

    async def wait(self, *, at_most: timedelta) -> None:
        """Return when an event was recorded or released, here or elsewhere, since the last `claim`."""
        await self._wakeup.wait(at_most=at_most)

    def _release_abandoned(self, receipt: Receipt) -> None:
        """Release a claim whose caller is gone: nothing would process it before its lease runs out."""
        if receipt.claim is not None:
            self._background(self._release_quietly(receipt.claim))

    def _background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _count_duplicates(self) -> None:
        """Count repeated deliveries in the background. They are statistics: those of an unavailable store are lost."""
        while self._duplicates:
            duplicates, self._duplicates = self._duplicates, Counter()
            keys = sorted(duplicates, key=attrgetter("event_id", "livemode", "account"))
            with suppress(StoreUnavailableError):
                await self._statements.fetch("count_duplicates", [duplicates[key] for key in keys], *KEYS.arrays(keys))
        self._counting = False

    async def _release_quietly(self, claim: Claim) -> None:
        try:
            await self.release([claim])
        except StoreUnavailableError:
            return  # the lease runs out by itself
