"""The contract of ClaimFence. Parking is covered by `billing_core.testing.state.waiting_events`."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

import attrs
import pytest

from billing_core.errors import DEAD_REASONS
from billing_core.events import Claim, Disposition, Outcome
from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.inbox.selection import EventFilter
from billing_core.oversight.ports import EventLog, InboxBacklog
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.stream.ports import MessageHistory
from billing_core.testing.arrange import applied, claimed, due, parked, settle
from billing_core.testing.builders import ACME, message, provider_event
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LEASE, LONG, Elapse


class ClaimFenceContract(Suite):
    """One unit of work per claim, and none for a claim that was lost.

    A binding provides `unit_of_work`; `inbox`, `queue`, `inbox_backlog`, `event_log` and `history` on the same data,
    all empty; and `elapse`.
    """

    async def test_held_claims_are_settled_with_the_changes(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, elapse: Elapse
    ) -> None:
        """An applied event is done: no later claim, retry or delivery brings it back."""
        claim = await claimed(inbox, provider_event("evt_1"), LEASE)
        async with unit_of_work.transaction() as transaction:
            assert (await transaction.hold([claim])).claims == [claim]
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(events=[message()]))
            await transaction.settle([applied(claim)])
        await elapse(LEASE)
        assert await due(queue) == []
        assert not await queue.retry(claim, after=timedelta(0), reason="unexpected", error="late")

    async def test_holding_drops_lost_claims(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, elapse: Elapse
    ) -> None:
        """A claim that was taken over, released or finished may not be settled."""
        lost, buried = [await claimed(inbox, provider_event(f"evt_{number}"), LEASE) for number in range(2)]
        kept, released = [await claimed(inbox, provider_event(f"evt_{number}"), LONG) for number in range(2, 4)]
        await queue.bury(buried, reason="unexpected", error="boom")
        await elapse(LEASE)
        await queue.claim(limit=10, lease=LONG)
        await queue.release([released])
        async with unit_of_work.transaction() as transaction:
            assert (await transaction.hold([lost, kept, buried, released])).claims == [kept]
            with pytest.raises(ValueError, match="only held claims"):
                await transaction.settle([applied(kept), applied(lost)])

    async def test_a_claim_outlives_its_lease_while_it_is_held(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, elapse: Elapse
    ) -> None:
        """No other worker takes over what is about to be committed."""
        claim = await claimed(inbox, provider_event("evt_1"), LEASE)
        async with unit_of_work.transaction() as transaction:
            await transaction.hold([claim])
            await elapse(LEASE)
            assert await due(queue) == []
            await transaction.settle([applied(claim)])
        assert await due(queue) == []

    async def test_a_claim_held_twice_is_applied_once(
        self, inbox: EventInbox, unit_of_work: UnitOfWork, history: MessageHistory
    ) -> None:
        """Of several units of work with one claim, all but the first find it gone."""
        claim = await claimed(inbox, provider_event("evt_1"))

        async def apply() -> bool:
            async with unit_of_work.transaction() as transaction:
                if not (await transaction.hold([claim])).claims:
                    return False
                last = (await transaction.lock_tenants([ACME])).counters[ACME]
                await transaction.save(Changes(events=[message(ACME, last + 1)]))
                await transaction.settle([applied(claim)])
                return True

        assert sorted(await asyncio.gather(apply(), apply(), apply())) == [False, False, True]
        assert await history.sequence(ACME) == 1

    async def test_taking_gets_every_event_that_is_not_being_processed(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, inbox_backlog: InboxBacklog
    ) -> None:
        """A finished event can be settled again inside the unit of work; after the rollback it is as it was."""
        over, running = [await claimed(inbox, provider_event(event_id)) for event_id in ("evt_1", "evt_2")]
        await queue.bury(over, reason="bug", error="boom")
        stale = attrs.evolve(over, attempt=over.attempt - 1)
        with suppress(ZeroDivisionError):
            async with unit_of_work.transaction() as transaction:
                assert await transaction.take([stale]) == []
                assert await transaction.take([running]) == []
                (taken,) = await transaction.take([over])
                assert (taken.dispatch_id, taken.attempt, taken.tries) == (over.dispatch_id, over.attempt + 1, 1)
                await transaction.settle([parked(taken)])
                raise ZeroDivisionError
        waiting = await inbox_backlog.backlog()
        assert (waiting.parked, dict(waiting.dead)) == (0, {"bug": 1})
        async with unit_of_work.transaction() as transaction:
            assert (await transaction.hold([over, running])).claims == [running]

    @pytest.mark.parametrize("begun", ["due", "applied", "ignored", "parked", *sorted(DEAD_REASONS)])
    async def test_a_taken_event_can_have_every_outcome(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, event_log: EventLog, begun: str
    ) -> None:
        """Every status can end in every outcome, also in its own; the rollback leaves no trace."""
        await _bring(await claimed(inbox, provider_event("evt_1")), begun, queue, unit_of_work)
        (before,) = await event_log.find(EventFilter(), before=None, limit=1)
        attempts = await event_log.attempts(before.dispatch_id)
        read = Claim(dispatch_id=before.dispatch_id, attempt=before.attempt, event=provider_event("evt_1"))
        outcomes: list[Callable[[Claim], Outcome]] = [
            applied,
            parked,
            _ignored,
            *(partial(_dead, reason=reason) for reason in sorted(DEAD_REASONS)),
        ]
        for outcome in outcomes:
            with suppress(ZeroDivisionError):
                async with unit_of_work.transaction() as transaction:
                    (taken,) = await transaction.take([read])
                    await transaction.settle([outcome(taken)])
                    raise ZeroDivisionError
            assert await event_log.find(EventFilter(), before=None, limit=1) == [before]
            assert await event_log.attempts(before.dispatch_id) == attempts


def _ignored(claim: Claim) -> Outcome:
    return Outcome(claim=claim, disposition=Disposition.IGNORED, reason="unhandled")


def _dead(claim: Claim, *, reason: str) -> Outcome:
    return Outcome(claim=claim, disposition=Disposition.DEAD, reason=reason, error="boom")


async def _bring(claim: Claim, status: str, queue: EventQueue, unit_of_work: UnitOfWork) -> None:
    """End a claim so that its event has a status; a dead one is named by its reason."""
    settled = {"applied": applied, "ignored": _ignored, "parked": parked}
    if status in DEAD_REASONS:
        await queue.bury(claim, reason=status, error="boom")
    elif status == "due":
        await queue.retry(claim, after=LONG, reason="transient", error="boom")
    else:
        await settle(unit_of_work, settled[status](claim))
