"""What operators must be able to see and do. Bind it by subclassing `EventLogContract`; see its fixtures."""

import asyncio
from datetime import timedelta
from typing import Protocol

import pytest

from billing_core.events import BillingEvent, Claim, Disposition, Effect, Outcome, ProviderEvent
from billing_core.inbox.selection import EventFilter
from billing_core.model import CustomerId, EventId, TenantId
from billing_core.oversight.inspection import StoredEvent
from billing_core.oversight.ports import AuditLog, EventLog, InboxUpkeep
from billing_core.state.ports import Changes
from billing_core.testing.builders import ACME, AT, GLOBEX, customer, message, provider_event
from billing_core.testing.store import LEASE, LONG, Elapse
from billing_core.testing.stores import Inbox, Repository

ALICE, BOB = CustomerId("cus_alice"), CustomerId("cus_bob")
HOSTILE = "%_\\' OR 1=1; -- \ud800\x00"


class Store(Inbox, InboxUpkeep, Protocol):
    """The inbox with what operators do to it."""


class Log(EventLog, AuditLog, Protocol):
    """The inbox as they see it, with what they did."""


class EventLogContract:
    """Found by everything an operator knows of an event; ended, replayed and pruned without a trace being lost.

    A binding gives four fixtures on the same data, empty at first: `store`, `log`, `repository` and `elapse`, which
    lets a span of the store's time pass.
    """

    # --- finding ------------------------------------------------------------------------------------------------

    async def test_an_event_is_shown_as_it_was_received_and_stands(self, store: Store, log: Log) -> None:
        """The whole envelope, without the body."""
        sent = provider_event("evt_1", account="acct_1", livemode=True, secret_slot=2, api_version=None)
        await store.record(sent)
        (found,) = await log.find(EventFilter(), before=None, limit=10)
        assert (found.key, found.type, found.api_version) == (sent.key, sent.type, None)
        assert (found.created_at, found.received_at, found.secret_slot) == (sent.created_at, sent.received_at, 2)
        assert (found.status, found.attempt, found.reason, found.body_kept) == (Disposition.DUE, 0, None, True)
        assert await log.body(found.dispatch_id) == sent.body

    async def test_the_latest_come_first_and_pages_follow_each_other(self, store: Store, log: Log) -> None:
        """By the number of the last event of a page."""
        for number in range(5):
            await store.record(provider_event(f"evt_{number}"))
        first = await log.find(EventFilter(), before=None, limit=2)
        rest = await log.find(EventFilter(), before=first[-1].dispatch_id, limit=10)
        assert [found.key.event_id for found in [*first, *rest]] == ["evt_4", "evt_3", "evt_2", "evt_1", "evt_0"]

    async def test_the_selection_is_in_the_order_things_happened(self, store: Store, log: Log) -> None:
        """The provider's clock decides, not the arrival."""
        for number in (2, 0, 1):
            await store.record(provider_event(f"evt_{number}", created_at=AT + timedelta(seconds=number)))
        shown = {found.dispatch_id: found.key.event_id for found in await log.find(EventFilter(), before=None, limit=9)}
        assert [shown[number] for number in await log.select(EventFilter())] == ["evt_0", "evt_1", "evt_2"]
        assert len(await log.select(EventFilter(), limit=2)) == 2

    @pytest.mark.parametrize(
        ("glob", "types"),
        [
            ("invoice.*", {"invoice.paid", "invoice.created"}),
            ("*.paid", {"invoice.paid"}),
            ("invoice.p??d", {"invoice.paid"}),
            ("invoice_paid", set()),
            ("invoice%", set()),
            ("%", set()),
            ("[i]*", set()),
            ("*", {"invoice.paid", "invoice.created", "charge.refunded"}),
            ("*" + HOSTILE, set()),
        ],
    )
    async def test_types_are_found_by_globs(self, store: Store, log: Log, glob: str, types: set[str]) -> None:
        """Nothing but `*` and `?` has a meaning."""
        for number, event_type in enumerate(["invoice.paid", "invoice.created", "charge.refunded"]):
            await store.record(provider_event(f"evt_{number}", type=event_type))
        found = await log.find(EventFilter(types=(glob,)), before=None, limit=10)
        assert {each.type for each in found} == types

    async def test_conditions_hold_together(self, store: Store, log: Log, repository: Repository) -> None:
        """Each one alone finds its events, two of them only what both mean, and hostile ones nothing."""
        await _link(repository, ALICE, ACME)
        await _link(repository, BOB, GLOBEX)
        await _settle(store, repository, provider_event("evt_1", type="a"), Disposition.APPLIED, whose=(ALICE, ACME))
        await _settle(store, repository, provider_event("evt_2", type="b"), Disposition.APPLIED, whose=(BOB, GLOBEX))
        dead = await _claimed(store, provider_event("evt_3", type="a", received_at=AT + timedelta(days=2)))
        await store.bury(dead, reason="bug", error="boom")
        expected = {
            EventFilter(ids=(EventId("evt_2"), EventId("evt_3"))): {"evt_2", "evt_3"},
            EventFilter(tenant_id=ACME): {"evt_1"},
            EventFilter(customer_id=BOB): {"evt_2"},
            EventFilter(statuses=(Disposition.DEAD, Disposition.DUE)): {"evt_3"},
            EventFilter(reasons=("bug", "transient")): {"evt_3"},
            EventFilter(since=AT + timedelta(days=1)): {"evt_3"},
            EventFilter(until=AT + timedelta(days=1)): {"evt_1", "evt_2"},
            EventFilter(types=("a",), statuses=(Disposition.APPLIED,)): {"evt_1"},
            EventFilter(tenant_id=ACME, customer_id=BOB): set(),
            EventFilter(ids=(EventId(HOSTILE),)): set(),
            EventFilter(tenant_id=TenantId(HOSTILE), customer_id=CustomerId(HOSTILE), reasons=(HOSTILE,)): set(),
        }
        for wanted, ids in expected.items():
            found = await log.find(wanted, before=None, limit=10)
            assert {each.key.event_id for each in found} == ids, wanted
            assert set(await log.select(wanted)) == {each.dispatch_id for each in found}

    async def test_a_parked_event_is_found_by_the_customer_it_waits_for(
        self, store: Store, log: Log, repository: Repository
    ) -> None:
        """Although that has no tenant yet."""
        await _settle(store, repository, provider_event("evt_1"), Disposition.PARKED, whose=(ALICE, None))
        (found,) = await log.find(EventFilter(customer_id=ALICE), before=None, limit=10)
        assert (found.status, found.parked_on) == (Disposition.PARKED, ALICE)

    # --- the trace ----------------------------------------------------------------------------------------------

    async def test_failed_attempts_are_kept(self, store: Store, log: Log) -> None:
        """Each with its number and error; one that succeeds leaves none."""
        claim = await _claimed(store, provider_event("evt_1"))
        await store.retry(claim, after=timedelta(0), reason="transient", error="first\x00")
        (claim,) = await store.claim(limit=1, lease=LONG)
        await store.bury(claim, reason="bug", error="second")
        attempts = await log.attempts(claim.dispatch_id)
        assert [(each.attempt, each.reason) for each in attempts] == [(1, "transient"), (2, "bug")]
        assert [(each.error or "")[:5] for each in attempts] == ["first", "secon"]

    async def test_an_event_that_is_settled_as_dead_failed(
        self, store: Store, log: Log, repository: Repository
    ) -> None:
        """What it contradicts is found out inside the unit of work."""
        claim = await _settle(store, repository, provider_event("evt_1"), Disposition.DEAD, whose=(ALICE, ACME))
        assert [each.reason for each in await log.attempts(claim.dispatch_id)] == ["tenant_conflict"]

    async def test_duplicates_are_counted(self, store: Store, log: Log) -> None:
        """How often, and when the last one came."""
        for _ in range(3):
            await store.record(provider_event("evt_1"))
        await store.record(provider_event("evt_2"))
        counts = {str(found.key.event_id): found for found in await _all(log)}
        async with asyncio.timeout(20):
            while counts["evt_1"].duplicates < 2:  # noted after the answer
                await asyncio.sleep(0.01)
                counts = {str(found.key.event_id): found for found in await _all(log)}
        assert (counts["evt_1"].duplicates, counts["evt_2"].duplicates) == (2, 0)
        assert counts["evt_1"].last_duplicate_at is not None
        assert counts["evt_2"].last_duplicate_at is None

    async def test_what_an_event_caused_is_found(self, log: Log, repository: Repository) -> None:
        """Every tenant's messages that rest on it."""
        notified: BillingEvent = message(ACME, 1, event_id=EventId("evt_1"))
        async with repository.transaction() as transaction:
            await transaction.lock_tenants([notified.tenant_id])
            await transaction.save(Changes(events=[notified]))
        assert await log.messages(EventId("evt_1")) == [notified]
        assert await log.messages(EventId(HOSTILE.strip("\x00\ud800"))) == []

    # --- maintenance --------------------------------------------------------------------------------------------

    async def test_any_event_at_rest_can_be_claimed_again(self, store: Store, log: Log, repository: Repository) -> None:
        """With fresh attempts and a fence of its own, in the order things happened."""
        applied = await _settle(
            store,
            repository,
            provider_event("evt_1", created_at=AT + timedelta(1)),
            Disposition.APPLIED,
            whose=(ALICE, ACME),
        )
        dead = await _claimed(store, provider_event("evt_2"))
        await store.bury(dead, reason="bug", error="boom")
        unclaimed = await store.read([applied.dispatch_id, dead.dispatch_id, 10**9])
        assert [(each.dispatch_id, each.attempt, each.applied) for each in unclaimed] == [
            (dead.dispatch_id, 1, False),
            (applied.dispatch_id, 1, True),
        ]
        claims = await store.reclaim([applied.dispatch_id, dead.dispatch_id, 10**9], lease=LONG)
        assert [(claim.dispatch_id, claim.attempt, claim.tries, claim.applied) for claim in claims] == [
            (dead.dispatch_id, 2, 1, False),
            (applied.dispatch_id, 2, 1, True),
        ]
        assert not await store.bury(dead, reason="bug", error="late")
        assert await store.reclaim([applied.dispatch_id], lease=LONG) == []

    async def test_an_event_somebody_works_on_is_left_to_him(self, store: Store, elapse: Elapse) -> None:
        """Until his lease has run out."""
        event = provider_event("evt_1")
        receipt = await store.record(event, lease=LEASE)
        assert receipt.claim is not None
        number = receipt.claim.dispatch_id
        assert await store.reclaim([number], lease=LONG) == []
        assert [each.dispatch_id for each in await store.read([number])] == [number]
        assert await store.ignore([number], reason="by_operator") == []
        await elapse(2 * LEASE)
        (claim,) = await store.reclaim([number], lease=LONG)
        assert (claim.event, claim.tries) == (event, 1)

    async def test_a_replay_that_does_nothing_new_keeps_what_the_event_did(
        self, store: Store, log: Log, repository: Repository
    ) -> None:
        """The first effect and the message stay on record."""
        first = await _settle(
            store,
            repository,
            provider_event("evt_1"),
            Disposition.APPLIED,
            whose=(ALICE, ACME),
            effect=Effect.CHANGED,
            sequence=7,
        )
        (claim,) = await store.reclaim([first.dispatch_id], lease=LONG)
        again = Outcome(claim=claim, disposition=Disposition.APPLIED, effect=Effect.CONFIRMED)
        async with repository.transaction() as transaction:
            await transaction.settle([again] if await transaction.hold([claim]) else [])
        (found,) = await log.find(EventFilter(), before=None, limit=10)
        assert (found.status, found.effect, found.sequence) == (Disposition.APPLIED, Effect.CHANGED, 7)
        assert (found.tenant_id, found.customer_id) == (ACME, ALICE)

    async def test_only_what_is_not_applied_can_be_ignored(
        self, store: Store, log: Log, repository: Repository
    ) -> None:
        """Dead, parked and due events end; nobody claims them any more."""
        applied = await _settle(store, repository, provider_event("evt_1"), Disposition.APPLIED, whose=(ALICE, ACME))
        parked = await _settle(store, repository, provider_event("evt_2"), Disposition.PARKED, whose=(BOB, None))
        await store.record(provider_event("evt_3"))
        due = (await log.select(EventFilter(ids=(EventId("evt_3"),))))[0]
        ended = await store.ignore([applied.dispatch_id, parked.dispatch_id, due], reason="by_operator")
        assert set(ended) == {parked.dispatch_id, due}
        assert await store.claim(limit=10, lease=LONG) == []
        statuses = {str(each.key.event_id): (each.status, each.reason) for each in await _all(log)}
        assert statuses["evt_1"] == (Disposition.APPLIED, None)
        assert statuses["evt_2"] == statuses["evt_3"] == (Disposition.IGNORED, "by_operator")

    async def test_old_bodies_of_finished_events_are_let_go(
        self, store: Store, log: Log, repository: Repository
    ) -> None:
        """A bounded number at a time, never those of dead, parked or due events; duplicates are still recognised."""
        for number in range(3):
            await _settle(store, repository, provider_event(f"evt_{number}"), Disposition.APPLIED, whose=(ALICE, ACME))
        dead = await _claimed(store, provider_event("evt_dead"))
        await store.bury(dead, reason="bug", error="boom")
        await store.record(provider_event("evt_due"))
        age = timedelta(microseconds=1)
        assert await store.prunable(older_than=age) == 3
        first = await store.prune(older_than=age, after=0, limit=2)
        assert first.reached is not None
        second = await store.prune(older_than=age, after=first.reached, limit=2)
        assert (first.bodies, second.bodies) == (2, 1)
        kept = {each.key.event_id: each.body_kept for each in await _all(log)}
        assert kept == {"evt_0": False, "evt_1": False, "evt_2": False, "evt_dead": True, "evt_due": True}
        assert (await store.prune(older_than=age, after=0, limit=9)).reached is None
        again = await store.record(provider_event("evt_0"))
        assert again.status.value == "duplicate"
        pruned = await log.select(EventFilter(ids=(EventId("evt_0"),)))
        assert await store.reclaim(pruned, lease=LONG) == []
        assert await store.read(pruned) == []
        assert await log.body(pruned[0]) is None

    async def test_young_bodies_stay(self, store: Store, repository: Repository) -> None:
        """However finished their events are."""
        await _settle(store, repository, provider_event("evt_1"), Disposition.APPLIED, whose=(ALICE, ACME))
        assert (await store.prune(older_than=timedelta(days=365_000), after=0, limit=9)).bodies == 0

    # --- audits -------------------------------------------------------------------------------------------------

    async def test_what_operators_do_is_noted_from_the_beginning(self, log: Log) -> None:
        """One that is cut short stays without an end; hostile words are stored as words."""
        cut = await log.begin("replay", actor="ann", reason=None, filter={"type": ["invoice.*"]})
        done = await log.begin("ignore", actor="bob\x00", reason="noise \ud800", filter={"id": ["\x00"]})
        await log.finish(done, {"ignored": 3})
        await log.finish(done, {"ignored": 4})
        last, first = await log.latest(limit=5)
        assert (last.audit_id, last.action, last.actor[:3], last.result) == (done, "ignore", "bob", {"ignored": 3})
        assert last.finished_at is not None
        assert [each.audit_id for each in await log.latest(limit=5, action="replay")] == [cut]
        assert (first.audit_id, first.actor, first.filter) == (cut, "ann", {"type": ["invoice.*"]})
        assert (first.finished_at, first.result) == (None, None)


async def _all(log: EventLog) -> list[StoredEvent]:
    return list(await log.find(EventFilter(), before=None, limit=100))


async def _link(repository: Repository, customer_id: CustomerId, tenant_id: TenantId) -> None:
    async with repository.transaction() as transaction:
        await transaction.lock_customers([customer_id])
        await transaction.lock_tenants([tenant_id])
        await transaction.save(Changes(customers=[customer(customer_id, tenant_id)]))


async def _claimed(store: Inbox, event: ProviderEvent) -> Claim:
    receipt = await store.record(event, lease=LONG)
    assert receipt.claim is not None
    return receipt.claim


async def _settle(
    store: Inbox,
    repository: Repository,
    event: ProviderEvent,
    disposition: Disposition,
    *,
    whose: tuple[CustomerId, TenantId | None],
    effect: Effect = Effect.CONFIRMED,
    sequence: int | None = None,
) -> Claim:
    """Store an event and bring it to an end of this kind."""
    customer_id, tenant_id = whose
    claim = await _claimed(store, event)
    outcome = Outcome(
        claim=claim,
        disposition=disposition,
        effect=effect if disposition is Disposition.APPLIED else None,
        reason={Disposition.DEAD: "tenant_conflict", Disposition.PARKED: "unmapped_customer"}.get(disposition),
        error="of another tenant" if disposition is Disposition.DEAD else None,
        parked_on=customer_id if disposition is Disposition.PARKED else None,
        tenant_id=tenant_id,
        customer_id=customer_id,
        sequence=sequence,
    )
    async with repository.transaction() as transaction:
        assert await transaction.hold([claim])
        await transaction.settle([outcome])
    return claim
