"""The contract of EventLog, beyond that of EventSelector."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from billing_core.errors import TenantConflictError
from billing_core.events import Disposition, Outcome
from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.inbox.selection import EventFilter
from billing_core.model import EventId
from billing_core.oversight.inspection import EventTally, StoredEvent
from billing_core.oversight.ports import EventLog
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.arrange import applied, claimed, parked, save, settle
from billing_core.testing.builders import ACME, AT, GLOBEX, customer, message, provider_event, subscription
from billing_core.testing.inbox.event_selector import ALICE, EXPECTED, HOSTILE, store_three
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG


class EventLogContract(Suite):
    """Every stored event, found by any of its properties, with its trace.

    A binding provides `event_log`, and `inbox`, `queue` and `unit_of_work` on the same data, all empty.
    """

    # --- finding ------------------------------------------------------------------------------------------------

    async def test_an_event_is_shown_as_it_was_received_and_stands(
        self, inbox: EventInbox, event_log: EventLog
    ) -> None:
        """The whole envelope, without the body."""
        sent = provider_event("evt_1", account="acct_1", livemode=True, secret_slot=2, api_version=None)
        await inbox.record(sent)
        (found,) = await _all(event_log)
        assert (found.key, found.type, found.api_version) == (sent.key, sent.type, None)
        assert (found.created_at, found.received_at, found.secret_slot) == (sent.created_at, sent.received_at, 2)
        assert (found.status, found.attempt, found.reason, found.body_kept) == (Disposition.DUE, 0, None, True)
        assert await event_log.body(found.dispatch_id) == sent.body

    async def test_the_latest_come_first_and_pages_follow_each_other(
        self, inbox: EventInbox, event_log: EventLog
    ) -> None:
        """By the number of the last event of a page."""
        for number in range(5):
            await inbox.record(provider_event(f"evt_{number}"))
        first = await event_log.find(EventFilter(), before=None, limit=2)
        rest = await event_log.find(EventFilter(), before=first[-1].dispatch_id, limit=10)
        assert [found.key.event_id for found in [*first, *rest]] == ["evt_4", "evt_3", "evt_2", "evt_1", "evt_0"]

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
    async def test_types_are_found_by_globs(
        self, inbox: EventInbox, event_log: EventLog, glob: str, types: set[str]
    ) -> None:
        """Only `*` and `?` have a meaning."""
        for number, event_type in enumerate(["invoice.paid", "invoice.created", "charge.refunded"]):
            await inbox.record(provider_event(f"evt_{number}", type=event_type))
        found = await event_log.find(EventFilter(types=(glob,)), before=None, limit=10)
        assert {each.type for each in found} == types

    async def test_found_events_meet_every_condition(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, event_log: EventLog
    ) -> None:
        """Each condition alone finds its events, two of them only what both mean, and hostile ones nothing."""
        await store_three(inbox, queue, unit_of_work)
        for wanted, ids in EXPECTED.items():
            found = await event_log.find(wanted, before=None, limit=10)
            assert {each.key.event_id for each in found} == ids, wanted
            assert set(await event_log.select(wanted)) == {each.dispatch_id for each in found}

    async def test_events_are_counted_in_groups(
        self, inbox: EventInbox, queue: EventQueue, event_log: EventLog
    ) -> None:
        """By type, by the hour of their receipt, or by status and reason; the filter holds for each of them."""
        hours = (AT, AT + timedelta(hours=1), AT + timedelta(hours=1, minutes=29))
        for number, at in enumerate(hours):
            event_type = "invoice.paid" if number else "charge.refunded"
            await inbox.record(provider_event(f"evt_{number}", type=event_type, received_at=at))
        await queue.bury(await claimed(inbox, provider_event("evt_dead", received_at=AT)), reason="bug", error="boom")

        def shown(tallies: Sequence[EventTally]) -> list[tuple[str, int]]:
            return [(each.name, each.total) for each in tallies]

        by_status = await event_log.tally(EventFilter(), by="status")
        assert shown(by_status) == [("dead: bug", 1), ("due", 3)]
        assert [each.counts for each in by_status] == [{Disposition.DEAD: 1}, {Disposition.DUE: 3}]
        invoices = EventFilter(types=("invoice.*",))
        assert shown(await event_log.tally(invoices, by="type")) == [("invoice.paid", 2)]
        hour = "%Y-%m-%dT%H:00Z"
        by_hour = await event_log.tally(EventFilter(), by="hour")
        assert shown(by_hour) == [(AT.strftime(hour), 2), (hours[1].strftime(hour), 2)]
        assert by_hour[0].counts == {Disposition.DUE: 1, Disposition.DEAD: 1}
        assert await event_log.tally(EventFilter(ids=(EventId("evt_none"),)), by="hour") == []

    async def test_a_parked_event_is_found_by_the_customer_it_waits_for(
        self, inbox: EventInbox, unit_of_work: UnitOfWork, event_log: EventLog
    ) -> None:
        """Although that customer has no tenant yet."""
        claim = await claimed(inbox, provider_event("evt_1"))
        await settle(unit_of_work, parked(claim, ALICE, customer_id=ALICE))
        (found,) = await event_log.find(EventFilter(customer_id=ALICE), before=None, limit=10)
        assert (found.status, found.parked_on) == (Disposition.PARKED, ALICE)

    async def test_a_dead_event_is_found_by_its_customer_and_that_customers_tenant(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, event_log: EventLog
    ) -> None:
        """This holds for both ways to die: buried by itself, or settled with its batch."""
        await save(unit_of_work, Changes(customers=[customer(ALICE, ACME)]))
        buried = await claimed(inbox, provider_event("evt_1"))
        assert await queue.bury(buried, reason="transient", error="boom", customer_id=ALICE)
        refused = await claimed(inbox, provider_event("evt_2"))
        await settle(unit_of_work, Outcome.dead(refused, TenantConflictError("cus_1"), customer_id=ALICE))
        for wanted in (EventFilter(customer_id=ALICE), EventFilter(tenant_id=ACME)):
            found = await event_log.find(wanted, before=None, limit=10)
            assert [each.key.event_id for each in found] == ["evt_2", "evt_1"]
            assert {(each.status, each.customer_id, each.tenant_id) for each in found} == {
                (Disposition.DEAD, ALICE, ACME)
            }
            assert set(await event_log.select(wanted)) == {each.dispatch_id for each in found}
        assert not await event_log.find(EventFilter(tenant_id=GLOBEX), before=None, limit=10)

    async def test_an_event_that_died_before_its_customer_got_a_tenant_is_that_tenants(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, event_log: EventLog
    ) -> None:
        """Until then it belongs to no tenant, and is found by its customer."""
        claim = await claimed(inbox, provider_event("evt_1"))
        await queue.bury(claim, reason="bug", error="boom", customer_id=ALICE)
        by_customer, by_tenant = EventFilter(customer_id=ALICE), EventFilter(tenant_id=ACME)
        assert list(await event_log.select(by_customer)) == [claim.dispatch_id]
        assert len(await event_log.find(by_customer, before=None, limit=10)) == 1
        assert list(await event_log.select(by_tenant)) == []
        await save(unit_of_work, Changes(customers=[customer(ALICE, ACME)]))
        assert list(await event_log.select(by_tenant)) == [claim.dispatch_id]
        assert len(await event_log.find(by_tenant, before=None, limit=10)) == 1

    async def test_a_dead_event_without_a_customer_is_the_only_owners_of_its_objects(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, event_log: EventLog
    ) -> None:
        """Objects of two tenants do not tell whose it is, nor do unknown ones."""
        owned = [subscription("sub_1"), subscription("sub_2", tenant_id=GLOBEX)]
        await save(unit_of_work, Changes(subscriptions=owned), tenants=[ACME, GLOBEX])
        named = [["sub_1"], ["unknown", "sub_1"], ["sub_1", "sub_2"], ["unknown", HOSTILE], []]
        for number, about in enumerate(named):
            claim = await claimed(inbox, provider_event(f"evt_{number}"))
            await queue.bury(claim, reason="transient", error="boom", about=about)
        found = [(each.customer_id, each.tenant_id) for each in reversed(await _all(event_log))]
        assert found == [(None, ACME), (None, ACME), (None, None), (None, None), (None, None)]

    # --- the trace ----------------------------------------------------------------------------------------------

    async def test_failed_attempts_are_kept(self, inbox: EventInbox, queue: EventQueue, event_log: EventLog) -> None:
        """Each with its number and error; a successful one is not listed."""
        claim = await claimed(inbox, provider_event("evt_1"))
        await queue.retry(claim, after=timedelta(0), reason="transient", error="first\x00")
        (claim,) = await queue.claim(limit=1, lease=LONG)
        await queue.bury(claim, reason="bug", error="second")
        attempts = await event_log.attempts(claim.dispatch_id)
        assert [(each.attempt, each.reason) for each in attempts] == [(1, "transient"), (2, "bug")]
        assert [(each.error or "")[:5] for each in attempts] == ["first", "secon"]

    async def test_an_event_that_is_settled_as_dead_has_failed(
        self, inbox: EventInbox, unit_of_work: UnitOfWork, event_log: EventLog
    ) -> None:
        """A contradiction is noticed only inside the unit of work."""
        claim = await claimed(inbox, provider_event("evt_1"))
        conflict = applied(
            claim,
            disposition=Disposition.DEAD,
            effect=None,
            reason="tenant_conflict",
            error="of another tenant",
            customer_id=ALICE,
            sequence=None,
        )
        await settle(unit_of_work, conflict)
        assert [each.reason for each in await event_log.attempts(claim.dispatch_id)] == ["tenant_conflict"]

    async def test_duplicates_are_counted(self, inbox: EventInbox, event_log: EventLog) -> None:
        """With the time of the last one; an equal id of another mode or account is another event."""
        repeated = provider_event("evt_1")
        others = [provider_event("evt_2"), provider_event(livemode=True), provider_event(account="acct_1")]
        for event in [repeated, *others, repeated, repeated]:
            await inbox.record(event)
        counts = {found.key: found for found in await _all(event_log)}
        async with asyncio.timeout(20):
            while counts[repeated.key].duplicates < 2:  # noted after the answer
                await asyncio.sleep(0.01)
                counts = {found.key: found for found in await _all(event_log)}
        assert (counts[repeated.key].duplicates, counts[repeated.key].last_duplicate_at is None) == (2, False)
        assert [(counts[each.key].duplicates, counts[each.key].last_duplicate_at) for each in others] == [(0, None)] * 3

    async def test_the_messages_of_an_event_are_found(self, unit_of_work: UnitOfWork, event_log: EventLog) -> None:
        """All tenants are searched."""
        notified = message(ACME, 1, event_id=EventId("evt_1"))
        await save(unit_of_work, Changes(events=[notified]))
        assert await event_log.messages(EventId("evt_1")) == [notified]
        assert await event_log.messages(EventId(HOSTILE.strip("\x00\ud800"))) == []


async def _all(event_log: EventLog) -> Sequence[StoredEvent]:
    return await event_log.find(EventFilter(), before=None, limit=100)
