"""Subscriptions on test clocks give access by the time of their clocks, as the clocks' events show it."""

from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import ACME, ALICE, AT, BOB, GLOBEX, Loop, invoice, subscription

from billing_app.settings import AccessSettings
from billing_core.events import Disposition, Effect, ProviderEvent, Translation
from billing_core.model import (
    AccessFacts,
    AccessPolicy,
    AccessReason,
    AccessState,
    AccessVerdict,
    ClockSnapshot,
    CustomerId,
    EventId,
    Provenance,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantId,
    TenantSubscription,
)
from billing_core.model.access import Grace
from billing_core.payloads import BillingEventPayload
from billing_core.state.refetch import RefetchResult
from billing_core.testing.builders import grant
from billing_memory.gateway import MemoryGateway
from billing_memory.state.transaction import MemoryTransaction

DAY = timedelta(days=1)
POLICY = AccessPolicy()
BASIS = Provenance(observed_at=AT, event_ids=(EventId("evt_1"),))
CLOCK = "clock_1"
TRIAL_END = AT + 400 * DAY
"""Far ahead of real time, as the clock is."""
TRIALING = subscription(status="trialing", trial_ends_at=TRIAL_END, test_clock=CLOCK)
OVERDUE = TRIAL_END + POLICY.trial_overdue_after
FULL = AccessVerdict(state=AccessState.FULL, reason=AccessReason.TRIALING, until=OVERDUE)
BLOCKED = AccessVerdict(state=AccessState.BLOCKED, reason=AccessReason.TRIAL_OVERDUE)


def evaluate(
    *seen: SubscriptionSnapshot, now: datetime = AT, clock: datetime | None = None, **fields: Any
) -> AccessVerdict:
    """Return the access at a real time, with the clock where it was last seen, if it was."""
    held = [TenantSubscription(tenant_id=ACME, snapshot=each, provenance=BASIS) for each in seen]
    clocks = {} if clock is None else {CLOCK: clock}
    return POLICY.evaluate(AccessFacts(subscriptions=held, clocks=clocks, **fields), now)


def owed(*failed_at: datetime, **fields: Any) -> SubscriptionInvoice:
    """Return an open invoice of the subscription."""
    return SubscriptionInvoice(
        tenant_id=ACME, snapshot=invoice(**fields), provenance=BASIS, failed_at=tuple(sorted(failed_at))
    )


# --- the policy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clock", "verdict"), [(OVERDUE - timedelta(seconds=1), FULL), (OVERDUE, BLOCKED), (OVERDUE + 900 * DAY, BLOCKED)]
)
@pytest.mark.parametrize("now", [AT, AT + 5000 * DAY], ids=["real time before", "real time after"])
def test_the_clock_decides_in_place_of_real_time(now: datetime, clock: datetime, verdict: AccessVerdict) -> None:
    """Wherever real time stands; the verdict names the clock that `until` counts by."""
    found = evaluate(TRIALING, now=now, clock=clock)
    assert found == verdict
    assert found.test_clock == CLOCK


@pytest.mark.parametrize("seen", [TRIALING, attrs.evolve(TRIALING, test_clock="clock_2")], ids=["unseen", "another"])
def test_real_time_decides_until_the_clock_was_seen(seen: SubscriptionSnapshot) -> None:
    """Another clock that was seen says nothing about it."""
    clock = None if seen.test_clock == CLOCK else OVERDUE
    assert evaluate(seen, now=AT, clock=clock) == FULL
    assert evaluate(seen, now=OVERDUE, clock=None) == BLOCKED
    assert evaluate(seen, now=AT, clock=clock).test_clock is None


def test_a_subscription_without_a_clock_lives_in_real_time_beside_one_with_a_clock() -> None:
    """The best of both counts, and says by which time."""
    real = subscription("sub_2", status="trialing", trial_ends_at=AT + DAY)
    assert evaluate(TRIALING, real, now=AT, clock=OVERDUE).test_clock is None
    assert evaluate(TRIALING, real, now=AT + 30 * DAY, clock=AT) == FULL
    assert evaluate(TRIALING, real, now=AT + 30 * DAY, clock=OVERDUE).state is AccessState.BLOCKED


@pytest.mark.parametrize("failed_at", [AT, AT + 5000 * DAY], ids=["clock ahead of real time", "clock behind it"])
def test_grace_counts_from_the_first_attempt_by_the_clock(failed_at: datetime) -> None:
    """The event of a failure is dated in real time, which says nothing about the clock."""
    finalized = AT + 400 * DAY
    late = subscription(status="past_due", test_clock=CLOCK)
    for fields in ({"finalized_at": finalized, "created_at": AT}, {"created_at": finalized}, {"due_at": finalized}):
        bills = [owed(failed_at, **fields)]
        found = evaluate(late, now=failed_at, clock=finalized + DAY, invoices=bills)
        assert (found.state, found.until) == (AccessState.GRACE, finalized + POLICY.past_due_grace)
        over = evaluate(late, now=failed_at, clock=finalized + POLICY.past_due_grace, invoices=bills)
        assert over.reason is AccessReason.PAST_DUE_GRACE_OVER


def test_an_invoice_whose_payment_never_failed_starts_no_grace() -> None:
    """It is open because it was just finalized."""
    late = subscription(status="past_due", test_clock=CLOCK)
    found = evaluate(late, clock=AT + 400 * DAY, invoices=[owed(finalized_at=AT)])
    assert (found.state, found.until) == (AccessState.GRACE, None)


def test_grants_end_in_real_time() -> None:
    """An operator made them by the calendar."""
    canceled, until = attrs.evolve(TRIALING, status="canceled"), AT + DAY
    found = evaluate(canceled, now=AT, clock=OVERDUE, grants=[grant(until=until)])
    assert (found.reason, found.until, found.test_clock) == (AccessReason.GRANTED, until, None)
    assert evaluate(canceled, now=until, clock=AT, grants=[grant(until=until)]).reason is AccessReason.CANCELED


# --- the loop -------------------------------------------------------------------------------------------------------


def moved(loop: Loop, to: datetime, *, at: int = 1, clock: str = CLOCK) -> ProviderEvent:
    """Return an event that shows where the clock stands."""
    seen = ClockSnapshot(clock_id=clock, frozen_at=to)
    created_at = AT + timedelta(seconds=at)
    return loop.provider.event(f"evt_{clock}_{to.isoformat()}", Translation(snapshots=(seen,)), at=created_at)


async def access(loop: Loop, tenant_id: TenantId = ACME) -> AccessVerdict:
    """Return the verdict that `/state` shows."""
    state = await loop.repository.state(tenant_id)
    return POLICY.evaluate(state.access_facts, state.as_of)


async def review(loop: Loop) -> int:
    """Do what a worker does at an interval, until nothing is due; return how many tenants were."""
    service, count = loop.service(), 0
    while found := (await service.review_access()).count:
        count += found
        assert count < 100, "a tenant stays due"
    return count


async def changes(loop: Loop, tenant_id: TenantId = ACME) -> list[BillingEventPayload]:
    """Return the messages about access alone."""
    return [each for each in await loop.payloads(tenant_id) if each.event_type == "access.changed"]


async def test_a_tenant_is_told_once_when_its_clock_passes_an_end(loop: Loop) -> None:
    """As soon as the clock's event is applied, whatever time it is; nothing is due by real time."""
    (outcome,) = await loop.arrive(moved(loop, AT))
    assert (outcome.disposition, outcome.effect, outcome.tenant_id) == (Disposition.APPLIED, Effect.CHANGED, None)
    await loop.arrive(loop.says(TRIALING, at=2))
    assert (await loop.payloads())[-1].access.until == OVERDUE
    assert loop.database.tables.access[ACME].due_at is None
    loop.clock.advance(9000 * DAY)
    assert await review(loop) == 0
    await loop.arrive(moved(loop, OVERDUE, at=3))
    assert await access(loop) == BLOCKED
    assert loop.database.tables.access[ACME].due_at == loop.clock.now()
    assert await review(loop) == 1
    (message,) = await changes(loop)
    assert (message.access.state, message.access.reason, message.source.kind) == ("blocked", "trial_overdue", "clock")
    assert message.occurred_at == AT + 9000 * DAY
    await loop.arrive(moved(loop, OVERDUE + DAY, at=4))
    loop.clock.advance(DAY)
    assert await review(loop) == 0


async def test_a_clock_that_changes_no_verdict_makes_nothing_due(loop: Loop) -> None:
    """It moved within the trial."""
    await loop.arrive(moved(loop, AT), loop.says(TRIALING))
    await loop.arrive(moved(loop, TRIAL_END, at=2))
    assert await review(loop) == 0
    assert len(await loop.payloads()) == 1


@pytest.mark.parametrize(("access", "decides"), [(AccessState.READ_ONLY, False), (Grace(lasts=DAY), True)])
async def test_a_clock_decides_on_an_ended_subscription_only_in_grace(
    loop: Loop, access: AccessState | Grace, decides: bool
) -> None:
    """Otherwise its access is the same at any time, and a changed policy waits for the review of access."""
    await loop.arrive(moved(loop, AT), loop.says(attrs.evolve(TRIALING, status="canceled", ended_at=AT)))
    announced = loop.database.tables.access[ACME]
    loop.access = AccessSettings(states={"canceled": access})
    await loop.arrive(moved(loop, OVERDUE, at=2))
    assert (loop.database.tables.access[ACME] != announced) == decides


async def test_the_latest_time_of_a_clock_counts_in_any_order(loop: Loop) -> None:
    """Of the clock's events and the subscription's: in one batch and one by one."""
    for together in (True, False):
        for order in permutations(range(4)):
            loop = Loop()
            events = [
                moved(loop, AT, at=1),
                moved(loop, AT + DAY, at=9),
                moved(loop, OVERDUE, at=3),
                loop.says(TRIALING, at=2),
            ]
            await loop.arrive_all([events[number] for number in order], together=together)
            await review(loop)
            assert await access(loop) == BLOCKED
            assert (await loop.payloads())[-1].access.reason == "trial_overdue"
            assert loop.database.tables.access[ACME].due_at is None
            assert len(await loop.payloads()) <= 2


async def test_a_clock_s_event_within_a_batch_decides_for_later_messages_of_it(loop: Loop) -> None:
    """A verdict that was decided before is decided again."""
    await loop.arrive(moved(loop, AT), loop.says(TRIALING))
    later = attrs.evolve(TRIALING, collection_paused=True)
    await loop.arrive(moved(loop, OVERDUE, at=4), loop.says(later, at=3), loop.says(TRIALING, at=5, before=later))
    assert [each.access.reason for each in await loop.payloads()] == ["trialing", "trialing", "trial_overdue"]
    assert await review(loop) == 0


async def test_all_tenants_on_a_clock_are_due_and_no_others(loop: Loop) -> None:
    """Found by their subscriptions."""
    theirs = attrs.evolve(TRIALING, subscription_id="sub_2", customer_id=BOB)
    other = attrs.evolve(TRIALING, subscription_id="sub_3", customer_id=CustomerId("cus_3"), test_clock="clock_2")
    await loop.arrive(
        *(moved(loop, AT, clock=clock) for clock in (CLOCK, "clock_2")),
        loop.says(TRIALING),
        loop.says(theirs, tenant=GLOBEX),
        loop.says(other, tenant=TenantId("initech")),
    )
    await loop.arrive(moved(loop, OVERDUE, at=2))
    assert await review(loop) == 2
    assert [len(await changes(loop, TenantId(each))) for each in ("acme", "globex", "initech")] == [1, 1, 0]


async def test_a_tenant_that_comes_to_a_clock_while_it_moves_is_not_missed(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit of work that moves the clock finds it under the lock, and starts over."""
    await loop.arrive(moved(loop, AT), loop.says(TRIALING))
    find, asked = MemoryTransaction.tenants_on, []

    async def find_too_early(transaction: MemoryTransaction, clocks: Any) -> Any:
        asked.append(clocks)
        return () if len(asked) == 1 else await find(transaction, clocks)

    monkeypatch.setattr(MemoryTransaction, "tenants_on", find_too_early)
    await loop.arrive(moved(loop, OVERDUE, at=2))
    assert len(asked) == 4
    assert await review(loop) == 1
    assert [each.access.reason for each in await changes(loop)] == ["trial_overdue"]


async def test_a_subscription_takes_its_clock_to_another_tenant(loop: Loop) -> None:
    """Both are told the right access, and the new one hears of the clock from then on."""
    await loop.arrive(moved(loop, AT), loop.says(TRIALING))
    await loop.service().move(ALICE, GLOBEX)
    message = (await loop.payloads(GLOBEX))[-1]
    assert (message.access.reason, message.access.until) == ("trialing", OVERDUE)
    assert loop.database.tables.access[GLOBEX].due_at is None
    await loop.arrive(moved(loop, OVERDUE, at=2))
    await review(loop)
    assert (len(await changes(loop)), len(await changes(loop, GLOBEX))) == (0, 1)


async def test_an_answer_of_the_provider_is_decided_by_the_clock(loop: Loop) -> None:
    """Also if it is the first to show the clock."""
    await loop.arrive(moved(loop, OVERDUE), loop.says(subscription(items_complete=False)))
    loop.gateway = MemoryGateway()
    loop.gateway.subscriptions[TRIALING.subscription_id] = Translation(customer_id=ALICE, snapshots=(TRIALING,))
    assert await loop.refetch() == [RefetchResult.REFETCHED.value]
    assert (await loop.payloads())[-1].access.reason == "trial_overdue"


async def test_a_replayed_event_of_a_clock_changes_nothing(loop: Loop) -> None:
    """An earlier one too."""
    first, last = moved(loop, AT), moved(loop, OVERDUE, at=2)
    await loop.arrive(first, loop.says(TRIALING))
    await loop.arrive(last)
    await review(loop)
    for event in (first, last):
        (outcome,) = await loop.replay(event)
        assert outcome.effect in (Effect.STALE, Effect.CONFIRMED)
    assert await review(loop) == 0
    assert await access(loop) == BLOCKED


@pytest.mark.parametrize(("finalized_at", "asked"), [(None, ["sub_1"]), (AT, [])], ids=["unknown", "known"])
async def test_grace_is_worth_a_refetch_while_no_invoice_explains_it_by_the_clock(
    loop: Loop, finalized_at: datetime | None, asked: list[str]
) -> None:
    """A failure alone does not say when it was."""
    failed = loop.says(invoice(finalized_at=finalized_at), payment_failed=True)
    await loop.arrive(moved(loop, AT), failed, loop.says(subscription(status="past_due", test_clock=CLOCK), at=1))
    assert [each.object_id for each in loop.uncertainties] == asked
    assert (await access(loop)).until == (None if asked else AT + POLICY.past_due_grace)
