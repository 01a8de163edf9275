"""The contract of InboxBacklog."""

from datetime import timedelta

from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.oversight.ports import Backlog, InboxBacklog
from billing_core.state.ports import UnitOfWork
from billing_core.testing.arrange import claimed, parked, settle
from billing_core.testing.builders import provider_event
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LEASE, LONG, Elapse


class InboxBacklogContract(Suite):
    """Counts of pending and dead events.

    A binding provides `inbox_backlog`; `inbox`, `queue` and `unit_of_work` on the same data, all empty; and `elapse`.
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

    async def test_the_backlog_has_the_age_of_what_waits_longest(
        self,
        inbox: EventInbox,
        queue: EventQueue,
        unit_of_work: UnitOfWork,
        inbox_backlog: InboxBacklog,
        *,
        elapse: Elapse,
    ) -> None:
        """Of parked events since they were parked, and of dead ones by reason, since they died."""
        await settle(unit_of_work, parked(await claimed(inbox, provider_event("evt_1"))))
        await queue.bury(await claimed(inbox, provider_event("evt_2")), reason="bug", error="boom")
        await elapse(LEASE)
        found = await inbox_backlog.backlog()
        assert found.parked == 1
        assert found.oldest_parked >= LEASE
        assert found.oldest_dead.keys() == {"bug"}
        assert found.oldest_dead["bug"] >= timedelta(0)
