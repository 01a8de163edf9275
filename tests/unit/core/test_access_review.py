"""Tenants hear of access that changed by the clock alone, once, with the instant at which it did."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import ACME, AT, MONTH, Loop, invoice, subscription

from billing_app.settings import AccessSettings
from billing_core.events import MessageSource, SourceKind
from billing_core.model import (
    NO_SUBSCRIPTION,
    AccessFacts,
    AccessPolicy,
    AccessReason,
    AccessState,
    AccessVerdict,
    AnnouncedAccess,
    BillingRules,
    CustomerId,
    DisputeSnapshot,
    GrantId,
    Phase,
    ScheduleSnapshot,
)
from billing_core.payloads import BillingEventPayload, loads, source_section
from billing_core.state.access_review import AccessReport, AccessReviewer
from billing_core.state.announcements import access_announcement
from billing_core.state.rules import RulesBook, activate
from billing_core.state.service import BillingService
from billing_memory.state.rules import MemoryRulesRegister

DAY = timedelta(days=1)
TRIAL_END = AT + 5 * DAY
TRIALING = subscription(status="trialing", trial_ends_at=TRIAL_END)
BY_CLOCK = source_section(MessageSource(kind=SourceKind.CLOCK, id=None))


def service(loop: Loop, policy: AccessPolicy | None = None) -> BillingService:
    """Return the service of a process with this policy."""
    own = BillingRules(access=policy or AccessPolicy(), tenants=loop.tenants)
    return BillingService(
        unit_of_work=loop.repository,
        translator=loop.provider,
        rules=RulesBook(own, MemoryRulesRegister(loop.database)),
    )


async def review(loop: Loop, policy: AccessPolicy | None = None) -> AccessReport:
    """Do what a worker does at an interval, in a process that just started with this policy."""
    reviewer = AccessReviewer(
        service=service(loop, policy), every=DAY, publish=loop.messages.extend, observe=lambda _: None
    )
    return await reviewer.run_once()


async def changes(loop: Loop) -> list[BillingEventPayload]:
    """Return the messages of a change by the clock or by the policy."""
    return [each for each in await loop.payloads() if each.event_type == "access.changed"]


def known(loop: Loop) -> AnnouncedAccess:
    """Return what the tenant knows of its access."""
    return loop.database.tables.access[ACME]


async def test_a_trial_that_no_event_ends_is_told_once(loop: Loop) -> None:
    """At the instant that the last message named, however late the worker comes."""
    await loop.arrive(loop.says(TRIALING))
    overdue = TRIAL_END + DAY
    assert (known(loop).due_at, (await loop.payloads())[-1].access.until) == (overdue, overdue)
    loop.clock.advance(overdue - AT - timedelta(microseconds=1))
    await review(loop)
    assert await changes(loop) == []
    loop.clock.advance(7 * DAY)
    assert await review(loop) == AccessReport(reviewed=1, changed={AccessState.BLOCKED: 1})
    (announced,) = await changes(loop)
    assert (announced.sequence, announced.occurred_at, announced.source, announced.stripe_event_id) == (
        2,
        overdue,
        BY_CLOCK,
        None,
    )
    assert (announced.access.state, announced.access.reason, announced.access.until) == (
        "blocked",
        "trial_overdue",
        None,
    )
    assert announced.summary == "Access is blocked (trial overdue)."
    assert (announced.subscription, announced.invoice, announced.usage, announced.status) == (None, None, (), None)
    assert [each.sequence for each in loop.messages][-1:] == [2]
    for _ in range(3):
        loop.clock.advance(DAY)
        assert await review(loop) == AccessReport()
    assert len(await changes(loop)) == 1


async def test_each_change_by_the_clock_is_told(loop: Loop) -> None:
    """Grace ends, and later the subscription."""
    end = AT + 20 * DAY
    await loop.arrive(loop.says(invoice(), payment_failed=True))
    await loop.arrive(loop.says(subscription(status="past_due", cancel_at=end), at=1))
    for _ in range(30):
        loop.clock.advance(DAY)
        await review(loop)
    assert [(each.access.state, each.access.until, each.occurred_at) for each in await changes(loop)] == [
        ("read_only", end, AT + 7 * DAY),
        ("blocked", None, end),
    ]


async def test_news_that_come_before_the_end_replace_it(loop: Loop) -> None:
    """The end of the trial is told by its own event: the clock has nothing to add."""
    await loop.arrive(loop.says(TRIALING))
    await loop.arrive(loop.says(attrs.evolve(TRIALING, status="active"), at=1))
    assert known(loop).due_at is None
    loop.clock.advance(90 * DAY)
    await review(loop)
    assert await changes(loop) == []


async def test_an_event_after_the_end_tells_it_in_place_of_the_clock(loop: Loop) -> None:
    """Any message updates what the tenant knows."""
    await loop.arrive(loop.says(TRIALING))
    loop.clock.advance(30 * DAY)
    await loop.arrive(loop.says(attrs.evolve(TRIALING, collection_paused=True), at=1))
    assert (await loop.payloads())[-1].access.reason == "trial_overdue"
    await review(loop)
    assert await changes(loop) == []


async def test_a_change_that_no_message_told_is_due_at_once(loop: Loop) -> None:
    """A replay in silence changes the verdict; the next review tells it, as of that change."""
    await loop.arrive(loop.says(TRIALING))
    loop.notify = False
    loop.clock.advance(DAY)
    await loop.arrive(loop.says(attrs.evolve(TRIALING, status="unpaid"), at=1))
    since = AT + DAY
    assert (known(loop).due_at, known(loop).verdict.reason) == (since, AccessReason.TRIALING)
    loop.clock.advance(DAY)
    await loop.arrive(loop.says(attrs.evolve(TRIALING, status="unpaid", collection_paused=True), at=2))
    assert known(loop).due_at == since
    await review(loop)
    (announced,) = await changes(loop)
    assert (announced.access.reason, announced.occurred_at) == ("unpaid", since)
    assert known(loop).due_at is None


async def test_a_silent_change_that_is_undone_is_not_told(loop: Loop) -> None:
    """The tenant knows what holds again."""
    await loop.arrive(loop.says(TRIALING))
    loop.notify = False
    await loop.arrive(loop.says(attrs.evolve(TRIALING, status="unpaid"), at=1))
    await loop.arrive(loop.says(TRIALING, at=2))
    assert known(loop).due_at == TRIAL_END + DAY
    await review(loop)
    assert await changes(loop) == []


async def test_a_tenant_that_was_told_nothing_has_nothing_to_compare(loop: Loop) -> None:
    """Imported in silence: its access is noted, and changes from then on are told."""
    loop.notify = False
    await loop.arrive(loop.says(TRIALING))
    assert known(loop).verdict.reason is AccessReason.TRIALING
    await review(loop)
    assert await loop.payloads() == []
    loop.clock.advance(30 * DAY)
    await review(loop)
    assert [each.access.reason for each in await changes(loop)] == ["trial_overdue"]


async def test_messages_of_one_batch_tell_the_last_state(loop: Loop) -> None:
    """The last of them counts, and nothing is due but its own end."""
    later = attrs.evolve(TRIALING, trial_ends_at=TRIAL_END + DAY)
    await loop.arrive(loop.says(TRIALING), loop.says(later, at=1))
    last = (await loop.payloads())[-1]
    assert known(loop).verdict.until == last.access.until == known(loop).due_at == TRIAL_END + 2 * DAY


async def test_another_policy_is_told_as_such(loop: Loop) -> None:
    """Once to each tenant whose verdict differs, in batches; the others hear nothing."""
    await loop.arrive(loop.says(TRIALING))
    paying = subscription("sub_2", customer_id=CustomerId("cus_2"))
    await loop.arrive(loop.says(paying, tenant="globex", customer_id=CustomerId("cus_2")))
    patient = AccessPolicy(trial_overdue_after=3 * DAY)
    loop.clock.advance(DAY)
    await review(loop)
    assert await review(loop, patient) == AccessReport(reviewed=2, changed={AccessState.FULL: 1})
    (announced,) = await changes(loop)
    assert announced.access.until == TRIAL_END + 3 * DAY
    assert announced.summary == "Access is full until 2026-03-09 (trialing)."
    assert announced.source == source_section(MessageSource(kind=SourceKind.CATALOG, id="0"))
    assert announced.occurred_at == AT + DAY
    assert await review(loop, patient) == AccessReport()


async def test_what_an_earlier_release_announced_is_compared_by_the_clock(loop: Loop) -> None:
    """It kept no policy and no end: the change is as old as the review that finds it."""
    await loop.arrive(loop.says(TRIALING))
    announced = AccessVerdict(state=AccessState.FULL, reason=AccessReason.TRIALING)
    loop.database.tables.access[ACME] = AnnouncedAccess(verdict=announced)
    loop.clock.advance(90 * DAY)
    await review(loop)
    (change,) = await changes(loop)
    assert (change.source, change.occurred_at, change.access.reason) == (BY_CLOCK, AT + 90 * DAY, "trial_overdue")


async def test_a_process_with_other_rules_follows_those_in_force(loop: Loop) -> None:
    """Two releases that run side by side would tell each tenant back and forth."""
    await loop.arrive(loop.says(TRIALING))
    await review(loop)
    old, patient = service(loop), BillingRules(access=AccessPolicy(trial_overdue_after=3 * DAY))
    await activate(MemoryRulesRegister(loop.database), patient, actor="ann")
    loop.clock.advance(DAY)
    assert (await old.review_access()).count == 1
    loop.clock.advance(90 * DAY)
    assert (await old.review_access()).count == 1
    assert await review(loop) == AccessReport()
    assert [message.access.until for message in await changes(loop)] == [TRIAL_END + 3 * DAY, None]


@pytest.mark.parametrize("workers", [1, 5])
async def test_any_number_of_workers_tell_each_tenant_once(loop: Loop, workers: int) -> None:
    """Together they review every tenant that is due, whatever the size of a batch."""
    names = [f"tenant-{number}" for number in range(23)]
    for name in names:
        seen = attrs.evolve(TRIALING, subscription_id=f"sub_{name}", customer_id=CustomerId(f"cus_{name}"))
        await loop.arrive(loop.says(seen, tenant=name))
    loop.clock.advance(90 * DAY)
    work = service(loop)

    async def run() -> int:
        reviewed = 0
        while (found := await work.review_access(limit=4)).count:
            reviewed += found.count
            assert found.count <= 4
        return reviewed

    assert sum(await asyncio.gather(*(run() for _ in range(workers)))) == len(names)
    announced = Counter(
        key[0] for key, each in loop.database.tables.messages.items() if each.event_type == "access.changed"
    )
    assert announced == Counter(names)


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        ({"state": AccessState.FULL, "reason": AccessReason.ACTIVE}, "Access is full (active)."),
        (
            {"state": AccessState.GRACE, "reason": AccessReason.PAST_DUE, "until": MONTH.end},
            "Access is full, in a grace period until 2026-04-01 (past due).",
        ),
        (
            {"state": AccessState.READ_ONLY, "reason": AccessReason.PAST_DUE_GRACE_OVER},
            "Access is read-only (past due grace over).",
        ),
    ],
)
async def test_the_sentence_names_the_state_its_end_and_the_reason(verdict: dict[str, Any], sentence: str) -> None:
    """In words that people read."""
    assert access_announcement(AccessVerdict(**verdict)).summary == sentence


def test_the_fingerprint_follows_the_policy_alone() -> None:
    """Equal policies have one, in whatever order they were written; any other setting has another one."""
    same = [
        AccessPolicy(states={"active": AccessState.FULL, "unpaid": AccessState.BLOCKED}, addon_plans=frozenset("ab")),
        AccessPolicy(states={"unpaid": AccessState.BLOCKED, "active": AccessState.FULL}, addon_plans=frozenset("ba")),
    ]
    assert len({each.fingerprint for each in same}) == 1
    assert len(same[0].fingerprint) == 16
    others: list[Callable[[], AccessPolicy]] = [
        AccessPolicy,
        lambda: AccessPolicy(past_due_grace=DAY),
        lambda: AccessPolicy(states={"active": AccessState.FULL}),
        lambda: AccessPolicy(addon_plans=frozenset({"a"})),
        lambda: AccessPolicy(unmapped_price=AccessState.BLOCKED),
    ]
    assert len({make().fingerprint for make in others}) == len(others)


def test_instants_of_a_review_are_aware() -> None:
    """A naive instant would be read in the zone of the machine."""
    verdict = AccessVerdict(state=AccessState.FULL, reason=AccessReason.ACTIVE)
    with pytest.raises(ValueError, match="due_at"):
        AnnouncedAccess(verdict=verdict, due_at=datetime(2026, 3, 1))  # noqa: DTZ001


# --- grants -----------------------------------------------------------------------------------------------------------


async def test_a_grant_is_announced_and_no_event_undoes_it(loop: Loop) -> None:
    """The verdict of every message says on which of the two it rests; the clock announces the end of the grant."""
    end = AT + 40 * DAY
    await loop.arrive(loop.says(attrs.evolve(TRIALING, status="active")))
    made = await service(loop).grant(ACME, plan_code="pro", until=end, reason="goodwill", actor="ops")
    (announced,) = made.events
    payload = (await loop.payloads())[-1]
    assert (announced.event_type, payload.event_type, payload.sequence) == ("grant.added", "grant.added", 2)
    assert payload.source == source_section(MessageSource(kind=SourceKind.GRANT, id=made.grant.grant_id))
    assert (payload.summary, payload.access.reason) == ("Plan pro was granted until 2026-04-10.", "active")
    await loop.arrive(loop.says(attrs.evolve(TRIALING, status="canceled", ended_at=AT), at=2))
    payload = (await loop.payloads())[-1]
    assert (payload.access.state, payload.access.reason, payload.access.until) == ("full", "granted", end)
    state = await loop.repository.state(ACME)
    assert AccessPolicy().evaluate(state.access_facts, state.as_of).reason is AccessReason.GRANTED
    assert [each.grant_id for each in state.grants] == [made.grant.grant_id]
    assert known(loop).due_at == end
    loop.clock.advance(50 * DAY)
    await review(loop)
    payload = (await loop.payloads())[-1]
    assert (payload.event_type, payload.access.reason, payload.occurred_at) == ("access.changed", "canceled", end)


async def test_a_revoked_grant_ends_at_once(loop: Loop) -> None:
    """With one message, by whom and why on record; to revoke it again changes nothing."""
    made = (await service(loop).grant(ACME, plan_code="pro", reason="goodwill", actor="ops")).grant
    loop.clock.advance(DAY)
    revoked = await service(loop).revoke_grant(made.grant_id, reason="a mistake", actor="boss")
    assert revoked is not None
    assert revoked.grant == attrs.evolve(made, revoked_at=AT + DAY, revoked_by="boss", revoked_reason="a mistake")
    assert [(each.event_type, each.access.state) for each in await loop.payloads()] == [
        ("grant.added", "full"),
        ("grant.revoked", "blocked"),
    ]
    assert known(loop).verdict == NO_SUBSCRIPTION
    again = await service(loop).revoke_grant(made.grant_id, reason="again", actor="boss")
    assert again is not None
    assert (again.grant, again.events) == (revoked.grant, ())
    assert await service(loop).revoke_grant(GrantId("grant_9"), reason="none") is None
    await review(loop)
    assert len(await loop.payloads()) == 2


async def test_a_repeated_grant_with_an_id_of_the_caller_s_own_is_one(loop: Loop) -> None:
    """A retry after a lost answer is safe."""
    results = [
        await service(loop).grant(ACME, plan_code="pro", reason="goodwill", grant_id=GrantId("grant_ticket_7"))
        for _ in range(2)
    ]
    assert results[0].grant == results[1].grant
    assert [len(each.events) for each in results] == [1, 0]
    assert len(await loop.payloads()) == 1


async def test_a_grant_that_has_ended_is_refused(loop: Loop) -> None:
    """Nothing is written, and no tenant is created."""
    with pytest.raises(ValueError, match="has passed"):
        await service(loop).grant(ACME, plan_code="pro", until=AT, reason="goodwill")
    assert loop.database.tables.counters == {}


# --- disputes ---------------------------------------------------------------------------------------------------------


async def test_an_open_dispute_decides_from_its_event_on(loop: Loop) -> None:
    """Its message names the limit, so does the next one of anything else, until the dispute is decided."""
    loop.access = AccessSettings(open_dispute=AccessState.READ_ONLY)
    active = attrs.evolve(TRIALING, status="active")
    await loop.arrive(loop.says(active))
    dispute = DisputeSnapshot(dispute_id="dp_1", amount=1, currency="usd", status="needs_response")
    await loop.arrive(loop.says(dispute, customer_id=active.customer_id, at=1))
    await loop.arrive(loop.says(attrs.evolve(active, cancel_at_period_end=True), at=2))
    won = attrs.evolve(dispute, status="won")
    await loop.arrive(loop.says(won, customer_id=active.customer_id, at=3))
    reasons = [each.access.reason for each in await loop.payloads()]
    assert reasons == ["active", "disputed", "disputed", "active"]
    await review(loop, loop.access)
    assert await changes(loop) == []


async def test_a_review_counts_open_disputes(loop: Loop) -> None:
    """They are read with the tenant."""
    active = attrs.evolve(TRIALING, status="active")
    await loop.arrive(loop.says(active))
    dispute = DisputeSnapshot(dispute_id="dp_1", amount=1, currency="usd", status="needs_response")
    await loop.arrive(loop.says(dispute, customer_id=active.customer_id, at=1))
    await review(loop, AccessPolicy(open_dispute=AccessState.READ_ONLY))
    assert [each.access.reason for each in await changes(loop)] == ["disputed"]


# --- policies of hosts ------------------------------------------------------------------------------------------------


class EndsBySchedule(AccessPolicy):
    """A host's policy that limits access as soon as a schedule is going to end a subscription."""

    def evaluate(self, basis: AccessFacts, now: datetime) -> AccessVerdict:
        """Return blocked access while any subscription has a coming phase without items."""
        ends = any(not phase.items for each in basis.subscriptions for phase in each.snapshot.planned)
        return NO_SUBSCRIPTION if ends else super().evaluate(basis, now)


async def test_a_policy_sees_what_was_copied_to_a_subscription(loop: Loop) -> None:
    """A verdict that was decided earlier in the batch is decided again."""
    planned = attrs.evolve(TRIALING, status="active", schedule_id="sub_sched_1")
    schedule = ScheduleSnapshot(
        schedule_id="sub_sched_1",
        subscription_id=planned.subscription_id,
        status="active",
        phases=(Phase(starts_at=MONTH.end),),
    )
    events = [loop.says(planned), loop.says(schedule, customer_id=planned.customer_id, at=1)]
    translated = []
    for event in events:
        claim = (await loop.inbox.record(event, lease=DAY)).claim
        assert claim is not None
        translated.append((claim, loop.provider.translate(event)))
    batch = await service(loop, EndsBySchedule()).apply(translated)
    assert [loads(each.payload).access.state for each in batch.events] == ["full", "blocked"]
