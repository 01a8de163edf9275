"""The contract of InboxUpkeep."""

from datetime import timedelta

from billing_core.events import Claim, Disposition, Effect
from billing_core.inbox.ports import EventInbox, EventQueue, ReplayQueue
from billing_core.inbox.selection import EventFilter
from billing_core.model import CustomerId, EventId
from billing_core.oversight.ports import EventLog, InboxUpkeep
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.arrange import applied, claimed, park, park_on_objects, parked, save, settle
from billing_core.testing.builders import customer, provider_event, subscription
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LEASE, LONG, Elapse

ALICE, BOB = CustomerId("cus_alice"), CustomerId("cus_bob")


class InboxUpkeepContract(Suite):
    """Ignoring events and deleting bodies, without losing the trace of an event.

    A binding provides `inbox_upkeep`; `inbox`, `queue`, `replay_queue`, `unit_of_work` and `event_log` on the same
    data, all empty; and `elapse`.
    """

    async def test_only_events_that_are_not_applied_can_be_ignored(
        self,
        inbox: EventInbox,
        queue: EventQueue,
        unit_of_work: UnitOfWork,
        inbox_upkeep: InboxUpkeep,
        event_log: EventLog,
    ) -> None:
        """Dead, parked and due events end; no worker claims them, even after their customer is linked."""
        done = await _applied(inbox, unit_of_work, "evt_1")
        waiting = await claimed(inbox, provider_event("evt_2"))
        await settle(unit_of_work, parked(waiting, BOB))
        await inbox.record(provider_event("evt_3"))
        due = (await event_log.select(EventFilter(ids=(EventId("evt_3"),))))[0]
        ended = await inbox_upkeep.ignore([done.dispatch_id, waiting.dispatch_id, due], reason="by_operator")
        assert set(ended) == {waiting.dispatch_id, due}
        assert await queue.claim(limit=10, lease=LONG) == []
        found = await event_log.find(EventFilter(), before=None, limit=100)
        statuses = {str(each.key.event_id): (each.status, each.reason) for each in found}
        assert statuses["evt_1"] == (Disposition.APPLIED, None)
        assert statuses["evt_2"] == statuses["evt_3"] == (Disposition.IGNORED, "by_operator")
        await save(unit_of_work, Changes(customers=[customer(BOB)]))
        assert await queue.claim(limit=10, lease=LONG) == []

    async def test_other_events_are_left_alone(
        self,
        inbox: EventInbox,
        queue: EventQueue,
        unit_of_work: UnitOfWork,
        inbox_upkeep: InboxUpkeep,
        event_log: EventLog,
    ) -> None:
        """Whether one is ignored or its body is deleted, the others stay due, or wait for their objects."""
        await _applied(inbox, unit_of_work, "evt_old")
        await park_on_objects(inbox, unit_of_work, "evt_1", "sub_1")
        await park_on_objects(inbox, unit_of_work, "evt_2", "sub_2")
        await inbox.record(provider_event("evt_3"))
        (ignored,) = await event_log.select(EventFilter(ids=(EventId("evt_1"),)))
        assert await inbox_upkeep.ignore([ignored], reason="by_operator") == [ignored]
        assert (await inbox_upkeep.prune(older_than=timedelta(microseconds=1), after=0, limit=1)).bodies == 1
        await save(unit_of_work, Changes(subscriptions=[subscription("sub_1"), subscription("sub_2")]))
        assert {claim.event.event_id for claim in await queue.claim(limit=9, lease=LONG)} == {"evt_2", "evt_3"}

    async def test_an_event_that_stopped_waiting_is_not_taken_up_without_its_body(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, inbox_upkeep: InboxUpkeep
    ) -> None:
        """Its body follows retention; it stays ignored, whichever tenant its customer or object gets."""
        age = timedelta(microseconds=1)
        await park(inbox, unit_of_work, "evt_1", on=BOB)
        await park_on_objects(inbox, unit_of_work, "evt_2", "sub_1")
        assert (await inbox_upkeep.prune(older_than=age, after=0, limit=9)).bodies == 0
        assert await queue.lapse(after=timedelta(0), limit=9) == 2
        assert (await inbox_upkeep.prune(older_than=age, after=0, limit=9)).bodies == 2
        await save(unit_of_work, Changes(customers=[customer(BOB)], subscriptions=[subscription("sub_1")]))
        assert await queue.claim(limit=10, lease=LONG) == []

    async def test_an_event_that_is_being_processed_is_not_ignored(
        self, inbox: EventInbox, replay_queue: ReplayQueue, inbox_upkeep: InboxUpkeep, elapse: Elapse
    ) -> None:
        """Its worker decides, until the lease has run out."""
        event = provider_event("evt_1")
        number = (await claimed(inbox, event, LEASE)).dispatch_id
        assert await inbox_upkeep.ignore([number], reason="by_operator") == []
        await elapse(2 * LEASE)
        (claim,) = await replay_queue.reclaim([number], lease=LONG)
        assert claim.event == event

    async def test_old_bodies_of_finished_events_are_deleted(
        self,
        inbox: EventInbox,
        queue: EventQueue,
        unit_of_work: UnitOfWork,
        inbox_upkeep: InboxUpkeep,
        event_log: EventLog,
    ) -> None:
        """A bounded number at a time, never those of dead, parked or due events; duplicates are still recognized."""
        for number in range(3):
            await _applied(inbox, unit_of_work, f"evt_{number}")
        dead = await claimed(inbox, provider_event("evt_dead"))
        await queue.bury(dead, reason="bug", error="boom")
        await inbox.record(provider_event("evt_due"))
        age = timedelta(microseconds=1)
        assert await inbox_upkeep.prunable(older_than=age) == 3
        first = await inbox_upkeep.prune(older_than=age, after=0, limit=2)
        assert first.reached is not None
        second = await inbox_upkeep.prune(older_than=age, after=first.reached, limit=2)
        assert (first.bodies, second.bodies) == (2, 1)
        found = await event_log.find(EventFilter(), before=None, limit=100)
        kept = {each.key.event_id: each.body_kept for each in found}
        assert kept == {"evt_0": False, "evt_1": False, "evt_2": False, "evt_dead": True, "evt_due": True}
        assert (await inbox_upkeep.prune(older_than=age, after=0, limit=9)).reached is None
        again = await inbox.record(provider_event("evt_0"))
        assert again.status.value == "duplicate"

    async def test_an_event_without_a_body_cannot_be_replayed(
        self,
        inbox: EventInbox,
        replay_queue: ReplayQueue,
        unit_of_work: UnitOfWork,
        inbox_upkeep: InboxUpkeep,
        event_log: EventLog,
    ) -> None:
        """There is nothing left to translate."""
        pruned = [(await _applied(inbox, unit_of_work, "evt_0")).dispatch_id]
        assert (await inbox_upkeep.prune(older_than=timedelta(microseconds=1), after=0, limit=9)).bodies == 1
        assert await replay_queue.reclaim(pruned, lease=LONG) == []
        assert await replay_queue.read(pruned) == []
        assert await event_log.body(pruned[0]) is None

    async def test_young_bodies_stay(
        self, inbox: EventInbox, unit_of_work: UnitOfWork, inbox_upkeep: InboxUpkeep
    ) -> None:
        """Even those of finished events."""
        await _applied(inbox, unit_of_work, "evt_1")
        assert (await inbox_upkeep.prune(older_than=timedelta(days=365_000), after=0, limit=9)).bodies == 0


async def _applied(inbox: EventInbox, unit_of_work: UnitOfWork, event_id: str) -> Claim:
    claim = await claimed(inbox, provider_event(event_id))
    await settle(unit_of_work, applied(claim, effect=Effect.CONFIRMED, customer_id=ALICE, sequence=None))
    return claim
