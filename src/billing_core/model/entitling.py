"""Compiles a tenant's state into its entitlements: plans, add-ons, grants and the provider's own list, over time."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal

import attrs

from billing_core.model.access import AccessFacts, AccessPolicy, AccessState, AccessVerdict
from billing_core.model.features import (
    Allowance,
    Meter,
    Quantity,
    Span,
    TenantEntitlements,
    calendar_window,
)
from billing_core.model.plan import Plan, PlanCatalog
from billing_core.model.plan_feature import PlanFeature, Reset
from billing_core.model.rules import RulesInForce
from billing_core.model.state import TenantState
from billing_core.model.subscription import SubscriptionSnapshot
from billing_core.model.time import Period, end_of
from billing_core.model.usage import UsageRecord

PROVIDER: Final = "provider"
"""The source of features that the provider itself lists for a customer."""
_KEPT: Final = 16_384
"""Different contents that are kept to be shared: tenants of one plan with as many seats have equal ones."""
_NO_METERS: Final[Mapping[str, Meter]] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class _Source:
    """One thing that gives features at an instant."""

    plan: Plan
    granted: bool = False
    seats: int
    read_only: bool
    period: Period | None
    """The billing period; None for a grant, and while it is unknown."""
    metered_periods: Mapping[str, Period] = attrs.field(factory=dict)
    """The periods of the items that bill a feature, where they have one."""

    @property
    def adds(self) -> bool:
        """Whether it adds to what other sources give."""
        return not self.plan.grants_access

    @property
    def name(self) -> str:
        """The name by which a verdict names it."""
        kind = "grant" if self.granted else "addon" if self.adds else "plan"
        return f"{kind}:{self.plan.plan_code}"


@attrs.frozen(kw_only=True)
class _Offer:
    """One feature from one source."""

    feature: PlanFeature
    source: _Source

    @property
    def most(self) -> int | None:
        """The number, for all seats; None for no limit."""
        most = self.feature.most
        return most if most is None or not self.feature.per_seat else most * self.source.seats

    @property
    def rank(self) -> tuple[bool, int, str]:
        """The best one is the lowest."""
        most = self.most
        return most is not None, -(most or 0), self.source.name


def entitlements_of(state: TenantState, rules: RulesInForce) -> TenantEntitlements:
    """Compile what a tenant may use from `state.as_of` on, as long as nothing but the clock changes.

    Metered features count billed usage: the quantities of invoice lines whose period begins within the window.
    """
    basis, policy = state.access_facts, rules.policy
    spans = []
    start: datetime | None = state.as_of
    while start is not None:
        access = policy.evaluate(basis, start)
        until = _next_change(state, policy, basis, access, start)
        spans.append(_span(state, rules, access, start, until))
        start = until
    return TenantEntitlements(
        tenant_id=state.tenant_id,
        sequence=state.sequence,
        generation=rules.generation,
        as_of=state.as_of,
        spans=tuple(spans),
        known=_listed(rules.catalog),
    )


def metered_windows(entitlements: TenantEntitlements) -> Mapping[str, Period]:
    """Return the window of each metered feature at `as_of`; one whose end is unknown is left out."""
    span = entitlements.spans[0]
    return {key: Period(start=each.start, end=each.end) for key, each in span.meters.items() if each.end is not None}


def with_usage(entitlements: TenantEntitlements, used: Mapping[str, Quantity]) -> TenantEntitlements:
    """Return the same with other amounts used in the windows of `metered_windows`. Other features stay as they are."""
    windows = metered_windows(entitlements)

    def measured(span: Span) -> Span:
        meters = {
            key: attrs.evolve(meter, used=used[key])
            if key in used and key in windows and meter.start == windows[key].start
            else meter
            for key, meter in span.meters.items()
        }
        return attrs.evolve(span, meters=meters)

    return attrs.evolve(entitlements, spans=tuple(map(measured, entitlements.spans)))


@lru_cache(maxsize=16)
def _listed(catalog: PlanCatalog) -> frozenset[str]:
    """Return the keys of all plans: one set for all tenants."""
    return frozenset(feature.key for plan in catalog.plans for feature in plan.features)


def _next_change(
    state: TenantState, policy: AccessPolicy, basis: AccessFacts, access: AccessVerdict, now: datetime
) -> datetime | None:
    """Return the next instant at which the clock alone changes something; test clocks stand still."""
    verdicts = [access, *(policy.evaluate_subscription(each.snapshot, basis, now) for each in state.subscriptions)]
    ends = [each.until for each in verdicts if each.test_clock is None]
    ends += [grant.until for grant in state.grants if grant.holds(now)]
    return min((end for end in ends if end is not None and end > now), default=None)


def _span(
    state: TenantState, rules: RulesInForce, access: AccessVerdict, now: datetime, until: datetime | None
) -> Span:
    offers: defaultdict[str, list[_Offer]] = defaultdict(list)
    for source in _sources(state, rules, now):
        for feature in source.plan.features:
            if feature.enabled:
                offers[feature.key].append(_Offer(feature=feature, source=source))
    usage = _by_feature(state.usage)
    allowances, meters = {}, {}
    for key in sorted({*offers, *state.features}):
        allowance, base = _allowance(offers.get(key, ()), provided=key in state.features)
        allowances[key] = allowance
        if base is not None and allowance.kind == "metered":
            meters[key] = _meter(base, allowance.reset, usage.get(key, ()), now)
    return Span(
        until,
        access if access.until is not None or access.test_clock else _shared_verdict(access),
        _shared(tuple(allowances.items())),
        meters or _NO_METERS,
    )


def _sources(state: TenantState, rules: RulesInForce, now: datetime) -> Iterator[_Source]:
    for each in state.subscriptions:
        seen = each.snapshot
        verdict = rules.policy.evaluate_subscription(seen, state.access_facts, now)
        if seen.out_of_scope or verdict.state is AccessState.BLOCKED:
            continue
        yield from _of_subscription(seen, rules.catalog, read_only=verdict.state is AccessState.READ_ONLY)
    for grant in state.grants:
        plan = rules.catalog.plan(grant.plan_code)
        if plan is not None and grant.holds(now):
            seats = 1 if plan.seats is None else plan.seats.minimum
            yield _Source(plan=plan, granted=True, seats=seats, read_only=False, period=None)


def _of_subscription(seen: SubscriptionSnapshot, catalog: PlanCatalog, *, read_only: bool) -> Iterator[_Source]:
    """Yield the plan that names a subscription, and each add-on among its items with its own quantity."""
    start, end = seen.current_period_start, seen.current_period_end
    period = Period(start=start, end=end) if start is not None and end is not None and start <= end else None
    metered = {item.feature_key: item.period for item in seen.items if item.feature_key and item.period}
    seats = _quantities(seen, catalog)
    if seen.plan_code is not None:
        seats[seen.plan_code] = 1 if seen.seat_count is None else seen.seat_count
    for code, count in sorted(seats.items()):
        plan = catalog.plan(code)
        if plan is not None and (code == seen.plan_code or (not plan.grants_access and count > 0)):
            yield _Source(plan=plan, seats=count, read_only=read_only, period=period, metered_periods=metered)


def _quantities(seen: SubscriptionSnapshot, catalog: PlanCatalog) -> dict[str, int]:
    """Return the plans of the items of a subscription with the largest quantity of each; 1 where none is shown."""
    quantities: dict[str, int] = {}
    for item in seen.items:
        place = catalog.place_of(item)
        if place is not None:
            quantity = 1 if item.quantity is None else item.quantity
            quantities[place.plan_code] = max(quantities.get(place.plan_code, 0), quantity)
    return quantities


def _allowance(offers: Sequence[_Offer], *, provided: bool) -> tuple[Allowance, _Offer | None]:
    """Return what all offers of a feature give together, and the one whose window counts.

    Of plans and grants the best counts, and add-ons add to it. What is `read_only` counts only where nothing else gives
    the feature. The provider's list turns a feature on; numbers come from plans alone.
    """
    usable = [each for each in offers if not each.source.read_only]
    counting = usable or list(offers)
    sources = {each.source.name for each in counting}
    if provided:
        sources.add(PROVIDER)
    if not counting:
        return _switch(sources, frozen=False, read_only="allow"), None
    bases = [each for each in counting if not each.source.adds]
    base = min(bases or counting, key=lambda each: each.rank)
    added = [each for each in counting if each.source.adds and each is not base]
    feature, frozen = base.feature, not usable
    read_only = feature.read_only or ("allow" if feature.kind == "switch" else "refuse")
    if feature.kind == "switch":
        return _switch(sources, frozen=frozen, read_only=read_only), None
    amounts = [each.most for each in (base, *added)]
    hard = feature.hard and not any(each.most is not None and not each.feature.hard for each in added)
    allowance = Allowance(
        kind=feature.kind,
        limit=None if None in amounts else sum(each for each in amounts if each is not None),
        hard=hard,
        reset=(feature.reset or "period") if feature.metered else None,
        frozen=frozen,
        read_only=read_only,
        sources=tuple(sorted(sources)),
    )
    return allowance, base


@lru_cache(maxsize=256)
def _switch_of(sources: tuple[str, ...], frozen: bool, read_only: Literal["allow", "refuse"]) -> Allowance:
    return Allowance(kind="switch", frozen=frozen, read_only=read_only, sources=sources)


def _switch(sources: Iterable[str], *, frozen: bool, read_only: Literal["allow", "refuse"]) -> Allowance:
    return _switch_of(tuple(sorted(sources)), frozen, read_only)


def _meter(base: _Offer, reset: Reset | None, usage: Iterable[UsageRecord], now: datetime) -> Meter:
    """Return the billed usage in the window of an instant. For a grant, the calendar month is the billing period."""
    if reset is not None and reset != "period":
        window = calendar_window(reset, now)
        start, end = window.start, end_of(window)
    else:
        source = base.source
        period = source.metered_periods.get(base.feature.key, source.period)
        period = calendar_window("month", now) if period is None else period
        start, end = (period.start, period.end) if now < period.end else (period.end, None)
    used = sum((each.quantity for each in usage if _begins_within(each.period, start, end)), Decimal(0))
    return Meter(start, end, int(used) if used == used.to_integral_value() else used)


def _begins_within(period: Period | None, start: datetime, end: datetime | None) -> bool:
    return period is not None and start <= period.start and (end is None or period.start < end)


def _by_feature(usage: Iterable[UsageRecord]) -> Mapping[str, Sequence[UsageRecord]]:
    found: defaultdict[str, list[UsageRecord]] = defaultdict(list)
    for record in usage:
        found[record.feature_key].append(record)
    return found


@lru_cache(maxsize=_KEPT)
def _shared(allowances: tuple[tuple[str, Allowance], ...]) -> Mapping[str, Allowance]:
    """Return one mapping for all tenants that have the same."""
    return MappingProxyType(dict(allowances))


@lru_cache(maxsize=_KEPT)
def _shared_verdict(verdict: AccessVerdict) -> AccessVerdict:
    return verdict
