"""What every InvariantLog must see. Bind it by subclassing `InvariantLogContract`; see its fixtures."""

from collections.abc import Awaitable, Callable

import pytest

from billing_core.events import Disposition, Effect, Outcome
from billing_core.model import CustomerId, EventId
from billing_core.oversight.invariants import Invariant
from billing_core.oversight.ports import InvariantLog
from billing_core.state.ports import Changes
from billing_core.testing.builders import ACME, GLOBEX, customer, message, messages, provider_event
from billing_core.testing.repository import park
from billing_core.testing.store import LONG
from billing_core.testing.stores import Inbox, Repository

Plant = Callable[[Invariant], Awaitable[str]]
"""Damages the rows behind the adapters' back so that the invariant does not hold; returns the example to be named."""


class InvariantLogContract:
    """A sound database is found sound, and each damage is found, named and told apart.

    A binding gives four fixtures on the same data: `store`, `repository` and `log`, empty at first, and `plant`. What
    it plants may lie in the time when it should have been done with, for leases, messages and parked events.
    """

    @pytest.fixture
    async def sound(self, store: Inbox, repository: Repository) -> None:
        """Two tenants with messages, and an event of every kind of end."""
        receipt = await store.record(provider_event("evt_1"), lease=LONG)
        assert receipt.claim is not None
        notified = [*messages(ACME, 1, 3), message(GLOBEX, 1, event_id=EventId("evt_9"))]
        async with repository.transaction() as transaction:
            assert await transaction.hold([receipt.claim])
            await transaction.lock_customers([CustomerId("cus_2")])
            await transaction.lock_tenants([ACME, GLOBEX])
            await transaction.save(Changes(customers=[customer("cus_2")], events=notified))
            outcome = Outcome(
                claim=receipt.claim,
                disposition=Disposition.APPLIED,
                effect=Effect.CHANGED,
                tenant_id=ACME,
                sequence=1,
            )
            await transaction.settle([outcome])
        dead = await store.record(provider_event("evt_2"), lease=LONG)
        assert dead.claim is not None
        await store.bury(dead.claim, reason="bug", error="boom")
        await park(store, repository, "evt_3", on=CustomerId("cus_1"))
        await store.record(provider_event("evt_4"), lease=LONG)

    @pytest.mark.usefixtures("sound")
    async def test_a_sound_database_is_found_sound(self, log: InvariantLog) -> None:
        """By the whole look and by samples, however often."""
        assert await log.everything() == []
        assert [await log.sample() for _ in range(3)] == [[], [], []]

    async def test_an_empty_database_is_sound(self, log: InvariantLog) -> None:
        """Nothing is missing where nothing was."""
        assert await log.everything() == []
        assert await log.sample() == []

    @pytest.mark.usefixtures("sound")
    @pytest.mark.parametrize("invariant", list(Invariant), ids=lambda each: each.value)
    async def test_each_damage_is_found_and_named(self, log: InvariantLog, plant: Plant, invariant: Invariant) -> None:
        """That invariant is violated once, with the example, and no other one."""
        example = await plant(invariant)
        for violations in (await log.everything(), await log.sample()):
            assert [(each.invariant, each.count, each.examples) for each in violations] == [(invariant, 1, (example,))]
