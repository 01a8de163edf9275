"""A tenant's access, by its subscriptions, open invoices and the clock."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import ACME, AT, MONTH, invoice, item, subscription

from billing_core.model import (
    DELETED,
    NO_SUBSCRIPTION,
    AccessFacts,
    AccessGrant,
    AccessPolicy,
    AccessReason,
    AccessState,
    AccessVerdict,
    EventId,
    Grace,
    InvoiceId,
    Period,
    Plan,
    Provenance,
    SubscriptionId,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantSubscription,
)
from billing_core.testing.builders import grant

NOW = AT + timedelta(days=3)
POLICY = AccessPolicy(past_due_grace=timedelta(days=7))


PROVENANCE = Provenance(observed_at=AT, event_ids=(EventId("evt_1"),))


def evaluate(
    policy: AccessPolicy,
    seen: Iterable[SubscriptionSnapshot],
    now: datetime,
    invoices: Sequence[SubscriptionInvoice] = (),
) -> AccessVerdict:
    """Return the access that a tenant's subscriptions and invoices give."""
    held = [TenantSubscription(tenant_id=ACME, snapshot=each, provenance=PROVENANCE) for each in seen]
    return policy.evaluate(AccessFacts(subscriptions=held, invoices=invoices), now)


def owed(invoice_id: str = "in_1", *failed_at: datetime, **fields: Any) -> SubscriptionInvoice:
    """Return an open invoice of the subscription."""
    seen = attrs.evolve(invoice(), invoice_id=InvoiceId(invoice_id), **fields)
    return SubscriptionInvoice(tenant_id=ACME, snapshot=seen, provenance=PROVENANCE, failed_at=failed_at)


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
    """The reason is the deciding status; the list of reasons is closed."""
    verdict = evaluate(POLICY, [subscription(status=status)], NOW)
    assert verdict.state is state
    assert verdict.reason == ("other_status" if status == "a_word_of_tomorrow" else status)


def test_a_tenant_without_a_subscription_is_blocked() -> None:
    """The reason says that there is no subscription."""
    assert evaluate(POLICY, [], NOW) == NO_SUBSCRIPTION


MISSED = NOW - timedelta(days=1)


@pytest.mark.parametrize("bill", [owed("in_1", MISSED), owed(due_at=MISSED)], ids=["failed payment", "due date"])
@pytest.mark.parametrize(
    ("after", "state", "reason"),
    [
        (timedelta(days=7) - timedelta(microseconds=1), AccessState.GRACE, "past_due"),
        (timedelta(days=7), AccessState.READ_ONLY, "past_due_grace_over"),
        (timedelta(days=300), AccessState.READ_ONLY, "past_due_grace_over"),
    ],
    ids=["last moment", "over", "long over"],
)
def test_grace_counts_from_when_money_was_first_missed(
    bill: SubscriptionInvoice, after: timedelta, state: AccessState, reason: str
) -> None:
    """Not from the period: a debit may bounce late in it, and a bill by mail is due at its end."""
    verdict = evaluate(POLICY, [subscription(status="past_due")], MISSED + after, [bill])
    assert (verdict.state, verdict.reason) == (state, reason)
    assert verdict.until == (MISSED + timedelta(days=7) if state is AccessState.GRACE else None)


def test_neither_a_retry_nor_the_next_period_grants_grace_again() -> None:
    """The oldest open invoice counts, by its first failure."""
    invoices = [owed("in_2", NOW), owed("in_1", MISSED, NOW), owed("in_3", due_at=NOW + timedelta(days=30))]
    for order in permutations(invoices):
        assert evaluate(POLICY, [subscription(status="past_due")], NOW, order).until == MISSED + timedelta(days=7)


@pytest.mark.parametrize("status", ["draft", "paid", "void", "uncollectible", DELETED])
def test_only_open_invoices_count_against_grace(status: str) -> None:
    """One that was written off no longer waits for money."""
    invoices = [owed("in_1", MISSED - timedelta(days=90), status=status), owed("in_2", MISSED)]
    assert evaluate(POLICY, [subscription(status="past_due")], NOW, invoices).state is AccessState.GRACE


def test_another_subscription_s_invoice_does_not_count() -> None:
    """Each subscription has its own grace."""
    invoices = [owed("in_1", MISSED - timedelta(days=90), subscription_id=SubscriptionId("sub_9"))]
    assert evaluate(POLICY, [subscription(status="past_due")], NOW, invoices).state is AccessState.GRACE


def test_grace_without_a_missed_payment_has_no_end() -> None:
    """The subscription's event may arrive before the invoice's; that locks no tenant out."""
    verdict = evaluate(POLICY, [subscription(status="past_due")], NOW)
    assert verdict == AccessVerdict(state=AccessState.GRACE, reason=AccessReason.PAST_DUE)


@pytest.mark.parametrize("status", ["active", "trialing", "past_due", "unpaid"])
def test_a_scheduled_end_that_has_passed_blocks(status: str) -> None:
    """Even if its event is never delivered: the verdict named this instant as its end."""
    end = AT + timedelta(days=5)
    seen = subscription(status=status, cancel_at=end)
    assert evaluate(POLICY, [seen], end - timedelta(microseconds=1)).state is not AccessState.BLOCKED
    expected = AccessVerdict(state=AccessState.BLOCKED, reason=AccessReason.SCHEDULED_END_PASSED)
    assert evaluate(POLICY, [seen], end) == expected
    period_end = subscription(status=status, cancel_at_period_end=True)
    assert evaluate(POLICY, [period_end], MONTH.end) == expected


def test_a_trial_that_is_over_blocks_after_an_allowance() -> None:
    """The provider needs a while to say what follows the trial."""
    seen = subscription(status="trialing", trial_ends_at=NOW)
    last = NOW + timedelta(hours=24)
    assert evaluate(POLICY, [seen], last - timedelta(microseconds=1)) == AccessVerdict(
        state=AccessState.FULL, reason=AccessReason.TRIALING, until=last
    )
    assert evaluate(POLICY, [seen], last) == AccessVerdict(state=AccessState.BLOCKED, reason=AccessReason.TRIAL_OVERDUE)
    patient = AccessPolicy(trial_overdue_after=timedelta(days=3))
    assert evaluate(patient, [seen], last).state is AccessState.FULL
    paying = subscription(status="active", trial_ends_at=NOW)
    assert evaluate(POLICY, [paying], last) == AccessVerdict(state=AccessState.FULL, reason=AccessReason.ACTIVE)


ENDS = AT + timedelta(days=5)
"""A scheduled end; the other end is a day before it, or after it."""


@pytest.mark.parametrize(
    ("other", "reason"),
    [(-1, AccessReason.TRIAL_OVERDUE), (1, AccessReason.SCHEDULED_END_PASSED)],
)
def test_of_two_ends_the_first_stays_the_reason(other: int, reason: AccessReason) -> None:
    """A verdict without an end does not change by the clock: nothing would announce it."""
    over = ENDS + timedelta(days=other)
    seen = subscription(status="trialing", cancel_at=ENDS, trial_ends_at=over - POLICY.trial_overdue_after)
    first = evaluate(POLICY, [seen], min(over, ENDS))
    assert first == AccessVerdict(state=AccessState.BLOCKED, reason=reason)
    assert evaluate(POLICY, [seen], ENDS + timedelta(days=9)) == first


@pytest.mark.parametrize(
    ("other", "reason"),
    [(-1, AccessReason.PAST_DUE_GRACE_OVER), (1, AccessReason.SCHEDULED_END_PASSED)],
)
def test_of_a_grace_and_a_scheduled_end_the_first_stays_the_reason(other: int, reason: AccessReason) -> None:
    """The same where the first blocks."""
    over, policy = ENDS + timedelta(days=other), AccessPolicy(states={"past_due": Grace(then=AccessState.BLOCKED)})
    seen, bill = subscription(status="past_due", cancel_at=ENDS), owed("in_1", over - policy.past_due_grace)
    first = evaluate(policy, [seen], min(over, ENDS), [bill])
    assert first == AccessVerdict(state=AccessState.BLOCKED, reason=reason)
    assert evaluate(policy, [seen], ENDS + timedelta(days=9), [bill]) == first


def test_no_verdict_is_older_than_its_own_end() -> None:
    """At the instant that a verdict names, another one holds."""
    seen = [
        subscription(status="trialing", trial_ends_at=NOW),
        subscription(status="past_due"),
        subscription(status="active", cancel_at_period_end=True),
        subscription(status="past_due", cancel_at=AT + timedelta(days=4)),
    ]
    for each in seen:
        verdict = evaluate(POLICY, [each], NOW, [owed("in_1", MISSED)])
        assert verdict.until is not None
        assert verdict.until > NOW
        assert evaluate(POLICY, [each], verdict.until, [owed("in_1", MISSED)]).state is not verdict.state


def test_an_end_after_the_grace_period_is_named() -> None:
    """The verdict changes once more by the clock alone."""
    end = MISSED + timedelta(days=20)
    seen = subscription(status="past_due", cancel_at=end)
    verdict = evaluate(POLICY, [seen], MISSED + timedelta(days=10), [owed("in_1", MISSED)])
    assert verdict == AccessVerdict(state=AccessState.READ_ONLY, reason=AccessReason.PAST_DUE_GRACE_OVER, until=end)


def test_a_blocked_tenant_has_no_end_to_wait_for() -> None:
    """Its access does not change when the subscription ends."""
    seen = subscription(status="incomplete", cancel_at=AT + timedelta(days=5))
    for now in (NOW, AT + timedelta(days=6)):
        assert evaluate(POLICY, [seen], now) == AccessVerdict(state=AccessState.BLOCKED, reason=AccessReason.INCOMPLETE)


def test_paused_collection_is_told_from_paying() -> None:
    """It gives the access of its status, for a reason of its own."""
    verdict = evaluate(POLICY, [subscription(status="active", collection_paused=True)], NOW)
    assert verdict == AccessVerdict(state=AccessState.FULL, reason=AccessReason.COLLECTION_PAUSED)


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
    assert evaluate(POLICY, [seen], NOW, [owed("in_1", MISSED)]).until == AT + timedelta(days=4)


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
        assert verdict == AccessVerdict(state=AccessState.FULL, reason=AccessReason.ACTIVE)


def test_of_equal_verdicts_the_longest_explains() -> None:
    """A scheduled end matters only if no other subscription continues beyond it."""
    ending = subscription("sub_1", cancel_at_period_end=True)
    continuing = subscription("sub_2", "trialing")
    for order in ([ending, continuing], [continuing, ending]):
        assert evaluate(POLICY, order, NOW) == AccessVerdict(state=AccessState.FULL, reason=AccessReason.TRIALING)


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


# --- settings of a team -----------------------------------------------------------------------------------------------


def test_what_follows_grace_is_a_setting() -> None:
    """Of each status with its own span; the reason says which kind of grace is over."""
    policy = AccessPolicy(
        states={
            "past_due": Grace(then=AccessState.BLOCKED),
            "unpaid": Grace(lasts=timedelta(days=30)),
        }
    )
    bills, end = [owed("in_1", MISSED)], MISSED + timedelta(days=90)
    seen = subscription(status="past_due", cancel_at=end)
    assert evaluate(policy, [seen], NOW, bills).until == MISSED + timedelta(days=7)
    assert evaluate(policy, [seen], MISSED + timedelta(days=7), bills) == AccessVerdict(
        state=AccessState.BLOCKED, reason=AccessReason.PAST_DUE_GRACE_OVER
    )
    unpaid = subscription(status="unpaid", cancel_at=end)
    assert evaluate(policy, [unpaid], NOW, bills) == AccessVerdict(
        state=AccessState.GRACE, reason=AccessReason.UNPAID, until=MISSED + timedelta(days=30)
    )
    assert evaluate(policy, [unpaid], MISSED + timedelta(days=30), bills) == AccessVerdict(
        state=AccessState.READ_ONLY, reason=AccessReason.GRACE_OVER, until=end
    )


def test_grace_of_a_bill_that_is_not_due_yet_counts_from_its_due_date() -> None:
    """Its due date is known beforehand, so the end is, too."""
    bills = [owed(due_at=NOW + timedelta(days=2))]
    assert evaluate(POLICY, [subscription(status="past_due")], NOW, bills).until == NOW + timedelta(days=9)


def test_bills_by_mail_have_rules_of_their_own() -> None:
    """Only the statuses that differ are named; cards keep theirs."""
    policy = AccessPolicy(by_mail={"past_due": Grace(lasts=timedelta(days=45)), "unpaid": AccessState.FULL})
    bills = [owed(due_at=MISSED)]

    def state(status: str, method: str | None) -> AccessVerdict:
        return evaluate(policy, [subscription(status=status, collection_method=method)], NOW, bills)

    assert state("past_due", "send_invoice").until == MISSED + timedelta(days=45)
    assert state("past_due", "charge_automatically").until == MISSED + timedelta(days=7)
    assert state("past_due", None).until == MISSED + timedelta(days=7)
    assert state("unpaid", "send_invoice").state is AccessState.FULL
    assert state("unpaid", "charge_automatically").state is AccessState.READ_ONLY
    assert state("active", "send_invoice").state is AccessState.FULL
    assert policy.counts_grace(subscription(status="past_due", collection_method="send_invoice"))
    assert not AccessPolicy(by_mail={"past_due": AccessState.FULL}).counts_grace(
        subscription(status="past_due", collection_method="send_invoice")
    )


PAUSES = {
    "keep_as_draft": AccessState.FULL,
    "mark_uncollectible": AccessState.READ_ONLY,
    "void": AccessState.BLOCKED,
}


@pytest.mark.parametrize("behavior", [*PAUSES, None])
def test_paused_collection_limits_access_by_its_behavior(behavior: str | None) -> None:
    """A behavior that is not listed, or was not kept, leaves the access of the status."""
    policy = AccessPolicy(paused_collection=PAUSES)
    seen = subscription(collection_paused=True, pause_behavior=behavior)
    expected = PAUSES.get(behavior or "", AccessState.FULL)
    assert evaluate(policy, [seen], NOW) == AccessVerdict(state=expected, reason=AccessReason.COLLECTION_PAUSED)
    running = subscription(pause_behavior=behavior)
    assert evaluate(policy, [running], NOW) == AccessVerdict(state=AccessState.FULL, reason=AccessReason.ACTIVE)


def test_a_limit_never_raises_access() -> None:
    """A tenant that may only read because of a debt does not write because collection is paused."""
    policy = AccessPolicy(paused_collection={"void": AccessState.FULL}, unmapped_price=AccessState.READ_ONLY)
    seen = subscription(status="unpaid", collection_paused=True, pause_behavior="void", plan_code=None)
    assert evaluate(policy, [seen], NOW) == AccessVerdict(state=AccessState.READ_ONLY, reason=AccessReason.UNPAID)


def test_a_limited_verdict_names_the_next_end_that_changes_it() -> None:
    """The end of grace changes nothing for a tenant that may only read anyway; the end of the subscription does."""
    policy = AccessPolicy(paused_collection=PAUSES)
    end = MISSED + timedelta(days=20)
    seen = subscription(status="past_due", cancel_at=end, collection_paused=True, pause_behavior="mark_uncollectible")
    bills = [owed("in_1", MISSED)]
    limited = AccessVerdict(state=AccessState.READ_ONLY, reason=AccessReason.COLLECTION_PAUSED, until=end)
    assert evaluate(policy, [seen], NOW, bills) == limited
    assert evaluate(policy, [seen], MISSED + timedelta(days=8), bills) == limited
    assert evaluate(policy, [seen], end, bills).reason is AccessReason.SCHEDULED_END_PASSED
    blocked = attrs.evolve(seen, pause_behavior="void")
    assert evaluate(policy, [blocked], NOW, bills) == AccessVerdict(
        state=AccessState.BLOCKED, reason=AccessReason.COLLECTION_PAUSED
    )


@pytest.mark.parametrize("rule", [AccessState.BLOCKED, AccessState.READ_ONLY])
def test_a_trial_that_was_never_paid_for_may_have_no_grace(rule: AccessState) -> None:
    """Only if the team says so; any payment for the subscription gives it the grace of all others."""
    policy = AccessPolicy(never_paid_trial=rule)
    after_trial, bills = subscription(status="past_due", trial_ends_at=AT), [owed("in_1", MISSED)]
    never = AccessVerdict(state=rule, reason=AccessReason.TRIAL_NEVER_PAID)
    assert evaluate(policy, [after_trial], NOW, bills) == never
    assert evaluate(POLICY, [after_trial], NOW, bills).state is AccessState.GRACE
    assert evaluate(policy, [subscription(status="past_due")], NOW, bills).state is AccessState.GRACE
    free = owed("in_0", status="paid", amount_paid=0)
    assert evaluate(policy, [after_trial], NOW, [*bills, free]) == never
    elsewhere = owed("in_9", status="paid", amount_paid=9, subscription_id=SubscriptionId("sub_9"))
    assert evaluate(policy, [after_trial], NOW, [*bills, elsewhere]) == never
    paid = owed("in_0", status="paid", amount_paid=1900)
    assert evaluate(policy, [after_trial], NOW, [*bills, paid]).state is AccessState.GRACE
    held = TenantSubscription(tenant_id=ACME, snapshot=after_trial, provenance=PROVENANCE)
    basis = AccessFacts(subscriptions=[held], invoices=bills, paying={held.snapshot.subscription_id})
    assert policy.evaluate(basis, NOW).state is AccessState.GRACE


def test_a_trial_that_was_never_paid_for_may_have_a_shorter_grace() -> None:
    """Its reason says why it is shorter, before and after its end."""
    policy = AccessPolicy(never_paid_trial=Grace(lasts=timedelta(days=2)))
    seen, bills, end = subscription(status="past_due", trial_ends_at=AT), [owed("in_1", MISSED)], MISSED + timedelta(2)
    assert evaluate(policy, [seen], NOW, bills) == AccessVerdict(
        state=AccessState.GRACE, reason=AccessReason.TRIAL_NEVER_PAID, until=end
    )
    assert evaluate(policy, [seen], end, bills) == AccessVerdict(
        state=AccessState.READ_ONLY, reason=AccessReason.TRIAL_NEVER_PAID
    )
    same = AccessPolicy(never_paid_trial=AccessState.GRACE)
    assert evaluate(same, [seen], NOW, bills).until == MISSED + timedelta(days=7)


def test_access_while_the_first_payment_is_confirmed_ends_by_the_clock() -> None:
    """The provider gives up within a day; if it does not say so, the access ends nevertheless."""
    policy = AccessPolicy(states={"incomplete": AccessState.FULL})
    seen, last = subscription(status="incomplete"), MONTH.start + timedelta(hours=24)
    assert evaluate(policy, [seen], last - timedelta(microseconds=1)) == AccessVerdict(
        state=AccessState.FULL, reason=AccessReason.INCOMPLETE, until=last
    )
    assert evaluate(policy, [seen], last) == AccessVerdict(
        state=AccessState.BLOCKED, reason=AccessReason.CONFIRMATION_OVERDUE
    )
    patient = attrs.evolve(policy, confirmation_overdue_after=timedelta(days=10))
    assert evaluate(patient, [seen], last).state is AccessState.FULL
    assert evaluate(policy, [subscription(status="incomplete", items=())], NOW).until is None


def test_an_add_on_grants_nothing_by_itself() -> None:
    """Neither access nor a longer one; without a plan that grants any, the reason says so."""
    policy = AccessPolicy().with_plans([Plan(plan_code="storage", grants_access=False), Plan(plan_code="pro")])
    addon = subscription("sub_2", plan_code="storage")
    verdict = AccessVerdict(state=AccessState.BLOCKED, reason=AccessReason.ADDON_ONLY)
    assert evaluate(policy, [addon], NOW) == verdict
    unpaid = subscription("sub_1", "unpaid")
    for order in ([addon, unpaid], [unpaid, addon]):
        assert evaluate(policy, order, NOW).reason is AccessReason.UNPAID
    assert evaluate(AccessPolicy(), [addon], NOW).state is AccessState.FULL
    both = attrs.evolve(policy, addon_plans=frozenset({"seats"})).with_plans(())
    assert both.addon_plans == {"seats"}


def test_the_access_of_an_unknown_plan_is_a_setting() -> None:
    """By default its status decides: a team that forgot to list a price locks no payer out."""
    seen = subscription(plan_code=None, cancel_at=AT + timedelta(days=9))
    assert evaluate(POLICY, [seen], NOW).reason is AccessReason.ACTIVE
    policy = AccessPolicy(unmapped_price=AccessState.READ_ONLY)
    assert evaluate(policy, [seen], NOW) == AccessVerdict(
        state=AccessState.READ_ONLY, reason=AccessReason.UNMAPPED_PRICE, until=AT + timedelta(days=9)
    )
    assert evaluate(policy, [subscription(plan_code="pro")], NOW).reason is AccessReason.ACTIVE


@pytest.mark.parametrize(
    "fields",
    [
        {"unmapped_price": AccessState.GRACE},
        {"open_dispute": AccessState.GRACE},
        {"paused_collection": {"void": AccessState.GRACE}},
    ],
)
def test_grace_is_refused_where_nothing_ends_it(fields: dict[str, Any]) -> None:
    """Only a missed payment starts grace, and nothing follows grace but a state that lasts."""
    with pytest.raises(ValueError, match="grace has no end"):
        AccessPolicy(**fields)
    with pytest.raises(ValueError, match="then: grace has no end"):
        Grace(then=AccessState.GRACE)


# --- grants -----------------------------------------------------------------------------------------------------------


def test_a_grant_gives_full_access_until_it_ends() -> None:
    """At its end what is paid for decides again."""
    end = NOW + timedelta(days=9)
    basis = AccessFacts(grants=[grant(until=end)])
    assert POLICY.evaluate(basis, NOW) == AccessVerdict(state=AccessState.FULL, reason=AccessReason.GRANTED, until=end)
    assert POLICY.evaluate(basis, end) == NO_SUBSCRIPTION
    endless = AccessFacts(grants=[grant(), grant(until=end)])
    assert POLICY.evaluate(endless, NOW).until is None
    revoked = grant(revoked_at=NOW, revoked_by="ops", revoked_reason="over")
    assert POLICY.evaluate(AccessFacts(grants=[revoked]), NOW) == NO_SUBSCRIPTION


def test_a_verdict_rests_on_the_better_or_longer_of_the_two() -> None:
    """Of equal ones on what is paid for."""
    end = NOW + timedelta(days=9)

    def reason(seen: SubscriptionSnapshot, *grants: AccessGrant) -> tuple[AccessReason, datetime | None]:
        held = TenantSubscription(tenant_id=ACME, snapshot=seen, provenance=PROVENANCE)
        verdict = POLICY.evaluate(AccessFacts(subscriptions=[held], grants=grants), NOW)
        return verdict.reason, verdict.until

    assert reason(subscription(), grant()) == (AccessReason.ACTIVE, None)
    assert reason(subscription(cancel_at=end), grant(until=end)) == (AccessReason.ACTIVE, end)
    longer = end + timedelta(days=1)
    assert reason(subscription(cancel_at=end), grant(until=longer)) == (AccessReason.GRANTED, longer)
    assert reason(subscription(cancel_at=longer), grant(until=end)) == (AccessReason.ACTIVE, longer)
    assert reason(subscription(status="unpaid"), grant(until=end)) == (AccessReason.GRANTED, end)
    assert reason(subscription(status="canceled"), grant(until=end)) == (AccessReason.GRANTED, end)


def test_a_grant_of_an_add_on_grants_nothing_by_itself() -> None:
    """As an add-on that is paid for does not."""
    policy = AccessPolicy(addon_plans=frozenset({"pro"}))
    assert policy.evaluate(AccessFacts(grants=[grant()]), NOW) == NO_SUBSCRIPTION


@pytest.mark.parametrize("fields", [{"plan_code": " "}, {"reason": ""}, {"until": datetime(2027, 1, 1)}])  # noqa: DTZ001
def test_a_grant_names_its_plan_and_its_reason_and_ends_at_an_instant(fields: dict[str, Any]) -> None:
    """It is read long after it was made."""
    with pytest.raises(ValueError, match=next(iter(fields))):
        grant(**fields)


def test_an_open_dispute_may_limit_what_is_paid_for() -> None:
    """Only if the team says so; it limits no grant."""
    held = TenantSubscription(tenant_id=ACME, snapshot=subscription(), provenance=PROVENANCE)
    disputed = AccessFacts(subscriptions=[held], disputed=True)
    assert POLICY.evaluate(disputed, NOW).reason is AccessReason.ACTIVE
    policy = AccessPolicy(open_dispute=AccessState.READ_ONLY)
    verdict = AccessVerdict(state=AccessState.READ_ONLY, reason=AccessReason.DISPUTED)
    assert policy.evaluate(disputed, NOW) == verdict
    assert policy.evaluate(attrs.evolve(disputed, disputed=False), NOW).reason is AccessReason.ACTIVE
    assert policy.evaluate(attrs.evolve(disputed, grants=[grant()]), NOW).reason is AccessReason.GRANTED
