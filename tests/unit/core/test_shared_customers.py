"""One customer that pays for several tenants: each subscription names its own."""

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from itertools import permutations

import attrs
import pytest
from tests.unit.core.conftest import ACME, ALICE, AT, GLOBEX, Loop, customer, invoice, subscription

from billing_core.events import Disposition, Notice, Outcome, ProviderEvent, Translation
from billing_core.model import (
    ChargeSnapshot,
    CreditNoteSnapshot,
    CustomerId,
    EntitlementsSnapshot,
    InvoiceId,
    PaymentSnapshot,
    RefundSnapshot,
    ScheduleSnapshot,
    SubscriptionId,
    TenantCustomer,
    TenantId,
    TenantRules,
)
from billing_memory.state.transaction import MemoryTransaction

OF_ACME, OF_GLOBEX = subscription(subscription_id="sub_a"), subscription(subscription_id="sub_g")
INVOICE = invoice("in_g", status="paid", subscription_id=SubscriptionId("sub_g"))
PAYMENT = PaymentSnapshot(
    payment_id="pi_g", invoice_id=InvoiceId("in_g"), amount_paid=1900, currency="usd", status="paid"
)
CHARGE = ChargeSnapshot(charge_id="ch_g", payment_id="pi_g", amount=1900, amount_refunded=500, currency="usd")
REFUND = RefundSnapshot(refund_id="re_g", charge_id="ch_g", amount=500, currency="usd", status="succeeded")
NOTE = CreditNoteSnapshot(
    credit_note_id="cn_g", invoice_id=InvoiceId("in_g"), amount=100, currency="usd", status="issued"
)
SCHEDULE = ScheduleSnapshot(schedule_id="sched_g", subscription_id=SubscriptionId("sub_g"), status="active")


@pytest.fixture
def loop(loop: Loop) -> Loop:
    """A loop whose tenants are named by subscriptions."""
    loop.tenants = TenantRules(link="subscription")
    return loop


def bare(loop: Loop, event_id: str, at: int = 0, **said: object) -> ProviderEvent:
    """Build an event that may show nothing, and names the customer if it names no objects instead."""
    says = Translation(**{"customer_id": ALICE, **said})  # type: ignore[arg-type]
    return loop.provider.event(event_id, says, at=AT + timedelta(seconds=at))


async def settle(loop: Loop, *events: ProviderEvent) -> list[Outcome]:
    """Let events arrive one by one, then process what became due."""
    for event in events:
        await loop.arrive(event)
    while await loop.work():
        pass
    return [outcome for event in events if (outcome := loop.row(event).outcome) is not None]


def owners(loop: Loop) -> dict[str, TenantId | None]:
    """Return the tenant of every stored object."""
    tables = loop.database.tables
    held: Iterable[object] = [*tables.subscriptions.values(), *tables.invoices.values(), *tables.records.values()]
    return {each.snapshot.object_id: each.tenant_id for each in held}  # type: ignore[attr-defined]


class TestSubscriptions:
    """Each is its own tenant's, and so is everything that follows it."""

    @pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
    @pytest.mark.parametrize("batches", ["one by one", "together"])
    async def test_one_payer_may_have_several_tenants(self, loop: Loop, order: tuple[int, ...], batches: str) -> None:
        """In whatever order, also where the customer has a tenant of its own."""
        story = [
            loop.says(customer(), tenant=ACME),
            loop.says(OF_ACME, tenant=ACME, at=1),
            loop.says(OF_GLOBEX, tenant=GLOBEX, at=2),
            loop.says(INVOICE, tenant=None, at=3),
        ]
        events = [story[index] for index in order]
        await loop.arrive_all(events, together=batches == "together")
        assert {loop.row(event).disposition for event in events} == {Disposition.APPLIED}
        assert owners(loop) == {"sub_a": ACME, "sub_g": GLOBEX, "in_g": GLOBEX}
        assert loop.database.tables.customers[ALICE].tenant_id == ACME
        published = [payload.subscription for payload in await loop.payloads(ACME)]
        assert {each.subscription_id for each in published if each is not None} == {"sub_a"}

    async def test_an_invoice_before_its_subscription_is_the_tenant_s_that_it_names(self, loop: Loop) -> None:
        """It carries the subscription's metadata."""
        await settle(loop, loop.says(INVOICE, tenant=GLOBEX), loop.says(OF_GLOBEX, tenant=GLOBEX, at=1))
        assert owners(loop) == {"sub_g": GLOBEX, "in_g": GLOBEX}

    async def test_an_invoice_without_metadata_waits_for_its_subscription(self, loop: Loop) -> None:
        """The customer's own tenant says nothing about it."""
        early = loop.says(INVOICE, tenant=None)
        await loop.arrive(loop.says(customer(), tenant=ACME), early)
        waiting = loop.row(early).outcome
        assert waiting is not None
        assert (waiting.disposition, waiting.reason) == (Disposition.PARKED, "unmapped_object")
        await settle(loop, loop.says(OF_GLOBEX, tenant=GLOBEX, at=1))
        assert owners(loop) == {"sub_g": GLOBEX, "in_g": GLOBEX}

    @pytest.mark.parametrize("backwards", [False, True])
    async def test_payments_and_what_is_given_back_follow_the_subscription(self, loop: Loop, backwards: bool) -> None:
        """Although they name the payer, who has a tenant of its own."""
        story = [
            loop.says(customer(), tenant=ACME),
            loop.says(OF_GLOBEX, tenant=GLOBEX, at=1),
            loop.says(INVOICE, tenant=None, at=2),
            bare(loop, "evt_paid", 3, customer_id=None, about=("in_g",), snapshots=(PAYMENT,)),
            bare(loop, "evt_charge", 4, snapshots=(CHARGE,)),
            bare(loop, "evt_refund", 5, customer_id=None, about=("ch_g",), snapshots=(REFUND,)),
            bare(loop, "evt_note", 6, snapshots=(NOTE,)),
            bare(loop, "evt_schedule", 7, snapshots=(SCHEDULE,)),
        ]
        outcomes = await settle(loop, *(reversed(story) if backwards else story))
        assert {outcome.disposition for outcome in outcomes} == {Disposition.APPLIED}
        assert set(owners(loop).values()) == {GLOBEX}
        assert len(owners(loop)) == 7
        assert all(
            published.invoice is None and published.subscription is None for published in await loop.payloads(ACME)
        )

    async def test_a_subscription_without_metadata_is_the_customer_s_own(self, loop: Loop) -> None:
        """It waits until the customer has a tenant, or an event of it names one."""
        silent = loop.says(OF_ACME, tenant=None)
        (waiting,) = await settle(loop, silent)
        assert (waiting.disposition, waiting.reason) == (Disposition.PARKED, "unmapped_customer")
        await loop.service().link(ALICE, ACME)
        await settle(loop)
        assert owners(loop) == {"sub_a": ACME}

    async def test_a_silent_event_is_taken_up_by_one_that_names_the_tenant(self, loop: Loop) -> None:
        """Of the same subscription; the customer stays without a tenant."""
        silent = loop.says(OF_GLOBEX, tenant=None)
        await settle(loop, silent, loop.says(OF_GLOBEX, tenant=GLOBEX, at=1))
        assert loop.row(silent).disposition is Disposition.APPLIED
        assert owners(loop) == {"sub_g": GLOBEX}
        assert loop.database.tables.customers[ALICE].tenant_id is None

    @pytest.mark.parametrize("batches", ["one by one", "together"])
    async def test_metadata_never_moves_a_subscription(self, loop: Loop, batches: str) -> None:
        """The first tenant stays, and the event that contradicts it is shown to operators."""
        first, second = loop.says(OF_ACME, tenant=ACME), loop.says(OF_ACME, tenant=GLOBEX, at=1)
        for batch in [[first, second]] if batches == "together" else [[first], [second]]:
            await loop.arrive(*batch)
        assert (loop.row(second).disposition, loop.row(second).reason) == (Disposition.DEAD, "tenant_conflict")
        assert owners(loop) == {"sub_a": ACME}
        assert await loop.payloads(GLOBEX) == []

    async def test_objects_of_two_tenants_make_a_conflict(self, loop: Loop) -> None:
        """An invoice does not change its tenant with its subscription."""
        await settle(loop, loop.says(OF_ACME, tenant=ACME), loop.says(INVOICE, OF_GLOBEX, tenant=GLOBEX, at=1))
        moved = attrs.evolve(INVOICE, subscription_id=SubscriptionId("sub_a"))
        (outcome,) = await settle(loop, loop.says(moved, tenant=None, at=2))
        assert (outcome.disposition, outcome.reason) == (Disposition.DEAD, "tenant_conflict")

    async def test_notices_and_checkouts_follow_their_subscription(self, loop: Loop) -> None:
        """They show no object; what they name is enough."""
        await settle(loop, loop.says(customer(), tenant=ACME), loop.says(OF_GLOBEX, tenant=GLOBEX, at=1))
        upcoming = bare(loop, "evt_up", 2, about=("sub_g",), tenant_hint=GLOBEX, notice=Notice.UPCOMING)
        checkout = bare(loop, "evt_cs", 2, about=("sub_g",), tenant_hint=GLOBEX)
        outcomes = await settle(loop, upcoming, checkout)
        assert [outcome.tenant_id for outcome in outcomes] == [GLOBEX, GLOBEX]
        assert (await loop.notified(GLOBEX))[-1] == "invoice.upcoming"


class TestCustomers:
    """Facts about the payer alone."""

    async def test_it_belongs_to_the_customer_s_own_tenant(self, loop: Loop) -> None:
        """Which the customer's metadata names, or an operator's link."""
        await settle(loop, loop.says(OF_GLOBEX, tenant=GLOBEX), loop.says(customer(), tenant=ACME, at=1))
        single = invoice("in_1", subscription_id=None)
        outcomes = await settle(loop, loop.says(single, tenant=None, at=2), bare(loop, "evt_grant", 3))
        assert [(outcome.disposition, outcome.tenant_id) for outcome in outcomes] == [(Disposition.APPLIED, ACME)] * 2
        assert owners(loop)["in_1"] == ACME

    async def test_it_is_ignored_without_one_and_taken_up_by_a_later_link(self, loop: Loop) -> None:
        """No tenant sees it until then, not even the only one that the customer pays for."""
        single = loop.says(invoice("in_1", subscription_id=None), tenant=None, at=1)
        changed = loop.says(customer(name="Alice"), tenant=None, at=2)
        outcomes = await settle(loop, loop.says(OF_GLOBEX, tenant=GLOBEX), single, changed)
        assert [(outcome.disposition, outcome.reason) for outcome in outcomes[1:]] == [
            (Disposition.IGNORED, "shared_customer")
        ] * 2
        assert owners(loop) == {"sub_g": GLOBEX}
        await loop.service().link(ALICE, ACME)
        await settle(loop)
        assert owners(loop) == {"sub_g": GLOBEX, "in_1": ACME}
        assert loop.row(changed).disposition is Disposition.APPLIED

    async def test_a_checkout_without_a_subscription_links_no_customer(self, loop: Loop) -> None:
        """It may be for any of the tenants, so it contradicts no link either."""
        setup = bare(loop, "evt_setup", tenant_hint=GLOBEX)
        (ignored,) = await settle(loop, setup)
        assert ignored.reason == "shared_customer"
        await loop.service().link(ALICE, ACME)
        await settle(loop)
        assert loop.row(setup).disposition is Disposition.APPLIED
        assert loop.database.tables.customers[ALICE].tenant_id == ACME
        assert GLOBEX not in loop.database.tables.counters

    @pytest.mark.parametrize("own", [None, ACME])
    async def test_its_deletion_is_published_to_every_tenant_that_it_pays_for(
        self, loop: Loop, own: TenantId | None
    ) -> None:
        """Once, in the batch of the last subscription or later, whether the payer has a tenant of its own or not."""
        await settle(loop, loop.says(OF_ACME, tenant=ACME), loop.says(customer(), tenant=own, at=1))
        deleted = loop.says(customer(deleted=True), tenant=None, at=3)
        await loop.arrive(loop.says(OF_GLOBEX, tenant=GLOBEX, at=2), deleted)
        await settle(loop, loop.says(customer(deleted=True), tenant=None, at=4))
        await loop.replay(deleted)
        assert loop.row(deleted).disposition is Disposition.APPLIED
        assert (await loop.notified(ACME)).count("customer.deleted") == 1
        assert (await loop.notified(GLOBEX)) == ["subscription.created", "customer.deleted"]

    async def test_its_other_changes_are_published_to_no_other_tenant(self, loop: Loop) -> None:
        """Its name and address are its own tenant's business."""
        await settle(loop, loop.says(OF_GLOBEX, tenant=GLOBEX), loop.says(customer(), tenant=ACME, at=1))
        await settle(loop, loop.says(customer(name="Alice"), tenant=None, at=2))
        assert await loop.notified(GLOBEX) == ["subscription.created"]

    async def test_entitlements_of_the_payer_are_granted_to_no_tenant(self, loop: Loop) -> None:
        """They do not say which subscription grants them."""
        await loop.service().link(ALICE, ACME)
        summary = EntitlementsSnapshot(customer_id=ALICE, features=("exports",))
        (outcome,) = await settle(loop, bare(loop, "evt_features", snapshots=(summary,)))
        assert (outcome.disposition, outcome.reason) == (Disposition.IGNORED, "shared_customer")
        assert (await loop.repository.state(ACME)).features == ()


async def test_events_of_one_payer_are_processed_one_batch_after_the_other(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is locked although it is linked: two batches must not find two tenants for a subscription."""
    locked: list[CustomerId] = []

    async def lock(transaction: MemoryTransaction, ids: Collection[CustomerId]) -> Mapping[CustomerId, TenantCustomer]:
        locked.extend(ids)
        return await lock_customers(transaction, ids)

    lock_customers = MemoryTransaction.lock_customers
    await settle(loop, loop.says(customer(), tenant=ACME))
    monkeypatch.setattr(MemoryTransaction, "lock_customers", lock)
    await loop.arrive(loop.says(OF_GLOBEX, tenant=GLOBEX, at=1))
    assert locked == [ALICE]
