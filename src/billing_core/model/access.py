"""What a tenant may do right now: one pure, configurable policy instead of status words in every frontend."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum

import attrs

from billing_core.model.subscription import SubscriptionSnapshot
from billing_core.model.time import aware


class AccessState(Enum):
    """From most to least; the best of a tenant's subscriptions counts."""

    FULL = "full"
    GRACE = "grace"
    READ_ONLY = "read_only"
    BLOCKED = "blocked"


_BEST_FIRST = {state: rank for rank, state in enumerate(AccessState)}


@attrs.frozen(kw_only=True)
class AccessVerdict:
    """What a tenant may do, why, and until when if nothing else happens. `until` is None for "as it stands"."""

    state: AccessState
    reason: str
    until: datetime | None = attrs.field(default=None, validator=aware)


NO_SUBSCRIPTION = AccessVerdict(state=AccessState.BLOCKED, reason="no_subscription")


@attrs.frozen(kw_only=True)
class AccessPolicy:
    """Maps subscription states to access. `reason` is the deciding status, or `past_due_grace_over`."""

    past_due_grace: timedelta = timedelta(days=7)
    states: Mapping[str, AccessState] = attrs.field(
        factory=lambda: {
            "trialing": AccessState.FULL,
            "active": AccessState.FULL,
            "past_due": AccessState.GRACE,
            "unpaid": AccessState.READ_ONLY,
            "paused": AccessState.READ_ONLY,
        }
    )
    """Statuses that are not listed, unknown ones among them, are blocked."""

    def evaluate(self, subscriptions: Iterable[SubscriptionSnapshot], now: datetime) -> AccessVerdict:
        """The best verdict any of the tenant's subscriptions gives at `now`."""
        verdicts = [(self._judge_one(seen, now), seen) for seen in subscriptions]
        return min(verdicts, key=_preference)[0] if verdicts else NO_SUBSCRIPTION

    def _judge_one(self, seen: SubscriptionSnapshot, now: datetime) -> AccessVerdict:
        state = self.states.get(seen.status, AccessState.BLOCKED)
        if state is AccessState.GRACE:
            return self._grace(seen, now)
        return AccessVerdict(state=state, reason=seen.status, until=_scheduled_end(seen))

    def _grace(self, seen: SubscriptionSnapshot, now: datetime) -> AccessVerdict:
        """Grace counts from the start of the period whose payment failed: state alone decides, not arrival."""
        start = seen.current_period_start
        if start is None:
            return AccessVerdict(state=AccessState.GRACE, reason=seen.status)
        over = start + self.past_due_grace
        if now < over:
            until = min(over, _scheduled_end(seen) or over)
            return AccessVerdict(state=AccessState.GRACE, reason=seen.status, until=until)
        return AccessVerdict(state=AccessState.READ_ONLY, reason=f"{seen.status}_grace_over")


def _preference(judged: tuple[AccessVerdict, SubscriptionSnapshot]) -> tuple[int, bool, float, float, str]:
    """Better state first, then the one that lasts longest, then the latest: it explains best."""
    verdict, seen = judged
    lasting = 0.0 if verdict.until is None else -verdict.until.timestamp()
    latest = seen.ended_at or seen.current_period_start
    age = 0.0 if latest is None else -latest.timestamp()
    return (_BEST_FIRST[verdict.state], verdict.until is not None, lasting, age, seen.subscription_id)


def _scheduled_end(seen: SubscriptionSnapshot) -> datetime | None:
    """When access ends by what is already decided: a set cancellation."""
    if not seen.cancellation_scheduled:
        return None
    return seen.cancel_at or seen.current_period_end
