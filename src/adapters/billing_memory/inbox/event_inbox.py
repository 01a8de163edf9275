"""The inbox in process."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import attrs

from billing_core.events import Claim, Disposition, EventKey, Outcome, ProviderEvent, Receipt, ReceiptStatus
from billing_core.model import CustomerId
from billing_core.oversight.ports import Backlog
from billing_core.state.ports import Clock
from billing_core.waiting import wait_at_most
from billing_memory.database import NO_TENANT, Dispatch, MemoryDatabase


class MemoryEventInbox:
    """An `EventInbox`, `EventQueue`, `KnownEvents`, `ReplayQueue` and `InboxBacklog` on the time of a given clock."""

    def __init__(self, database: MemoryDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
        """Store an event, claimed for the caller when `lease` is given."""
        numbers = self._database.numbers
        if event.key in numbers:
            row = self._database.tables.dispatch[numbers[event.key]]
            self._database.tables.dispatch[row.dispatch_id] = attrs.evolve(
                row, duplicates=row.duplicates + 1, last_duplicate_at=self._clock.now()
            )
            return Receipt(status=ReceiptStatus.DUPLICATE, event_id=event.event_id)
        number = numbers[event.key] = len(numbers) + 1
        now = self._clock.now()
        if lease is None:
            row = Dispatch(dispatch_id=number, event=event, disposition=Disposition.DUE, due_at=now)
            self._database.due.set()
        else:
            row = Dispatch(
                dispatch_id=number, event=event, disposition=Disposition.LEASED, due_at=now + lease, attempt=1
            )
        self._database.tables.dispatch[number] = row
        claim = None if lease is None else row.claim
        return Receipt(status=ReceiptStatus.ACCEPTED, event_id=event.event_id, claim=claim)

    async def claim(self, *, limit: int, lease: timedelta) -> Sequence[Claim]:
        """Claim due events, oldest due first. Those that an open transaction holds are passed over."""
        self._database.due.clear()
        now = self._clock.now()
        rows = self._database.tables.dispatch
        waiting = [row for row in rows.values() if row.claimable(now) and row.dispatch_id not in self._database.held]
        waiting.sort(key=lambda row: (row.due_at, row.dispatch_id))
        return [self._lease(row, now + lease) for row in waiting[:limit]]

    async def retry(self, claim: Claim, *, after: timedelta, reason: str, error: str) -> bool:
        """Return a claim to the queue, due again `after` from now."""
        async with self._database.writing:
            row = self._database.tables.dispatch[claim.dispatch_id]
            if not row.held_by(claim):
                return False
            now = self._clock.now()
            row = row.failed(at=now, reason=reason, error=error)
            self._put(attrs.evolve(row, disposition=Disposition.DUE, due_at=now + after))
            return True

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
        async with self._database.writing:
            row = self._database.tables.dispatch[claim.dispatch_id]
            if not row.held_by(claim):
                return False
            now = self._clock.now()
            known = row.outcome or Outcome(claim=claim, disposition=Disposition.DEAD)
            known = attrs.evolve(
                known,
                customer_id=customer_id or known.customer_id,
                tenant_id=self._database.tables.tenant_of(customer_id, about) or known.tenant_id,
            )
            row = row.failed(at=now, reason=reason, error=error)
            self._put(attrs.evolve(row, disposition=Disposition.DEAD, finished_at=now, outcome=known))
            return True

    async def restore(self, claim: Claim, *, reason: str, error: str) -> bool:
        """End the claim of a replay of an applied event, which stays applied."""
        async with self._database.writing:
            row = self._database.tables.dispatch[claim.dispatch_id]
            if not row.held_by(claim) or not row.claim.applied:
                return False
            self._put(row.restored(at=self._clock.now(), reason=reason, error=error))
            return True

    async def release(self, claims: Collection[Claim]) -> None:
        """Return unprocessed claims to the queue at once, uncounted."""
        async with self._database.writing:
            now = self._clock.now()
            for claim in claims:
                row = self._database.tables.dispatch[claim.dispatch_id]
                if row.held_by(claim):
                    self._put(attrs.evolve(row, disposition=Disposition.DUE, due_at=now, attempt=row.attempt - 1))

    async def unpark(self) -> int:
        """Make due what waits for a customer or an object that is known by now."""
        async with self._database.writing:
            count = self._database.tables.unpark(self._clock.now())
        if count:
            self._database.due.set()
        return count

    async def lapse(self, *, after: timedelta, limit: int) -> int:
        """End events that have been parked for too long."""
        async with self._database.writing:
            now = self._clock.now()
            rows = self._database.tables.dispatch.values()
            waiting = [row for row in rows if row.waits and row.due_at <= now - after]
            waiting.sort(key=lambda row: (row.due_at, row.dispatch_id))
            for row in waiting[:limit]:
                lapsed = attrs.evolve(row, disposition=Disposition.IGNORED, reason=NO_TENANT, finished_at=now)
                self._database.tables.dispatch[row.dispatch_id] = lapsed
            return len(waiting[:limit])

    async def reclaim(self, dispatch_ids: Collection[int], *, lease: timedelta) -> Sequence[Claim]:
        """Claim these events whatever their status, in the order they happened."""
        now = self._clock.now()
        rows = [row for row in self._database.at_rest(dispatch_ids, now) if row.event.body]
        rows.sort(key=lambda row: (row.event.created_at, row.dispatch_id))
        return [self._lease(attrs.evolve(row, forgiven=row.attempt), now + lease) for row in rows]

    async def read(self, dispatch_ids: Collection[int]) -> Sequence[Claim]:
        """Return these events without claiming them, in the order they happened."""
        rows = self._database.tables.dispatch
        found = [rows[id_] for id_ in set(dispatch_ids) if id_ in rows and rows[id_].event.body]
        return [row.claim for row in sorted(found, key=lambda row: (row.event.created_at, row.dispatch_id))]

    async def known(self, keys: Collection[EventKey]) -> Collection[EventKey]:
        """Return the keys that are stored."""
        return [key for key in keys if key in self._database.numbers]

    async def backlog(self) -> Backlog:
        """Count what waits right now."""
        now = self._clock.now()
        rows = self._database.tables.dispatch.values()
        due = [now - row.due_at for row in rows if row.claimable(now)]
        buried = [row for row in rows if row.disposition is Disposition.DEAD]
        parked = [now - row.due_at for row in rows if row.disposition is Disposition.PARKED]
        oldest_dead: dict[str, timedelta] = {}
        for row in buried:
            age = now - (row.finished_at or now)
            oldest_dead[row.reason or ""] = max(age, oldest_dead.get(row.reason or "", age))
        return Backlog(
            oldest_due=max(due, default=timedelta(0)),
            due=len(due),
            parked=len(parked),
            oldest_parked=max(parked, default=timedelta(0)),
            dead=Counter(row.reason or "" for row in buried),
            oldest_dead=oldest_dead,
        )

    async def wait(self, *, at_most: timedelta) -> None:
        """Return when an event was recorded, released or unparked since the last `claim`."""
        await wait_at_most(self._database.due, at_most)

    def _lease(self, row: Dispatch, until: datetime) -> Claim:
        leased = attrs.evolve(row, disposition=Disposition.LEASED, due_at=until, attempt=row.attempt + 1)
        self._database.tables.dispatch[row.dispatch_id] = leased
        return leased.claim

    def _put(self, row: Dispatch) -> None:
        self._database.tables.dispatch[row.dispatch_id] = row
        self._database.due.set()
