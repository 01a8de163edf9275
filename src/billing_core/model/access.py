"""A tenant's access: one pure, configurable policy instead of status words in every frontend."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum

import attrs

from billing_core.model.identifiers import SubscriptionId
from billing_core.model.invoice import SubscriptionInvoice
from billing_core.model.subscription import SubscriptionSnapshot, TenantSubscription
from billing_core.model.time import aware


class AccessState(Enum):
    """Degrees of access, from most to least; the best of a tenant's subscriptions counts."""

    FULL = "full"
    GRACE = "grace"
    READ_ONLY = "read_only"
    BLOCKED = "blocked"


_BEST_FIRST = {state: rank for rank, state in enumerate(AccessState)}


@attrs.frozen(kw_only=True)
class AccessVerdict:
    """A tenant's access, the reason, and when it ends if nothing else happens; `until` is None if no end is set."""

    state: AccessState
    reason: str
    until: datetime | None = attrs.field(default=None, validator=aware)


NO_SUBSCRIPTION = AccessVerdict(state=AccessState.BLOCKED, reason="no_subscription")


@attrs.frozen(kw_only=True)
class AccessFacts:
    """The part of a tenant's state that decides on its access."""

    subscriptions: Sequence[TenantSubscription] = ()
    invoices: Sequence[SubscriptionInvoice] = ()
    """At least the open ones of subscriptions whose status may give grace."""

    def missed_at(self, subscription_id: SubscriptionId, now: datetime) -> datetime | None:
        """Return when the first of a subscription's open invoices was missed; None if no invoice says so."""
        missed = (
            invoice.missed_at
            for invoice in self.invoices
            if invoice.snapshot.subscription_id == subscription_id and invoice.snapshot.status == "open"
        )
        return min((at for at in missed if at is not None and at <= now), default=None)


@attrs.frozen(kw_only=True)
class AccessPolicy:
    """Maps subscription states to access, by the clock: a verdict is never older than its own `until`.

    `reason` is the deciding status, or `collection_paused`, `past_due_grace_over`, `scheduled_end_passed` or
    `trial_overdue`.
    """

    trial_overdue_after: timedelta = timedelta(hours=24)
    """How long a trial that is over keeps its access while the provider has not said what follows."""
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

    def counts_grace(self, seen: SubscriptionSnapshot) -> bool:
        """Return whether open invoices decide on the access that a subscription gives."""
        return self.states.get(seen.status) is AccessState.GRACE

    def evaluate(self, basis: AccessFacts, now: datetime) -> AccessVerdict:
        """Return the best verdict that any of the tenant's subscriptions gives at `now`."""
        verdicts = [(self._evaluate_one(each.snapshot, basis, now), each.snapshot) for each in basis.subscriptions]
        return min(verdicts, key=_preference)[0] if verdicts else NO_SUBSCRIPTION

    def _evaluate_one(self, seen: SubscriptionSnapshot, basis: AccessFacts, now: datetime) -> AccessVerdict:
        state = self.states.get(seen.status, AccessState.BLOCKED)
        if state is AccessState.BLOCKED:
            return AccessVerdict(state=state, reason=seen.status)
        end = _scheduled_end(seen)
        if end is not None and end <= now:
            return AccessVerdict(state=AccessState.BLOCKED, reason="scheduled_end_passed")
        overdue = self._trial_overdue_at(seen)
        if overdue is not None and overdue <= now:
            return AccessVerdict(state=AccessState.BLOCKED, reason="trial_overdue")
        if state is AccessState.GRACE:
            return self._grace(seen, basis.missed_at(seen.subscription_id, now), now)
        reason = "collection_paused" if seen.collection_paused and seen.status == "active" else seen.status
        until = min((each for each in (end, overdue) if each is not None), default=None)
        return AccessVerdict(state=state, reason=reason, until=until)

    def _trial_overdue_at(self, seen: SubscriptionSnapshot) -> datetime | None:
        """Return when a trial is over for good, unless the provider says by then what follows it."""
        if seen.status != "trialing" or seen.trial_ends_at is None:
            return None
        return seen.trial_ends_at + self.trial_overdue_after

    def _grace(self, seen: SubscriptionSnapshot, missed_at: datetime | None, now: datetime) -> AccessVerdict:
        """Count grace from when money was first missed: neither the next period nor a retry grants it again."""
        if missed_at is None:
            return AccessVerdict(state=AccessState.GRACE, reason=seen.status, until=_scheduled_end(seen))
        over = missed_at + self.past_due_grace
        if now < over:
            until = min(over, _scheduled_end(seen) or over)
            return AccessVerdict(state=AccessState.GRACE, reason=seen.status, until=until)
        return AccessVerdict(
            state=AccessState.READ_ONLY, reason=f"{seen.status}_grace_over", until=_scheduled_end(seen)
        )


def _preference(candidate: tuple[AccessVerdict, SubscriptionSnapshot]) -> tuple[int, bool, float, float, str]:
    """Rank by better state, then by longer duration, then by later subscription: that one explains best."""
    verdict, seen = candidate
    lasting = 0.0 if verdict.until is None else -verdict.until.timestamp()
    latest = seen.ended_at or seen.current_period_start
    age = 0.0 if latest is None else -latest.timestamp()
    return (_BEST_FIRST[verdict.state], verdict.until is not None, lasting, age, seen.subscription_id)


def _scheduled_end(seen: SubscriptionSnapshot) -> datetime | None:
    """Return when a scheduled cancellation ends access."""
    if not seen.cancellation_scheduled:
        return None
    return seen.cancel_at or seen.current_period_end
