"""The contract of StateUpkeep, and of links that operators make by hand."""

import asyncio
from typing import Any

import attrs
import pytest

from billing_core.errors import TenantConflictError
from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.model import (
    AccessReason,
    AccessState,
    AccessVerdict,
    AnnouncedAccess,
    CustomerId,
    DuplicateSubscriptions,
    ItemId,
    LinkAction,
    LinkDecision,
    PriceId,
    SubscriptionId,
    TenantId,
)
from billing_core.oversight.ports import CustomerLink, StateUpkeep, UnmappedPrice
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.state.service import BillingService
from billing_core.stream.ports import MessageHistory
from billing_core.testing.arrange import applied, claimed, park, save, service_over, settle
from billing_core.testing.builders import ACME, AT, GLOBEX, customer, invoice, provider_event, subscription
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG

BOTH = (ACME, GLOBEX)


class StateUpkeepContract(Suite):
    """Duplicate subscriptions and customers, across all tenants.

    A binding provides `state_upkeep`; `inbox`, `queue`, `unit_of_work` and `history` on the same data, all empty; and
    `clock`.
    """

    @pytest.fixture
    def service(self, unit_of_work: UnitOfWork) -> BillingService:
        """Return a service with an open catalog that writes through the unit of work."""
        return service_over(unit_of_work)

    async def test_duplicate_subscriptions_are_found(self, unit_of_work: UnitOfWork, state_upkeep: StateUpkeep) -> None:
        """As the domain defines them, by tenant and plan."""
        subscriptions = [
            subscription("sub_2"),
            subscription("sub_1", status="past_due"),
            subscription("sub_3", status="canceled"),
            subscription("sub_4", status="incomplete"),
            subscription("sub_5", plan_code="addon"),
            subscription("sub_6", plan_code=None),
            subscription("sub_7", plan_code=None),
            subscription("sub_8", GLOBEX, plan_code="team"),
            subscription("sub_9", GLOBEX, plan_code="team", status="trialing"),
            subscription("sub_10", GLOBEX),
            subscription("sub_11", cancel_at_period_end=True),
            subscription("sub_12", GLOBEX, cancel_at=AT),
            subscription("sub_13", GLOBEX, out_of_scope=True),
        ]
        await save(unit_of_work, Changes(subscriptions=subscriptions), tenants=BOTH)
        assert list(await state_upkeep.duplicate_subscriptions()) == [
            DuplicateSubscriptions(tenant_id=ACME, plan_code="pro", subscription_ids=_ids("sub_1", "sub_2")),
            DuplicateSubscriptions(tenant_id=GLOBEX, plan_code="team", subscription_ids=_ids("sub_8", "sub_9")),
        ]

    async def test_prices_of_no_plan_are_listed_with_the_tenants_on_them(
        self, unit_of_work: UnitOfWork, state_upkeep: StateUpkeep
    ) -> None:
        """Only those of subscriptions that have not ended, each once, by id."""
        item = attrs.evolve(subscription().snapshot.items[0], price_id=PriceId("price_new"), lookup_key="acme_2026")
        items = (item, attrs.evolve(item, item_id=ItemId("si_second")))
        lone = attrs.evolve(item, price_id=PriceId("price_one"), lookup_key="one")
        seats = attrs.evolve(item, item_id=ItemId("si_seats"), price_id=PriceId("price_seats"), lookup_key="seats")
        new: dict[str, Any] = {"plan_code": None, "price_id": "price_new"}
        subscriptions = [
            subscription("sub_1", **new, items=items),
            subscription("sub_2", GLOBEX, **new, status="unpaid"),
            subscription("sub_3", **new, status="incomplete"),
            subscription("sub_4", plan_code=None, price_id="price_bare", items=()),
            subscription("sub_5", plan_code=None, price_id="price_old", status="canceled"),
            subscription("sub_6", plan_code="pro", price_id="price_pro"),
            subscription("sub_7", plan_code=None, price_id=None, items=()),
            subscription("sub_8", plan_code=None, price_id="price_theirs", out_of_scope=True),
            subscription("sub_9", plan_code=None, price_id="price_one", items=(lone, seats)),
        ]
        await save(unit_of_work, Changes(subscriptions=subscriptions), tenants=BOTH)
        bare, new_price, one = await state_upkeep.unmapped_prices()
        assert bare == UnmappedPrice(
            price_id=PriceId("price_bare"), product_id=None, lookup_key=None, subscriptions=1, tenants=(ACME,)
        )
        assert new_price == UnmappedPrice(
            price_id=PriceId("price_new"),
            product_id=item.product_id,
            lookup_key="acme_2026",
            subscriptions=3,
            tenants=(ACME, GLOBEX),
        )
        assert one == UnmappedPrice(
            price_id=PriceId("price_one"),
            product_id=lone.product_id,
            lookup_key="one",
            subscriptions=1,
            tenants=(ACME,),
        )

    async def test_customers_are_listed_in_pages(self, unit_of_work: UnitOfWork, state_upkeep: StateUpkeep) -> None:
        """By id."""
        await save(unit_of_work, Changes(customers=[customer(f"cus_{number}") for number in range(5)]))
        first = await state_upkeep.customers(linked=True, after="", limit=2)
        rest = await state_upkeep.customers(linked=True, after=first[-1].customer_id, limit=10)
        assert [link.customer_id for link in [*first, *rest]] == [f"cus_{number}" for number in range(5)]
        assert first[0] == CustomerLink(customer_id=CustomerId("cus_0"), tenant_id=ACME, waiting=0)

    async def test_customers_are_searched(self, unit_of_work: UnitOfWork, state_upkeep: StateUpkeep) -> None:
        """By the beginning of their id or their tenant's, or by their address, with a tenant or without."""
        known = [customer("cus_1", email="ann@acme.example"), customer("cus_12", GLOBEX), customer("cus_%", None)]
        await save(unit_of_work, Changes(customers=known), tenants=(ACME, GLOBEX))

        async def found(search: str | None, linked: bool | None = None) -> list[str]:
            links = await state_upkeep.customers(linked=linked, after="", limit=10, search=search)
            return [link.customer_id for link in links]

        assert await found(None) == ["cus_%", "cus_1", "cus_12"]
        assert await found("cus_1") == ["cus_1", "cus_12"]
        assert await found(GLOBEX[:3]) == ["cus_12"]
        assert await found("ann@acme.example") == ["cus_1"]
        assert await found("cus_%") == ["cus_%"]
        assert await found("cus_", linked=False) == ["cus_%"]
        assert await found("ann") == []

    async def test_customers_are_listed_with_their_dead_events(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, state_upkeep: StateUpkeep
    ) -> None:
        """With a tenant or without; applied events are not counted."""
        await save(unit_of_work, Changes(customers=[customer("cus_1"), customer("cus_2"), customer("cus_3", None)]))
        fine = await claimed(inbox, provider_event("evt_fine"))
        await settle(unit_of_work, applied(fine, customer_id=CustomerId("cus_2"), sequence=None))
        for number, customer_id in enumerate(("cus_1", "cus_1", "cus_3", None)):
            claim = await claimed(inbox, provider_event(f"evt_{number}"))
            named = None if customer_id is None else CustomerId(customer_id)
            await queue.bury(claim, reason="bug", error="boom", customer_id=named)
        linked = await state_upkeep.customers(linked=True, after="", limit=10)
        unlinked = await state_upkeep.customers(linked=False, after="", limit=10)
        assert [(each.customer_id, each.dead) for each in linked] == [("cus_1", 2), ("cus_2", 0)]
        assert [(each.customer_id, each.dead) for each in unlinked] == [("cus_3", 1)]

    async def test_customers_are_listed_with_what_they_have(
        self, unit_of_work: UnitOfWork, state_upkeep: StateUpkeep
    ) -> None:
        """The plans and statuses of subscriptions that have not ended, the access that was announced, the address."""
        announced = AnnouncedAccess(
            verdict=AccessVerdict(state=AccessState.FULL, reason=AccessReason.ACTIVE), due_at=None, policy="p"
        )
        subscriptions = [
            subscription("sub_1", plan_code="pro", status="active"),
            subscription("sub_2", plan_code="backup", status="past_due"),
            subscription("sub_3", plan_code="old", status="canceled"),
        ]
        customers = [customer("cus_1", email="ann@acme.example"), customer("cus_9", GLOBEX)]
        changes = Changes(customers=customers, subscriptions=subscriptions, access={ACME: announced})
        await save(unit_of_work, changes, tenants=(ACME, GLOBEX))
        shown, other = await state_upkeep.customers(linked=True, after="", limit=10)
        assert (shown.email, shown.access) == ("ann@acme.example", AccessState.FULL)
        assert (shown.plans, shown.statuses) == (("backup", "pro"), ("active", "past_due"))
        assert (other.email, other.access, other.plans, other.statuses) == (None, None, (), ())

    async def test_the_owner_of_an_object_is_found_by_its_id(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, state_upkeep: StateUpkeep
    ) -> None:
        """Of whatever kind it is; a dead event belongs to the tenant of its customer, also if that came later."""
        early = await claimed(inbox, provider_event("evt_early"))
        await queue.bury(early, reason="bug", error="boom", customer_id=CustomerId("cus_3"))
        changes = Changes(
            customers=[customer("cus_1"), customer("cus_2", None), customer("cus_3", GLOBEX)],
            subscriptions=[subscription("sub_1", GLOBEX)],
            invoices=[invoice("in_1", GLOBEX)],
        )
        await save(unit_of_work, changes, tenants=(ACME, GLOBEX))
        done = await claimed(inbox, provider_event("evt_done"))
        await settle(unit_of_work, applied(done, customer_id=CustomerId("cus_1"), sequence=None))
        dead = await claimed(inbox, provider_event("evt_dead"))
        await queue.bury(dead, reason="bug", error="boom", customer_id=CustomerId("cus_1"))
        theirs = await claimed(inbox, provider_event("evt_theirs"))
        await settle(unit_of_work, applied(theirs, tenant_id=GLOBEX, sequence=None))
        owners = {
            "acme": ACME,
            "cus_1": ACME,
            "cus_2": None,
            "sub_1": GLOBEX,
            "in_1": GLOBEX,
            "evt_done": ACME,
            "evt_dead": ACME,
            "evt_early": GLOBEX,
            "evt_theirs": GLOBEX,
            "evt_none": None,
            "nul\x00": None,
        }
        assert {each: await state_upkeep.owner(each) for each in owners} == owners

    async def test_customers_and_tenants_are_known_once_they_were_seen(
        self, unit_of_work: UnitOfWork, state_upkeep: StateUpkeep
    ) -> None:
        """Each by itself."""
        await save(unit_of_work, Changes(customers=[customer("cus_1", None)]))
        assert await state_upkeep.knows(payer="cus_1", tenant=ACME) == (True, True)
        assert await state_upkeep.knows(payer="cus_2", tenant=ACME) == (False, True)
        assert await state_upkeep.knows(payer="cus_1", tenant=GLOBEX) == (True, False)
        await save(unit_of_work, Changes(subscriptions=[subscription("sub_1")]))
        assert await state_upkeep.knows(payer="sub_1", tenant=ACME) == (True, True)

    async def test_decisions_are_listed_by_whom_they_concern(
        self, service: BillingService, state_upkeep: StateUpkeep
    ) -> None:
        """The last made first, in pages; by the object, by the tenant that had it, and by the one that has it."""
        await service.link(CustomerId("cus_1"), ACME, actor="ann", reason="by mail")
        await service.link(CustomerId("cus_2"), GLOBEX, actor="bob")
        await service.move("cus_1", GLOBEX, actor="bob", reason="wrong id")
        everything = await state_upkeep.decisions(about=None, before=None, limit=10)
        assert [each.decision for each in everything] == [
            LinkDecision(
                action=LinkAction.MOVE,
                object_id="cus_1",
                from_tenant=ACME,
                to_tenant=GLOBEX,
                actor="bob",
                reason="wrong id",
            ),
            LinkDecision(action=LinkAction.LINK, object_id="cus_2", to_tenant=GLOBEX, actor="bob"),
            LinkDecision(action=LinkAction.LINK, object_id="cus_1", to_tenant=ACME, actor="ann", reason="by mail"),
        ]
        assert everything[0].made_at >= everything[-1].made_at
        moved, second, first = everything
        listed = {about: await state_upkeep.decisions(about=about, before=None, limit=10) for about in ("cus_1", ACME)}
        assert listed == {"cus_1": [moved, first], ACME: [moved, first]}
        assert await state_upkeep.decisions(about=GLOBEX, before=moved.number, limit=10) == [second]
        assert await state_upkeep.decisions(about=None, before=moved.number, limit=1) == [second]
        assert await state_upkeep.decisions(about="cus_3", before=None, limit=10) == []

    # --- links by hand ------------------------------------------------------------------------------------------

    async def test_a_link_by_hand_makes_waiting_events_due(
        self,
        inbox: EventInbox,
        queue: EventQueue,
        unit_of_work: UnitOfWork,
        state_upkeep: StateUpkeep,
        service: BillingService,
    ) -> None:
        """Before it the customer is listed with its waiting events; after it, with its tenant."""
        for number in (1, 2):
            await park(inbox, unit_of_work, f"evt_{number}")
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_customers([CustomerId("cus_1"), CustomerId("cus_2")])
        assert await _links(state_upkeep, linked=False) == [("cus_1", None, 2), ("cus_2", None, 0)]
        assert await service.link(CustomerId("cus_1"), ACME)
        assert {claim.event.event_id for claim in await queue.claim(limit=10, lease=LONG)} == {"evt_1", "evt_2"}
        assert await _links(state_upkeep, linked=False) == [("cus_2", None, 0)]
        assert await _links(state_upkeep, linked=True) == [("cus_1", ACME, 0)]

    async def test_an_unknown_customer_can_be_linked(
        self, state_upkeep: StateUpkeep, history: MessageHistory, service: BillingService
    ) -> None:
        """Its events come later; linking it again changes nothing and says so."""
        assert await service.link(CustomerId("cus_new"), TenantId("initech"))
        assert not await service.link(CustomerId("cus_new"), TenantId("initech"))
        assert await _links(state_upkeep, linked=True) == [("cus_new", "initech", 0)]
        assert await history.sequence(TenantId("initech")) == 0

    async def test_a_link_is_never_moved(self, state_upkeep: StateUpkeep, service: BillingService) -> None:
        """Not by hand either; of two operators who link a customer concurrently, one gets an error."""
        ends = await asyncio.gather(
            *(service.link(CustomerId("cus_1"), tenant_id) for tenant_id in BOTH), return_exceptions=True
        )
        assert [type(end) for end in ends if end is not True] == [TenantConflictError]
        (link,) = await state_upkeep.customers(linked=True, after="", limit=10)
        loser = GLOBEX if link.tenant_id == ACME else ACME
        with pytest.raises(TenantConflictError):
            await service.link(CustomerId("cus_1"), loser)
        assert (await state_upkeep.customers(linked=True, after="", limit=10)) == [link]


def _ids(*ids: str) -> tuple[SubscriptionId, ...]:
    return tuple(map(SubscriptionId, ids))


async def _links(state_upkeep: StateUpkeep, *, linked: bool) -> list[tuple[str, str | None, int]]:
    found = await state_upkeep.customers(linked=linked, after="", limit=10)
    return [(link.customer_id, link.tenant_id, link.waiting) for link in found]
