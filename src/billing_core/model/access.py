"""A tenant's access: one pure, configurable policy instead of status words in every frontend."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from functools import cached_property
from typing import Any, Final

import attrs

from billing_core.frozen import frozen
from billing_core.model.grants import AccessGrant
from billing_core.model.identifiers import SubscriptionId
from billing_core.model.invoice import SubscriptionInvoice
from billing_core.model.plan import Plan
from billing_core.model.standing import latest_first
from billing_core.model.subscription import BY_MAIL, SubscriptionSnapshot, TenantSubscription
from billing_core.model.time import aware


class AccessState(Enum):
    """Degrees of access, from most to least; the best of a tenant's subscriptions counts."""

    FULL = "full"
    GRACE = "grace"
    READ_ONLY = "read_only"
    BLOCKED = "blocked"


_BEST_FIRST = {state: rank for rank, state in enumerate(AccessState)}


class AccessReason(StrEnum):
    """Reasons of a verdict: a closed list. Most are the deciding subscription's status."""

    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    UNPAID = "unpaid"
    PAUSED = "paused"
    INCOMPLETE = "incomplete"
    INCOMPLETE_EXPIRED = "incomplete_expired"
    CANCELED = "canceled"
    OTHER_STATUS = "other_status"
    """A status that this version does not know; the subscription shows it verbatim."""
    NO_SUBSCRIPTION = "no_subscription"
    ADDON_ONLY = "addon_only"
    """There are only subscriptions of plans that grant nothing by themselves."""
    COLLECTION_PAUSED = "collection_paused"
    PAST_DUE_GRACE_OVER = "past_due_grace_over"
    GRACE_OVER = "grace_over"
    """Grace of any other status than `past_due` is over."""
    SCHEDULED_END_PASSED = "scheduled_end_passed"
    TRIAL_OVERDUE = "trial_overdue"
    TRIAL_NEVER_PAID = "trial_never_paid"
    """The first payment after a trial failed."""
    CONFIRMATION_OVERDUE = "confirmation_overdue"
    """The first payment was not confirmed in time."""
    UNMAPPED_PRICE = "unmapped_price"
    DISPUTED = "disputed"
    """A payment is disputed, and that is not decided yet."""
    GRANTED = "granted"
    """An operator granted it, and no subscription gives as much for as long."""


_OF_STATUS: Final = {
    reason.value: reason
    for reason in (
        AccessReason.TRIALING,
        AccessReason.ACTIVE,
        AccessReason.PAST_DUE,
        AccessReason.UNPAID,
        AccessReason.PAUSED,
        AccessReason.INCOMPLETE,
        AccessReason.INCOMPLETE_EXPIRED,
        AccessReason.CANCELED,
    )
}


@attrs.frozen(kw_only=True)
class AccessVerdict:
    """A tenant's access, the reason, and when it ends if nothing else happens; `until` is None if no end is set."""

    state: AccessState
    reason: AccessReason
    until: datetime | None = attrs.field(default=None, validator=aware)
    test_clock: str | None = attrs.field(default=None, eq=False)
    """The test clock by which it was decided, and that `until` counts by; None for real time. Tenants are not told."""


NO_SUBSCRIPTION = AccessVerdict(state=AccessState.BLOCKED, reason=AccessReason.NO_SUBSCRIPTION)


@attrs.frozen(kw_only=True)
class AnnouncedAccess:
    """The last verdict that a tenant was told, and when the clock may change it."""

    verdict: AccessVerdict
    due_at: datetime | None = attrs.field(default=None, validator=aware)
    """When to decide again; None while only news can change it."""
    policy: str | None = None
    """The fingerprint of the policy that decided; None if it is not known."""


@frozen(kw_only=True)
class AccessFacts:
    """The part of a tenant's state that decides on its access."""

    subscriptions: Sequence[TenantSubscription] = ()
    """At least those that `StateReader.deciding_subscriptions` returns."""
    invoices: Sequence[SubscriptionInvoice] = ()
    """At least the open ones of subscriptions whose status may give grace."""
    paying: Collection[SubscriptionId] = ()
    """Subscriptions with a known payment, beside those that `invoices` show."""
    disputed: bool = False
    """Whether a dispute of a payment is open."""
    grants: Sequence[AccessGrant] = ()
    """Revoked and ended ones do not count."""
    clocks: Mapping[str, datetime] = attrs.field(factory=dict)
    """Where the test clocks of these subscriptions stand, as far as it is known, by id."""

    def clock_of(self, seen: SubscriptionSnapshot) -> datetime | None:
        """Return where the test clock of a subscription stands; None if it lives in real time, as far as is known."""
        return None if seen.test_clock is None else self.clocks.get(seen.test_clock)

    def missed_at(self, seen: SubscriptionSnapshot) -> datetime | None:
        """Return when the first of a subscription's open invoices was, or will be, missed; None if none says so."""
        owed = (each for each in self._billed(seen.subscription_id) if each.snapshot.status == "open")
        by_clock = self.clock_of(seen) is not None
        missed = (each.missed_by_clock if by_clock else each.missed_at for each in owed)
        return min((at for at in missed if at is not None), default=None)

    def ever_paid(self, subscription_id: SubscriptionId) -> bool:
        """Return whether any money was paid for a subscription; a free invoice is no payment."""
        paid = any(each.snapshot.amount_paid > 0 for each in self._billed(subscription_id))
        return paid or subscription_id in self.paying

    def _billed(self, subscription_id: SubscriptionId) -> Iterable[SubscriptionInvoice]:
        return (each for each in self.invoices if each.snapshot.subscription_id == subscription_id)


def _lasting(_: object, attribute: "attrs.Attribute[Any]", value: AccessState | Mapping[str, AccessState]) -> None:
    """Refuse grace where no missed payment ends it. Raises ValueError."""
    states = value.values() if isinstance(value, Mapping) else [value]
    if AccessState.GRACE in states:
        raise ValueError(f"{attribute.name}: grace has no end here")


@attrs.frozen(kw_only=True)
class Grace:
    """Access for a while after money was missed."""

    lasts: timedelta | None = None
    """None for the policy's own span, `past_due_grace`."""
    then: AccessState = attrs.field(default=AccessState.READ_ONLY, validator=_lasting)


Rule = AccessState | Grace
"""The access of a status; `AccessState.GRACE` is the same as `Grace()`."""
_AFTER_GRACE: Final = frozenset(
    {AccessReason.PAST_DUE_GRACE_OVER, AccessReason.GRACE_OVER, AccessReason.TRIAL_NEVER_PAID}
)
"""Reasons of a state that came down at the end of a grace period."""
_GRACE: Final = Grace()


@attrs.frozen(kw_only=True)
class AccessPolicy:
    """Maps subscription states to access, by the clock: a verdict is never older than its own `until`."""

    trial_overdue_after: timedelta = timedelta(hours=24)
    """How long a trial that is over keeps its access while the provider has not said what follows."""
    confirmation_overdue_after: timedelta = timedelta(hours=24)
    """How long `incomplete` keeps its access, if `states` gives it any: from the start of its first period."""
    past_due_grace: timedelta = timedelta(days=7)
    states: Mapping[str, Rule] = attrs.field(
        factory=lambda: {
            "trialing": AccessState.FULL,
            "active": AccessState.FULL,
            "past_due": AccessState.GRACE,
            "unpaid": AccessState.READ_ONLY,
            "paused": AccessState.READ_ONLY,
        }
    )
    """Statuses that are not listed, unknown ones among them, are blocked."""
    by_mail: Mapping[str, Rule] = attrs.field(factory=dict)
    """Rules that differ for subscriptions whose invoices are sent, by status."""
    never_paid_trial: Rule | None = None
    """In place of grace where a trial was never followed by a payment; None for the same grace."""
    paused_collection: Mapping[str, AccessState] = attrs.field(factory=dict, validator=_lasting)
    """The most access while collection is paused, by behavior: `keep_as_draft`, `mark_uncollectible`, `void`.

    A behavior that is not listed leaves the access of the status.
    """
    unmapped_price: AccessState | None = attrs.field(default=None, validator=attrs.validators.optional(_lasting))
    """The most access while the plan of a subscription is not known; None leaves the access of the status."""
    open_dispute: AccessState | None = attrs.field(default=None, validator=attrs.validators.optional(_lasting))
    """The most access that is paid for while a dispute is open; None leaves the access of the status."""
    addon_plans: frozenset[str] = frozenset()
    """Plans that grant nothing by themselves."""

    @cached_property
    def fingerprint(self) -> str:
        """A short text that is the same for equal policies, in every process."""
        values = sorted(f"{field.name}={_canonical(getattr(self, field.name))}" for field in attrs.fields(AccessPolicy))
        return hashlib.sha256("\n".join(values).encode()).hexdigest()[:16]

    def with_plans(self, plans: Iterable[Plan]) -> "AccessPolicy":
        """Return the same policy, in which the add-ons among these plans grant nothing by themselves."""
        addons = {plan.plan_code for plan in plans if not plan.grants_access}
        return attrs.evolve(self, addon_plans=self.addon_plans | addons)

    def counts_grace(self, seen: SubscriptionSnapshot) -> bool:
        """Return whether invoices decide on the access that a subscription gives."""
        return seen.status in (self._graceful_by_mail if seen.collection_method == BY_MAIL else self._graceful)

    @cached_property
    def grace_statuses(self) -> frozenset[str]:
        """The statuses for which invoices decide on access, at least of some subscriptions."""
        return self._graceful | self._graceful_by_mail

    def evaluate(self, basis: AccessFacts, now: datetime) -> AccessVerdict:
        """Return the best verdict that a grant or any of the tenant's subscriptions gives at `now`.

        What a subscription on a test clock gives is decided for the clock's time in place of `now`.
        """
        paid_for = self._by_subscriptions(basis, now)
        if not basis.grants:
            return paid_for
        granted = [
            AccessVerdict(state=AccessState.FULL, reason=AccessReason.GRANTED, until=each.until)
            for each in basis.grants
            if each.holds(now) and each.plan_code not in self.addon_plans
        ]
        return min([paid_for, *granted], key=_worth)  # of equal ones the first: what is paid for

    def _by_subscriptions(self, basis: AccessFacts, now: datetime) -> AccessVerdict:
        ours = [each.snapshot for each in basis.subscriptions if not each.snapshot.out_of_scope]
        granting = [seen for seen in ours if seen.plan_code not in self.addon_plans]
        if not granting and ours:
            return AccessVerdict(state=AccessState.BLOCKED, reason=AccessReason.ADDON_ONLY)
        if len(granting) == 1:  # as nearly always, and every message shows a verdict
            return self.evaluate_subscription(granting[0], basis, now)
        verdicts = [(self.evaluate_subscription(seen, basis, now), seen) for seen in granting]
        return min(verdicts, key=_preference)[0] if verdicts else NO_SUBSCRIPTION

    def evaluate_subscription(self, seen: SubscriptionSnapshot, basis: AccessFacts, now: datetime) -> AccessVerdict:
        """Return what one subscription gives by itself at `now`, or where its test clock stands; of an add-on, too."""
        clock = basis.clock_of(seen)
        if clock is None:
            return self._evaluate_one(seen, basis, now)
        return attrs.evolve(self._evaluate_one(seen, basis, clock), test_clock=seen.test_clock)

    def _evaluate_one(self, seen: SubscriptionSnapshot, basis: AccessFacts, now: datetime) -> AccessVerdict:
        verdict = self._by_status(seen, basis, now)
        for most, reason in self._limits(seen, basis):
            worse = _BEST_FIRST[verdict.state] - _BEST_FIRST[most]
            if worse > 0 or (worse == 0 and verdict.reason not in _AFTER_GRACE):
                continue  # of equal ones the limit is the reason after a grace period, because it was one before
            until = verdict.until
            while until is not None:  # an end within the limit changes nothing
                following = self._by_status(seen, basis, until)
                if _BEST_FIRST[following.state] > _BEST_FIRST[most]:
                    break
                until = following.until
            verdict = AccessVerdict(state=most, reason=reason, until=until)
        return verdict

    def _limits(self, seen: SubscriptionSnapshot, basis: AccessFacts) -> Sequence[tuple[AccessState, AccessReason]]:
        """Return what limits the access that the status gives."""
        limits = []
        paused = self.paused_collection.get(seen.pause_behavior or "") if seen.collection_paused else None
        if paused is not None:
            limits.append((paused, AccessReason.COLLECTION_PAUSED))
        if self.unmapped_price is not None and seen.plan_code is None:
            limits.append((self.unmapped_price, AccessReason.UNMAPPED_PRICE))
        if self.open_dispute is not None and basis.disputed:
            limits.append((self.open_dispute, AccessReason.DISPUTED))
        return limits

    def _by_status(self, seen: SubscriptionSnapshot, basis: AccessFacts, now: datetime) -> AccessVerdict:
        rule, reason = self._rule(seen), _OF_STATUS.get(seen.status, AccessReason.OTHER_STATUS)
        if isinstance(rule, Grace) and self._never_paid(seen, basis):
            rule, reason = self._never_paid_rule(rule), AccessReason.TRIAL_NEVER_PAID
        if rule is AccessState.BLOCKED:
            return AccessVerdict(state=rule, reason=reason)
        end, (overdue, unheard) = _scheduled_end(seen), self._overdue(seen)
        last = _earlier(end, overdue)
        passed = last is not None and last <= now
        if isinstance(rule, Grace):
            verdict = self._grace(rule, reason, basis.missed_at(seen), last, now if last is None else min(last, now))
        else:
            if seen.collection_paused and seen.status == "active":
                reason = AccessReason.COLLECTION_PAUSED
            verdict = AccessVerdict(state=rule, reason=reason, until=last)
        if passed and verdict.state is not AccessState.BLOCKED:  # what blocked it first stays the reason
            reason = AccessReason.SCHEDULED_END_PASSED if last == end else unheard
            return AccessVerdict(state=AccessState.BLOCKED, reason=reason)
        return verdict

    def _rule(self, seen: SubscriptionSnapshot) -> Rule:
        rules = self._rules_by_mail if seen.collection_method == BY_MAIL else self._rules
        return rules.get(seen.status, AccessState.BLOCKED)

    @cached_property
    def _rules(self) -> Mapping[str, Rule]:
        """The rules by status. They are looked up several times for each event."""
        return _with_grace(self.states)

    @cached_property
    def _rules_by_mail(self) -> Mapping[str, Rule]:
        return _with_grace({**self.states, **self.by_mail})

    @cached_property
    def _graceful(self) -> frozenset[str]:
        """The statuses with a grace period."""
        return frozenset(status for status, rule in self._rules.items() if isinstance(rule, Grace))

    @cached_property
    def _graceful_by_mail(self) -> frozenset[str]:
        return frozenset(status for status, rule in self._rules_by_mail.items() if isinstance(rule, Grace))

    def _never_paid(self, seen: SubscriptionSnapshot, basis: AccessFacts) -> bool:
        if self.never_paid_trial is None or seen.trial_ends_at is None:
            return False
        return not basis.ever_paid(seen.subscription_id)

    def _never_paid_rule(self, default: Grace) -> Rule:
        rule = default if self.never_paid_trial is None else self.never_paid_trial
        return _GRACE if rule is AccessState.GRACE else rule

    def _overdue(self, seen: SubscriptionSnapshot) -> tuple[datetime | None, AccessReason]:
        """Return when a passing status is over for good, unless the provider says by then what follows it."""
        if seen.status == "incomplete":
            began = seen.current_period_start
            due = None if began is None else began + self.confirmation_overdue_after
            return due, AccessReason.CONFIRMATION_OVERDUE
        if seen.status != "trialing" or seen.trial_ends_at is None:
            return None, AccessReason.TRIAL_OVERDUE
        return seen.trial_ends_at + self.trial_overdue_after, AccessReason.TRIAL_OVERDUE

    def _grace(
        self, rule: Grace, reason: AccessReason, missed_at: datetime | None, end: datetime | None, now: datetime
    ) -> AccessVerdict:
        """Count grace from when money was first missed: neither the next period nor a retry grants it again."""
        if missed_at is None:
            return AccessVerdict(state=AccessState.GRACE, reason=reason, until=end)
        over = missed_at + (self.past_due_grace if rule.lasts is None else rule.lasts)
        if now < over:
            return AccessVerdict(state=AccessState.GRACE, reason=reason, until=min(over, end or over))
        if reason is not AccessReason.TRIAL_NEVER_PAID:
            past_due = reason is AccessReason.PAST_DUE
            reason = AccessReason.PAST_DUE_GRACE_OVER if past_due else AccessReason.GRACE_OVER
        return AccessVerdict(state=rule.then, reason=reason, until=None if rule.then is AccessState.BLOCKED else end)


def _with_grace(rules: Mapping[str, Rule]) -> Mapping[str, Rule]:
    """Return the same rules, each grace as an object."""
    return {status: _GRACE if rule is AccessState.GRACE else rule for status, rule in rules.items()}


def _canonical(value: object) -> str:
    """Return a text that does not depend on the order of a mapping or a set."""
    if isinstance(value, Mapping):
        return repr(sorted((str(key), _canonical(each)) for key, each in value.items()))
    return repr(sorted(value)) if isinstance(value, frozenset) else repr(value)


def _worth(verdict: AccessVerdict) -> tuple[int, bool, float]:
    """Rank by better state, then by longer duration."""
    lasting = 0.0 if verdict.until is None else -verdict.until.timestamp()
    return (_BEST_FIRST[verdict.state], verdict.until is not None, lasting)


def _preference(candidate: tuple[AccessVerdict, SubscriptionSnapshot]) -> tuple[int, bool, float, float, str]:
    """Rank by better state, then by longer duration, then by later subscription: that one explains best."""
    verdict, seen = candidate
    return (*_worth(verdict), *latest_first(seen))


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the earlier of two instants that may be unknown."""
    return one if other is None else other if one is None else min(one, other)


def _scheduled_end(seen: SubscriptionSnapshot) -> datetime | None:
    """Return when a scheduled cancellation ends access."""
    if not seen.cancellation_scheduled:
        return None
    return seen.cancel_at or seen.current_period_end
