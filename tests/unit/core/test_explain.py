"""Explanations: one timeline of events, decisions and messages."""

from datetime import datetime, timedelta

import attrs
from tests.unit.core.conftest import ACME, ALICE, AT, GLOBEX, Loop, invoice, subscription

from billing_core.events import MessageSource, SourceKind, Translation
from billing_core.model import AccessPolicy, ClockSnapshot, TenantId
from billing_core.oversight.explain import Explanation, explain
from billing_core.payloads import dumps, loads, source_section
from billing_core.state.provisional import ProvisionalBasis
from billing_memory.oversight.timeline import MemoryTenantTimeline

TRIALING = subscription(status="trialing")


async def explained(
    loop: Loop, tenant_id: TenantId = ACME, limit: int = 50, since: datetime | None = None
) -> Explanation:
    """Return the explanation of a tenant's state."""
    timeline = MemoryTenantTimeline(loop.database, loop.clock)
    history = await timeline.history(tenant_id, since=since, until=None, limit=limit)
    assert history is not None
    return explain(history, policy=AccessPolicy())


async def test_a_transition_names_the_fields_that_changed(loop: Loop) -> None:
    """They are compared with the tenant's previous message about the same object; the verdict after it is given too."""
    await loop.arrive(loop.says(TRIALING))
    await loop.arrive(loop.says(invoice(), at=1))
    await loop.arrive(loop.says(subscription(status="past_due"), at=2))
    explanation = await explained(loop)
    first, _, third = explanation.timeline
    (created,), (changed,) = first.transitions, third.transitions
    assert (created.sequence, created.first, created.changes) == (1, True, ())
    assert (changed.sequence, changed.event_type) == (3, "subscription.past_due")
    assert ("status", "trialing", "past_due") in [(each.field, each.before, each.after) for each in changed.changes]
    assert (created.access.state, changed.access.state) == ("full", "grace")
    assert (explanation.verdict.state.value, explanation.verdict.reason) == ("grace", "past_due")


async def test_every_decision_has_a_phrase(loop: Loop) -> None:
    """Events that changed the state, confirmed it, arrived late, or contradict it."""
    await loop.arrive(loop.says(subscription(), at=5))
    await loop.arrive(loop.says(subscription(), at=6))
    await loop.arrive(loop.says(TRIALING, at=1))
    await loop.arrive(loop.says(TRIALING, at=9, tenant=GLOBEX))
    late = loop.says(invoice("in_9"), at=10)
    await loop.inbox.record(late)
    decisions = [entry.decision for entry in (await explained(loop)).timeline]
    assert decisions == [
        "applied: changed the state",
        "applied: confirmed the state",
        "applied: stale, newer data was already known",
        "dead: tenant_conflict",
    ]


async def test_a_limited_timeline_compares_with_earlier_messages(loop: Loop) -> None:
    """The first message shown is compared with its predecessor."""
    for number, status in enumerate(["trialing", "active", "past_due"]):
        await loop.arrive(loop.says(subscription(status=status), at=number))
    explanation = await explained(loop, limit=1)
    (entry,) = explanation.timeline
    (transition,) = entry.transitions
    assert explanation.cut
    assert ("status", "active", "past_due") in [(each.field, each.before, each.after) for each in transition.changes]


async def test_the_verdict_is_current(loop: Loop) -> None:
    """Grace ends without an event."""
    failed = loop.says(invoice(), customer_id=ALICE, payment_failed=True)
    await loop.arrive(loop.says(subscription(status="past_due"), customer_id=ALICE), failed)
    assert (await explained(loop)).verdict.until is not None
    loop.clock.advance(AccessPolicy().past_due_grace * 10)
    assert (await explained(loop)).verdict.reason == "past_due_grace_over"


async def test_a_message_without_an_event_stands_where_its_number_is(loop: Loop) -> None:
    """A refetch caused it, after the event that left its object uncertain."""
    await loop.arrive(loop.says(TRIALING))
    sent = loop.database.tables.messages[ACME, 1]
    source = MessageSource(kind=SourceKind.REFETCH, id="sub_1")
    payload = attrs.evolve(loads(sent.payload), sequence=2, source=source_section(source), stripe_event_id=None)
    loop.database.tables.messages[ACME, 2] = attrs.evolve(sent, sequence=2, event_id=None, payload=dumps(payload))
    loop.database.tables.counters[ACME] = 2
    await loop.arrive(loop.says(subscription(status="past_due"), at=2))
    timeline = (await explained(loop)).timeline
    assert [(entry.event is None, entry.transitions[0].sequence) for entry in timeline] == [
        (False, 1),
        (True, 2),
        (False, 3),
    ]
    assert timeline[1].decision == "no event: refetch"
    (limited,) = (await explained(loop, limit=1)).timeline
    assert limited.transitions[0].sequence == 3


async def test_an_answer_to_an_operation_is_explained(loop: Loop) -> None:
    """Its message stands among those of events, and the view beside the state."""
    await loop.arrive(loop.says(TRIALING))
    basis = ProvisionalBasis(tenant_id=ACME, operation_key="bo_1", answered_at=AT + timedelta(minutes=1))
    await loop.service().ingest_subscription_snapshot(subscription(status="active"), basis)
    explanation = await explained(loop)
    assert [entry.decision for entry in explanation.timeline] == [
        "applied: changed the state",
        "no event: operation",
    ]
    (transition,) = explanation.timeline[1].transitions
    assert [(each.field, each.before, each.after) for each in transition.changes] == [("status", "trialing", "active")]
    assert [view.operation_key for view in explanation.state.views] == ["bo_1"]
    assert explanation.state.subscriptions[0].snapshot.status == "active"


async def test_a_message_before_the_first_event_is_explained(loop: Loop) -> None:
    """An operation may be all that ever happened, and its answer comes before any event."""
    basis = ProvisionalBasis(tenant_id=ACME, operation_key="bo_1", answered_at=AT)
    await loop.service().ingest_subscription_snapshot(subscription(status="active"), basis)
    (only,) = (await explained(loop)).timeline
    assert (only.decision, only.transitions[0].sequence) == ("no event: operation", 1)
    await loop.arrive(loop.says(subscription(status="past_due"), at=600))
    timeline = (await explained(loop)).timeline
    assert [(entry.event is None, entry.transitions[0].sequence) for entry in timeline] == [(True, 1), (False, 2)]
    assert [entry.event is None for entry in (await explained(loop, since=AT + timedelta(seconds=1))).timeline] == [
        False
    ]


async def test_the_verdict_names_the_test_clock_that_decides(loop: Loop) -> None:
    """It is not the time of the database."""
    clock = ClockSnapshot(clock_id="clock_1", frozen_at=AT + timedelta(days=400))
    ending = subscription(cancel_at=clock.frozen_at, test_clock=clock.clock_id)
    await loop.arrive(loop.provider.event("evt_clock", Translation(snapshots=(clock,)), at=AT), loop.says(ending))
    explanation = await explained(loop)
    assert (explanation.verdict.reason, explanation.verdict.test_clock) == ("scheduled_end_passed", "clock_1")
    assert explanation.state.clocks == {"clock_1": clock.frozen_at}
