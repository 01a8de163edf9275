"""The contract of ReplayQueue."""

from datetime import timedelta

import pytest

from billing_core.events import Disposition, Effect, Outcome
from billing_core.inbox.ports import EventInbox, EventQueue, ReplayQueue
from billing_core.inbox.selection import EventFilter
from billing_core.model import CustomerId
from billing_core.oversight.ports import EventLog
from billing_core.state.ports import UnitOfWork
from billing_core.testing.arrange import applied, claimed, parked, settle
from billing_core.testing.builders import ACME, AT, provider_event
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LEASE, LONG, Elapse

ALICE = CustomerId("cus_alice")


class ReplayQueueContract(Suite):
    """Claims of stored events, whatever their status, except those that are being processed.

    A binding provides `replay_queue`; `inbox`, `queue`, `unit_of_work` and `event_log` on the same data, all empty;
    and `elapse`.
    """

    async def test_any_event_at_rest_can_be_claimed_again(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, replay_queue: ReplayQueue
    ) -> None:
        """With fresh attempts and a fence of its own, in the order in which things happened."""
        done = await claimed(inbox, provider_event("evt_1", created_at=AT + timedelta(1)))
        await settle(unit_of_work, applied(done, effect=Effect.CONFIRMED, customer_id=ALICE, sequence=None))
        dead = await claimed(inbox, provider_event("evt_2"))
        await queue.bury(dead, reason="bug", error="boom")
        waiting = await claimed(inbox, provider_event("evt_3", created_at=AT + timedelta(2)))
        await settle(unit_of_work, parked(waiting))
        wanted = [done.dispatch_id, waiting.dispatch_id, dead.dispatch_id, 10**9]
        read = await replay_queue.read(wanted)
        assert [(each.dispatch_id, each.attempt, each.applied, each.parked) for each in read] == [
            (dead.dispatch_id, 1, False, False),
            (done.dispatch_id, 1, True, False),
            (waiting.dispatch_id, 1, False, True),
        ]
        claims = await replay_queue.reclaim(wanted, lease=LONG)
        assert [(each.dispatch_id, each.attempt, each.tries, each.applied, each.parked) for each in claims] == [
            (dead.dispatch_id, 2, 1, False, False),
            (done.dispatch_id, 2, 1, True, False),
            (waiting.dispatch_id, 2, 1, False, True),
        ]
        assert not await queue.bury(dead, reason="bug", error="late")
        assert await replay_queue.reclaim([done.dispatch_id], lease=LONG) == []

    async def test_an_event_that_is_being_processed_is_not_reclaimed(
        self, inbox: EventInbox, replay_queue: ReplayQueue, elapse: Elapse
    ) -> None:
        """Not before its lease has run out; it can be read all the same."""
        event = provider_event("evt_1")
        number = (await claimed(inbox, event, LEASE)).dispatch_id
        assert await replay_queue.reclaim([number], lease=LONG) == []
        assert [each.dispatch_id for each in await replay_queue.read([number])] == [number]
        await elapse(2 * LEASE)
        (claim,) = await replay_queue.reclaim([number], lease=LONG)
        assert (claim.event, claim.tries) == (event, 1)

    async def test_a_replay_that_does_nothing_new_keeps_what_the_event_did(
        self, inbox: EventInbox, unit_of_work: UnitOfWork, replay_queue: ReplayQueue, event_log: EventLog
    ) -> None:
        """The first effect and the message stay on record."""
        first = await claimed(inbox, provider_event("evt_1"))
        await settle(unit_of_work, applied(first, customer_id=ALICE, sequence=7))
        (claim,) = await replay_queue.reclaim([first.dispatch_id], lease=LONG)
        await settle(unit_of_work, Outcome(claim=claim, disposition=Disposition.APPLIED, effect=Effect.CONFIRMED))
        (found,) = await event_log.find(EventFilter(), before=None, limit=10)
        assert (found.status, found.effect, found.sequence) == (Disposition.APPLIED, Effect.CHANGED, 7)
        assert (found.tenant_id, found.customer_id) == (ACME, ALICE)

    @pytest.mark.parametrize("by", ["restore", "settle"])
    async def test_an_applied_event_that_was_not_confirmed_stays_applied(
        self,
        *,
        inbox: EventInbox,
        queue: EventQueue,
        unit_of_work: UnitOfWork,
        replay_queue: ReplayQueue,
        event_log: EventLog,
        by: str,
    ) -> None:
        """With its first effect and its message; the reason is kept as a failed attempt."""
        first = await claimed(inbox, provider_event("evt_1"))
        await settle(unit_of_work, applied(first, customer_id=ALICE, sequence=7))
        (claim,) = await replay_queue.reclaim([first.dispatch_id], lease=LONG)
        if by == "restore":
            assert await queue.restore(claim, reason="bug", error="boom")
            assert not await queue.restore(claim, reason="bug", error="late")
        else:
            kept = applied(claim, effect=Effect.CONFIRMED, sequence=None, reason="bug", error="boom")
            await settle(unit_of_work, kept)
        (found,) = await event_log.find(EventFilter(), before=None, limit=10)
        assert (found.status, found.effect, found.sequence) == (Disposition.APPLIED, Effect.CHANGED, 7)
        assert (found.reason, found.error, found.tenant_id) == (None, None, ACME)
        assert found.finished_at is not None
        (attempt,) = await event_log.attempts(first.dispatch_id)
        assert (attempt.attempt, attempt.reason, attempt.error) == (2, "bug", "boom")

    async def test_an_event_that_was_never_applied_cannot_be_restored(
        self, inbox: EventInbox, queue: EventQueue, event_log: EventLog
    ) -> None:
        """Its claim stays with its holder."""
        claim = await claimed(inbox, provider_event("evt_1"))
        assert not await queue.restore(claim, reason="bug", error="boom")
        assert not await event_log.attempts(claim.dispatch_id)
        assert await queue.bury(claim, reason="bug", error="boom")
