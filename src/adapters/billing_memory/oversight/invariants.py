"""Looks for rows that violate an invariant, in process."""

from collections.abc import Iterator, Sequence

from billing_core.events import Disposition
from billing_core.model import CustomerId
from billing_core.oversight.invariants import LEASE_OVERDUE, PUBLISHING_OVERDUE, Invariant, Violation
from billing_core.state.ports import Clock
from billing_memory.database import Dispatch, MemoryDatabase

_EXAMPLES = 5


class MemoryInvariantLog:
    """An `InvariantLog`. A sample is everything."""

    def __init__(self, database: MemoryDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def sample(self) -> Sequence[Violation]:
        """Check every row."""
        return await self.everything()

    async def everything(self) -> Sequence[Violation]:
        """Check every row."""
        found: dict[Invariant, list[str]] = {}
        for invariant, example in [*self._of_tenants(), *self._of_events(), *self._of_messages()]:
            found.setdefault(invariant, []).append(example)
        return [
            Violation(invariant=invariant, count=len(found[invariant]), examples=tuple(found[invariant][:_EXAMPLES]))
            for invariant in Invariant
            if invariant in found
        ]

    def _of_tenants(self) -> Iterator[tuple[Invariant, str]]:
        tables = self._database.tables
        for tenant_id, counter in sorted(tables.counters.items()):
            numbers = [number for tenant, number in tables.messages if tenant == tenant_id]
            erased = self._database.erased_until.get(tenant_id, 0)
            if max(numbers, default=erased) != counter:
                yield Invariant.COUNTER, tenant_id
            elif len(numbers) != counter - erased:
                yield Invariant.GAPLESS, tenant_id

    def _of_events(self) -> Iterator[tuple[Invariant, str]]:
        now = self._clock.now()
        for row in self._database.tables.dispatch.values():
            if not _has_its_outcome(row):
                yield Invariant.OUTCOME, row.event.event_id
            if not self._has_its_message(row):
                yield Invariant.MESSAGE, row.event.event_id
            if row.disposition is Disposition.LEASED and row.due_at < now - LEASE_OVERDUE:
                yield Invariant.LEASE, row.event.event_id
            if row.disposition is Disposition.PARKED and row.due_at < now - PUBLISHING_OVERDUE:
                customer = self._database.tables.customers.get(
                    CustomerId((row.outcome and row.outcome.parked_on) or "")
                )
                if customer is not None and customer.tenant_id is not None:
                    yield Invariant.PARKED, row.event.event_id

    def _of_messages(self) -> Iterator[tuple[Invariant, str]]:
        now = self._clock.now()
        for (tenant_id, number), committed_at in sorted(self._database.outbox.items()):
            if committed_at < now - PUBLISHING_OVERDUE:
                yield Invariant.PUBLISHED, f"{tenant_id}#{number}"
            if (tenant_id, number) not in self._database.tables.messages:
                yield Invariant.OUTBOX, f"{tenant_id}#{number}"

    def _has_its_message(self, row: Dispatch) -> bool:
        outcome = row.outcome
        if outcome is None or outcome.sequence is None or outcome.tenant_id is None:
            return True
        message = self._database.tables.messages.get((outcome.tenant_id, outcome.sequence))
        return message is not None and message.event_id == row.event.event_id


def _has_its_outcome(row: Dispatch) -> bool:
    match row.disposition:
        case Disposition.APPLIED:
            return row.finished_at is not None and row.outcome is not None and row.outcome.effect is not None
        case Disposition.IGNORED | Disposition.DEAD:
            return row.finished_at is not None and row.reason is not None
        case Disposition.PARKED:
            return row.reason is not None
        case _:
            return True
