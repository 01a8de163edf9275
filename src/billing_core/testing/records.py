"""What every adapter must do with records, and with events that wait for the objects they name.

Bind it by subclassing `RecordsContract`; see its fixtures.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import attrs
import pytest

from billing_core.errors import TenantConflictError
from billing_core.events import Disposition, Outcome
from billing_core.model import (
    RECORD_KINDS,
    ChargeSnapshot,
    CreditNoteSnapshot,
    CustomerId,
    DisputeSnapshot,
    EntitlementsSnapshot,
    InvoiceId,
    PaymentSnapshot,
    PriceId,
    PriceSnapshot,
    ProductSnapshot,
    RecordSnapshot,
    RefundSnapshot,
    ScheduleSnapshot,
    SubscriptionId,
    TenantId,
    TenantRecord,
)
from billing_core.state.ports import Changes
from billing_core.testing.builders import ACME, AT, GLOBEX, customer, invoice, provenance, provider_event, subscription
from billing_core.testing.store import LONG
from billing_core.testing.stores import Inbox, Repository

HOSTILE = 'Zoë’s "reason" \'); DROP TABLE billing_records; -- \\ {a,b} NULL \u2028 日本 💶'
LARGEST = 2**63 - 1

PAYMENT = PaymentSnapshot(
    payment_id="pi_1", invoice_id=InvoiceId("in_1"), amount_paid=LARGEST, currency="usd", status="paid"
)
CHARGE = ChargeSnapshot(
    charge_id="ch_1",
    payment_id="pi_1",
    invoice_id=InvoiceId("in_1"),
    amount=LARGEST,
    amount_refunded=1,
    currency="jpy",
    disputed=True,
)
EVERYTHING = (
    PAYMENT,
    attrs.evolve(PAYMENT, payment_id="ch_1"),
    CHARGE,
    ChargeSnapshot(charge_id="ch_2", amount=0, amount_refunded=0, currency="usd"),
    RefundSnapshot(
        refund_id="re_1", payment_id="pi_1", charge_id="ch_1", amount=1, currency="usd", status="new", reason=HOSTILE
    ),
    RefundSnapshot(refund_id="re_2", amount=1, currency="usd", status="pending"),
    DisputeSnapshot(
        dispute_id="dp_1", payment_id="pi_1", charge_id="ch_1", amount=-LARGEST, currency="usd", status="won"
    ),
    CreditNoteSnapshot(
        credit_note_id="cn_1", invoice_id=InvoiceId("in_1"), amount=5, currency="usd", status="void", reason=HOSTILE
    ),
    EntitlementsSnapshot(customer_id=CustomerId("cus_1"), features=("api", HOSTILE), complete=False),
    EntitlementsSnapshot(customer_id=CustomerId("cus_2"), features=()),
    ScheduleSnapshot(schedule_id="sub_sched_1", subscription_id=SubscriptionId("sub_1"), status="active"),
    ScheduleSnapshot(schedule_id="sub_sched_2", status="canceled"),
)
CATALOGUE = (
    PriceSnapshot(price_id=PriceId("gold")),
    PriceSnapshot(
        price_id=PriceId("price_1"),
        product_id="prod_1",
        lookup_key=HOSTILE,
        plan_code="pro",
        usage_type="metered",
        meter_id="mtr_1",
        currency="usd",
        unit_amount=None,
        unit_amount_decimal="0.000000000001",
        active=False,
        deleted=True,
    ),
    ProductSnapshot(product_id="gold", name=HOSTILE, active=False, deleted=True),
)


def record(snapshot: RecordSnapshot, tenant_id: TenantId | None = ACME, *, at: int = 0) -> TenantRecord:
    """A record that was observed `at` seconds after the beginning."""
    basis = provenance("evt_2", "evt_1", observed_at=AT + timedelta(seconds=at), ambiguous=True)
    return TenantRecord(tenant_id=tenant_id, snapshot=snapshot, provenance=basis)


async def save(repository: Repository, *records: TenantRecord) -> None:
    """Write records as the service does."""
    async with repository.transaction() as transaction:
        await transaction.lock_tenants({each.tenant_id for each in records if each.tenant_id is not None})
        await transaction.lock_catalog()
        await transaction.save(Changes(records=records))


async def park(
    store: Inbox, repository: Repository, event_id: str, *waits_for: str, saving: Changes | None = None
) -> None:
    """Record an event and park it on the objects it names, in a unit of work that saves something else."""
    receipt = await store.record(provider_event(event_id), lease=LONG)
    assert receipt.claim is not None
    parked = Outcome(
        claim=receipt.claim,
        disposition=Disposition.PARKED,
        reason="unmapped_object",
        parked_on=waits_for[0],
        waits_for=waits_for,
    )
    async with repository.transaction() as transaction:
        await transaction.hold([receipt.claim])
        await transaction.lock_tenants([ACME])
        if saving is not None:
            await transaction.save(saving)
        await transaction.settle([parked])


async def _due(store: Inbox) -> Sequence[str]:
    return sorted(claim.event.event_id for claim in await store.claim(limit=100, lease=LONG))


class RecordsContract:
    """Facts beside subscription and invoice belong to one tenant, and tell whose the events are that name them.

    A binding gives two fixtures: `repository` and `store`, empty and on the same database.
    """

    # --- what is written is what is read ------------------------------------------------------------------------

    async def test_records_survive_in_every_field(self, repository: Repository) -> None:
        """Of every kind, with nothing and with everything filled in; a payment and a charge may share an id."""
        stored = [record(snapshot) for snapshot in EVERYTHING]
        assert {each.snapshot.kind for each in stored} == RECORD_KINDS.keys() - {"price", "product"}
        await save(repository, *stored)
        stored.sort(key=lambda each: each.snapshot.object_id, reverse=True)
        assert await repository.records(ACME, limit=100) == stored

    async def test_the_catalogue_belongs_to_nobody(self, repository: Repository) -> None:
        """Prices and products come by id; what merchants call alike is kept apart."""
        stored = [record(snapshot, None) for snapshot in CATALOGUE]
        await save(repository, *stored[::-1])
        assert await repository.catalog() == stored
        assert await repository.records(ACME, limit=100) == []
        async with repository.transaction() as transaction:
            assert await transaction.owners(["gold", "price:gold", "price_1"]) == {}

    async def test_the_last_value_of_a_record_counts(self, repository: Repository) -> None:
        """Amounts are replaced, not added; also within one save."""
        later = record(attrs.evolve(CHARGE, amount_refunded=7), at=1)
        await save(repository, record(CHARGE))
        await save(repository, record(attrs.evolve(CHARGE, amount_refunded=3)), later)
        assert await repository.records(ACME, limit=10) == [later]

    async def test_state_holds_the_features_of_all_customers(self, repository: Repository) -> None:
        """Each once, sorted by code point whatever the locale; nobody else's, and none that were lost."""
        seen = EntitlementsSnapshot(customer_id=CustomerId("cus_1"), features=("gone",))
        other = attrs.evolve(seen, customer_id=CustomerId("cus_2"), features=("a", "é", "Z"))
        await save(repository, record(seen), record(other), record(PAYMENT))
        await save(repository, record(attrs.evolve(seen, features=("a", "B")), at=1))
        await save(repository, record(attrs.evolve(seen, customer_id=CustomerId("cus_3"), features=("x",)), GLOBEX))
        assert (await repository.state(ACME)).features == ("B", "Z", "a", "é")
        assert (await repository.state(TenantId("initech"))).features == ()

    async def test_records_come_latest_first(self, repository: Repository) -> None:
        """Of the kinds asked for and within the limit; equal ones by id, so that pages are stable."""
        refunds = [
            record(RefundSnapshot(refund_id=f"re_{number}", amount=1, currency="usd", status="pending"), at=at)
            for number, at in ((1, 9), (3, 5), (2, 5))
        ]
        await save(repository, *refunds[::-1], record(CHARGE, at=7), record(PAYMENT, at=99))
        assert await repository.records(ACME, kinds=["refund"], limit=10) == refunds
        assert await repository.records(ACME, kinds=["refund", "charge"], limit=2) == [refunds[0], record(CHARGE, at=7)]

    async def test_records_are_found_by_object_id(self, repository: Repository) -> None:
        """Whoever has them, the catalog's too."""
        stored = [record(CHARGE, GLOBEX), record(PAYMENT), record(CATALOGUE[0], None)]
        await save(repository, *stored)
        async with repository.transaction() as transaction:
            found = await transaction.records(["ch_1", "payment:pi_1", "price:gold", "pi_1", "re_9"])
            assert sorted(found, key=lambda each: each.snapshot.kind) == stored
            assert await transaction.records([]) == []

    # --- whose it is --------------------------------------------------------------------------------------------

    async def test_owners_are_found_by_the_names_events_use(self, repository: Repository) -> None:
        """Subscriptions, invoices and records of all tenants; a payment by the provider's id."""
        async with repository.transaction() as transaction:
            await transaction.lock_tenants([ACME, GLOBEX])
            await transaction.save(
                Changes(
                    subscriptions=[subscription()],
                    invoices=[invoice("in_1", GLOBEX)],
                    records=[record(PAYMENT), record(CHARGE, GLOBEX)],
                )
            )
            expected = {"sub_1": ACME, "in_1": GLOBEX, "pi_1": ACME, "ch_1": GLOBEX}
            assert await transaction.owners([*expected, "sub_9", "cus_1"]) == expected
        async with repository.transaction() as transaction:
            assert await transaction.owners(["pi_1"]) == {"pi_1": ACME}
            assert await transaction.owners([]) == {}

    @pytest.mark.parametrize("other", [GLOBEX, None])
    async def test_a_record_of_another_tenant_is_never_overwritten(
        self, repository: Repository, other: TenantId | None
    ) -> None:
        """Nor taken to the catalog."""
        await save(repository, record(CHARGE))
        with pytest.raises(TenantConflictError):
            await save(repository, record(attrs.evolve(CHARGE, amount_refunded=7), other))
        assert await repository.records(ACME, limit=10) == [record(CHARGE)]
        assert await repository.records(GLOBEX, limit=10) == []

    async def test_an_exception_leaves_no_record(self, repository: Repository, store: Inbox) -> None:
        """Nothing of a failed unit of work is kept, and nobody leaves the car park because of it."""
        await park(store, repository, "evt_1", "pi_1")
        with pytest.raises(LookupError):  # noqa: PT012 - the block is what fails
            async with repository.transaction() as transaction:
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(records=[record(PAYMENT)]))
                raise LookupError
        assert await repository.records(ACME, limit=10) == []
        assert await store.unpark() == 0
        assert await _due(store) == []

    # --- the car park -------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("name", "arrival"),
        [
            ("sub_1", Changes(subscriptions=[subscription()])),
            ("in_1", Changes(invoices=[invoice()])),
            ("pi_1", Changes(records=[record(PAYMENT)])),
            ("ch_1", Changes(records=[record(CHARGE)])),
        ],
        ids=["subscription", "invoice", "payment", "charge"],
    )
    async def test_an_object_frees_what_waits_for_it(
        self, repository: Repository, store: Inbox, name: str, arrival: Changes
    ) -> None:
        """Whichever of the objects an event names comes first; and nothing else."""
        await park(store, repository, "evt_first", name, "x_1")
        await park(store, repository, "evt_second", "x_1", name)
        await park(store, repository, "evt_other", "x_1", "x_2")
        assert await _due(store) == []
        async with repository.transaction() as transaction:
            await transaction.lock_tenants([ACME])
            await transaction.save(arrival)
        assert await _due(store) == ["evt_first", "evt_second"]

    async def test_the_catalogue_frees_nobody(self, repository: Repository, store: Inbox) -> None:
        """It tells of no tenant."""
        await park(store, repository, "evt_1", "price:gold", "gold")
        await save(repository, *(record(snapshot, None) for snapshot in CATALOGUE))
        assert await store.unpark() == 0
        assert await _due(store) == []

    async def test_an_event_does_not_park_on_a_known_object(self, repository: Repository, store: Inbox) -> None:
        """Two events of a batch may be the one that waits and the one it waits for."""
        await park(store, repository, "evt_1", "x_1", "in_1", saving=Changes(invoices=[invoice()]))
        await park(store, repository, "evt_2", "in_1", "x_1")
        assert await _due(store) == ["evt_1", "evt_2"]

    async def test_what_was_parked_can_be_parked_again(self, repository: Repository, store: Inbox) -> None:
        """A freed event may turn out to wait for something else."""
        await park(store, repository, "evt_1", "in_1")
        async with repository.transaction() as transaction:
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(invoices=[invoice()]))
        (claim,) = await store.claim(limit=10, lease=LONG)
        again = Outcome(
            claim=claim,
            disposition=Disposition.PARKED,
            reason="unmapped_object",
            parked_on="pi_1",
            waits_for=("pi_1",),
        )
        async with repository.transaction() as transaction:
            await transaction.hold([claim])
            await transaction.settle([again])
        assert await _due(store) == []
        await save(repository, record(PAYMENT))
        assert await _due(store) == ["evt_1"]

    async def test_nothing_is_unparked_that_waits_rightly(self, repository: Repository, store: Inbox) -> None:
        """Nor anything that is not parked."""
        await park(store, repository, "evt_1", "in_9")
        await store.record(provider_event("evt_2"), lease=LONG)
        async with repository.transaction() as transaction:
            await transaction.lock_customers([CustomerId("cus_1")])
            await transaction.lock_tenants([ACME])
            await transaction.save(Changes(customers=[customer("cus_1", None)], invoices=[invoice()]))
        assert await store.unpark() == 0
        assert await _due(store) == []

    async def test_what_parks_while_its_object_is_saved_is_found(self, repository: Repository, store: Inbox) -> None:
        """Of two units of work that do not see each other, the look afterwards does."""
        saved = asyncio.Event()

        async def save_it() -> None:
            async with repository.transaction() as transaction:
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(invoices=[invoice()]))
                saved.set()
                await asyncio.sleep(0.05)

        saving = asyncio.create_task(save_it())
        await saved.wait()
        await asyncio.gather(saving, park(store, repository, "evt_1", "in_1", "x_1"))
        await store.unpark()
        assert await store.unpark() == 0
        assert await _due(store) == ["evt_1"]

    async def test_unparking_finds_customers_that_are_linked(self, repository: Repository, store: Inbox) -> None:
        """Should an event have slipped past its link, it does not wait for ever; the count is of events."""
        claims = []
        for number in range(2):
            receipt = await store.record(provider_event(f"evt_{number}"), lease=LONG)
            assert receipt.claim is not None
            claims.append(receipt.claim)
        linked = asyncio.Event()

        async def link_it() -> None:
            async with repository.transaction() as transaction:
                await transaction.lock_tenants([ACME])
                await transaction.save(Changes(customers=[customer()]))
                linked.set()
                await asyncio.sleep(0.05)

        async def park_them() -> None:
            async with repository.transaction() as transaction:
                await transaction.hold(claims)
                await transaction.settle(
                    [
                        Outcome(
                            claim=claim,
                            disposition=Disposition.PARKED,
                            reason="unmapped_customer",
                            parked_on=CustomerId("cus_1"),
                        )
                        for claim in claims
                    ]
                )

        linking = asyncio.create_task(link_it())
        await linked.wait()
        await asyncio.gather(linking, park_them())
        assert await store.unpark() in (0, 2)
        assert await _due(store) == ["evt_0", "evt_1"]
