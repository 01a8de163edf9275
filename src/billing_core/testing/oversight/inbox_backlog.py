"""The contract of InboxBacklog."""

from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.oversight.ports import Backlog, InboxBacklog
from billing_core.testing.builders import provider_event
from billing_core.testing.timing import LEASE, LONG, Elapse


class InboxBacklogContract:
    """Counts of pending and dead events.

    A binding provides `inbox_backlog`; `inbox` and `queue` on the same data, all empty; and `elapse`.
    """

    async def test_the_backlog_counts_pending_events(
        self, inbox: EventInbox, queue: EventQueue, inbox_backlog: InboxBacklog, elapse: Elapse
    ) -> None:
        """Claimed events count only once their lease has run out, finished ones never; dead ones count by reason."""
        assert await inbox_backlog.backlog() == Backlog()
        await inbox.record(provider_event("evt_1"))
        await inbox.record(provider_event("evt_2"))
        (first,) = await queue.claim(limit=1, lease=LONG)
        await queue.bury(first, reason="bug", error="ValueError")
        await elapse(LEASE)
        found = await inbox_backlog.backlog()
        assert (found.due, found.parked, dict(found.dead)) == (1, 0, {"bug": 1})
        assert found.oldest_due >= LEASE
        await queue.claim(limit=1, lease=LEASE)
        assert (await inbox_backlog.backlog()).due == 0
        await elapse(LEASE)
        assert (await inbox_backlog.backlog()).due == 1
