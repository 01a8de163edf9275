"""The contract of LinkRegister."""

import attrs
import pytest

from billing_core.events import Disposition, Outcome
from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.model import CustomerId, LinkAction, LinkDecision
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.arrange import CUSTOMER, claimed, due, park, save, settle
from billing_core.testing.builders import ACME, GLOBEX, customer, provider_event
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG

MOVED = LinkDecision(
    action=LinkAction.MOVE,
    object_id=CUSTOMER,
    from_tenant=ACME,
    to_tenant=GLOBEX,
    actor='Zoë "ops"',
    reason="two companies\nshared one\ttable",
)
UNLINKED = LinkDecision(action=LinkAction.UNLINK, object_id=CUSTOMER, from_tenant=GLOBEX, actor="zoë")
LINKED = LinkDecision(action=LinkAction.LINK, object_id="sub_1", to_tenant=ACME, actor="zoë")


class LinkRegisterContract(Suite):
    """Decisions are kept in their order, and settle conflicts.

    A binding provides `unit_of_work`, and `inbox` and `queue` on the same data, all empty.
    """

    async def test_decisions_are_kept_in_their_order(self, unit_of_work: UnitOfWork) -> None:
        """Numbered upwards; other objects keep theirs apart."""
        numbers = []
        for decision in (MOVED, LINKED, UNLINKED, MOVED):
            async with unit_of_work.transaction() as transaction:
                await transaction.lock_customers([CUSTOMER])
                await transaction.lock_tenants([ACME, GLOBEX])
                numbers.append(await transaction.decide(decision, customers=[CUSTOMER]))
        assert numbers == sorted(set(numbers))
        async with unit_of_work.transaction() as transaction:
            assert await transaction.decisions([CUSTOMER]) == [MOVED, UNLINKED, MOVED]
            assert await transaction.decisions(["sub_1", "cus_9"]) == [LINKED]
            assert await transaction.decisions([]) == []

    async def test_a_decision_that_is_rolled_back_was_not_made(self, unit_of_work: UnitOfWork) -> None:
        """Also a dry run decides."""
        with pytest.raises(LookupError):  # noqa: PT012 - the block is what fails
            async with unit_of_work.transaction() as transaction:
                await transaction.decide(MOVED, customers=[CUSTOMER])
                assert await transaction.decisions([CUSTOMER]) == [MOVED]
                raise LookupError
        async with unit_of_work.transaction() as transaction:
            assert await transaction.decisions([CUSTOMER]) == []

    async def test_what_died_of_a_conflict_is_due_again(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """The events of these customers and of none, with fresh attempts. Others stay dead."""
        dead = (
            ("evt_1", "tenant_conflict", CUSTOMER),
            ("evt_2", "tenant_conflict", None),
            ("evt_3", "tenant_conflict", CustomerId("cus_2")),
            ("evt_4", "bug", CUSTOMER),
        )
        for event_id, reason, customer_id in dead:
            claim = await claimed(inbox, provider_event(event_id))
            outcome = Outcome(claim=claim, disposition=Disposition.DEAD, reason=reason, customer_id=customer_id)
            await settle(unit_of_work, attrs.evolve(outcome, error="they differ"))
        await park(inbox, unit_of_work, "evt_5")
        assert await due(queue) == []
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_customers([CUSTOMER])
            await transaction.decide(MOVED, customers=[CUSTOMER])
        claims = await queue.claim(limit=10, lease=LONG)
        assert sorted(claim.event.event_id for claim in claims) == ["evt_1", "evt_2"]
        assert {claim.tries for claim in claims} == {1}

    async def test_the_only_event_that_died_of_a_conflict_is_due_again(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork
    ) -> None:
        """It needs its own body, not that of another event."""
        claim = await claimed(inbox, provider_event())
        outcome = Outcome(claim=claim, disposition=Disposition.DEAD, reason="tenant_conflict", error="they differ")
        await settle(unit_of_work, outcome)
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_customers([CUSTOMER])
            await transaction.decide(MOVED, customers=[CUSTOMER])
        assert await due(queue) == ["evt_1"]

    async def test_a_decision_moves_nothing_by_itself(self, unit_of_work: UnitOfWork) -> None:
        """The link is written beside it."""
        await save(unit_of_work, Changes(customers=[customer("cus_1", ACME)]))
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_customers([CUSTOMER])
            await transaction.decide(MOVED, customers=[CUSTOMER])
            assert (await transaction.customers([CUSTOMER]))[CUSTOMER].tenant_id == ACME
