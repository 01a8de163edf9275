"""A tenant's access, by its subscriptions alone."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import permutations

import pytest
from tests.unit.core.conftest import ACME, AT, MONTH, item, subscription

from billing_core.model import (
    NO_SUBSCRIPTION,
    AccessFacts,
    AccessPolicy,
    AccessState,
    AccessVerdict,
    EventId,
    Period,
    Provenance,
    SubscriptionSnapshot,
    TenantSubscription,
)

NOW = AT + timedelta(days=3)
POLICY = AccessPolicy(past_due_grace=timedelta(days=7))


def evaluate(policy: AccessPolicy, seen: Iterable[SubscriptionSnapshot], now: datetime) -> AccessVerdict:
    """Return the access that a tenant's subscriptions give."""
    provenance = Provenance(observed_at=AT, event_ids=(EventId("evt_1"),))
    held = [TenantSubscription(tenant_id=ACME, snapshot=each, provenance=provenance) for each in seen]
    return policy.evaluate(AccessFacts(subscriptions=held), now)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("trialing", AccessState.FULL),
        ("active", AccessState.FULL),
        ("past_due", AccessState.GRACE),
        ("unpaid", AccessState.READ_ONLY),
        ("paused", AccessState.READ_ONLY),
        ("incomplete", AccessState.BLOCKED),
        ("incomplete_expired", AccessState.BLOCKED),
        ("canceled", AccessState.BLOCKED),
        ("a_word_of_tomorrow", AccessState.BLOCKED),
    ],
)
def test_every_status_has_its_verdict(status: str, state: AccessState) -> None:
    """The reason is the deciding status, verbatim."""
    verdict = evaluate(POLICY, [subscription(status=status)], NOW)
    assert (verdict.state, verdict.reason) == (state, status)


def test_a_tenant_without_a_subscription_is_blocked() -> None:
    """The reason says that there is no subscription."""
    assert evaluate(POLICY, [], NOW) == NO_SUBSCRIPTION


@pytest.mark.parametrize(
    ("after", "state", "reason"),
    [
        (timedelta(days=7) - timedelta(microseconds=1), AccessState.GRACE, "past_due"),
        (timedelta(days=7), AccessState.READ_ONLY, "past_due_grace_over"),
        (timedelta(days=300), AccessState.READ_ONLY, "past_due_grace_over"),
    ],
    ids=["last moment", "over", "long over"],
)
def test_grace_counts_from_the_start_of_the_unpaid_period(after: timedelta, state: AccessState, reason: str) -> None:
    """Not from the arrival of an event, so that the verdict is the same on every machine."""
    verdict = evaluate(POLICY, [subscription(status="past_due")], AT + after)
    assert (verdict.state, verdict.reason) == (state, reason)
    assert verdict.until == (AT + timedelta(days=7) if state is AccessState.GRACE else None)


def test_grace_without_a_period_has_no_end() -> None:
    """Some payloads do not say when the period began; that locks no tenant out."""
    verdict = evaluate(POLICY, [subscription(status="past_due", items=(item(period=None),))], NOW)
    assert verdict == AccessVerdict(state=AccessState.GRACE, reason="past_due")


def test_a_scheduled_cancellation_ends_the_verdict() -> None:
    """Scheduled in either of the two ways."""
    at_period_end = subscription(cancel_at_period_end=True)
    at_instant = subscription(cancel_at=AT + timedelta(days=5))
    assert evaluate(POLICY, [at_period_end], NOW).until == MONTH.end
    assert evaluate(POLICY, [at_instant], NOW).until == AT + timedelta(days=5)
    assert evaluate(POLICY, [subscription()], NOW).until is None


def test_grace_ends_no_later_than_the_subscription() -> None:
    """A subscription that ends sooner ends its grace sooner."""
    seen = subscription(status="past_due", cancel_at=AT + timedelta(days=4))
    assert evaluate(POLICY, [seen], NOW).until == AT + timedelta(days=4)


def test_the_best_of_several_subscriptions_counts() -> None:
    """A tenant that has paid for one is not locked out for another."""
    several = [
        subscription("sub_1", "canceled"),
        subscription("sub_2", "past_due"),
        subscription("sub_3", "active"),
        subscription("sub_4", "unpaid"),
    ]
    for rotation in range(4):
        verdict = evaluate(POLICY, several[rotation:] + several[:rotation], NOW)
        assert verdict == AccessVerdict(state=AccessState.FULL, reason="active")


def test_of_equal_verdicts_the_longest_explains() -> None:
    """A scheduled end matters only if no other subscription continues beyond it."""
    ending = subscription("sub_1", cancel_at_period_end=True)
    continuing = subscription("sub_2", "trialing")
    for order in ([ending, continuing], [continuing, ending]):
        assert evaluate(POLICY, order, NOW) == AccessVerdict(state=AccessState.FULL, reason="trialing")


def test_of_equal_verdicts_that_end_the_last_one_counts() -> None:
    """Access ends with the subscription that ends last."""
    sooner = subscription("sub_1", cancel_at=AT + timedelta(days=4))
    later = subscription("sub_2", cancel_at=AT + timedelta(days=5))
    for order in ([sooner, later], [later, sooner]):
        assert evaluate(POLICY, order, NOW).until == AT + timedelta(days=5)


def test_of_verdicts_that_nothing_tells_apart_always_the_same_explains() -> None:
    """The result does not depend on the order in which rows are read."""
    first, second = subscription("sub_1", "canceled"), subscription("sub_2", "incomplete_expired")
    for order in ([first, second], [second, first]):
        assert evaluate(POLICY, order, NOW).reason == "canceled"


def test_grace_is_a_week_unless_configured() -> None:
    """The default of PAST_DUE_GRACE is the policy's own."""
    assert AccessPolicy() == POLICY


def test_of_ended_subscriptions_the_latest_explains() -> None:
    """The reason is the subscription that ended last, not the one that was read first."""
    for first_id, last_id in (("sub_9", "sub_1"), ("sub_1", "sub_9")):
        first = subscription(first_id, "incomplete_expired", ended_at=AT)
        last = subscription(last_id, "canceled", ended_at=AT + timedelta(days=1))
        for order in ([first, last], [last, first]):
            assert evaluate(POLICY, order, NOW).reason == "canceled"


def test_of_running_subscriptions_the_one_whose_period_began_last_explains() -> None:
    """One without a period explains only if there is no other."""
    before = Period(start=MONTH.start - timedelta(days=31), end=MONTH.start)
    for first_id, second_id, third_id in permutations(("sub_1", "sub_5", "sub_9")):
        timeless = subscription(first_id, "active", items=(item(period=None),))
        older = subscription(second_id, "active", items=(item(period=before),))
        newest = subscription(third_id, "trialing")
        for order in permutations([timeless, older, newest]):
            assert evaluate(POLICY, order, NOW).reason == "trialing"


def test_the_table_of_states_is_a_setting() -> None:
    """A business that gives no grace says so."""
    strict = AccessPolicy(states={"active": AccessState.FULL})
    assert evaluate(strict, [subscription(status="past_due")], NOW).state is AccessState.BLOCKED
