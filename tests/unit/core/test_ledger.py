"""A tenant's state as events arrive: in order, late, twice, at once, or for another tenant."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import islice, permutations
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import (
    ACME,
    ALICE,
    AT,
    BOB,
    GLOBEX,
    Loop,
    customer,
    invoice,
    item,
    line,
    metered,
    subscription,
)

from billing_core.events import Disposition, Effect, Notice, ProviderEvent
from billing_core.model import (
    DELETED,
    EventId,
    InvoiceSnapshot,
    Plan,
    PlanCatalog,
    Provenance,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantId,
)
from billing_core.state.ports import BillingTransaction, Changes, LockedTenants
from billing_memory.state.repository import MemoryRepository
from billing_memory.state.transaction import MemoryTransaction

ACTIVE, PAST_DUE, PAUSED = (subscription(status=status) for status in ("active", "past_due", "paused"))


def read(seen: SubscriptionSnapshot) -> SubscriptionSnapshot:
    """A subscription in the terms of the open catalog."""
    return PlanCatalog().read_subscription(seen)


class TestOrder:
    """New, newer, stale, equal."""

    async def test_a_first_snapshot_is_taken_as_it_is(self, loop: Loop) -> None:
        """And is published as the first message."""
        (outcome,) = await loop.arrive(loop.says(ACTIVE))
        assert outcome.disposition is Disposition.APPLIED
        assert (outcome.effect, outcome.tenant_id, outcome.sequence) == (Effect.CHANGED, ACME, 1)
        assert await loop.subscription() == read(ACTIVE)
        assert await loop.notified() == ["subscription.created"]

    async def test_a_newer_snapshot_replaces_an_older_one(self, loop: Loop) -> None:
        """In the same batch or in a later one."""
        await loop.arrive(loop.says(ACTIVE))
        await loop.arrive(loop.says(PAST_DUE, at=1))
        assert await loop.subscription() == read(PAST_DUE)
        assert await loop.notified() == ["subscription.created", "subscription.past_due"]

    async def test_a_stale_snapshot_changes_nothing_and_publishes_nothing(self, loop: Loop) -> None:
        """It is applied all the same: there is nothing left to do for it."""
        await loop.arrive(loop.says(PAST_DUE, at=1))
        (outcome,) = await loop.arrive(loop.says(ACTIVE))
        assert (outcome.disposition, outcome.effect) == (Disposition.APPLIED, Effect.STALE)
        assert outcome.sequence is None
        assert await loop.subscription() == read(PAST_DUE)

    async def test_a_batch_is_folded_by_the_provider_s_clock(self, loop: Loop) -> None:
        """Events of one batch tell their story in order, however they were stored."""
        await loop.arrive(loop.says(PAST_DUE, at=1), loop.says(ACTIVE, at=2), loop.says(ACTIVE, at=0))
        assert await loop.notified() == ["subscription.created", "subscription.past_due", "subscription.recovered"]

    async def test_an_event_that_confirms_the_state_publishes_nothing(self, loop: Loop) -> None:
        """Twins and repeated events are silent."""
        await loop.arrive(loop.says(ACTIVE))
        first, second = await loop.arrive(loop.says(ACTIVE), loop.says(ACTIVE, at=5))
        assert [first.effect, second.effect] == [Effect.CONFIRMED, Effect.CONFIRMED]
        assert await loop.notified() == ["subscription.created"]

    async def test_a_fact_that_no_message_shows_is_kept_without_a_message(self, loop: Loop) -> None:
        """The event changed the state all the same."""
        tagged = subscription(items=(item(quantity=1, price_metadata=(("plan", "pro"),)),))
        await loop.arrive(loop.says(subscription()))
        (outcome,) = await loop.arrive(loop.says(tagged, at=1))
        assert (outcome.effect, outcome.sequence) == (Effect.CHANGED, None)
        assert (await loop.subscription()).items == tagged.items

    @pytest.mark.parametrize("status", ["canceled", "incomplete_expired"])
    async def test_an_ended_subscription_stays_ended(self, loop: Loop, status: str) -> None:
        """Even when a newer event says otherwise."""
        await loop.arrive(loop.says(subscription(status=status)))
        (outcome,) = await loop.arrive(loop.says(ACTIVE, at=60))
        assert outcome.effect is Effect.STALE
        assert (await loop.subscription()).status == status

    async def test_a_deleted_draft_does_not_come_back(self, loop: Loop) -> None:
        """Its tombstone also stops the creation that arrives after the end, and the tenant does not see it."""
        await loop.arrive(loop.says(invoice(status=DELETED), at=2))
        outcomes = await loop.arrive(
            loop.says(invoice(status="draft"), creation=True), loop.says(invoice(status="draft", total=5), at=2)
        )
        assert [outcome.effect for outcome in outcomes] == [Effect.STALE, Effect.STALE]
        assert await loop.repository.invoices(ACME, limit=10) == []
        assert await loop.notified() == ["invoice.deleted"]

    @pytest.mark.parametrize("status", ["draft", "open", "uncollectible"])
    async def test_a_paid_invoice_stays_paid(self, loop: Loop, status: str) -> None:
        """Stages only go up, so the second of an event does not matter."""
        await loop.arrive(loop.says(invoice(status="paid")))
        (outcome,) = await loop.arrive(loop.says(invoice(status=status), at=9))
        assert outcome.effect is Effect.STALE
        assert (await loop.invoice()).status == "paid"

    async def test_a_deleted_customer_stays_deleted(self, loop: Loop) -> None:
        """The tenant is notified once."""
        await loop.arrive(loop.says(customer(deleted=True)), loop.says(customer(name="Alice"), at=1))
        assert await loop.notified() == ["customer.deleted"]

    async def test_a_customer_s_name_is_kept_without_a_message(self, loop: Loop) -> None:
        """The tenant changed it itself."""
        await loop.arrive(loop.says(customer(name="Alice")))
        (outcome,) = await loop.arrive(loop.says(customer(name="Alicia"), at=1))
        assert (outcome.effect, outcome.sequence) == (Effect.CHANGED, None)


class TestTies:
    """Events of one second."""

    @pytest.fixture
    def burst(self, loop: Loop) -> list[ProviderEvent]:
        """Active → past due → active → paused within a second; ids run against the order."""
        return [
            loop.says(PAST_DUE, before=ACTIVE, event_id="evt_9"),
            loop.says(ACTIVE, before=PAST_DUE, event_id="evt_5"),
            loop.says(PAUSED, before=ACTIVE, event_id="evt_1"),
        ]

    @pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
    @pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 2), (3,)], ids=str)
    @pytest.mark.parametrize("way", ["from the store", "from intake"])
    async def test_a_burst_ends_in_its_true_end(
        self, loop: Loop, burst: list[ProviderEvent], order: tuple[int, ...], sizes: tuple[int, ...], way: str
    ) -> None:
        """Whether the others are in the same batch or have to be read back, with bodies in memory or without."""
        events = iter([burst[index] for index in order])
        for size in sizes:
            batch = list(islice(events, size))
            await (loop.hand_over(*batch) if way == "from intake" else loop.arrive(*batch))
        assert await loop.subscription() == read(PAUSED)
        (row,) = loop.database.tables.subscriptions.values()
        assert (row.provenance.observed_at, row.provenance.event_ids) == (AT, ("evt_1", "evt_5", "evt_9"))

    async def test_a_newer_event_ends_the_tie(self, loop: Loop, burst: list[ProviderEvent]) -> None:
        """The group that decided before is forgotten."""
        await loop.arrive(*burst)
        await loop.arrive(loop.says(ACTIVE, at=1, event_id="evt_4"))
        (row,) = loop.database.tables.subscriptions.values()
        assert row.provenance.event_ids == ("evt_4",)

    async def test_an_undecided_tie_is_marked_until_a_newer_event_arrives(self, loop: Loop) -> None:
        """Two states of one second without an edge between them."""
        await loop.arrive(loop.says(ACTIVE), loop.says(PAUSED))
        (row,) = loop.database.tables.subscriptions.values()
        assert row.provenance.ambiguous
        await loop.arrive(loop.says(ACTIVE, at=1))
        (row,) = loop.database.tables.subscriptions.values()
        assert not row.provenance.ambiguous

    async def test_a_late_member_can_settle_an_undecided_tie(self, loop: Loop) -> None:
        """The missing edge arrives: the mark is removed, the state corrected and a message published."""
        active, paused = loop.says(ACTIVE, event_id="evt_2"), loop.says(PAUSED, event_id="evt_1")
        await loop.arrive(active, paused)
        assert (await loop.subscription()).status == "active"
        await loop.arrive(loop.says(PAUSED, before=ACTIVE))
        (row,) = loop.database.tables.subscriptions.values()
        assert row.snapshot.status == "paused"
        assert not row.provenance.ambiguous
        assert (await loop.notified())[-1] == "subscription.paused"

    async def test_a_creation_always_comes_first(self, loop: Loop) -> None:
        """Created and activated within a second, arriving in reverse order."""
        await loop.arrive(loop.says(ACTIVE, event_id="evt_1"))
        await loop.arrive(loop.says(subscription(status="incomplete"), creation=True, event_id="evt_9"))
        assert (await loop.subscription()).status == "active"

    async def test_one_more_payment_attempt_is_later(self, loop: Loop) -> None:
        """Attempts only grow, so no edge is needed."""
        await loop.arrive(loop.says(invoice(attempt_count=2), event_id="evt_1"))
        await loop.arrive(loop.says(invoice(attempt_count=1), event_id="evt_2"))
        assert (await loop.invoice()).attempt_count == 2

    async def test_the_known_state_stands_in_for_a_member_whose_body_is_gone(self, loop: Loop) -> None:
        """Bodies are not kept forever; a tie is then decided by the remaining events."""
        gone = loop.says(ACTIVE)
        await loop.arrive(gone)
        del loop.database.numbers[gone.key]
        await loop.arrive(loop.says(PAUSED, before=ACTIVE))
        (row,) = loop.database.tables.subscriptions.values()
        assert (row.snapshot.status, row.provenance.ambiguous) == ("paused", False)


class TestUsage:
    """Billed usage: absolute, and the same whichever came first, invoice or subscription."""

    WITH_CALLS = subscription(items=(item(quantity=1), metered(lookup_key="api_calls")))
    WITHOUT_CALLS = subscription(items=(item(quantity=1),))
    BILL = invoice(lines=(line(), line("il_2", "price_pro", amount=1900, quantity=1)))

    async def billed(self, loop: Loop) -> list[tuple[str, str, int, int]]:
        """Invoice, feature, quantity and amount of every record."""
        return [(row.invoice_id, row.feature_key, row.quantity, row.amount) for row in await loop.usage()]

    @pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
    @pytest.mark.parametrize("batches", ["one by one", "together"])
    async def test_usage_of_an_item_that_is_gone_is_billed_in_any_order(
        self, loop: Loop, order: tuple[int, ...], batches: str
    ) -> None:
        """The item may be removed before its last invoice arrives, and appear only in a stale event."""
        story = [
            loop.says(self.WITH_CALLS),
            loop.says(self.WITHOUT_CALLS, before=self.WITH_CALLS, at=1),
            loop.says(self.BILL, at=2),
        ]
        events = [story[index] for index in order]
        for batch in [events] if batches == "together" else [[event] for event in events]:
            await loop.arrive(*batch)
        assert await self.billed(loop) == [("in_1", "api_calls", 120, 240)]
        assert [section.quantity for payload in await loop.payloads() for section in payload.usage] == [120]

    async def test_usage_that_becomes_known_by_a_stale_event_is_published(self, loop: Loop) -> None:
        """The message carries the records, although no snapshot changed."""
        await loop.arrive(loop.says(self.BILL), loop.says(self.WITHOUT_CALLS, at=9))
        (outcome,) = await loop.arrive(loop.says(self.WITH_CALLS))
        assert (outcome.effect, outcome.sequence) == (Effect.CHANGED, 3)
        last = (await loop.payloads())[-1]
        assert last.event_type == "subscription.updated"
        assert [section.feature_key for section in last.usage] == ["api_calls"]

    async def test_each_line_is_rated_by_its_own_price(self, loop: Loop) -> None:
        """An item whose price was swapped: the old invoice bills the old feature."""
        swapped = subscription(items=(metered(price_id="price_bytes", lookup_key="bytes"),))
        before = subscription(items=(metered(lookup_key="api_calls"),))
        await loop.arrive(loop.says(before), loop.says(swapped, at=1), loop.says(self.BILL, at=2))
        assert await self.billed(loop) == [("in_1", "api_calls", 120, 240)]

    async def test_usage_is_an_absolute_value(self, loop: Loop) -> None:
        """Many events of the same invoice show it; it is stored once."""
        await loop.arrive(loop.says(self.WITH_CALLS))
        await loop.arrive(loop.says(self.BILL))
        await loop.arrive(loop.says(self.BILL), loop.says(attrs.evolve(self.BILL, status="paid"), at=5))
        assert await self.billed(loop) == [("in_1", "api_calls", 120, 240)]

    async def test_a_corrected_line_replaces_its_usage(self, loop: Loop) -> None:
        """The latest event counts."""
        await loop.arrive(loop.says(self.WITH_CALLS), loop.says(self.BILL))
        await loop.arrive(loop.says(attrs.evolve(self.BILL, lines=(line(quantity=7, amount=14),)), at=1))
        assert await self.billed(loop) == [("in_1", "api_calls", 7, 14)]

    @pytest.mark.parametrize("removed_first", [True, False])
    async def test_a_voided_invoice_bills_nothing(self, loop: Loop, removed_first: bool) -> None:
        """Also when the metered item is gone by then."""
        await loop.arrive(loop.says(self.WITH_CALLS), loop.says(self.BILL, at=1))
        if removed_first:
            await loop.arrive(loop.says(self.WITHOUT_CALLS, at=2))
        await loop.arrive(loop.says(attrs.evolve(self.BILL, status="void"), at=3))
        assert await self.billed(loop) == []

    async def test_a_draft_bills_nothing_yet(self, loop: Loop) -> None:
        """Its lines still change."""
        await loop.arrive(loop.says(self.WITH_CALLS), loop.says(attrs.evolve(self.BILL, status="draft")))
        assert await self.billed(loop) == []

    async def test_prorations_and_licensed_lines_are_no_usage(self, loop: Loop) -> None:
        """Neither by what the line says nor by what the subscription knows."""
        lines = (line(proration=True), line("il_2", usage_type="licensed"), line("il_3", "price_pro"))
        await loop.arrive(loop.says(self.WITH_CALLS), loop.says(attrs.evolve(self.BILL, lines=lines)))
        assert await self.billed(loop) == []

    async def test_a_line_that_says_it_is_metered_needs_no_subscription(self, loop: Loop) -> None:
        """Until the subscription names the feature, it goes by its price."""
        said = attrs.evolve(self.BILL, lines=(line(usage_type="metered"),))
        await loop.arrive(loop.says(said))
        assert await self.billed(loop) == [("in_1", "price_calls", 120, 240)]
        await loop.arrive(loop.says(self.WITH_CALLS))
        assert await self.billed(loop) == [("in_1", "api_calls", 120, 240)]

    async def test_a_feature_has_one_name_whichever_event_came_first(self, loop: Loop) -> None:
        """A lookup key can move to another price: a name then wins over the bare id."""
        nameless = subscription(items=(metered(),))
        for at, seen in ((1, self.WITH_CALLS), (2, nameless), (0, nameless)):
            await loop.arrive(loop.says(seen, at=at))
        await loop.arrive(loop.says(self.BILL))
        assert await self.billed(loop) == [("in_1", "api_calls", 120, 240)]

    async def test_subscriptions_do_not_lend_each_other_their_features(self, loop: Loop) -> None:
        """Even within a tenant: an invoice is rated by its own subscription."""
        await loop.arrive(loop.says(attrs.evolve(self.WITH_CALLS, subscription_id=SubscriptionId("sub_2"))))
        await loop.arrive(loop.says(self.BILL))
        assert await self.billed(loop) == []


class TestFailedPayments:
    """A payment failed when an event says so, and each failure is told once."""

    async def test_the_first_failure_is_the_same_in_every_order(self, loop: Loop) -> None:
        """A stale event counts too: grace counts from it."""
        failures = [loop.says(invoice(attempt_count=n), at=n, event_id=f"evt_{n}", payment_failed=True) for n in (1, 2)]
        recorded = set()
        for arrivals in (failures, failures[::-1], [*failures, *failures]):
            other = Loop(provider=loop.provider)
            for event in arrivals:
                await other.arrive(event)
            (row,) = other.database.tables.invoices.values()
            recorded.add(row.failed_at)
            assert (await other.notified()).count("invoice.payment_failed") == 2
        assert recorded == {(AT + timedelta(seconds=1), AT + timedelta(seconds=2))}

    async def test_a_failure_is_told_beside_a_twin_that_came_first(self, loop: Loop) -> None:
        """An update of the same second shows the same invoice."""
        await loop.arrive(loop.says(invoice(attempt_count=1)))
        await loop.arrive(loop.says(invoice(attempt_count=1), payment_failed=True))
        assert (await loop.notified())[-1] == "invoice.payment_failed"

    async def test_a_replay_fills_in_a_failure_without_telling_it_again(self, loop: Loop) -> None:
        """Rows of earlier releases do not know when payments failed."""
        failure = loop.says(invoice(attempt_count=1), payment_failed=True)
        await loop.arrive(failure)
        (row,) = loop.database.tables.invoices.values()
        loop.database.tables.invoices[row.snapshot.invoice_id] = attrs.evolve(row, failed_at=())
        before = await loop.notified()
        await loop.replay(failure)
        assert list(loop.database.tables.invoices.values()) == [row]
        assert await loop.notified() == before

    async def test_a_failure_of_an_invoice_that_is_settled_is_kept_but_not_told(self, loop: Loop) -> None:
        """It is over: the payment that followed was made."""
        await loop.arrive(loop.says(invoice(status="paid"), at=9))
        await loop.arrive(loop.says(invoice(attempt_count=1), payment_failed=True))
        (row,) = loop.database.tables.invoices.values()
        assert row.failed_at == (AT,)
        assert "invoice.payment_failed" not in await loop.notified()

    async def test_a_rise_of_attempts_alone_is_no_failure(self, loop: Loop) -> None:
        """A partial payment, or a debit under way."""
        await loop.arrive(loop.says(invoice()), loop.says(invoice(attempt_count=1, amount_remaining=900), at=1))
        assert "invoice.payment_failed" not in await loop.notified()

    async def test_a_message_about_an_invoice_shows_grace_by_stored_invoices(self, loop: Loop) -> None:
        """The verdict of a message counts invoices that its event does not show."""
        await loop.arrive(loop.says(invoice(), payment_failed=True))
        await loop.arrive(loop.says(PAST_DUE, at=1))
        loop.clock.advance(timedelta(days=8))
        await loop.arrive(loop.says(attrs.evolve(PAST_DUE, collection_paused=True), at=2))
        (*_, last) = await loop.payloads()
        assert last.access.reason == "past_due_grace_over"


class TestTenants:
    """The tenant of an event."""

    async def test_metadata_links_a_customer_and_says_so(self, loop: Loop) -> None:
        """A new link is published if nothing else changed."""
        (outcome,) = await loop.arrive(loop.says(customer_id=ALICE))
        assert outcome.sequence == 1
        assert await loop.notified() == ["customer.linked"]

    async def test_an_event_without_a_tenant_waits_and_touches_nothing(self, loop: Loop) -> None:
        """Parked on its customer, without a message."""
        (outcome,) = await loop.arrive(loop.says(ACTIVE, tenant=None))
        assert outcome.disposition is Disposition.PARKED
        assert (outcome.reason, outcome.parked_on) == ("unmapped_customer", ALICE)
        assert loop.database.tables.subscriptions == {}
        assert loop.messages == []

    @pytest.mark.parametrize("hint", [" acme", "acme\u200b", "  ", "t" * 201, "ac\nme", "\ud800"])
    async def test_a_text_that_cannot_be_a_tenant_id_links_nothing(self, loop: Loop, hint: str) -> None:
        """The event waits for a link with a reason for operators, and the corrected id then makes the link."""
        (waiting,) = await loop.arrive(loop.says(ACTIVE, tenant=TenantId(hint)))
        assert (waiting.disposition, waiting.reason) == (Disposition.PARKED, "refused_tenant_id")
        assert waiting.error is not None
        assert waiting.error.isascii()
        assert waiting.error.isprintable()
        assert len(waiting.error) < 1000
        assert loop.database.tables.counters == {}
        await loop.arrive(loop.says(PAST_DUE, at=60))
        (late,) = await loop.work()
        assert (late.disposition, late.effect, late.tenant_id) == (Disposition.APPLIED, Effect.STALE, ACME)

    async def test_a_text_that_cannot_be_a_tenant_id_contradicts_no_link(self, loop: Loop) -> None:
        """It names no tenant, so the event is that of the link."""
        await loop.arrive(loop.says(ACTIVE))
        (outcome,) = await loop.arrive(loop.says(PAST_DUE, tenant=TenantId(" globex"), at=1))
        assert (outcome.disposition, outcome.tenant_id) == (Disposition.APPLIED, ACME)

    @pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
    @pytest.mark.parametrize("batches", ["one by one", "together"])
    async def test_what_waited_is_applied_when_the_link_comes(
        self, loop: Loop, order: tuple[int, ...], batches: str
    ) -> None:
        """In whatever order, inside one batch or over several."""
        story = [
            loop.says(ACTIVE, tenant=None),
            loop.says(PAST_DUE, tenant=None, at=1),
            loop.says(customer_id=ALICE, at=2),
        ]
        events = [story[index] for index in order]
        for batch in [events] if batches == "together" else [[event] for event in events]:
            await loop.arrive(*batch)
        await loop.work()
        assert {loop.row(event).disposition for event in events} == {Disposition.APPLIED}
        assert await loop.subscription() == read(PAST_DUE)

    async def test_a_link_frees_the_events_of_its_customer_alone(self, loop: Loop) -> None:
        """Bob's events keep waiting."""
        waiting = loop.says(subscription(customer_id=BOB), tenant=None)
        await loop.arrive(waiting)
        await loop.arrive(loop.says(customer_id=ALICE))
        await loop.work()
        assert loop.row(waiting).disposition is Disposition.PARKED

    async def test_metadata_never_moves_a_link(self, loop: Loop) -> None:
        """The event is buried; neither tenant changes or is notified."""
        await loop.arrive(loop.says(ACTIVE))
        (outcome,) = await loop.arrive(loop.says(PAST_DUE, at=1, tenant=GLOBEX))
        assert (outcome.disposition, outcome.reason) == (Disposition.DEAD, "tenant_conflict")
        assert await loop.subscription() == read(ACTIVE)
        assert (await loop.notified(ACME), await loop.notified(GLOBEX)) == (["subscription.created"], [])

    async def test_of_two_tenants_named_in_one_batch_the_first_keeps_the_customer(self, loop: Loop) -> None:
        """First by the provider's clock, not by arrival."""
        outcomes = await loop.arrive(loop.says(PAST_DUE, at=1, tenant=GLOBEX), loop.says(ACTIVE))
        assert [outcome.disposition for outcome in outcomes] == [Disposition.APPLIED, Disposition.DEAD]
        assert await loop.notified(GLOBEX) == []

    async def test_an_object_never_changes_its_tenant(self, loop: Loop) -> None:
        """Another tenant's customer shows up with the subscription of the first."""
        await loop.arrive(loop.says(ACTIVE))
        await loop.arrive(loop.says(customer_id=BOB, tenant=GLOBEX))
        stolen = attrs.evolve(PAST_DUE, customer_id=BOB)
        (outcome,) = await loop.arrive(loop.says(stolen, at=1, tenant=None))
        assert (outcome.disposition, outcome.reason) == (Disposition.DEAD, "tenant_conflict")
        assert await loop.subscription() == read(ACTIVE)
        assert await loop.notified(GLOBEX) == ["customer.linked"]

    async def test_an_event_that_is_refused_links_no_customer(self, loop: Loop) -> None:
        """It names a tenant for an unknown customer and shows another tenant's subscription."""
        await loop.arrive(loop.says(ACTIVE))
        stolen = attrs.evolve(PAST_DUE, customer_id=BOB)
        refused, good = loop.says(stolen, at=1, tenant=GLOBEX), loop.says(customer_id=BOB, at=2, tenant=ACME)
        (outcome,) = await loop.arrive(refused)
        assert (outcome.disposition, outcome.reason) == (Disposition.DEAD, "tenant_conflict")
        assert loop.database.tables.customers[BOB].tenant_id is None
        await loop.arrive(good)
        assert loop.database.tables.customers[BOB].tenant_id == ACME

    async def test_an_event_without_a_customer_is_ignored(self, loop: Loop) -> None:
        """There is no tenant to notify."""
        (outcome,) = await loop.arrive(loop.says())
        assert (outcome.disposition, outcome.reason) == (Disposition.IGNORED, "no_customer")

    async def test_tenants_are_numbered_each_on_their_own(self, loop: Loop) -> None:
        """One batch, two tenants, each from 1."""
        other = subscription("sub_2", customer_id=BOB)
        await loop.arrive(
            loop.says(ACTIVE), loop.says(other, tenant=GLOBEX), loop.says(PAST_DUE, at=1), loop.says(PAUSED, at=2)
        )
        assert [(event.tenant_id, event.sequence) for event in loop.messages] == [
            (ACME, 1),
            (GLOBEX, 1),
            (ACME, 2),
            (ACME, 3),
        ]


class TestConcurrency:
    """Batches that overlap."""

    async def test_a_customer_is_read_under_its_tenant_s_lock(self, loop: Loop) -> None:
        """Another batch writes a newer snapshot between our first read and our lock: the older one must not win."""
        await loop.arrive(loop.says(customer(name="first")))
        older = loop.says(customer(name="second"), at=1)
        newer = TenantCustomer(
            customer_id=ALICE,
            tenant_id=ACME,
            snapshot=customer(name="third"),
            provenance=Provenance(observed_at=AT + timedelta(seconds=2), event_ids=(EventId("evt_newer"),)),
        )
        loop.written_to = Overtaken(loop.repository, newer)
        (outcome,) = await loop.arrive(older)
        assert outcome.effect is Effect.STALE


@attrs.frozen
class Overtaken:
    """A repository in which another transaction commits just before our lock on the tenant is granted."""

    repository: MemoryRepository
    written: TenantCustomer

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[BillingTransaction]:
        """A unit of work that is overtaken."""
        async with self.repository.transaction() as transaction:
            yield OvertakenTransaction(transaction, self.written)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.repository, name)


@attrs.frozen
class OvertakenTransaction:
    """The unit of work of an overtaken repository."""

    transaction: MemoryTransaction
    written: TenantCustomer

    async def lock_tenants(self, ids: Collection[TenantId]) -> LockedTenants:
        """Let the other transaction commit first."""
        await self.transaction.save(Changes(customers=[self.written]))
        return await self.transaction.lock_tenants(ids)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transaction, name)


class TestReplay:
    """Events that are processed again."""

    async def test_replaying_what_was_applied_changes_nothing(self, loop: Loop) -> None:
        """Neither the newest event nor a stale one."""
        events = [
            loop.says(ACTIVE),
            loop.says(PAST_DUE, at=1),
            loop.says(PAST_DUE, at=1, notice=Notice.ACTION_REQUIRED),
            loop.says(invoice(), at=1),
            loop.says(customer(name="Alice")),
            loop.says(customer_id=ALICE, at=1, notice=Notice.UPCOMING),
        ]
        await loop.arrive(*events)
        tables = loop.database.tables
        before = [dict(table) for table in (tables.subscriptions, tables.invoices, tables.customers, tables.messages)]
        for event in events:
            (outcome,) = await loop.replay(event)
            assert outcome.sequence is None
        assert [tables.subscriptions, tables.invoices, tables.customers, tables.messages] == before

    @pytest.mark.parametrize("damage", [subscription(status="canceled"), PAST_DUE, subscription(seat_count=99)])
    async def test_a_damaged_row_is_corrected_by_the_event_it_rests_on(
        self, loop: Loop, damage: SubscriptionSnapshot
    ) -> None:
        """The row may say anything, even that the subscription ended; the tenant is notified once."""
        events = [loop.says(PAUSED), loop.says(ACTIVE, at=1)]
        await loop.arrive(*events)
        rows = loop.database.tables.subscriptions
        whole = rows[SubscriptionId("sub_1")]
        rows[SubscriptionId("sub_1")] = attrs.evolve(whole, snapshot=damage)
        await loop.replay(events[0])
        assert await loop.subscription() == damage
        for event in (events[1], events[1], events[0]):
            await loop.replay(event)
        assert rows[SubscriptionId("sub_1")] == whole
        assert len(await loop.notified()) == 3

    async def test_a_damaged_row_of_a_tie_is_corrected_by_any_of_its_events(self, loop: Loop) -> None:
        """All of them are read again."""
        events = [loop.says(PAST_DUE, at=5, before=ACTIVE), loop.says(ACTIVE, at=5, before=PAST_DUE), loop.says(ACTIVE)]
        await loop.arrive(*events)
        rows = loop.database.tables.subscriptions
        whole = rows[SubscriptionId("sub_1")]
        rows[SubscriptionId("sub_1")] = attrs.evolve(whole, snapshot=subscription(status="canceled"))
        await loop.replay(events[0])
        assert rows[SubscriptionId("sub_1")] == whole

    async def test_a_replay_after_the_price_map_changed_publishes_the_difference_once(self, loop: Loop) -> None:
        """The same event, read with the new map."""
        event = loop.says(ACTIVE)
        await loop.arrive(event)
        loop.plans = PlanCatalog((Plan.of_prices("pro", base=["price_pro"]),))
        for _ in range(2):
            await loop.replay(event)
        assert await loop.notified() == ["subscription.created", "subscription.plan_changed"]
        assert (await loop.subscription()).plan_code == "pro"

    async def test_a_subscription_on_a_price_of_no_plan_follows_the_provider(self, loop: Loop) -> None:
        """It is on no plan until its price is mapped; its status is right all the while."""
        loop.plans = PlanCatalog([Plan.of_prices("pro", base=["price_pro"])])
        await loop.arrive(loop.says(ACTIVE))
        moved = loop.says(subscription(status="unpaid", items=(item(price_id="price_new"),)), at=1)
        (outcome,) = await loop.arrive(moved)
        assert outcome.disposition is Disposition.APPLIED
        seen = await loop.subscription()
        assert (seen.status, seen.plan_code, seen.price_id) == ("unpaid", None, "price_new")
        loop.plans = PlanCatalog([Plan.of_prices("max", base=["price_new"])])
        await loop.replay(moved)
        assert (await loop.subscription()).plan_code == "max"

    async def test_a_dead_event_is_not_the_tenants_that_it_merely_names(self, loop: Loop) -> None:
        """Only a link says whose a customer is: this one has none, and shows an object of another tenant."""
        await loop.arrive(loop.says(ACTIVE))
        claiming = loop.says(subscription(customer_id=BOB), at=1, tenant=GLOBEX)
        (outcome,) = await loop.arrive(claiming)
        assert outcome.reason == "tenant_conflict"
        assert loop.attribution(claiming) == (BOB, None)


class TestMessages:
    """The messages to a tenant."""

    async def test_a_notice_is_published_when_nothing_changed(self, loop: Loop) -> None:
        """With the object it is about, as it is stored."""
        trialing = subscription(status="trialing")
        await loop.arrive(loop.says(trialing))
        await loop.arrive(loop.says(trialing, at=1, notice=Notice.TRIAL_ENDING))
        last = (await loop.payloads())[-1]
        assert (last.event_type, last.status) == ("subscription.trial_ending", "trialing")
        assert last.subscription is not None

    @pytest.mark.parametrize("order", list(permutations(range(3))))
    async def test_a_notice_is_published_once_in_every_order_of_arrival(
        self, loop: Loop, order: tuple[int, ...]
    ) -> None:
        """By the first event of its object, beside a change, and by a stale event."""
        trialing = subscription(status="trialing")
        events = [
            loop.says(trialing),
            loop.says(trialing, at=1, notice=Notice.TRIAL_ENDING),
            loop.says(attrs.evolve(trialing, cancel_at_period_end=True), at=2),
        ]
        for index in order:
            await loop.arrive(events[index])
            await loop.replay(events[index])
        assert (await loop.notified()).count("subscription.trial_ending") == 1

    async def test_an_update_is_not_published_beside_a_notice(self, loop: Loop) -> None:
        """It would say only that something changed."""
        await loop.arrive(loop.says(invoice()))
        overdue = invoice(next_payment_attempt_at=AT)
        await loop.arrive(loop.says(overdue, at=1, notice=Notice.OVERDUE))
        assert await loop.notified() == ["invoice.finalized", "invoice.overdue"]

    @pytest.mark.parametrize("settled", [invoice(status="paid"), invoice(status="void"), invoice(amount_remaining=0)])
    async def test_a_notice_about_an_invoice_that_is_settled_is_not_published(
        self, loop: Loop, settled: InvoiceSnapshot
    ) -> None:
        """There is nothing left to pay or to confirm."""
        await loop.arrive(loop.says(settled, at=9))
        for notice in (Notice.OVERDUE, Notice.ACTION_REQUIRED):
            await loop.arrive(loop.says(invoice(), notice=notice))
        assert {"invoice.overdue", "invoice.payment_action_required"}.isdisjoint(await loop.notified())

    async def test_a_notice_about_an_invoice_that_does_not_exist_yet_is_published(self, loop: Loop) -> None:
        """A forecast has no object."""
        await loop.arrive(loop.says(ACTIVE), loop.says(customer_id=ALICE, at=1, notice=Notice.UPCOMING))
        last = (await loop.payloads())[-1]
        assert (last.event_type, last.subscription, last.invoice) == ("invoice.upcoming", None, None)

    async def test_a_notice_that_is_out_of_date_is_not_published(self, loop: Loop) -> None:
        """The trial it warns of is over."""
        await loop.arrive(loop.says(PAST_DUE, at=5))
        await loop.arrive(loop.says(ACTIVE, notice=Notice.TRIAL_ENDING))
        assert await loop.notified() == ["subscription.past_due"]

    async def test_a_message_carries_whole_snapshots_and_the_verdict(self, loop: Loop) -> None:
        """Everything a frontend needs to redraw."""
        await loop.arrive(loop.says(ACTIVE))
        await loop.arrive(loop.says(invoice(number="A-1"), at=1, event_id="evt_in"))
        first, second = await loop.payloads()
        assert (first.tenant_id, first.sequence, first.access.state) == ("acme", 1, "full")
        assert (second.stripe_event_id, second.occurred_at) == ("evt_in", AT + timedelta(seconds=1))
        assert second.invoice is not None
        assert (second.invoice.number, second.status, second.subscription) == ("A-1", "open", None)
        assert (second.access.state, second.access.reason) == ("full", "active")

    async def test_the_verdict_of_a_tenant_that_has_only_ended_subscriptions(self, loop: Loop) -> None:
        """Blocked, with the reason why."""
        await loop.arrive(loop.says(ACTIVE), loop.says(subscription(status="canceled"), at=1))
        access = (await loop.payloads())[-1].access
        assert (access.state, access.reason) == ("blocked", "canceled")
