"""What a Repository must find across tenants: for sweeps, audits and operators. Bind it by subclassing."""

import asyncio

import attrs
import pytest

from billing_core.errors import TenantConflictError
from billing_core.events import Translation
from billing_core.model import (
    AccessPolicy,
    CustomerId,
    DuplicateSubscriptions,
    EntitlementsSnapshot,
    PlanCatalog,
    Provenance,
    RecordSnapshot,
    RefundSnapshot,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantId,
    TenantRecord,
)
from billing_core.oversight.ports import CustomerLink
from billing_core.state.ports import Changes, Clock
from billing_core.state.service import BillingService, RefetchResult
from billing_core.testing.builders import ACME, AT, GLOBEX, customer, invoice, line, provenance, subscription
from billing_core.testing.repository import park, save
from billing_core.testing.scripted import ScriptedProvider
from billing_core.testing.store import LONG
from billing_core.testing.stores import Inbox, Repository

UNSURE = provenance("evt_1", "evt_2", ambiguous=True)
BOTH = (ACME, GLOBEX)


class UpkeepContract:
    """Marks are found and settled, links made by hand, duplicates seen.

    A binding gives three fixtures: `repository` and `store`, empty and on the same data, and `clock`.
    """

    @pytest.fixture
    def service(self, repository: Repository, clock: Clock) -> BillingService:
        """The service over the repository on trial, with a catalog that is open."""
        return BillingService(
            unit_of_work=repository,
            translator=ScriptedProvider(),
            catalog=PlanCatalog(),
            policy=AccessPolicy(),
            clock=clock,
        )

    # --- doubts -------------------------------------------------------------------------------------------------

    async def test_everything_in_doubt_is_found(self, repository: Repository) -> None:
        """Of every tenant and kind, by id, with what it rests on; and nothing else."""
        changes = Changes(
            customers=[
                customer("cus_1"),
                customer("cus_2", email="a@example.com", provenance=UNSURE),
                customer("cus_3", email="b@example.com"),
            ],
            subscriptions=[subscription("sub_1"), subscription("sub_2", GLOBEX, basis=UNSURE)],
            invoices=[
                invoice("in_1"),
                invoice("in_2", basis=UNSURE),
                invoice("in_3", GLOBEX, lines=(line(),), lines_complete=False),
                invoice("in_4", status="deleted", lines_complete=False),
                invoice("in_5", status="deleted", basis=UNSURE),
            ],
            records=[
                _entitled("cus_1"),
                _entitled("cus_2", complete=False),
                _entitled("cus_3", GLOBEX, basis=UNSURE),
                _record(RefundSnapshot(refund_id="re_1", amount=1, currency="usd", status="pending"), basis=UNSURE),
            ],
        )
        await save(repository, changes, tenants=BOTH)
        found = await repository.uncertain(after="", limit=100)
        assert [(uncertainty.kind, uncertainty.object_id, uncertainty.basis) for uncertainty in found] == [
            ("customer", "cus_2", UNSURE),
            ("entitlements", "entitlements:cus_2", provenance()),
            ("entitlements", "entitlements:cus_3", UNSURE),
            ("invoice", "in_2", UNSURE),
            ("invoice", "in_3", provenance()),
            ("invoice", "in_5", UNSURE),
            ("subscription", "sub_2", UNSURE),
        ]

    async def test_doubts_are_read_in_pages(self, repository: Repository) -> None:
        """Pages follow each other across the kinds, each bounded."""
        subscriptions = [subscription(f"sub_{number}", basis=UNSURE) for number in range(3)]
        invoices = [invoice(f"in_{number}", basis=UNSURE) for number in range(3)]
        await save(repository, Changes(subscriptions=subscriptions, invoices=invoices))
        seen: list[str] = []
        while page := await repository.uncertain(after=seen[-1] if seen else "", limit=2):
            assert len(page) <= 2
            seen += [uncertainty.object_id for uncertainty in page]
        assert seen == ["in_0", "in_1", "in_2", "sub_0", "sub_1", "sub_2"]

    async def test_a_doubt_is_settled_by_the_providers_word(
        self, repository: Repository, service: BillingService
    ) -> None:
        """It is written under what the state rested on, told once, and not in doubt any more."""
        await save(repository, Changes(customers=[customer()], subscriptions=[subscription(basis=UNSURE)]))
        (uncertainty,) = await repository.uncertain(after="", limit=10)
        says = Translation(customer_id=CustomerId("cus_1"), snapshots=(_snapshot("past_due"),))
        refetched = await service.apply_refetch(uncertainty, says)
        assert (refetched.result, [event.sequence for event in refetched.events]) == (RefetchResult.REFETCHED, [1])
        (held,) = await repository.subscriptions(ACME)
        assert (held.snapshot.status, held.provenance) == ("past_due", attrs.evolve(UNSURE, ambiguous=False))
        assert await repository.uncertain(after="", limit=10) == []
        assert list(await repository.events(ACME, after=0, limit=10)) == list(refetched.events)

    async def test_a_list_of_features_that_lacks_some_is_completed(
        self, repository: Repository, service: BillingService
    ) -> None:
        """What the provider names in the end takes its place."""
        await save(repository, Changes(customers=[customer()], records=[_entitled("cus_1", complete=False)]))
        (uncertainty,) = await repository.uncertain(after="", limit=10)
        whole = EntitlementsSnapshot(customer_id=CustomerId("cus_1"), features=("api", "sso"))
        refetched = await service.apply_refetch(
            uncertainty, Translation(customer_id=whole.customer_id, snapshots=(whole,))
        )
        assert refetched.result is RefetchResult.REFETCHED
        assert [event.event_type for event in refetched.events] == ["entitlements.updated"]
        assert (await repository.state(ACME)).features == ("api", "sso")
        assert await repository.uncertain(after="", limit=10) == []

    async def test_a_doubt_that_was_settled_meanwhile_changes_nothing(
        self, repository: Repository, service: BillingService
    ) -> None:
        """Of several who ask at the same time, one writes."""
        await save(repository, Changes(customers=[customer()], subscriptions=[subscription(basis=UNSURE)]))
        (uncertainty,) = await repository.uncertain(after="", limit=10)
        says = Translation(customer_id=CustomerId("cus_1"), snapshots=(_snapshot("past_due"),))
        ends = await asyncio.gather(*(service.apply_refetch(uncertainty, says) for _ in range(4)))
        assert sorted(end.result.value for end in ends) == ["overtaken", "overtaken", "overtaken", "refetched"]
        assert await repository.sequence(ACME) == 1

    # --- duplicates ---------------------------------------------------------------------------------------------

    async def test_duplicate_subscriptions_are_found(self, repository: Repository) -> None:
        """As the domain finds them, by tenant and plan."""
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
        ]
        await save(repository, Changes(subscriptions=subscriptions), tenants=BOTH)
        assert list(await repository.duplicate_subscriptions()) == [
            DuplicateSubscriptions(tenant_id=ACME, plan_code="pro", subscription_ids=_ids("sub_1", "sub_2")),
            DuplicateSubscriptions(tenant_id=GLOBEX, plan_code="team", subscription_ids=_ids("sub_8", "sub_9")),
        ]

    # --- links --------------------------------------------------------------------------------------------------

    async def test_a_link_by_hand_lets_waiting_events_go(
        self, repository: Repository, store: Inbox, service: BillingService
    ) -> None:
        """Before it the customer is listed with what waits; after it, with its tenant."""
        for number in (1, 2):
            await park(store, repository, f"evt_{number}")
        async with repository.transaction() as transaction:
            await transaction.lock_customers([CustomerId("cus_1"), CustomerId("cus_2")])
        assert await _links(repository, linked=False) == [("cus_1", None, 2), ("cus_2", None, 0)]
        assert await service.link(CustomerId("cus_1"), ACME)
        assert {claim.event.event_id for claim in await store.claim(limit=10, lease=LONG)} == {"evt_1", "evt_2"}
        assert await _links(repository, linked=False) == [("cus_2", None, 0)]
        assert await _links(repository, linked=True) == [("cus_1", ACME, 0)]

    async def test_customers_are_listed_in_pages(self, repository: Repository) -> None:
        """By id."""
        await save(repository, Changes(customers=[customer(f"cus_{number}") for number in range(5)]))
        first = await repository.customers(linked=True, after="", limit=2)
        rest = await repository.customers(linked=True, after=first[-1].customer_id, limit=10)
        assert [link.customer_id for link in [*first, *rest]] == [f"cus_{number}" for number in range(5)]
        assert first[0] == CustomerLink(customer_id=CustomerId("cus_0"), tenant_id=ACME, waiting=0)

    async def test_a_customer_nobody_has_heard_of_can_be_linked(
        self, repository: Repository, service: BillingService
    ) -> None:
        """Its events come later; doing it again changes nothing and says so."""
        assert await service.link(CustomerId("cus_new"), TenantId("initech"))
        assert not await service.link(CustomerId("cus_new"), TenantId("initech"))
        assert await _links(repository, linked=True) == [("cus_new", "initech", 0)]
        assert await repository.sequence(TenantId("initech")) == 0

    async def test_a_link_is_never_moved(self, repository: Repository, service: BillingService) -> None:
        """By hand neither; of two people who link a customer at the same time, one is told."""
        ends = await asyncio.gather(
            *(service.link(CustomerId("cus_1"), tenant_id) for tenant_id in BOTH), return_exceptions=True
        )
        assert [type(end) for end in ends if end is not True] == [TenantConflictError]
        (link,) = await repository.customers(linked=True, after="", limit=10)
        loser = GLOBEX if link.tenant_id == ACME else ACME
        with pytest.raises(TenantConflictError):
            await service.link(CustomerId("cus_1"), loser)
        assert (await repository.customers(linked=True, after="", limit=10)) == [link]


def _snapshot(status: str) -> SubscriptionSnapshot:
    return subscription(status=status, basis=provenance(observed_at=AT)).snapshot


def _ids(*ids: str) -> tuple[SubscriptionId, ...]:
    return tuple(map(SubscriptionId, ids))


async def _links(repository: Repository, *, linked: bool) -> list[tuple[str, str | None, int]]:
    found = await repository.customers(linked=linked, after="", limit=10)
    return [(link.customer_id, link.tenant_id, link.waiting) for link in found]


def _entitled(
    customer_id: str, tenant_id: TenantId = ACME, *, complete: bool = True, basis: Provenance | None = None
) -> TenantRecord:
    """What a customer may use: the first page of it, unless it is complete."""
    seen = EntitlementsSnapshot(customer_id=CustomerId(customer_id), features=("api",), complete=complete)
    return _record(seen, tenant_id, basis=basis)


def _record(seen: RecordSnapshot, tenant_id: TenantId = ACME, *, basis: Provenance | None = None) -> TenantRecord:
    return TenantRecord(tenant_id=tenant_id, snapshot=seen, provenance=basis or provenance())
