"""The flow of events through the inbox, measured in process."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from billing_core.events import Disposition
from billing_core.oversight.flow import MEASURED, FlowDelays, FlowStep, in_steps, median_and_p95
from billing_memory.database import Dispatch, MemoryDatabase

_COUNTED = (Disposition.APPLIED, Disposition.IGNORED, Disposition.DEAD)


class MemoryInboxFlow:
    """An `InboxFlow`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def steps(self, *, since: datetime, until: datetime, step: timedelta) -> Sequence[FlowStep]:
        """Count the events of each step."""
        counts: dict[datetime, Counter[str]] = {}

        def count(instant: datetime, what: str) -> None:
            start = since + (instant - since) // step * step
            counts.setdefault(start, Counter())[what] += 1

        for row in self._received(since, until):
            count(row.event.received_at, "stored")
            if row.finished_at is not None and since <= row.finished_at < until and row.disposition in _COUNTED:
                count(row.finished_at, row.disposition.value)
                if row.outcome is not None and row.outcome.sequence is not None:
                    count(row.finished_at, "messages")
        found = {at: FlowStep(at=at, **counted) for at, counted in counts.items()}
        return in_steps(found, since=since, until=until, step=step)

    async def delays(self, *, since: datetime, until: datetime) -> FlowDelays:
        """Measure the delays of the latest events."""
        latest = sorted(self._received(since, until), key=lambda row: -row.dispatch_id)[:MEASURED]
        return FlowDelays(
            sent=median_and_p95([row.event.received_at - row.event.created_at for row in latest]),
            duplicates=sum(row.duplicates for row in latest),
        )

    def _received(self, since: datetime, until: datetime) -> Sequence[Dispatch]:
        rows = self._database.tables.dispatch.values()
        return [row for row in rows if since <= row.event.received_at < until]
