"""The contract of TenantTimeline."""

from collections.abc import Sequence
from datetime import timedelta

import attrs

from billing_core.events import Disposition, Effect
from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.model import Attention, CustomerId, EntitlementsSnapshot, EventId, TenantId, TenantRecord
from billing_core.oversight.explain import TenantHistory
from billing_core.oversight.ports import InboxUpkeep, TenantTimeline
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.arrange import applied, claimed, parked, save, settle
from billing_core.testing.builders import (
    ACME,
    AT,
    GLOBEX,
    customer,
    invoice,
    message,
    provenance,
    provider_event,
    subscription,
)
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG

ALICE, BOB = CustomerId("cus_alice"), CustomerId("cus_bob")


class TenantTimelineContract(Suite):
    """The events, decisions and messages of one tenant, and of no other.

    A binding provides `timeline`, and `inbox`, `queue`, `inbox_upkeep` and `unit_of_work` on the same data, all empty.
    """

    async def test_an_unknown_tenant_has_no_history(self, timeline: TenantTimeline) -> None:
        """Any name can be asked for."""
        for name in ("acme", "", "'; DROP TABLE billing_tenants --", "\x00\ud800"):
            assert await timeline.history(TenantId(name), since=None, until=None, limit=10) is None

    async def test_a_tenants_events_come_in_the_order_they_were_received(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, timeline: TenantTimeline
    ) -> None:
        """With the state, the customers and the failed attempts, and none of another tenant's."""
        await save(unit_of_work, Changes(customers=[customer(ALICE, ACME)], subscriptions=[subscription()]))
        await save(unit_of_work, Changes(), tenants=[GLOBEX])
        await _apply(inbox, unit_of_work, "evt_1")
        await _apply(inbox, unit_of_work, "evt_2", tenant_id=GLOBEX)
        failing = await claimed(inbox, provider_event("evt_3", received_at=AT))
        await queue.retry(failing, after=timedelta(0), reason="transient", error="boom")
        (again,) = await queue.claim(limit=1, lease=LONG)
        await settle(unit_of_work, applied(again, effect=Effect.CONFIRMED, sequence=None))
        theirs = await claimed(inbox, provider_event("evt_4", received_at=AT))
        await queue.bury(theirs, reason="bug", error="boom", customer_id=BOB)
        history = await _history(timeline)
        assert _ids(history) == ["evt_1", "evt_3"]
        assert [each.customer_id for each in history.customers] == [ALICE]
        assert [each.snapshot.subscription_id for each in history.state.subscriptions] == ["sub_1"]
        assert {number: [each.reason for each in failed] for number, failed in history.attempts.items()} == {
            history.events[1].dispatch_id: ["transient"]
        }

    async def test_events_that_wait_for_a_customer_of_the_tenant_are_its_own(
        self, inbox: EventInbox, unit_of_work: UnitOfWork, timeline: TenantTimeline
    ) -> None:
        """Events of a customer without a tenant belong to none."""
        await settle(unit_of_work, parked(await claimed(inbox, provider_event("evt_1")), CustomerId("cus_unlinked")))
        await save(unit_of_work, Changes())
        assert _ids(await _history(timeline)) == []
        await settle(unit_of_work, parked(await claimed(inbox, provider_event("evt_2", received_at=AT)), ALICE))
        await save(unit_of_work, Changes(customers=[customer(ALICE, ACME)]))
        found = await _history(timeline)
        assert [(str(each.key.event_id), each.status) for each in found.events] in (
            [("evt_2", Disposition.PARKED)],
            [],  # the link made it due, and it has not been processed yet
        )

    async def test_events_that_died_are_their_customers_tenants(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, timeline: TenantTimeline
    ) -> None:
        """Also those that died before the customer was linked; those of another tenant's customer are not shown."""
        await save(unit_of_work, Changes(customers=[customer(BOB, GLOBEX)]), tenants=[ACME, GLOBEX])
        for number, customer_id in enumerate((ALICE, BOB, CustomerId("cus_unlinked"), None), start=1):
            claim = await claimed(inbox, provider_event(f"evt_{number}", received_at=AT))
            await queue.bury(claim, reason="transient", error="boom", customer_id=customer_id)
        assert _ids(await _history(timeline)) == []
        await save(unit_of_work, Changes(customers=[customer(ALICE, ACME)]))
        claim = await claimed(inbox, provider_event("evt_5", received_at=AT))
        await queue.bury(claim, reason="transient", error="boom", customer_id=ALICE)
        assert _ids(await _history(timeline)) == ["evt_1", "evt_5"]
        assert _ids(await _history(timeline, since=1)) == []

    async def test_the_latest_events_of_a_span_are_shown(
        self, inbox: EventInbox, unit_of_work: UnitOfWork, timeline: TenantTimeline
    ) -> None:
        """And whether there are earlier ones."""
        await save(unit_of_work, Changes())
        for number in range(5):
            await _apply(inbox, unit_of_work, f"evt_{number}", received=number)
        latest = await _history(timeline, limit=2)
        assert (_ids(latest), latest.cut) == (["evt_3", "evt_4"], True)
        between = await _history(timeline, since=1, until=4)
        assert (_ids(between), between.cut) == (["evt_1", "evt_2", "evt_3"], False)

    async def test_an_event_whose_body_was_deleted_is_shown(
        self, inbox: EventInbox, unit_of_work: UnitOfWork, timeline: TenantTimeline, inbox_upkeep: InboxUpkeep
    ) -> None:
        """As one that cannot be replayed."""
        await save(unit_of_work, Changes())
        await _apply(inbox, unit_of_work, "evt_1")
        assert [each.body_kept for each in (await _history(timeline)).events] == [True]
        assert (await inbox_upkeep.prune(older_than=timedelta(0), after=0, limit=10)).bodies == 1
        await _apply(inbox, unit_of_work, "evt_2")
        assert [each.body_kept for each in (await _history(timeline)).events] == [False, True]

    async def test_a_tenants_dead_events_and_uncertain_objects_need_attention(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, timeline: TenantTimeline
    ) -> None:
        """Whenever they were received, also those that died before the link; never those of another tenant."""
        unsure = provenance("evt_1", "evt_2", ambiguous=True)
        features = EntitlementsSnapshot(customer_id=ALICE, features=("api",))
        part = attrs.evolve(features, customer_id=CustomerId("cus_part"), complete=False)
        whole, theirs = attrs.evolve(features, customer_id=CustomerId("cus_whole")), attrs.evolve(part, customer_id=BOB)
        for event_id, customer_id in (("evt_0", ALICE), ("evt_00", BOB), ("evt_000", BOB)):
            early = await claimed(inbox, provider_event(event_id, received_at=AT))
            await queue.bury(early, reason="bug", error="boom", customer_id=customer_id)
        changes = Changes(
            customers=[
                customer(ALICE, ACME, email="a@example.com", provenance=unsure),
                customer(BOB, GLOBEX, provenance=unsure),
                customer(CustomerId("cus_sure"), ACME),
            ],
            subscriptions=[subscription("sub_1", basis=unsure), subscription("sub_2", GLOBEX, basis=unsure)],
            invoices=[
                invoice("in_1", lines_complete=False),
                invoice("in_2", GLOBEX, lines_complete=False),
                invoice("in_3"),
                invoice("in_4", status="deleted", lines_complete=False),
                invoice("in_5", basis=unsure),
            ],
            records=[
                TenantRecord(tenant_id=ACME, snapshot=features, provenance=unsure),
                TenantRecord(tenant_id=ACME, snapshot=part, provenance=provenance()),
                TenantRecord(tenant_id=ACME, snapshot=whole, provenance=provenance()),
                TenantRecord(tenant_id=GLOBEX, snapshot=theirs, provenance=unsure),
            ],
        )
        await save(unit_of_work, changes, tenants=[ACME, GLOBEX])
        for number, named in enumerate((ALICE, BOB, BOB, None), start=1):
            claim = await claimed(inbox, provider_event(f"evt_{number}", received_at=AT))
            await queue.bury(claim, reason="transient", error="boom", customer_id=named)
        attention = await timeline.attention(ACME)
        assert (attention.dead_events, attention.needed) == (2, True)
        assert _ids(await _history(timeline)) == ["evt_0", "evt_1"]
        assert [(each.kind, each.object_id, each.complete, each.basis.ambiguous) for each in attention.uncertain] == [
            ("customer", ALICE, True, True),
            ("entitlements", f"entitlements:{ALICE}", True, True),
            ("entitlements", "entitlements:cus_part", False, False),
            ("invoice", "in_1", False, False),
            ("invoice", "in_5", True, True),
            ("subscription", "sub_1", True, True),
        ]
        assert (await _history(timeline, since=5)).attention == attention

    async def test_nothing_needs_attention_of_a_tenant_without_dead_events(
        self, unit_of_work: UnitOfWork, timeline: TenantTimeline
    ) -> None:
        """Nor of an unknown one, whatever its name."""
        await save(unit_of_work, Changes(subscriptions=[subscription()]))
        for name in (ACME, TenantId("unknown"), TenantId("\x00\ud800")):
            attention = await timeline.attention(name)
            assert (attention, attention.needed) == (Attention(), False)

    async def test_messages_come_with_those_before_them(
        self, inbox: EventInbox, unit_of_work: UnitOfWork, timeline: TenantTimeline
    ) -> None:
        """Up to the last one that an event of the history caused, where the span ends; else up to the tenant's last."""
        given = [message(ACME, number) for number in range(1, 8)]
        await save(unit_of_work, Changes(events=[*given, message(ACME, 8, event_id=None)]))
        await _apply(inbox, unit_of_work, "evt_4")
        await _apply(inbox, unit_of_work, "evt_6")
        ended = (await _history(timeline, until=1)).messages
        assert ([each.sequence for each in ended], ended[-1].event_id) == ([1, 2, 3, 4, 5, 6], EventId("evt_6"))
        current = (await _history(timeline)).messages
        assert ([each.sequence for each in current], current[-1].event_id) == ([1, 2, 3, 4, 5, 6, 7, 8], None)

    async def test_messages_without_events_are_a_history(
        self, unit_of_work: UnitOfWork, timeline: TenantTimeline
    ) -> None:
        """The clock alone caused them."""
        await save(unit_of_work, Changes(events=[message(ACME, 1, event_id=None)]))
        assert [each.sequence for each in (await _history(timeline)).messages] == [1]
        assert (await _history(timeline, until=1)).messages == []


async def _history(
    timeline: TenantTimeline, *, limit: int = 10, since: int | None = None, until: int | None = None
) -> TenantHistory:
    """Return the history of acme between so many minutes after the beginning."""
    history = await timeline.history(
        ACME,
        since=None if since is None else AT + timedelta(minutes=since),
        until=None if until is None else AT + timedelta(minutes=until),
        limit=limit,
    )
    assert history is not None
    return history


def _ids(history: TenantHistory) -> Sequence[str]:
    return [event.key.event_id for event in history.events]


async def _apply(
    inbox: EventInbox, unit_of_work: UnitOfWork, event_id: str, *, tenant_id: TenantId = ACME, received: int = 0
) -> None:
    """Store an event that was received so many minutes after the beginning, and apply it."""
    claim = await claimed(inbox, provider_event(event_id, received_at=AT + timedelta(minutes=received)))
    await settle(unit_of_work, applied(claim, effect=Effect.CONFIRMED, tenant_id=tenant_id, sequence=None))
