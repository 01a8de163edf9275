"""Operators' decisions about links, beside metadata that says something else."""

from itertools import permutations

import pytest
from tests.unit.core.conftest import ACME, ALICE, GLOBEX, Loop, customer, invoice, subscription

from billing_core.events import Disposition
from billing_core.model import (
    UNDECIDED,
    LinkAction,
    LinkDecision,
    LinkStanding,
    SubscriptionId,
    TenantId,
    TenantRules,
    standings,
)
from billing_core.oversight.ports import LoggedDecision
from billing_core.testing.builders import AT

INITECH = TenantId("initech")


def link(to: TenantId) -> LinkDecision:
    """Build the decision to link Alice."""
    return LinkDecision(action=LinkAction.LINK, object_id=ALICE, to_tenant=to, actor="zoë")


def unlink(from_tenant: TenantId) -> LinkDecision:
    """Build the decision to unlink Alice."""
    return LinkDecision(action=LinkAction.UNLINK, object_id=ALICE, from_tenant=from_tenant, actor="zoë")


def log(loop: Loop, decision: LinkDecision) -> None:
    """Add the first decision to the log, whatever the tables hold beside it."""
    loop.database.tables.decisions[1] = LoggedDecision(number=1, made_at=AT, decision=decision)


class TestStanding:
    """The sum of decisions."""

    @pytest.mark.parametrize(
        ("decisions", "standing"),
        [
            ([], None),
            ([link(ACME)], LinkStanding(tenant_id=ACME)),
            ([link(ACME), link(GLOBEX)], LinkStanding(tenant_id=GLOBEX)),
            ([unlink(ACME)], LinkStanding(refused=frozenset({ACME}))),
            ([link(ACME), unlink(ACME)], LinkStanding(refused=frozenset({ACME}))),
            ([unlink(ACME), link(ACME)], LinkStanding(tenant_id=ACME)),
            ([link(ACME), unlink(GLOBEX)], LinkStanding(tenant_id=ACME, refused=frozenset({GLOBEX}))),
            ([unlink(ACME), unlink(GLOBEX)], LinkStanding(refused=frozenset({ACME, GLOBEX}))),
        ],
    )
    def test_the_last_choice_counts_and_refusals_stay(
        self, decisions: list[LinkDecision], standing: LinkStanding | None
    ) -> None:
        """A tenant that is chosen later is no longer refused."""
        assert standings(decisions).get(ALICE) == standing

    def test_a_chosen_tenant_outranks_all_metadata_and_a_refusal_its_own_tenant(self) -> None:
        """Without a decision metadata counts."""
        assert LinkStanding(tenant_id=ACME).outranks(GLOBEX)
        refusing = LinkStanding(refused=frozenset({ACME}))
        assert (refusing.outranks(ACME), refusing.outranks(GLOBEX), UNDECIDED.outranks(ACME)) == (True, False, False)


class TestLinksByHand:
    """A link that an operator made."""

    async def test_metadata_that_names_another_tenant_is_outdated_and_the_event_applied(self, loop: Loop) -> None:
        """It is counted."""
        await loop.service().link(ALICE, ACME)
        (outcome,) = await loop.arrive(loop.says(subscription(), tenant=GLOBEX))
        assert (outcome.disposition, outcome.tenant_id, outcome.outdated_hint) == (Disposition.APPLIED, ACME, True)
        (agreeing,) = await loop.arrive(loop.says(subscription(status="past_due"), tenant=ACME, at=1))
        assert (agreeing.disposition, agreeing.outdated_hint) == (Disposition.APPLIED, False)
        assert await loop.notified(GLOBEX) == []

    async def test_an_event_that_died_of_the_conflict_is_applied_after_the_operators_choice(self, loop: Loop) -> None:
        """Also if the customer was linked to that tenant before, by metadata."""
        (_, buried) = await loop.arrive(
            loop.says(subscription()), loop.says(subscription(status="past_due"), at=1, tenant=GLOBEX)
        )
        assert buried.disposition is Disposition.DEAD
        assert not await loop.service().link(ALICE, ACME)
        (applied,) = await loop.work()
        assert (applied.claim.event, applied.disposition) == (buried.claim.event, Disposition.APPLIED)
        assert (await loop.subscription()).status == "past_due"

    async def test_repeating_a_decision_decides_nothing(self, loop: Loop) -> None:
        """The log has it once."""
        for _ in range(2):
            await loop.service().link(ALICE, ACME, actor="zoë", reason="a ticket")
        (logged,) = loop.database.tables.decisions.values()
        decision = logged.decision
        assert (decision.actor, decision.reason, decision.to_tenant) == ("zoë", "a ticket", ACME)

    async def test_a_link_that_is_lost_with_its_row_comes_back_by_the_decision(self, loop: Loop) -> None:
        """Events that name another tenant are folded as before."""
        await loop.service().link(ALICE, ACME)
        event = loop.says(subscription(), tenant=GLOBEX)
        await loop.arrive(event)
        loop.database.tables.customers.clear()
        loop.database.tables.subscriptions.clear()
        (outcome,) = await loop.replay(event)
        assert (outcome.disposition, outcome.tenant_id) == (Disposition.APPLIED, ACME)
        assert loop.database.tables.customers[ALICE].tenant_id == ACME


class TestRefusals:
    """Tenants that an operator took the customer away from."""

    @pytest.mark.parametrize("together", [True, False])
    async def test_metadata_that_names_a_refused_tenant_links_nothing(self, loop: Loop, together: bool) -> None:
        """Its events wait, visibly; a later event that names another tenant links the customer and takes them up."""
        log(loop, unlink(ACME))
        waiting = [loop.says(subscription()), loop.says(invoice(), at=1)]
        await loop.arrive_all(waiting, together=together)
        for event in waiting:
            row = loop.row(event)
            assert (row.disposition, row.reason) == (Disposition.PARKED, "refused_tenant_id")
            assert row.error == "An operator unlinked cus_alice from the tenant 'acme' that its metadata names."
        await loop.arrive(loop.says(customer(), tenant=GLOBEX, at=2))
        applied = await loop.work()
        assert [(each.tenant_id, each.outdated_hint) for each in applied] == [(GLOBEX, True)] * 2

    @pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
    async def test_the_order_of_arrival_does_not_matter(self, loop: Loop, order: tuple[int, ...]) -> None:
        """A refused name is outdated wherever it stands."""
        log(loop, unlink(ACME))
        story = [
            loop.says(subscription()),
            loop.says(customer(), tenant=GLOBEX, at=1),
            loop.says(invoice(), tenant=None, at=2),
        ]
        await loop.arrive_all([story[index] for index in order], together=False)
        assert {loop.row(event).disposition for event in story} == {Disposition.APPLIED}
        assert loop.database.tables.subscriptions[SubscriptionId("sub_1")].tenant_id == GLOBEX


class TestSharedCustomers:
    """Where each subscription names its own tenant."""

    @pytest.fixture
    def loop(self) -> Loop:
        """A loop in which customers may be shared."""
        return Loop(tenants=TenantRules(link="subscription"))

    @pytest.mark.parametrize("together", [True, False])
    async def test_a_decision_about_a_subscription_outranks_its_metadata(self, loop: Loop, together: bool) -> None:
        """And the copy of it on invoices; other subscriptions keep their names."""
        decision = LinkDecision(action=LinkAction.LINK, object_id="sub_1", to_tenant=INITECH, actor="zoë")
        log(loop, decision)
        events = [
            loop.says(subscription()),
            loop.says(invoice(), at=1),
            loop.says(subscription("sub_2"), tenant=GLOBEX, at=2),
        ]
        await loop.arrive_all(events, together=together)
        tables = loop.database.tables
        assert {id_: each.tenant_id for id_, each in tables.subscriptions.items()} == {
            "sub_1": INITECH,
            "sub_2": GLOBEX,
        }
        assert [each.tenant_id for each in tables.invoices.values()] == [INITECH]

    async def test_a_refused_name_of_a_subscription_leaves_it_without_a_tenant(self, loop: Loop) -> None:
        """Even where the customer's own tenant is the refused one."""
        decision = LinkDecision(action=LinkAction.UNLINK, object_id="sub_1", from_tenant=ACME, actor="zoë")
        log(loop, decision)
        (_, waiting) = await loop.arrive(loop.says(customer(), at=0), loop.says(subscription(), at=1))
        assert (waiting.disposition, waiting.reason) == (Disposition.PARKED, "refused_tenant_id")
        (applied,) = await loop.arrive(loop.says(subscription(status="past_due"), tenant=GLOBEX, at=2))
        assert (applied.disposition, applied.tenant_id) == (Disposition.APPLIED, GLOBEX)
