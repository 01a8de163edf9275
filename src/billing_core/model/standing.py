"""Subscriptions of one tenant that give the same access: a single one of them stands for all."""

from typing import NamedTuple

from billing_core.model.subscription import SubscriptionSnapshot

_PASSING = frozenset({"trialing", "incomplete"})
"""Statuses whose access ends by the clock."""


class Standing(NamedTuple):
    """Everything that decides on the access that a subscription gives, where neither time nor invoices do."""

    status: str
    plan_code: str | None
    collection_method: str | None
    collection_paused: bool
    pause_behavior: str | None
    out_of_scope: bool


def standing_of(seen: SubscriptionSnapshot) -> Standing | None:
    """Return the standing of a subscription; None if the access that it gives may end by the clock.

    Subscriptions of a tenant with an equal standing give the same verdict, at any time and by any policy that counts no
    grace for their status.
    """
    passing = seen.status in _PASSING or seen.cancellation_scheduled or seen.test_clock is not None
    if passing and not seen.ended:
        return None
    return Standing(
        status=seen.status,
        plan_code=seen.plan_code,
        collection_method=seen.collection_method,
        collection_paused=seen.collection_paused,
        pause_behavior=seen.pause_behavior,
        out_of_scope=seen.out_of_scope,
    )


def latest_first(seen: SubscriptionSnapshot) -> tuple[float, str]:
    """Return the key by which the later of two subscriptions comes first: the one that explains best."""
    latest = seen.ended_at or seen.current_period_start
    return 0.0 if latest is None else -latest.timestamp(), seen.subscription_id
