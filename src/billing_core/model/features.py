"""Features of a tenant, and the answer to what it may use of them at an instant."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, Literal

import attrs

from billing_core.model.access import AccessState, AccessVerdict
from billing_core.model.identifiers import TenantId
from billing_core.model.plan_feature import FeatureKind, Reset
from billing_core.model.time import Period, aware

Quantity = int | Decimal


class FeatureReason(StrEnum):
    """Reasons of a verdict on a feature: a closed list. The first two allow, the others refuse."""

    INCLUDED = "included"
    OVER_INCLUDED = "over_included"
    """More than is included, where the limit is soft."""
    LIMIT_REACHED = "limit_reached"
    """More than a hard limit allows."""
    NOT_INCLUDED = "not_included"
    """Nothing that the tenant has gives this feature."""
    UNKNOWN_FEATURE = "unknown_feature"
    """No plan lists it, and the provider does not name it for this tenant: probably a typing error."""
    ACCESS_READ_ONLY = "access_read_only"
    ACCESS_BLOCKED = "access_blocked"


class Freshness(StrEnum):
    """How current an answer is."""

    LIVE = "live"
    """Read from the database, and followed on the bus since."""
    POLLED = "polled"
    """Read from the database a moment ago: the bus is unavailable, or was since."""
    STALE = "stale"
    """The database is unavailable: the last known state."""


@attrs.frozen(kw_only=True)
class Allowance:
    """The amount of one feature that a tenant has from all sources. Equal for many tenants, so it is shared."""

    kind: FeatureKind
    limit: int | None = None
    """The number that is allowed or included, for all seats together; None for no limit."""
    hard: bool = True
    reset: Reset | None = None
    """Only of metered features."""
    frozen: bool = False
    """Whether everything that gives it is `read_only`, whatever the tenant's access is otherwise."""
    read_only: Literal["allow", "refuse"] = "refuse"
    """Its use while access is `read_only`."""
    sources: tuple[str, ...] = ()
    """The names of its sources, sorted: `plan:CODE`, `addon:CODE`, `grant:CODE` and `provider`."""


@attrs.frozen
class Meter:
    """Usage of a metered feature within one window, `[start, end)`."""

    start: datetime
    end: datetime | None
    """None while the end is unknown, because the renewal of the subscription was not received yet."""
    used: Quantity


@attrs.frozen
class Span:
    """A tenant's features up to an instant at which the clock changes something."""

    until: datetime | None
    """None for the last one."""
    access: AccessVerdict
    allowances: Mapping[str, Allowance]
    meters: Mapping[str, Meter]
    """One for each metered feature."""


@attrs.frozen(kw_only=True)
class FeatureVerdict:
    """The answer to "may this tenant use this feature now?", with the facts that it rests on."""

    feature: str
    allowed: bool
    reason: FeatureReason
    kind: FeatureKind | None = None
    """None if nothing gives the feature."""
    limit: int | None = None
    """The number that is allowed or included; None for no limit."""
    used: Quantity | None = None
    """None if it is not known: the host counts its own things, and may pass how many there are."""
    remaining: Quantity | None = None
    """The part of `limit` that is left, 0 if the feature is refused altogether; None for no limit."""
    resets_at: datetime | None = None
    """When `used` starts over; None if it does not, or while the next period is unknown."""
    access: AccessVerdict
    """The tenant's access at that instant, the same as in `/state`."""
    sources: tuple[str, ...] = ()
    as_of: datetime
    """The store's time at which the state was read."""
    sequence: int
    """The number of the last message at that time."""
    freshness: Freshness = Freshness.LIVE

    def __bool__(self) -> bool:
        """Return whether it is allowed, so that a host can write `if not await billing.allows(…)`."""
        return self.allowed

    @property
    def stale(self) -> bool:
        """Whether the database was unavailable, so that the answer may be out of date."""
        return self.freshness is Freshness.STALE


@attrs.frozen(kw_only=True)
class TenantEntitlements:
    """Everything a tenant may use, compiled from its state for quick answers, which depend on the instant."""

    tenant_id: TenantId
    sequence: int
    generation: int
    """The generation of the rules that it was compiled by."""
    as_of: datetime = attrs.field(validator=aware)
    spans: tuple[Span, ...] = attrs.field(validator=attrs.validators.min_len(1))
    """In order; the first one that is not over counts."""
    known: frozenset[str] = frozenset()
    """The keys that any plan lists."""

    def span(self, now: datetime) -> Span:
        """Return the part that counts at an instant."""
        for span in self.spans:
            if span.until is None or now < span.until:
                return span
        return self.spans[-1]

    def features(self, now: datetime) -> tuple[str, ...]:
        """Return the keys of all features that a plan lists or the tenant has, sorted."""
        return tuple(sorted(self.known.union(self.span(now).allowances)))

    def allows(
        self,
        feature: str,
        now: datetime,
        quantity: Quantity = 1,
        *,
        used: Quantity | None = None,
        freshness: Freshness = Freshness.LIVE,
    ) -> FeatureVerdict:
        """Decide whether a tenant may use a feature, or so much more of it, at `now`.

        Args:
            feature: the key.
            now: an instant not before `as_of`.
            quantity: how much more is asked for; it does not matter for a switch. 0: whether what is there may stay.
            used: how much there is already, if the caller counts it itself; it overrides what is known.
            freshness: how current the state is.

        Raises: ValueError for a negative quantity.
        """
        if quantity < 0 or (used is not None and used < 0):
            raise ValueError("quantity and used must not be negative")
        span = self.span(now)
        allowance = span.allowances.get(feature)
        limit = remaining = resets_at = None
        if allowance is None or allowance.kind == "switch":
            used = None
        else:
            limit = allowance.limit
            if allowance.kind == "metered":
                known, resets_at = _measured(span.meters.get(feature), allowance.reset, now)
                used = known if used is None else used
            if limit is not None:
                remaining = max(limit - (used or 0), 0)
        reason = self._reason(feature, span, allowance, quantity, used)
        if reason in _REFUSED_ALTOGETHER:
            remaining = 0
        return FeatureVerdict(
            feature=feature,
            allowed=reason in _ALLOWING,
            reason=reason,
            kind=None if allowance is None else allowance.kind,
            limit=limit,
            used=used,
            remaining=remaining,
            resets_at=resets_at,
            access=span.access,
            sources=() if allowance is None else allowance.sources,
            as_of=self.as_of,
            sequence=self.sequence,
            freshness=freshness,
        )

    def _reason(
        self, feature: str, span: Span, allowance: Allowance | None, quantity: Quantity, used: Quantity | None
    ) -> FeatureReason:
        if allowance is None and feature not in self.known:
            return FeatureReason.UNKNOWN_FEATURE
        if span.access.state is AccessState.BLOCKED:
            return FeatureReason.ACCESS_BLOCKED
        if allowance is None:
            return FeatureReason.NOT_INCLUDED
        counted = allowance.kind != "switch"
        limited = allowance.frozen or span.access.state is AccessState.READ_ONLY
        if limited and allowance.read_only == "refuse" and (quantity > 0 or not counted):
            return FeatureReason.ACCESS_READ_ONLY
        if not counted or allowance.limit is None or (used or 0) + quantity <= allowance.limit or quantity == 0:
            return FeatureReason.INCLUDED
        return FeatureReason.LIMIT_REACHED if allowance.hard else FeatureReason.OVER_INCLUDED


_ALLOWING: Final = frozenset({FeatureReason.INCLUDED, FeatureReason.OVER_INCLUDED})
_REFUSED_ALTOGETHER: Final = frozenset(FeatureReason) - _ALLOWING - {FeatureReason.LIMIT_REACHED}


def _measured(meter: Meter | None, reset: Reset | None, now: datetime) -> tuple[Quantity, datetime | None]:
    """Return what was used of a metered feature in the window of an instant, and the end of the window."""
    if meter is None:
        return 0, None
    if meter.end is None or now < meter.end:
        return meter.used, meter.end
    window = None if reset is None or reset == "period" else calendar_window(reset, now)
    return 0, None if window is None else window.end


def calendar_window(reset: Reset, now: datetime) -> Period:
    """Return the day, week (from Monday), month or year of an instant, in UTC. Raises ValueError for `period`."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match reset:
        case "day":
            return Period(start=midnight, end=midnight + timedelta(days=1))
        case "week":
            monday = midnight - timedelta(days=midnight.weekday())
            return Period(start=monday, end=monday + timedelta(days=7))
        case "month":
            first = midnight.replace(day=1)
            return Period(start=first, end=(first + timedelta(days=31)).replace(day=1))
        case "year":
            first = midnight.replace(month=1, day=1)
            return Period(start=first, end=first.replace(year=first.year + 1))
        case _:
            raise ValueError("a billing period is not one of the calendar")
