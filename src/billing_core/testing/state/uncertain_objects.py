"""The contract of UncertainObjects, and of how the service settles what it finds."""

import asyncio

import attrs
import pytest

from billing_core.events import Translation
from billing_core.model import (
    UNCERTAIN_KINDS,
    CustomerId,
    EntitlementsSnapshot,
    Provenance,
    RecordSnapshot,
    RefundSnapshot,
    SubscriptionSnapshot,
    TenantId,
    TenantRecord,
)
from billing_core.state.ports import Changes, TenantReader, UncertainObjects, UnitOfWork
from billing_core.state.results import RefetchResult
from billing_core.state.service import BillingService
from billing_core.stream.ports import MessageHistory
from billing_core.testing.arrange import save, service_over
from billing_core.testing.builders import ACME, AT, GLOBEX, customer, invoice, line, provenance, subscription
from billing_core.testing.suite import Suite

UNSURE = provenance("evt_1", "evt_2", ambiguous=True)


class UncertainObjectsContract(Suite):
    """Every object that has to be fetched again, until it was.

    A binding provides `uncertain_objects`; `unit_of_work`, `tenant_reader` and `history` on the same data, all empty;
    and `clock`.
    """

    @pytest.fixture
    def service(self, unit_of_work: UnitOfWork) -> BillingService:
        """Return a service with an open catalog that writes through the unit of work."""
        return service_over(unit_of_work)

    async def test_every_uncertain_object_is_found(
        self, unit_of_work: UnitOfWork, uncertain_objects: UncertainObjects
    ) -> None:
        """Objects of every tenant and kind are listed by id, each with its basis; no others are."""
        changes = Changes(
            customers=[
                customer("cus_1"),
                customer("cus_2", email="a@example.com", provenance=UNSURE),
                customer("cus_3", email="b@example.com"),
            ],
            subscriptions=[
                subscription("sub_1"),
                subscription("sub_2", GLOBEX, basis=UNSURE),
                subscription("sub_3", items_complete=False),
                subscription("sub_4", status="canceled", items_complete=False),
            ],
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
                _entitled("cus_4"),
                _record(RefundSnapshot(refund_id="re_1", amount=1, currency="usd", status="pending"), basis=UNSURE),
            ],
        )
        await save(unit_of_work, changes, tenants=(ACME, GLOBEX))
        found = await uncertain_objects.uncertain(after="", limit=100)
        assert [(uncertainty.kind, uncertainty.object_id, uncertainty.basis) for uncertainty in found] == [
            ("customer", "cus_2", UNSURE),
            ("entitlements", "entitlements:cus_2", provenance()),
            ("entitlements", "entitlements:cus_3", UNSURE),
            ("invoice", "in_2", UNSURE),
            ("invoice", "in_3", provenance()),
            ("invoice", "in_5", UNSURE),
            ("subscription", "sub_2", UNSURE),
            ("subscription", "sub_3", provenance()),
        ]
        assert [each.object_id for each in found if not each.complete] == ["entitlements:cus_2", "in_3", "sub_3"]
        counted = await uncertain_objects.count_uncertain()
        assert counted == {"customer": 1, "entitlements": 2, "invoice": 3, "subscription": 2}

    async def test_every_kind_is_counted_although_none_is_uncertain(self, uncertain_objects: UncertainObjects) -> None:
        """A gauge that is not set keeps its last value."""
        assert await uncertain_objects.count_uncertain() == dict.fromkeys(UNCERTAIN_KINDS, 0)

    async def test_uncertain_objects_are_read_in_pages(
        self, unit_of_work: UnitOfWork, uncertain_objects: UncertainObjects
    ) -> None:
        """Pages follow each other across the kinds, each bounded."""
        subscriptions = [subscription(f"sub_{number}", basis=UNSURE) for number in range(3)]
        invoices = [invoice(f"in_{number}", basis=UNSURE) for number in range(3)]
        await save(unit_of_work, Changes(subscriptions=subscriptions, invoices=invoices))
        seen: list[str] = []
        while page := await uncertain_objects.uncertain(after=seen[-1] if seen else "", limit=2):
            assert len(page) <= 2
            seen += [uncertainty.object_id for uncertainty in page]
        assert seen == ["in_0", "in_1", "in_2", "sub_0", "sub_1", "sub_2"]

    async def test_the_providers_answer_settles_an_uncertainty(
        self,
        unit_of_work: UnitOfWork,
        uncertain_objects: UncertainObjects,
        tenant_reader: TenantReader,
        history: MessageHistory,
        service: BillingService,
    ) -> None:
        """It is written on the basis that was uncertain, published once, and certain from then on."""
        await save(unit_of_work, Changes(customers=[customer()], subscriptions=[subscription(basis=UNSURE)]))
        (uncertainty,) = await uncertain_objects.uncertain(after="", limit=10)
        answer = Translation(customer_id=CustomerId("cus_1"), snapshots=(_snapshot("past_due"),))
        refetched = await service.apply_refetch(uncertainty, answer)
        assert (refetched.result, [event.sequence for event in refetched.events]) == (RefetchResult.REFETCHED, [1])
        (held,) = await tenant_reader.subscriptions(ACME)
        assert (held.snapshot.status, held.provenance) == ("past_due", attrs.evolve(UNSURE, ambiguous=False))
        assert await uncertain_objects.uncertain(after="", limit=10) == []
        assert list(await history.events(ACME, after=0, limit=10)) == list(refetched.events)

    async def test_an_incomplete_list_of_features_is_completed(
        self,
        unit_of_work: UnitOfWork,
        uncertain_objects: UncertainObjects,
        tenant_reader: TenantReader,
        service: BillingService,
    ) -> None:
        """The provider's whole list takes its place."""
        await save(unit_of_work, Changes(customers=[customer()], records=[_entitled("cus_1", complete=False)]))
        (uncertainty,) = await uncertain_objects.uncertain(after="", limit=10)
        whole = EntitlementsSnapshot(customer_id=CustomerId("cus_1"), features=("api", "sso"))
        answer = Translation(customer_id=whole.customer_id, snapshots=(whole,))
        refetched = await service.apply_refetch(uncertainty, answer)
        assert refetched.result is RefetchResult.REFETCHED
        assert [event.event_type for event in refetched.events] == ["entitlements.updated"]
        assert (await tenant_reader.state(ACME)).features == ("api", "sso")
        assert await uncertain_objects.uncertain(after="", limit=10) == []

    async def test_an_answer_that_was_overtaken_changes_nothing(
        self,
        unit_of_work: UnitOfWork,
        uncertain_objects: UncertainObjects,
        history: MessageHistory,
        service: BillingService,
    ) -> None:
        """Of several processes that fetch at the same time, one writes."""
        await save(unit_of_work, Changes(customers=[customer()], subscriptions=[subscription(basis=UNSURE)]))
        (uncertainty,) = await uncertain_objects.uncertain(after="", limit=10)
        answer = Translation(customer_id=CustomerId("cus_1"), snapshots=(_snapshot("past_due"),))
        ends = await asyncio.gather(*(service.apply_refetch(uncertainty, answer) for _ in range(4)))
        assert sorted(end.result.value for end in ends) == ["overtaken", "overtaken", "overtaken", "refetched"]
        assert await history.sequence(ACME) == 1


def _snapshot(status: str) -> SubscriptionSnapshot:
    return subscription(status=status, basis=provenance(observed_at=AT)).snapshot


def _entitled(
    customer_id: str, tenant_id: TenantId = ACME, *, complete: bool = True, basis: Provenance | None = None
) -> TenantRecord:
    """Return a customer's list of features, only its first page unless it is complete."""
    seen = EntitlementsSnapshot(customer_id=CustomerId(customer_id), features=("api",), complete=complete)
    return _record(seen, tenant_id, basis=basis)


def _record(seen: RecordSnapshot, tenant_id: TenantId = ACME, *, basis: Provenance | None = None) -> TenantRecord:
    return TenantRecord(tenant_id=tenant_id, snapshot=seen, provenance=basis or provenance())
