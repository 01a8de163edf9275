"""Refetches settle ties that events leave open, and complete objects that events show in part."""

import asyncio
import itertools
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, get_args

import attrs
import pytest
from tests.unit.core.conftest import ACME, ALICE, AT, Loop, customer, invoice, item, line, subscription, until

from billing_core.errors import BillingError, GatewayUnavailableError
from billing_core.events import ProviderEvent, Translation
from billing_core.model import (
    UNCERTAIN_KINDS,
    CustomerId,
    CustomerSnapshot,
    EntitlementsSnapshot,
    EventId,
    InvoiceId,
    InvoiceSnapshot,
    Plan,
    PlanCatalog,
    Provenance,
    Snapshot,
    SubscriptionId,
    SubscriptionSnapshot,
    Uncertainty,
)
from billing_core.oversight.monitors import BacklogMonitor
from billing_core.payloads import SourceSection
from billing_core.state.results import RefetchResult
from billing_memory.gateway import MemoryGateway
from billing_memory.stream.outbox import MemoryOutbox

ACTIVE, PAST_DUE, TRIALING = (
    PlanCatalog().read_subscription(subscription(status=status)) for status in ("active", "past_due", "trialing")
)
LINES = tuple(line(f"il_{number:02}", usage_type="metered") for number in range(25))
PART = invoice(lines=LINES[:10], lines_complete=False)
WHOLE = invoice(lines=LINES)


def now(*shown: SubscriptionSnapshot | InvoiceSnapshot | CustomerSnapshot) -> Translation:
    """Build an answer of the provider."""
    return Translation(customer_id=ALICE, snapshots=shown)


@attrs.define
class Patient(MemoryGateway):
    """A gateway that holds its answers until a test releases them."""

    answer: asyncio.Event = attrs.field(factory=asyncio.Event)
    most_at_once: int = 0
    _asking: int = 0

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    async def fetch_subscription(self, subscription_id: SubscriptionId) -> Translation | None:
        """See PaymentGateway."""
        self._asking += 1
        self.most_at_once = max(self.most_at_once, self._asking)
        found = await super().fetch_subscription(subscription_id)
        await self.answer.wait()
        self._asking -= 1
        return found


@pytest.fixture
def gateway(loop: Loop) -> MemoryGateway:
    """The loop's gateway, which knows nothing yet."""
    loop.gateway = MemoryGateway()
    return loop.gateway


@pytest.fixture
def patient(loop: Loop) -> Patient:
    """The loop's gateway, which shows `sub_1` as past due and holds every answer."""
    patient = Patient()
    patient.subscriptions[SubscriptionId("sub_1")] = now(PAST_DUE)
    loop.gateway = patient
    return patient


def contradicting(loop: Loop) -> list[ProviderEvent]:
    """Build two events of one second with different states and no edge between them."""
    return [loop.says(PAST_DUE, at=5, event_id="evt_a"), loop.says(ACTIVE, at=5, event_id="evt_b")]


def marked(loop: Loop, subscription_id: str = "sub_1") -> bool:
    """Tell whether a subscription is marked as ambiguous."""
    return loop.database.tables.subscriptions[SubscriptionId(subscription_id)].provenance.ambiguous


class TestTies:
    """Contradicting snapshots of one second."""

    @pytest.mark.parametrize("truth", [ACTIVE, PAST_DUE, TRIALING])
    async def test_a_tie_ends_in_the_provider_s_answer(
        self, loop: Loop, gateway: MemoryGateway, truth: SubscriptionSnapshot
    ) -> None:
        """The earlier guess does not matter; the mark is removed, and only a difference is published."""
        gateway.subscriptions[SubscriptionId("sub_1")] = now(truth)
        await loop.arrive(*contradicting(loop))
        guessed, notified = await loop.subscription(), await loop.notified()
        assert marked(loop)
        assert await loop.refetch() == ["refetched"]
        assert (await loop.subscription(), marked(loop)) == (truth, False)
        payloads = await loop.payloads()
        assert len(payloads) == len(notified) + (truth != guessed)
        assert [message.sequence for message in loop.messages] == list(range(1, len(payloads) + 1))
        assert payloads[-1].subscription is not None
        assert payloads[-1].subscription.status == truth.status
        if truth != guessed:
            source = SourceSection(kind="refetch", id="sub_1")
            assert (payloads[-1].source, payloads[-1].stripe_event_id) == (source, None)

    async def test_a_refetch_is_reported_with_the_time_that_it_took(
        self, loop: Loop, gateway: MemoryGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The provider's answer and the commit included."""
        seconds = itertools.count(1000, 3)
        monkeypatch.setattr("billing_core.state.refetch.time", SimpleNamespace(monotonic=lambda: next(seconds)))
        uncertainty = Uncertainty(
            kind="subscription", object_id="sub_1", basis=Provenance(observed_at=AT, event_ids=())
        )
        await loop.refetcher().refetch(uncertainty)
        assert [report.seconds for report in loop.refetches] == [3]

    async def test_a_decided_tie_is_not_asked_about(self, loop: Loop, gateway: MemoryGateway) -> None:
        """A tie that the events decide costs no call."""
        await loop.arrive(
            loop.says(PAST_DUE, at=5, before=ACTIVE), loop.says(ACTIVE, at=5, before=PAST_DUE), loop.says(ACTIVE, at=4)
        )
        first = loop.says(subscription("sub_2"), at=5, creation=True)
        await loop.arrive(first, loop.says(subscription("sub_2", "unpaid"), at=5))
        assert "sub_2" not in {uncertainty.object_id for uncertainty in loop.uncertainties}

    async def test_uncertain_objects_are_counted_until_they_are_refetched(
        self, loop: Loop, gateway: MemoryGateway
    ) -> None:
        """By the monitor of what waits, for every kind."""
        gateway.subscriptions[SubscriptionId("sub_1")] = now(TRIALING)
        monitor = BacklogMonitor(
            inbox=loop.inbox,
            outbox=MemoryOutbox(loop.database, loop.clock),
            objects=loop.repository,
            every=timedelta(seconds=5),
            observe=lambda _: None,
        )
        await loop.arrive(*contradicting(loop))
        uncertain = dict.fromkeys(UNCERTAIN_KINDS, 0)
        assert (await monitor.run_once()).uncertain == {**uncertain, "subscription": 1}
        await loop.refetch()
        assert (await monitor.run_once()).uncertain == uncertain

    async def test_later_events_still_win(self, loop: Loop, gateway: MemoryGateway) -> None:
        """The answer is dated back to the tie it settles, not to the fetch."""
        gateway.subscriptions[SubscriptionId("sub_1")] = now(TRIALING)
        await loop.arrive(*contradicting(loop))
        await loop.refetch()
        await loop.arrive(loop.says(PAST_DUE, at=6))
        assert await loop.subscription() == PAST_DUE

    async def test_a_replay_does_not_bring_the_guess_back(self, loop: Loop, gateway: MemoryGateway) -> None:
        """The events of the tie are counted in already and know no better."""
        gateway.subscriptions[SubscriptionId("sub_1")] = now(TRIALING)
        events = contradicting(loop)
        await loop.arrive(*events)
        await loop.refetch()
        notified = await loop.notified()
        for event in events:
            await loop.replay(event)
        assert (await loop.subscription(), marked(loop), loop.uncertainties) == (TRIALING, False, [])
        assert await loop.notified() == notified

    async def test_a_late_member_of_the_tie_is_asked_about_again(self, loop: Loop, gateway: MemoryGateway) -> None:
        """It may be the state that the provider showed."""
        gateway.subscriptions[SubscriptionId("sub_1")] = now(TRIALING)
        await loop.arrive(*contradicting(loop))
        await loop.refetch()
        await loop.arrive(loop.says(PAST_DUE, at=5, event_id="evt_c"))
        assert marked(loop)
        assert await loop.refetch() == ["refetched"]
        assert (await loop.subscription(), marked(loop)) == (TRIALING, False)

    async def test_a_customer_can_be_uncertain_too(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Its mail address is fetched; the tenant is not notified."""
        gateway.customers[ALICE] = now(customer(email="new@example.com"))
        await loop.arrive(loop.says(customer(email="old@example.com")), loop.says(customer(email="new@example.com")))
        notified = await loop.notified()
        assert await loop.refetch() == ["refetched"]
        held = loop.database.tables.customers[CustomerId(ALICE)]
        assert held.snapshot == customer(email="new@example.com")
        assert held.provenance is not None
        assert (held.provenance.ambiguous, await loop.notified()) == (False, notified)


class TestFailures:
    """Uncertainties that cannot be settled now."""

    async def test_an_unavailable_provider_leaves_the_mark(self, loop: Loop, gateway: MemoryGateway) -> None:
        """The state stays the deterministic guess; a sweep finds the mark and settles it once the provider is back."""
        gateway.subscriptions[SubscriptionId("sub_1")] = now(PAST_DUE)
        gateway.fail(GatewayUnavailableError("away"))
        await loop.arrive(*contradicting(loop))
        assert await loop.refetch() == ["unavailable"]
        assert (await loop.subscription(), marked(loop)) == (ACTIVE, True)
        refetcher = loop.refetcher()
        running = asyncio.create_task(refetcher.run())
        await until(lambda: not marked(loop))
        refetcher.stop()
        await running
        assert await loop.subscription() == PAST_DUE

    async def test_an_object_the_provider_does_not_show_stays_marked(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Its absence proves nothing."""
        await loop.arrive(*contradicting(loop))
        assert await loop.refetch() == ["unknown"]
        assert marked(loop)

    async def test_an_answer_about_another_object_is_not_written(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Only the requested object counts."""
        gateway.subscriptions[SubscriptionId("sub_1")] = now(subscription("sub_9"))
        await loop.arrive(*contradicting(loop))
        assert await loop.refetch() == ["unknown"]
        assert SubscriptionId("sub_9") not in loop.database.tables.subscriptions

    async def test_an_ended_subscription_does_not_resume(self, loop: Loop, gateway: MemoryGateway) -> None:
        """An answer from an earlier stage of life is an old one."""
        gateway.subscriptions[SubscriptionId("sub_1")] = now(ACTIVE)
        ends = [subscription(status="canceled", ended_at=AT), subscription(status="canceled")]
        await loop.arrive(*(loop.says(end, at=5) for end in ends))
        assert await loop.refetch() == ["unknown"]
        assert (await loop.subscription()).ended

    async def test_an_answer_with_a_price_of_no_plan_settles_the_object(
        self, loop: Loop, gateway: MemoryGateway
    ) -> None:
        """A price is no reason to keep a status that the provider corrects."""
        gateway.subscriptions[SubscriptionId("sub_1")] = now(PAST_DUE)
        await loop.arrive(*contradicting(loop))
        loop.plans = PlanCatalog([Plan.of_prices("pro", base=["price_other"])])
        assert await loop.refetch() == ["refetched"]
        settled = await loop.subscription()
        assert (settled.status, settled.plan_code) == ("past_due", None)
        assert not marked(loop)

    async def test_a_bug_ends_neither_the_refetcher_nor_the_next_object(
        self, loop: Loop, gateway: MemoryGateway
    ) -> None:
        """It is reported with its text, and the other objects are settled."""

        class Broken(MemoryGateway):
            async def fetch_subscription(self, subscription_id: SubscriptionId) -> Translation | None:
                raise ZeroDivisionError("oops") if subscription_id == "sub_1" else BillingError("also")

        loop.gateway = Broken()
        loop.gateway.invoices[InvoiceId("in_1")] = now(WHOLE)
        await loop.arrive(*contradicting(loop), loop.says(PART))
        assert await loop.refetch() == ["bug", "refetched"]
        assert loop.refetches[0].error == "ZeroDivisionError: oops"


class TestKinds:
    """Every kind of object that can be fetched again."""

    SHOWN = (subscription(), invoice(), customer(), EntitlementsSnapshot(customer_id=ALICE, features=()))

    def test_no_refetchable_kind_is_missing_here(self) -> None:
        """A new kind has to be added to the fetches, to the reads and here."""
        kinds = {kind.kind for kind in get_args(Snapshot) if kind.refetchable}
        assert {seen.kind for seen in self.SHOWN} == kinds == set(UNCERTAIN_KINDS)

    @pytest.mark.parametrize("seen", SHOWN, ids=lambda seen: seen.kind)
    async def test_it_is_fetched_and_then_read(self, loop: Loop, gateway: MemoryGateway, seen: Snapshot) -> None:
        """An object that the provider or the store does not have is no bug."""
        basis = Provenance(observed_at=AT, event_ids=(EventId("evt_1"),), ambiguous=True)
        uncertainty = Uncertainty(kind=seen.kind, object_id=seen.object_id, basis=basis)
        loop.uncertainties.append(uncertainty)
        assert await loop.refetch() == ["unknown"]
        answer = Translation(customer_id=ALICE, snapshots=(seen,))
        assert (await loop.service().apply_refetch(uncertainty, answer)).result is RefetchResult.OVERTAKEN


class TestGrace:
    """A subscription is in grace, and no invoice says since when."""

    async def test_the_provider_is_asked_once(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Its answer replaces the status if that has changed again; if not, grace has no end until an invoice says."""
        await loop.arrive(loop.says(PAST_DUE))
        gateway.subscriptions[SubscriptionId("sub_1")] = now(PAST_DUE)
        assert await loop.refetch() == ["refetched"]
        assert loop.uncertainties == []
        await loop.arrive(loop.says(attrs.evolve(PAST_DUE, cancel_at_period_end=True), at=1))
        gateway.subscriptions[SubscriptionId("sub_1")] = now(ACTIVE)
        assert await loop.refetch() == ["refetched"]
        assert (await loop.subscription()).status == "active"
        assert (await loop.payloads())[-1].access.reason == "active"

    @pytest.mark.parametrize("known", [{"due_at": AT}, {"payment_failed": True}], ids=["due date", "failure"])
    async def test_an_invoice_that_says_since_when_is_enough(
        self, loop: Loop, gateway: MemoryGateway, known: dict[str, Any]
    ) -> None:
        """Whether it arrives before the subscription's event or in one batch with it."""
        due_at = known.pop("due_at", None)
        bill = loop.says(invoice(due_at=due_at), at=1, **known)
        await loop.arrive(loop.says(PAST_DUE), bill)
        assert loop.uncertainties == []
        await loop.arrive(loop.says(attrs.evolve(PAST_DUE, cancel_at_period_end=True), at=2))
        assert loop.uncertainties == []

    async def test_an_answer_about_an_older_state_changes_nothing(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Another event arrived during the fetch."""
        await loop.arrive(loop.says(PAST_DUE))
        (uncertainty,) = loop.uncertainties
        await loop.arrive(loop.says(attrs.evolve(PAST_DUE, cancel_at_period_end=True), at=1))
        answer = Translation(customer_id=ALICE, snapshots=(ACTIVE,))
        assert (await loop.service().apply_refetch(uncertainty, answer)).result is RefetchResult.OVERTAKEN

    async def test_access_without_grace_asks_for_nothing(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Only a status that gives grace depends on when money was missed."""
        await loop.arrive(loop.says(attrs.evolve(PAST_DUE, status="unpaid")))
        assert loop.uncertainties == []


class TestSubscriptions:
    """Events show the first ten items."""

    WHOLE = subscription(items=(item("si_1", "price_addon", quantity=1), item("si_2", quantity=3)))
    PART = subscription(items=(item("si_1", "price_addon", quantity=2),), items_complete=False)

    async def test_all_items_are_fetched(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Until then no plan is guessed from the items that are shown."""
        loop.plans = PlanCatalog([Plan.of_prices("pro", base=["price_pro"])])
        await loop.arrive(loop.says(self.PART))
        assert (await loop.subscription()).plan_code is None
        gateway.subscriptions[SubscriptionId("sub_1")] = now(self.WHOLE)
        assert await loop.refetch() == ["refetched"]
        assert (await loop.subscription()).plan_code == "pro"
        assert (await loop.subscription()).items == self.WHOLE.items
        assert loop.uncertainties == []

    async def test_known_items_and_their_plan_stay_until_the_answer(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Otherwise each event of a long subscription would end its plan and begin it again."""
        await loop.arrive(loop.says(self.WHOLE), loop.says(self.PART, at=1))
        seen = await loop.subscription()
        assert [(each.item_id, each.quantity) for each in seen.items] == [("si_1", 2), ("si_2", 3)]
        assert (seen.plan_code, seen.price_id, seen.items_complete) == ("price_addon", "price_addon", False)
        assert await loop.notified() == ["subscription.created", "subscription.updated"]
        removed = attrs.evolve(self.WHOLE, items=(item("si_1", "price_addon", quantity=2),))
        gateway.subscriptions[SubscriptionId("sub_1")] = now(removed)
        assert await loop.refetch() == ["refetched"]
        assert (await loop.subscription()).items == removed.items

    async def test_an_ended_subscription_is_not_asked_about(self, loop: Loop) -> None:
        """Its items grant and bill nothing any more."""
        await loop.arrive(loop.says(attrs.evolve(self.PART, status="canceled")))
        assert loop.uncertainties == []


class TestInvoices:
    """Invoices with more lines than an event shows."""

    async def test_all_lines_and_their_usage_are_fetched(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Until then the lines shown count, and the invoice is marked."""
        gateway.invoices[InvoiceId("in_1")] = now(WHOLE)
        await loop.arrive(loop.says(subscription()), loop.says(PART))
        assert (len(await loop.usage()), (await loop.invoice()).lines_complete) == (10, False)
        assert await loop.refetch() == ["refetched"]
        assert await loop.invoice() == WHOLE
        assert len(await loop.usage()) == 25
        assert len((await loop.payloads())[-1].usage) == 25

    async def test_lines_of_a_final_invoice_are_fetched_once(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Later events show the same part of the same list: nothing is lost or fetched again."""
        gateway.invoices[InvoiceId("in_1")] = now(WHOLE)
        await loop.arrive(loop.says(PART))
        await loop.refetch()
        paid: dict[str, Any] = {"status": "paid", "lines": LINES[:10], "lines_complete": False}
        await loop.arrive(loop.says(invoice(**paid), at=5), loop.says(invoice(**paid), at=5))
        assert await loop.invoice() == invoice(status="paid", lines=LINES)
        assert (len(await loop.usage()), loop.uncertainties, gateway.asked) == (25, [], ["in_1"])

    async def test_lines_of_a_draft_are_fetched_again(self, loop: Loop, gateway: MemoryGateway) -> None:
        """They still come and go."""
        draft: dict[str, Any] = {"status": "draft"}
        gateway.invoices[InvoiceId("in_1")] = now(invoice(lines=LINES, **draft))
        await loop.arrive(loop.says(invoice(lines=LINES[:10], lines_complete=False, **draft)))
        await loop.refetch()
        gateway.invoices[InvoiceId("in_1")] = now(invoice(lines=LINES[:20]))
        await loop.arrive(loop.says(PART, at=5))
        assert not (await loop.invoice()).lines_complete
        await loop.refetch()
        assert await loop.invoice() == invoice(lines=LINES[:20])

    async def test_a_partial_answer_leaves_the_mark(self, loop: Loop, gateway: MemoryGateway) -> None:
        """The lines that it adds count all the same."""
        gateway.invoices[InvoiceId("in_1")] = now(invoice(lines=LINES[:20], lines_complete=False))
        await loop.arrive(loop.says(PART))
        assert await loop.refetch() == ["incomplete"]
        assert len((await loop.invoice()).lines) == 20
        (uncertainty,) = await loop.repository.uncertain(after="", limit=10)
        assert uncertainty.object_id == "in_1"

    async def test_a_deleted_draft_is_not_asked_about(self, loop: Loop, gateway: MemoryGateway) -> None:
        """There is nothing left to fetch."""
        await loop.arrive(loop.says(invoice(status="deleted", lines=LINES[:10], lines_complete=False)))
        assert (loop.uncertainties, await loop.repository.uncertain(after="", limit=10)) == ([], [])


class TestConcurrency:
    """Fetching happens beside everything else."""

    async def test_no_transaction_is_open_during_a_fetch(self, loop: Loop, patient: Patient) -> None:
        """Events of the same tenant are applied meanwhile, and an old answer does not overwrite their changes."""
        await loop.arrive(*contradicting(loop))
        refetch = asyncio.create_task(loop.refetch())
        await until(lambda: patient.asked == ["sub_1"])
        await loop.arrive(loop.says(TRIALING, at=6))
        assert await loop.subscription() == TRIALING
        patient.answer.set()
        assert await refetch == ["overtaken"]
        assert await loop.subscription() == TRIALING

    async def test_one_object_is_fetched_once_at_a_time(self, loop: Loop, patient: Patient) -> None:
        """Uncertainties of an object that is being fetched wait, and only the latest of them is settled."""
        events = contradicting(loop)
        await loop.arrive(*events)
        (uncertainty,) = loop.uncertainties[-1:]
        refetcher = loop.refetcher(concurrency=3, sweep_every=timedelta(hours=1))
        refetcher.offer([uncertainty] * 5)
        running = asyncio.create_task(refetcher.run())
        await until(lambda: patient.asked == ["sub_1"])
        late = attrs.evolve(
            uncertainty, basis=Provenance(observed_at=AT, event_ids=uncertainty.basis.event_ids, ambiguous=True)
        )
        for _ in range(5):
            refetcher.offer([late, uncertainty])
            await asyncio.sleep(0)
        patient.answer.set()
        await until(lambda: len(loop.refetches) == 2)
        refetcher.stop()
        await running
        assert (patient.asked, patient.most_at_once) == (["sub_1", "sub_1"], 1)
        assert [report.result for report in loop.refetches] == ["refetched", "overtaken"]

    async def test_different_objects_are_fetched_side_by_side(self, loop: Loop, patient: Patient) -> None:
        """As many at a time as the policy says, and no more."""
        basis = Provenance(observed_at=AT, event_ids=(), ambiguous=True)
        refetcher = loop.refetcher(concurrency=3, sweep_every=timedelta(hours=1))
        refetcher.offer(Uncertainty(kind="subscription", object_id=f"sub_{number}", basis=basis) for number in range(9))
        running = asyncio.create_task(refetcher.run())
        await until(lambda: len(patient.asked) == 3)
        patient.answer.set()
        await until(lambda: len(loop.refetches) == 9)
        refetcher.stop()
        await running
        assert patient.most_at_once == 3

    async def test_sweeps_start_over_at_the_end(self, loop: Loop, gateway: MemoryGateway) -> None:
        """Each continues behind the last one, so that marks which stay delay no others."""
        events = [
            loop.says(subscription(f"sub_{number}", status), at=5, tenant=ACME)
            for number in range(5)
            for status in ("active", "past_due")
        ]
        await loop.arrive(*events)
        refetcher = loop.refetcher(concurrency=1, sweep_limit=3, sweep_every=timedelta(milliseconds=1))
        running = asyncio.create_task(refetcher.run())
        await until(lambda: len(gateway.asked) >= 7)
        refetcher.stop()
        await running
        assert gateway.asked[:7] == [f"sub_{number}" for number in (0, 1, 2, 3, 4, 0, 1)]

    async def test_so_many_objects_wait_at_a_time(self, loop: Loop, gateway: MemoryGateway) -> None:
        """The others keep their marks, which a sweep finds; of one that waits already the later state counts."""
        refetcher = loop.refetcher(waiting_limit=2, sweep_every=timedelta(hours=1))
        old, new = (
            Provenance(observed_at=AT + timedelta(seconds=second), event_ids=(), ambiguous=True) for second in (0, 1)
        )
        named = [Uncertainty(kind="subscription", object_id=f"sub_{number}", basis=old) for number in range(4)]
        refetcher.offer(named[:3])
        refetcher.offer([named[3], attrs.evolve(named[0], basis=new)])
        running = asyncio.create_task(refetcher.run())
        await until(lambda: len(loop.refetches) == 2)
        refetcher.stop()
        await running
        assert sorted(gateway.asked) == ["sub_0", "sub_1"]
        assert {report.uncertainty.object_id: report.uncertainty.basis for report in loop.refetches} == {
            "sub_0": new,
            "sub_1": old,
        }


class TestOccasions:
    """Occasions are announced once, also where an answer shows them again, or shows what makes them one."""

    BEGAN = AT - timedelta(days=31)

    async def test_a_renewal_by_mail_is_not_announced_again(self, loop: Loop, gateway: MemoryGateway) -> None:
        """The answer shows the same period as the event did."""
        mailed = subscription(collection_method="send_invoice")
        events = [attrs.evolve(mailed, cancel_at_period_end=ends) for ends in (False, True)]
        for number, seen in enumerate(events):
            await loop.arrive(loop.says(seen, began_at=self.BEGAN, event_id=f"evt_{number}"))
        gateway.subscriptions[mailed.subscription_id] = attrs.evolve(now(mailed), began_at=self.BEGAN)
        assert await loop.refetch() == ["refetched"]
        assert (await loop.notified()).count("subscription.renewed") == 1

    @pytest.mark.parametrize("known", [True, False], ids=["item was known", "item was left out"])
    async def test_a_paid_renewal_is_announced_once(self, loop: Loop, gateway: MemoryGateway, known: bool) -> None:
        """By its invoice if the item that it bills was known by then, else by the answer that shows the item."""
        loop.plans = PlanCatalog((Plan.of_prices("pro", base=["price_pro"], metered={"calls": ["price_calls"]}),))
        base, calls = item(quantity=1), item("si_calls", "price_calls", usage_type="metered")
        part = subscription(items=(base,) if known else (calls,), items_complete=False)
        paid = invoice(status="paid", amount_paid=1900, lines=(line(price_id="price_pro"),))
        await loop.arrive(loop.says(part), loop.says(paid, at=1))
        assert (await loop.notified()).count("subscription.renewed") == known
        gateway.subscriptions[part.subscription_id] = now(subscription(items=(base, calls)))
        assert await loop.refetch() == ["refetched"]
        assert (await loop.notified()).count("subscription.renewed") == 1
