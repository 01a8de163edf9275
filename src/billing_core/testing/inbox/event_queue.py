"""The contract of EventQueue. `unpark` is covered by `billing_core.testing.state.waiting_events`."""

import asyncio
from datetime import timedelta

import pytest

from billing_core.events import ReceiptStatus
from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.testing.builders import provider_event
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LEASE, LONG, TICK, Elapse


class EventQueueContract(Suite):
    """One worker per event at a time, and no event without a worker for longer than its lease or delay.

    A binding provides `inbox` and `queue`, empty and on the same data, and `elapse`.
    """

    async def test_a_claim_is_exclusive_until_its_lease_runs_out(
        self, inbox: EventInbox, queue: EventQueue, elapse: Elapse
    ) -> None:
        """A worker that died is replaced, and its attempt stays counted."""
        await inbox.record(provider_event())
        (first,) = await queue.claim(limit=10, lease=LEASE)
        assert await queue.claim(limit=10, lease=LEASE) == []
        await elapse(LEASE)
        (second,) = await queue.claim(limit=10, lease=LEASE)
        assert (first.attempt, second.attempt) == (1, 2)

    async def test_concurrent_claims_share_the_work(self, inbox: EventInbox, queue: EventQueue) -> None:
        """No event goes to two of them, and none is left over."""
        await asyncio.gather(*(inbox.record(provider_event(f"evt_{number}")) for number in range(60)))
        shares = await asyncio.gather(*(queue.claim(limit=20, lease=LONG) for _ in range(4)))
        rest = await queue.claim(limit=60, lease=LONG)
        claimed = [claim.event.event_id for share in [*shares, rest] for claim in share]
        assert sorted(claimed) == sorted(f"evt_{number}" for number in range(60))

    async def test_claims_come_oldest_due_first_and_within_the_limit(
        self, inbox: EventInbox, queue: EventQueue, elapse: Elapse
    ) -> None:
        """No event starves behind newer ones."""
        for number in range(4):
            await inbox.record(provider_event(f"evt_{number}"))
            await elapse(TICK)
        claims = await queue.claim(limit=4, lease=LONG)
        assert [claim.event.event_id for claim in claims] == ["evt_0", "evt_1", "evt_2", "evt_3"]
        # Soonest first: a pause of the machine between two calls then widens the gaps and changes no order.
        for wait, number in enumerate((1, 3, 2, 0), start=1):
            await queue.retry(claims[number], after=wait * LEASE / 4, reason="unexpected", error="boom")
        await elapse(LEASE)
        first = await queue.claim(limit=3, lease=LONG)
        second = await queue.claim(limit=3, lease=LONG)
        assert [claim.event.event_id for claim in [*first, *second]] == ["evt_1", "evt_3", "evt_2", "evt_0"]

    async def test_a_retry_is_due_when_its_delay_is_over(
        self, inbox: EventInbox, queue: EventQueue, elapse: Elapse
    ) -> None:
        """Not a moment before, and it counts as the next attempt."""
        await inbox.record(provider_event())
        (claim,) = await queue.claim(limit=10, lease=LONG)
        assert await queue.retry(claim, after=LEASE, reason="unexpected", error="boom")
        assert await queue.claim(limit=10, lease=LONG) == []
        await elapse(LEASE)
        (again,) = await queue.claim(limit=10, lease=LONG)
        assert again.attempt == 2

    async def test_a_buried_event_is_never_claimed(self, inbox: EventInbox, queue: EventQueue, elapse: Elapse) -> None:
        """It stays dead until an operator replays it; another delivery by the provider does not revive it."""
        await inbox.record(provider_event())
        (claim,) = await queue.claim(limit=10, lease=LEASE)
        assert await queue.bury(claim, reason="unexpected", error="boom")
        await elapse(LEASE)
        assert await queue.claim(limit=10, lease=LONG) == []
        assert (await inbox.record(provider_event())).status is ReceiptStatus.DUPLICATE

    async def test_errors_may_quote_any_text_of_a_payload(self, inbox: EventInbox, queue: EventQueue) -> None:
        """Text that a database may refuse does not keep an event from being retried or buried."""
        hostile = "'; DROP TABLE x; -- \x00 \ud800 \u2028 💶" * 1000
        await inbox.record(provider_event("evt_1"))
        await inbox.record(provider_event("evt_2"))
        first, second = await queue.claim(limit=10, lease=LONG)
        assert await queue.retry(first, after=LONG, reason="unexpected", error=hostile)
        assert await queue.bury(second, reason="unexpected", error=hostile)

    @pytest.mark.parametrize("by", ["retry", "bury", "restore", "release"])
    async def test_a_lost_claim_changes_nothing(
        self, inbox: EventInbox, queue: EventQueue, elapse: Elapse, by: str
    ) -> None:
        """A worker that outlived its lease cannot take the event from the worker that has it now."""
        await inbox.record(provider_event())
        (lost,) = await queue.claim(limit=10, lease=LEASE)
        await elapse(LEASE)
        (current,) = await queue.claim(limit=10, lease=LONG)
        if by == "retry":
            assert not await queue.retry(lost, after=timedelta(0), reason="unexpected", error="late")
        elif by == "bury":
            assert not await queue.bury(lost, reason="unexpected", error="late")
        elif by == "restore":
            assert not await queue.restore(lost, reason="unexpected", error="late")
        else:
            await queue.release([lost])
        assert await queue.claim(limit=10, lease=LONG) == []
        assert await queue.bury(current, reason="unexpected", error="still ours")

    async def test_a_released_claim_is_due_at_once_and_uncounted(self, inbox: EventInbox, queue: EventQueue) -> None:
        """An orderly shutdown costs an event no attempt."""
        await inbox.record(provider_event("evt_1"))
        await inbox.record(provider_event("evt_2"))
        claims = await queue.claim(limit=10, lease=LONG)
        await queue.release([])
        await queue.release(claims)
        again = await queue.claim(limit=10, lease=LONG)
        assert {(claim.event.event_id, claim.attempt) for claim in again} == {("evt_1", 1), ("evt_2", 1)}

    async def test_a_released_claim_is_no_longer_held(self, inbox: EventInbox, queue: EventQueue) -> None:
        """The worker that released it cannot end it afterwards."""
        await inbox.record(provider_event())
        claims = await queue.claim(limit=10, lease=LONG)
        await queue.release(claims)
        assert not await queue.bury(claims[0], reason="unexpected", error="late")

    async def test_waiting_ends_when_an_event_is_recorded(self, inbox: EventInbox, queue: EventQueue) -> None:
        """A worker that found nothing is woken by the next event, even one recorded before it began to wait."""
        assert await queue.claim(limit=10, lease=LONG) == []
        waiting = asyncio.create_task(queue.wait(at_most=LONG))
        await inbox.record(provider_event("evt_1"))
        await asyncio.wait_for(waiting, timeout=10)
        assert len(await queue.claim(limit=10, lease=LONG)) == 1
        await inbox.record(provider_event("evt_2"))
        await asyncio.wait_for(queue.wait(at_most=LONG), timeout=10)

    async def test_waiting_ends_by_itself(self, queue: EventQueue) -> None:
        """No worker depends on being woken."""
        await queue.wait(at_most=TICK)
        await queue.claim(limit=10, lease=LONG)
        await asyncio.wait_for(queue.wait(at_most=TICK), timeout=10)
