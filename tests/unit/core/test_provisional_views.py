"""Provisional views: what the provider answers to an operation is shown at once, and never enters the ordering."""

from datetime import timedelta
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import ACME, ALICE, AT, GLOBEX, MONTH, Loop, invoice, item, subscription

from billing_app.settings import AccessSettings
from billing_core.errors import TenantConflictError
from billing_core.events import Disposition, Notice, ProviderEvent, Translation
from billing_core.model import (
    AccessState,
    Answer,
    BillingRules,
    InvoiceSnapshot,
    Phase,
    Plan,
    PlanCatalog,
    PlannedItem,
    PlanPrice,
    PriceId,
    ProvisionalView,
    ScheduleSnapshot,
    SubscriptionSnapshot,
    TenantId,
    TenantRules,
    Uncertainty,
    operation_of,
)
from billing_core.payloads import SourceSection, loads
from billing_core.state.provisional import EventBasis, ProvisionalBasis, UncertaintyBasis
from billing_core.state.results import Ingested, RefetchResult
from billing_memory.gateway import MemoryGateway

KEY, OTHER = "bo_1", "bo_2"
BEFORE, AFTER, LATER, EARLIER = (
    PlanCatalog().read_subscription(subscription(items=(item(quantity=seats),))) for seats in (1, 5, 7, 3)
)
"""Seats before the operation and after it, after a later change at the provider, and by an event still in flight."""
ANSWERED = 100
"""Seconds from the start until the provider answers."""


@pytest.fixture
async def row(loop: Loop) -> Loop:
    """A tenant whose subscription rests on an event of the first second."""
    loop.gateway = MemoryGateway()
    await loop.arrive(loop.says(BEFORE, at=0))
    return loop


async def answer(
    loop: Loop, shown: Answer = AFTER, *, key: str = KEY, at: int = ANSWERED, tenant: TenantId = ACME, **fields: Any
) -> Ingested:
    """Take in an answer of the provider, `at` seconds after the start by its own clock."""
    basis = ProvisionalBasis(
        tenant_id=tenant, operation_key=key, **{"answered_at": AT + timedelta(seconds=at), **fields}
    )
    match shown:
        case SubscriptionSnapshot():
            return await loop.service().ingest_subscription_snapshot(shown, basis)
        case InvoiceSnapshot():
            return await loop.service().ingest_invoice_snapshot(shown, basis)


def echo(loop: Loop, shown: Answer = AFTER, *, at: int = ANSWERED, key: str = KEY, **fields: Any) -> ProviderEvent:
    """Build an event that an operation caused."""
    return loop.says(shown, at=at, request_key=key, **fields)


async def seats(loop: Loop, tenant: TenantId = ACME) -> int | None:
    """Return the seats that a tenant sees."""
    (held,) = (await loop.repository.state(tenant)).subscriptions
    return held.snapshot.items[0].quantity


def stored(loop: Loop) -> int | None:
    """Return the seats of the row."""
    (row,) = loop.database.tables.subscriptions.values()
    return row.snapshot.items[0].quantity


def views(loop: Loop, tenant: TenantId = ACME) -> tuple[ProvisionalView, ...]:
    """Return the views of a tenant that await their events."""
    return tuple(view for view in loop.database.tables.views.get(tenant, ()) if not view.confirmed)


async def causes(loop: Loop) -> list[tuple[str, int | None]]:
    """Return the causes of all messages that show a subscription, each with its seats."""
    return [
        (payload.source.kind, payload.subscription.items[0].quantity)
        for payload in await loop.payloads()
        if payload.subscription is not None
    ]


class TestShown:
    """An answer is shown at once, and makes one message."""

    async def test_an_answer_is_shown_and_told_at_once(self, row: Loop) -> None:
        """The row stays as its events left it, and the message is the operation's."""
        ingested = await answer(row)
        assert (await seats(row), stored(row)) == (5, 1)
        (message,) = ingested.events
        assert (message.sequence, message.event_id, message.occurred_at) == (2, None, AT + timedelta(seconds=ANSWERED))
        payload = (await row.payloads())[-1]
        assert payload.source == SourceSection(kind="operation", id=KEY)
        assert payload.event_type == "subscription.seats_changed"
        assert ingested.view is not None
        assert views(row) == (ingested.view,) == (await row.repository.state(ACME)).views

    async def test_an_object_without_a_row_is_shown(self, loop: Loop) -> None:
        """A subscription that was just started, before any event of it."""
        await answer(loop)
        assert [each.snapshot for each in await loop.repository.subscriptions(ACME)] == [AFTER]
        (payload,) = await loop.payloads()
        assert (payload.event_type, payload.access.state) == ("subscription.created", "full")

    async def test_access_follows_what_is_shown(self, row: Loop) -> None:
        """In the message, in the state, and where nothing but time passes."""
        await answer(row, attrs.evolve(AFTER, status="canceled"))
        assert (await row.payloads())[-1].access.state == "blocked"
        assert row.database.tables.access[ACME].verdict.state.value == "blocked"
        assert (await row.service().review_access()).events == ()
        state = await row.repository.state(ACME)
        assert [each.snapshot.status for each in state.subscriptions] == ["canceled"]

    async def test_a_review_of_access_respects_views(self, row: Loop) -> None:
        """All tenants are due once the policy is another one; a subscription that an answer ended stays ended."""
        await answer(row, attrs.evolve(AFTER, status="canceled"))
        row.access = AccessSettings(open_dispute=AccessState.READ_ONLY)
        reviewed = await row.service().review_access()
        assert (reviewed.count, reviewed.events) == (1, [])
        assert row.database.tables.access[ACME].verdict.state.value == "blocked"

    async def test_a_grant_is_announced_with_the_access_that_is_shown(self, row: Loop) -> None:
        """Its end brings back what the answer left, not what the row says."""
        await answer(row, attrs.evolve(AFTER, status="canceled"))
        granted = await row.service().grant(ACME, plan_code="pro", reason="goodwill")
        revoked = await row.service().revoke_grant(granted.grant.grant_id, reason="over")
        assert revoked is not None
        assert [loads(event.payload).access.state for event in (*granted.events, *revoked.events)] == [
            "full",
            "blocked",
        ]

    async def test_an_invoice_is_shown_and_told(self, row: Loop) -> None:
        """A paid invoice is owed no more, although its row still says so."""
        await row.arrive(row.says(invoice(), at=1))
        assert [each.object_id for each in (await row.repository.state(ACME)).invoices] == ["in_1"]
        await answer(row, invoice(status="paid", amount_paid=1900))
        assert (await row.repository.state(ACME)).invoices == ()
        assert [each.snapshot.status for each in await row.repository.invoices(ACME, limit=5)] == ["paid"]
        assert (await row.payloads())[-1].event_type == "invoice.paid"
        assert (await row.repository.state(ACME)).paying == {"sub_1"}

    async def test_an_answer_about_another_tenants_object_is_refused(self, row: Loop) -> None:
        """Nothing is written then."""
        with pytest.raises(TenantConflictError):
            await answer(row, tenant=GLOBEX)
        assert views(row, GLOBEX) == ()

    async def test_an_answer_about_another_tenants_customer_is_refused(self, loop: Loop) -> None:
        """Before any event of the object; where subscriptions name their tenants, the customer decides nothing."""
        await loop.service().link(ALICE, GLOBEX)
        with pytest.raises(TenantConflictError):
            await answer(loop)
        loop.tenants = TenantRules(link="subscription")
        assert (await answer(loop)).view is not None

    async def test_an_answer_that_changes_nothing_is_no_message(self, row: Loop) -> None:
        """It is kept all the same: an older event may still be in flight."""
        assert (await answer(row, BEFORE)).events == []
        await row.arrive(row.says(EARLIER, at=50))
        assert (await seats(row), stored(row)) == (1, 3)

    async def test_no_message_is_created_without_notices(self, row: Loop) -> None:
        """State is updated without publishing."""
        row.notify = False
        assert (await answer(row)).events == []
        assert await seats(row) == 5

    async def test_an_answer_is_read_by_the_rules_in_force(self, loop: Loop) -> None:
        """Its plan is that of its price."""
        loop.plans = PlanCatalog([Plan(plan_code="pro", prices=(PlanPrice(price_id=PriceId("price_pro")),))])
        await answer(loop, subscription())
        (held,) = await loop.repository.subscriptions(ACME)
        assert held.snapshot.plan_code == "pro"


class TestEvents:
    """Events fold beneath a view, and the one that the operation caused ends it."""

    @pytest.mark.parametrize("request_key", [KEY, f"{KEY}.update", f"{KEY}.2"])
    async def test_the_confirming_event_is_no_message(self, row: Loop, request_key: str) -> None:
        """Also under the key of one of the operation's steps."""
        await answer(row)
        (outcome,) = await row.arrive(echo(row, key=request_key))
        assert (outcome.disposition, outcome.sequence) == (Disposition.APPLIED, None)
        assert (await seats(row), stored(row), views(row)) == (5, 5, ())
        assert await causes(row) == [("webhook", 1), ("operation", 5)]

    async def test_a_confirming_event_that_came_first_leaves_nothing_to_show(self, row: Loop) -> None:
        """Its message was the one about the change."""
        await row.arrive(echo(row))
        ingested = await answer(row)
        assert (ingested.view, ingested.events, views(row)) == (None, [], ())
        assert await causes(row) == [("webhook", 1), ("webhook", 5)]

    async def test_an_answer_after_its_event_and_a_later_change_shows_nothing_old(self, row: Loop) -> None:
        """The later change is too close to the answer to be told apart by its time."""
        await row.arrive(echo(row, at=ANSWERED - 1))
        await row.arrive(row.says(LATER, at=ANSWERED + 1))
        assert (await answer(row)).view is None
        assert await seats(row) == 7

    async def test_an_older_event_in_flight_folds_silently(self, row: Loop) -> None:
        """The tenant never sees the operation undone."""
        await answer(row)
        await row.arrive(row.says(EARLIER, at=50))
        assert (await seats(row), stored(row)) == (5, 3)
        assert await causes(row) == [("webhook", 1), ("operation", 5)]

    @pytest.mark.parametrize("request_key", [OTHER, f"{KEY}0", None])
    async def test_other_events_of_the_same_content_do_not_end_it(self, row: Loop, request_key: str | None) -> None:
        """The object may have been like this before, with an event in between that is still to come."""
        await answer(row)
        await row.arrive(row.says(AFTER, at=50, request_key=request_key))
        assert len(views(row)) == 1

    async def test_an_intermediate_step_does_not_end_it(self, row: Loop) -> None:
        """An operation may change an object more than once; the answer shows the last."""
        await answer(row)
        await row.arrive(echo(row, LATER, at=ANSWERED - 1))
        assert (await seats(row), stored(row), len(views(row))) == (5, 7, 1)
        await row.arrive(echo(row))
        assert (await seats(row), views(row)) == (5, ())
        assert await causes(row) == [("webhook", 1), ("operation", 5)]

    @pytest.mark.parametrize("answer_first", [True, False])
    async def test_a_step_that_arrives_after_its_end_does_not_undo_it(self, row: Loop, answer_first: bool) -> None:
        """Events of one second that leave out a step between them do not say which of them is the last."""
        end, step = echo(row, before=LATER, event_id="evt_1"), echo(row, EARLIER, before=BEFORE, event_id="evt_2")
        if answer_first:
            await answer(row)
        await row.arrive(end)
        if not answer_first:
            await answer(row)
        await row.arrive(step)
        assert (await seats(row), stored(row)) == (5, 3)
        await row.arrive(echo(row, LATER, before=EARLIER))
        assert (await seats(row), stored(row), views(row)) == (5, 5, ())
        assert [shown for _, shown in await causes(row)] == [1, 5]

    async def test_a_change_by_others_is_shown_at_once_after_the_confirmation(self, row: Loop) -> None:
        """Also one of the same second, if it says what it overwrote."""
        await answer(row)
        await row.arrive(echo(row))
        await row.arrive(row.says(LATER, at=ANSWERED, before=AFTER))
        assert await causes(row) == [("webhook", 1), ("operation", 5), ("webhook", 7)]

    async def test_what_a_refetch_says_of_an_undecided_row_is_shown(self, row: Loop) -> None:
        """It was asked after the events of the operation."""
        await answer(row)
        await row.arrive(echo(row, before=LATER), echo(row, EARLIER, before=BEFORE))
        (uncertain,) = await row.repository.uncertain(after="", limit=10)
        found = Translation(customer_id=EARLIER.customer_id, snapshots=(EARLIER,))
        await row.service().apply_refetch(uncertain, found)
        assert (await seats(row), stored(row)) == (3, 3)

    async def test_a_confirmed_answer_is_kept_for_ten_minutes_and_fetched_by_none(self, row: Loop) -> None:
        """The next events of the tenant drop it, without a message."""
        await answer(row)
        await row.arrive(echo(row))
        assert len(row.database.tables.views[ACME]) == 1
        row.clock.advance(timedelta(minutes=10))
        assert await row.repository.uncertain(after="", limit=10) == []
        await row.arrive(row.says(BEFORE))
        assert not row.database.tables.views[ACME]
        assert await causes(row) == [("webhook", 1), ("operation", 5)]

    @pytest.mark.parametrize("follows", ["event", "answer"])
    async def test_a_confirmed_answer_about_an_invoice_is_dropped_with_changes_of_other_objects(
        self, row: Loop, follows: str
    ) -> None:
        """Its row, which is read for that alone, shows the same by itself."""
        paid = invoice(status="paid", amount_paid=1900)
        await row.arrive(row.says(invoice(), at=1))
        await answer(row, paid)
        await row.arrive(echo(row, paid))
        row.clock.advance(timedelta(minutes=10))
        if follows == "event":
            await row.arrive(row.says(AFTER))
        else:
            await answer(row, AFTER, key=OTHER)
        assert "in_1" not in [view.object_id for view in row.database.tables.views[ACME]]
        assert [each.snapshot.status for each in await row.repository.invoices(ACME, limit=5)] == ["paid"]

    @pytest.mark.parametrize(("seconds", "expected"), [(0, 5), (1, 5), (2, 7)])
    async def test_a_later_event_ends_it_and_is_told(self, row: Loop, seconds: int, expected: int) -> None:
        """Both stamps are rounded, so that a second does not count."""
        await answer(row)
        await row.arrive(row.says(LATER, at=ANSWERED + seconds))
        assert await seats(row) == expected
        assert (views(row) == ()) is (expected == 7)
        assert (await causes(row))[2:] == ([("webhook", 7)] if expected == 7 else [])

    async def test_a_true_event_just_after_the_answer_is_shown_once_the_operations_event_came(self, row: Loop) -> None:
        """It was folded beneath the view meanwhile."""
        await answer(row)
        await row.arrive(row.says(LATER, at=ANSWERED + 1))
        await row.arrive(echo(row))
        assert (await seats(row), views(row)) == (7, ())
        assert await causes(row) == [("webhook", 1), ("operation", 5), ("webhook", 7)]

    async def test_an_answer_that_comes_after_a_later_event_is_not_shown(self, row: Loop) -> None:
        """The row is as new."""
        await row.arrive(row.says(LATER, at=ANSWERED + 2))
        assert (await answer(row)).view is None
        assert await seats(row) == 7

    async def test_a_later_stage_of_life_ends_it(self, row: Loop) -> None:
        """An ended subscription does not resume, whatever the stamps say."""
        await answer(row)
        await row.arrive(row.says(attrs.evolve(LATER, status="canceled"), at=ANSWERED))
        assert (await row.repository.state(ACME)).subscriptions[0].snapshot.status == "canceled"
        assert views(row) == ()

    async def test_a_replay_beneath_a_view_notifies_no_tenant(self, row: Loop) -> None:
        """It corrects a damaged row, which is not shown."""
        (claim,) = [each.claim for each in row.database.tables.dispatch.values()]
        await answer(row)
        (held,) = row.database.tables.subscriptions.values()
        row.database.tables.subscriptions[held.snapshot.subscription_id] = attrs.evolve(held, snapshot=LATER)
        applied = await row.service().dry_run([(claim, row.provider.translate(claim.event))])
        assert (applied.events, [each.object_id for each in applied.differences]) == ([], ["sub_1"])

    async def test_a_message_about_something_else_shows_the_view(self, row: Loop) -> None:
        """A notice is told with its object as the tenant sees it."""
        trial = attrs.evolve(BEFORE, status="trialing", trial_ends_at=AT + timedelta(days=3))
        await row.arrive(row.says(trial, at=1))
        await answer(row, attrs.evolve(trial, items=AFTER.items, seat_count=AFTER.seat_count))
        await row.arrive(row.says(trial, at=2, notice=Notice.TRIAL_ENDING))
        payload = (await row.payloads())[-1]
        assert payload.event_type == "subscription.trial_ending"
        assert payload.subscription is not None
        assert payload.subscription.items[0].quantity == 5

    async def test_an_occasion_that_an_operation_ended_is_not_announced(self, row: Loop) -> None:
        """A failed payment that was made good meanwhile."""
        await row.arrive(row.says(invoice(), at=1))
        await answer(row, invoice(status="paid", amount_paid=1900))
        await row.arrive(row.says(invoice(attempt_count=1), at=50, payment_failed=True))
        assert [payload.event_type for payload in await row.payloads()][-1] == "invoice.paid"

    async def test_a_schedule_that_the_answer_tells_is_shown_until_its_own_event(self, row: Loop) -> None:
        """The subscription's event alone does not show the coming phases."""
        phase = Phase(starts_at=MONTH.end, items=(PlannedItem(price_id=PriceId("price_basic"), quantity=1),))
        scheduled = attrs.evolve(BEFORE, schedule_id="sub_sched_1")
        await answer(row, attrs.evolve(scheduled, planned=(phase,)))
        await row.arrive(echo(row, scheduled, key=f"{KEY}.1"))
        (held,) = await row.repository.subscriptions(ACME)
        assert [each.items for each in held.snapshot.planned] == [phase.items]
        assert len(views(row)) == 1
        plan = ScheduleSnapshot(
            schedule_id="sub_sched_1", subscription_id=BEFORE.subscription_id, status="active", phases=(phase,)
        )
        await row.arrive(row.says(plan, at=ANSWERED, customer_id=ALICE, request_key=f"{KEY}.2"))
        (held,) = await row.repository.subscriptions(ACME)
        assert ([each.items for each in held.snapshot.planned], views(row)) == ([phase.items], ())
        assert [payload.source.kind for payload in await row.payloads()] == ["webhook", "operation"]


class TestSeveralAnswers:
    """Of the answers about one object the latest is shown."""

    async def test_a_later_answer_takes_the_place_of_an_earlier_one(self, row: Loop) -> None:
        """The event of the earlier operation then folds beneath it."""
        await answer(row)
        await answer(row, LATER, key=OTHER, at=ANSWERED + 5)
        await row.arrive(echo(row))
        assert await seats(row) == 7
        await row.arrive(echo(row, LATER, key=OTHER, at=ANSWERED + 5))
        assert (await seats(row), views(row)) == (7, ())
        assert await causes(row) == [("webhook", 1), ("operation", 5), ("operation", 7)]

    async def test_an_answer_that_was_overtaken_is_not_shown(self, row: Loop) -> None:
        """Two processes may take in their answers in the wrong order."""
        await answer(row, LATER, key=OTHER, at=ANSWERED + 5)
        assert (await answer(row)).events == []
        assert [view.operation_key for view in views(row)] == [OTHER]

    async def test_an_answer_is_taken_in_once(self, row: Loop) -> None:
        """A repeated call changes nothing and tells nothing."""
        first = await answer(row)
        again = await answer(row)
        assert (again.view, again.events, again.uncertainties) == (first.view, [], ())


class TestRefetch:
    """A view that no event ends is replaced by what the provider says."""

    async def test_it_is_due_after_ten_minutes_until_it_is_answered(self, row: Loop) -> None:
        """Each sweep finds it again."""
        await answer(row)
        row.clock.advance(timedelta(minutes=9, seconds=59))
        assert await due(row) == []
        row.clock.advance(timedelta(seconds=1))
        assert await due(row) == await due(row) == [("sub_1", KEY)]

    async def test_the_answer_is_written_under_the_stamp_of_the_row(self, row: Loop) -> None:
        """A later event outranks it as before."""
        (before,) = row.database.tables.subscriptions.values()
        await answer(row)
        assert await refetched(row, AFTER) == [RefetchResult.REFETCHED.value]
        (after,) = row.database.tables.subscriptions.values()
        assert (after.snapshot, after.provenance, views(row)) == (AFTER, before.provenance, ())
        assert await causes(row) == [("webhook", 1), ("operation", 5)]

    async def test_a_step_back_is_a_numbered_change(self, row: Loop) -> None:
        """The provider has undone the operation, and its events were lost."""
        await answer(row)
        assert await refetched(row, BEFORE) == [RefetchResult.REFETCHED.value]
        assert await causes(row) == [("webhook", 1), ("operation", 5), ("refetch", 1)]
        assert (await seats(row), views(row)) == (1, ())

    async def test_without_a_row_it_waits_for_the_first_event(self, loop: Loop) -> None:
        """There is no stamp to write under."""
        await answer(loop)
        loop.clock.advance(timedelta(hours=1))
        assert await due(loop) == []
        await loop.arrive(echo(loop, attrs.evolve(AFTER, status="incomplete"), at=ANSWERED - 1, creation=True))
        assert await due(loop) == [("sub_1", KEY)]
        assert (await loop.repository.subscriptions(ACME))[0].snapshot == AFTER

    async def test_a_fetch_that_began_before_the_answer_does_not_end_it(self, row: Loop) -> None:
        """It may show the object as it was before the operation; the row is settled beneath."""
        (held,) = row.database.tables.subscriptions.values()
        uncertain = Uncertainty(kind="subscription", object_id="sub_1", basis=held.provenance)
        await answer(row)
        ended = await row.service().apply_refetch(uncertain, Translation(snapshots=(EARLIER,)))
        assert (ended.result, ended.events) == (RefetchResult.REFETCHED, [])
        assert (await seats(row), stored(row)) == (5, 3)

    async def test_an_answer_without_a_date_only_makes_a_refetch_due(self, row: Loop) -> None:
        """Nothing says whether it or the row is later."""
        ingested = await answer(row, answered_at=None)
        assert (ingested.events, await seats(row)) == ([], 1)
        assert [(each.object_id, each.view) for each in ingested.uncertainties] == [("sub_1", KEY)]
        assert await due(row) == [("sub_1", KEY)]
        assert await refetched(row, LATER) == [RefetchResult.REFETCHED.value]
        assert await causes(row) == [("webhook", 1), ("refetch", 7)]
        assert views(row) == ()

    async def test_an_answer_without_a_date_makes_the_refetch_of_a_view_due(self, row: Loop) -> None:
        """The view stays until then."""
        await answer(row)
        await answer(row, answered_at=None)
        assert (await seats(row), await due(row)) == (5, [("sub_1", KEY)])

    async def test_an_answer_to_a_refetch_may_be_taken_in_as_a_snapshot(self, row: Loop) -> None:
        """It takes the uncertainty as its basis."""
        await answer(row)
        row.clock.advance(timedelta(minutes=10))
        (uncertainty,) = await row.repository.uncertain(after="", limit=10)
        basis = UncertaintyBasis(uncertainty=uncertainty)
        ingested = await row.service().ingest_subscription_snapshot(LATER, basis)
        assert (ingested.refetch, [event.sequence for event in ingested.events]) == (RefetchResult.REFETCHED, [3])

    async def test_a_snapshot_may_be_taken_in_under_an_events_stamp(self, row: Loop) -> None:
        """An event that did not show its object."""
        event = row.says(at=60)
        receipt = await row.inbox.record(event, lease=timedelta(minutes=1))
        assert receipt.claim is not None
        ingested = await row.service().ingest_subscription_snapshot(LATER, EventBasis(claim=receipt.claim))
        assert ingested.outcome is not None
        assert ingested.outcome.disposition is Disposition.APPLIED
        assert (await seats(row), await causes(row)) == (7, [("webhook", 1), ("webhook", 7)])


class TestMoves:
    """A view goes where its object goes."""

    async def test_a_moved_object_takes_its_view_along(self, row: Loop) -> None:
        """The new tenant sees what the former one saw, and nothing is left behind."""
        await answer(row)
        change = await row.service().move(ALICE, GLOBEX)
        assert (await seats(row, GLOBEX), views(row)) == (5, ())
        assert (await row.repository.state(ACME)).subscriptions == ()
        await row.arrive(echo(row, tenant=None))
        assert views(row, GLOBEX) == ()
        assert [event.tenant_id for event in change.events] == [ACME, GLOBEX]

    async def test_an_object_without_a_row_moves_with_its_customer(self, loop: Loop) -> None:
        """Its customer is known before any event of it."""
        await loop.service().link(ALICE, ACME)
        await answer(loop)
        await loop.service().move(ALICE, GLOBEX)
        assert (await seats(loop, GLOBEX), views(loop)) == (5, ())

    async def test_an_unlinked_customer_leaves_no_view(self, row: Loop) -> None:
        """Its objects are removed."""
        await answer(row)
        await row.service().unlink(ALICE, ACME)
        assert views(row) == ()
        assert (await row.repository.state(ACME)).subscriptions == ()

    async def test_access_after_a_move_follows_what_is_shown(self, row: Loop) -> None:
        """Both messages tell it."""
        await answer(row, attrs.evolve(AFTER, status="canceled"))
        change = await row.service().move(ALICE, GLOBEX)
        states = {event.tenant_id: loads(event.payload).access.state for event in change.events}
        assert states == {ACME: "blocked", GLOBEX: "blocked"}


class TestRules:
    """Other rules read what is shown."""

    async def test_a_view_is_read_again_by_rules_that_came_into_force(self, row: Loop) -> None:
        """The message shows the difference of what is shown; the row is read as well."""
        await answer(row)
        rules = BillingRules(plans=(Plan(plan_code="pro", prices=(PlanPrice(price_id=PriceId("price_pro")),)),))
        preview = await row.service().preview([ACME], rules)
        (message,) = preview.events
        shown = loads(message.payload).subscription
        assert shown is not None
        assert (shown.plan_code, shown.items[0].quantity) == ("pro", 5)


def test_an_operation_is_recognized_by_the_key_of_its_request() -> None:
    """A step follows a dot; keys of others are none of ours."""
    assert [operation_of(key) for key in ("bo_1", "bo_1.a.b", "bo_10", "x.bo_1", None)] == [
        "bo_1",
        "bo_1",
        "bo_10",
        None,
        None,
    ]


async def due(loop: Loop) -> list[tuple[str, str | None]]:
    """Return the objects that a sweep finds, each with the operation whose view is due."""
    return [(each.object_id, each.view) for each in await loop.repository.uncertain(after="", limit=10)]


async def refetched(loop: Loop, truth: SubscriptionSnapshot) -> list[str]:
    """Let ten minutes pass and the provider be asked; return the results."""
    loop.clock.advance(timedelta(minutes=10))
    loop.uncertainties += await loop.repository.uncertain(after="", limit=10)
    assert loop.gateway is not None
    loop.gateway.subscriptions[truth.subscription_id] = Translation(customer_id=ALICE, snapshots=(truth,))
    return await loop.refetch()
