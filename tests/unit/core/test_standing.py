"""Access by one subscription of each standing is the access by all."""

from datetime import datetime, timedelta
from itertools import product
from typing import Any, Final

import attrs
import pytest

from billing_core.model import (
    AccessFacts,
    AccessPolicy,
    AccessState,
    Standing,
    SubscriptionSnapshot,
    TenantSubscription,
    latest_first,
    standing_of,
)
from billing_core.model.access import Grace
from billing_core.testing.builders import AT, invoice, item, month, subscription

STATUSES: Final = ("active", "canceled", "past_due", "trialing", "unpaid", "incomplete", "incomplete_expired", "paused")
DIFFERENCES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"status": "active"},
    {"status": "canceled"},
    {"trial_ends_at": AT + timedelta(days=20)},
    {"plan_code": None},
    {"plan_code": "extra"},
    {"collection_method": "send_invoice"},
    {"collection_paused": True, "pause_behavior": "void"},
    {"collection_paused": True, "pause_behavior": "keep_as_draft"},
    {"out_of_scope": True},
    {"cancel_at_period_end": True},
    {"cancel_at": AT + timedelta(days=20)},
)
POLICIES: Final = (
    AccessPolicy(addon_plans=frozenset({"extra"})),
    AccessPolicy(
        states={
            "active": AccessState.FULL,
            "incomplete": AccessState.FULL,
            "trialing": AccessState.FULL,
            "unpaid": Grace(lasts=timedelta(days=2)),
            "canceled": AccessState.READ_ONLY,
        },
        by_mail={"active": AccessState.READ_ONLY, "paused": AccessState.GRACE},
        paused_collection={"void": AccessState.READ_ONLY},
        unmapped_price=AccessState.BLOCKED,
        addon_plans=frozenset({"extra"}),
    ),
)


def deciding(held: list[TenantSubscription], policy: AccessPolicy) -> list[TenantSubscription]:
    """Return the latest of each standing, and all that have none or whose access invoices decide on."""
    latest: dict[Standing | str, SubscriptionSnapshot] = {}
    for each in held:
        seen = each.snapshot
        standing = None if seen.status in policy.grace_statuses else standing_of(seen)
        key = seen.subscription_id if standing is None else standing
        latest[key] = min(latest.get(key, seen), seen, key=latest_first)
    return [each for each in held if each.snapshot in latest.values()]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("policy", POLICIES, ids=["usual", "own"])
@pytest.mark.parametrize("now", [AT + timedelta(days=days) for days in (1, 25, 45)], ids=str)
def test_the_latest_of_each_standing_decides_as_all_do(status: str, policy: AccessPolicy, now: datetime) -> None:
    """Of an earlier and a later subscription, however they differ; invoices are missed for the earlier one only."""
    bills = [invoice("in_1", due_at=AT), invoice("in_2", subscription_id="sub_2", due_at=AT + timedelta(days=44))]
    for one, other in product(DIFFERENCES, repeat=2):
        held = []
        for number, difference in enumerate((one, other), start=1):
            fields = {"status": status, "items": (item(period=month(number)),), **difference}
            over = AT + timedelta(days=number) if fields["status"] in ("canceled", "incomplete_expired") else None
            held.append(subscription(f"sub_{number}", ended_at=over, **fields))
        basis = AccessFacts(subscriptions=held, invoices=bills)
        few = attrs.evolve(basis, subscriptions=deciding(held, policy))
        assert policy.evaluate(few, now) == policy.evaluate(basis, now), (one, other)
