"""The contract of InvariantLog."""

from collections.abc import Awaitable, Callable

import pytest

from billing_core.events import Disposition
from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.model import CustomerId, EventId
from billing_core.oversight.invariants import Invariant
from billing_core.oversight.ports import InvariantLog
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.arrange import applied, claimed, park, settle
from billing_core.testing.builders import ACME, GLOBEX, customer, message, messages, provider_event
from billing_core.testing.suite import Suite

Plant = Callable[[Invariant], Awaitable[str]]
"""Damages stored rows so that an invariant is violated, and returns the example that has to be named.

Leases, messages and parked events may be moved into the past, beyond the time in which they should have been handled.
"""
Strip = Callable[[EventId, str], Awaitable[None]]
"""Deletes one part of an event's outcome: its `effect`, `reason` or `finished_at`."""


class InvariantLogContract(Suite):
    """No violation in sound data; each kind of damage found, named and distinguished.

    A binding provides `invariants`; `inbox`, `queue` and `unit_of_work` on the same data, all empty; `plant`; and
    `strip`.
    """

    @pytest.fixture
    async def sound(self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork) -> None:
        """Store two tenants with messages, and one event in each status."""
        claim = await claimed(inbox, provider_event("evt_1"))
        notified = [*messages(ACME, 1, 3), message(GLOBEX, 1, event_id=EventId("evt_9"))]
        async with unit_of_work.transaction() as transaction:
            assert (await transaction.hold([claim])).claims
            await transaction.lock_customers([CustomerId("cus_2")])
            await transaction.lock_tenants([ACME, GLOBEX])
            await transaction.save(Changes(customers=[customer("cus_2")], events=notified))
            await transaction.settle([applied(claim)])
        dead = await claimed(inbox, provider_event("evt_2"))
        await queue.bury(dead, reason="bug", error="boom")
        await park(inbox, unit_of_work, "evt_3", on=CustomerId("cus_1"))
        await claimed(inbox, provider_event("evt_4"))
        other = await claimed(inbox, provider_event("evt_5"))
        await settle(
            unit_of_work, applied(other, disposition=Disposition.IGNORED, effect=None, reason="noise", sequence=None)
        )

    @pytest.mark.usefixtures("sound")
    async def test_sound_data_has_no_violation(self, invariants: InvariantLog) -> None:
        """Neither in full nor in repeated samples."""
        assert await invariants.everything() == []
        assert [await invariants.sample() for _ in range(3)] == [[], [], []]

    async def test_an_empty_database_has_no_violation(self, invariants: InvariantLog) -> None:
        """Nothing is missing where nothing was stored."""
        assert await invariants.everything() == []
        assert await invariants.sample() == []

    @pytest.mark.usefixtures("sound")
    @pytest.mark.parametrize("invariant", list(Invariant), ids=lambda each: each.value)
    async def test_each_damage_is_found_and_named(
        self, invariants: InvariantLog, plant: Plant, invariant: Invariant
    ) -> None:
        """That invariant is violated once, with its example, and no other is."""
        example = await plant(invariant)
        for violations in (await invariants.everything(), await invariants.sample()):
            assert [(each.invariant, each.count, each.examples) for each in violations] == [(invariant, 1, (example,))]

    @pytest.mark.usefixtures("sound")
    @pytest.mark.parametrize(
        ("event_id", "part"),
        [
            ("evt_1", "effect"),
            ("evt_1", "finished_at"),
            ("evt_2", "reason"),
            ("evt_2", "finished_at"),
            ("evt_3", "reason"),
            ("evt_5", "reason"),
            ("evt_5", "finished_at"),
        ],
    )
    async def test_an_outcome_that_lacks_one_part_is_found(
        self, invariants: InvariantLog, strip: Strip, event_id: str, part: str
    ) -> None:
        """Applied events have an effect and an end, ignored and dead ones a reason and an end, parked ones a reason."""
        await strip(EventId(event_id), part)
        (violation,) = await invariants.everything()
        assert (violation.invariant, violation.examples) == (Invariant.OUTCOME, (event_id,))
