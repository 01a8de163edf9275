"""Features of tenants: plans, seats, add-ons, grants, the provider's own list, usage and access."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from billing_core.model import (
    AccessGrant,
    AccessPolicy,
    AccessState,
    BillingRules,
    FeatureReason,
    FeatureVerdict,
    Grace,
    Period,
    Plan,
    PlanFeature,
    PlanPrice,
    PriceId,
    Quantity,
    RulesInForce,
    SeatBounds,
    TenantEntitlements,
    TenantState,
    TenantSubscription,
    UsageRecord,
    calendar_window,
    entitlements_of,
    metered_windows,
    with_usage,
)
from billing_core.testing.builders import ACME, AT, grant, invoice, item, month, subscription, usage

NOW = AT + timedelta(days=3)


def plan(code: str, *features: PlanFeature, **fields: Any) -> Plan:
    """Return a plan with one price, `price_CODE`."""
    price = PlanPrice(price_id=PriceId(f"price_{code}"), role=fields.pop("role", "base"))
    return Plan(plan_code=code, prices=(price,), features=features, **fields)


PRO = plan(
    "pro",
    PlanFeature(key="exports"),
    PlanFeature(key="sso", enabled=False),
    PlanFeature(key="projects", limit=5),
    PlanFeature(key="members", limit=2, per_seat=True),
    PlanFeature(key="storage", limit=10, enforcement="soft"),
    PlanFeature(key="api_calls", metered=True, included=100),
    PlanFeature(key="mails", metered=True, included=100, enforcement="hard", reset="day"),
    PlanFeature(key="events", metered=True),
)
TEAM = plan("team", PlanFeature(key="projects", limit=20), PlanFeature(key="audit"))
EXTRA = plan("extra", PlanFeature(key="projects", limit=10, per_seat=True), grants_access=False, role="addon")
UNLIMITED = plan("unlimited", PlanFeature(key="projects"), grants_access=False, role="addon")
PLANS = (PRO, TEAM, EXTRA, UNLIMITED)


def on(code: str, subscription_id: str = "sub_1", *, seats: int | None = 5, **fields: Any) -> TenantSubscription:
    """Return a subscription to one plan."""
    items = (item(f"si_{subscription_id}", price_id=PriceId(f"price_{code}"), quantity=seats),)
    given = {"items": items, "plan_code": code, "price_id": PriceId(f"price_{code}"), "seat_count": seats, **fields}
    return subscription(subscription_id, **given)


def state(*subscriptions: TenantSubscription, **fields: Any) -> TenantState:
    given = {"sequence": 7, "as_of": NOW, "invoices": (), "usage": (), **fields}
    return TenantState(tenant_id=ACME, subscriptions=subscriptions, **given)


def compiled(
    *subscriptions: TenantSubscription,
    plans: Iterable[Plan] = PLANS,
    policy: AccessPolicy = AccessPolicy(),  # noqa: B008 - frozen
    **fields: Any,
) -> TenantEntitlements:
    rules = RulesInForce(BillingRules(plans=tuple(plans), access=policy), 3)
    return entitlements_of(state(*subscriptions, **fields), rules)


def ask(
    found: TenantEntitlements, feature: str, quantity: Quantity = 1, *, at: datetime = NOW, used: Quantity | None = None
) -> FeatureVerdict:
    return found.allows(feature, at, quantity, used=used)


# --- kinds of features ------------------------------------------------------------------------------------------------


def test_a_switch_is_on_where_the_plan_has_it() -> None:
    """The answer names its sources and the message that it is as of."""
    verdict = ask(compiled(on("pro")), "exports")
    assert (verdict.allowed, verdict.reason, verdict.kind) == (True, FeatureReason.INCLUDED, "switch")
    assert (verdict.limit, verdict.used, verdict.remaining) == (None, None, None)
    assert (verdict.sources, verdict.sequence, verdict.as_of) == (("plan:pro",), 7, NOW)
    assert verdict.access.state is AccessState.FULL


@pytest.mark.parametrize("feature", ["sso", "audit"])
def test_a_feature_that_is_off_or_of_another_plan_is_not_included(feature: str) -> None:
    """Nothing is left of it."""
    verdict = ask(compiled(on("pro")), feature)
    assert not verdict
    assert (verdict.allowed, verdict.reason, verdict.kind) == (False, FeatureReason.NOT_INCLUDED, None)
    assert verdict.remaining == 0


def test_a_key_that_no_plan_lists_is_unknown() -> None:
    """So that a typing error is not taken for a matter of plans."""
    assert ask(compiled(on("pro")), "exprots").reason is FeatureReason.UNKNOWN_FEATURE


@pytest.mark.parametrize(
    ("quantity", "used", "reason", "remaining"),
    [
        (1, None, FeatureReason.INCLUDED, 5),
        (5, None, FeatureReason.INCLUDED, 5),
        (6, None, FeatureReason.LIMIT_REACHED, 5),
        (1, 4, FeatureReason.INCLUDED, 1),
        (1, 5, FeatureReason.LIMIT_REACHED, 0),
        (1, 9, FeatureReason.LIMIT_REACHED, 0),
        (0, 9, FeatureReason.INCLUDED, 0),
    ],
)
def test_a_limit_counts_what_is_there_and_what_is_asked_for(
    quantity: int, used: int | None, reason: FeatureReason, remaining: int
) -> None:
    """A quantity of 0 asks whether what is there may stay: a downgrade takes nothing away."""
    verdict = ask(compiled(on("pro")), "projects", quantity, used=used)
    assert (verdict.reason, verdict.limit, verdict.used, verdict.remaining) == (reason, 5, used, remaining)


def test_a_soft_limit_allows_more_and_says_so() -> None:
    """The team decides what follows from it."""
    verdict = ask(compiled(on("pro")), "storage", used=10)
    assert (verdict.allowed, verdict.reason, verdict.remaining) == (True, FeatureReason.OVER_INCLUDED, 0)


@pytest.mark.parametrize(("seats", "limit"), [(1, 2), (5, 10), (None, 2), (0, 0)])
def test_a_number_per_seat_grows_with_the_seats(seats: int | None, limit: int) -> None:
    """A subscription without a seat count has one seat."""
    assert ask(compiled(on("pro", seats=seats)), "members").limit == limit


@pytest.mark.parametrize("quantity", [-1, Decimal("-0.5")])
def test_negative_amounts_are_refused(quantity: Quantity) -> None:
    """They would turn a limit around."""
    found = compiled(on("pro"))
    with pytest.raises(ValueError, match="must not be negative"):
        ask(found, "projects", quantity)
    with pytest.raises(ValueError, match="must not be negative"):
        ask(found, "projects", used=quantity)


# --- metered features -------------------------------------------------------------------------------------------------


def billed(quantity: float | str, start: datetime, feature: str = "api_calls", line_id: str = "il_1") -> UsageRecord:
    period = Period(start=start, end=start + timedelta(hours=1))
    return usage(line_id=line_id, feature_key=feature, quantity=quantity, period=period)


def test_metered_usage_of_the_running_period_counts() -> None:
    """The lines whose period begins within it, of all invoices; a soft limit allows more."""
    lines = [
        billed(1000, month(1).start - timedelta(hours=1), line_id="il_before"),
        billed(60, month(1).start, line_id="il_1"),
        billed("40.5", NOW, line_id="il_2"),
        billed(7, NOW, "events", line_id="il_3"),
    ]
    found = compiled(on("pro"), usage=tuple(lines))
    verdict = ask(found, "api_calls")
    assert (verdict.allowed, verdict.reason) == (True, FeatureReason.OVER_INCLUDED)
    assert (verdict.limit, verdict.used, verdict.remaining) == (100, Decimal("100.5"), 0)
    assert verdict.resets_at == month(1).end
    everything = ask(found, "events")
    assert (everything.limit, everything.used, everything.remaining) == (None, 7, None)


def test_a_new_period_starts_over_and_its_end_is_unknown_until_the_renewal_arrives() -> None:
    """The clock decides, not the arrival of an event."""
    found = compiled(on("pro"), usage=(billed(100, NOW),))
    before, after = month(1).end - timedelta(microseconds=1), month(1).end
    assert ask(found, "api_calls", at=before).reason is FeatureReason.OVER_INCLUDED
    read_afterwards = compiled(on("pro"), usage=(billed(100, NOW),), as_of=after)
    for each in (found, read_afterwards):
        verdict = ask(each, "api_calls", at=after)
        assert (verdict.reason, verdict.used, verdict.resets_at) == (FeatureReason.INCLUDED, 0, None)


def test_a_calendar_reset_starts_over_at_midnight() -> None:
    """In UTC, and again on every following day."""
    found = compiled(on("pro"), usage=(billed(100, NOW, "mails"),))
    refused = ask(found, "mails")
    midnight = NOW.replace(hour=0, minute=0) + timedelta(days=1)
    assert (refused.reason, refused.resets_at) == (FeatureReason.LIMIT_REACHED, midnight)
    later = ask(found, "mails", at=midnight + timedelta(days=2, hours=1))
    assert (later.allowed, later.used, later.resets_at) == (True, 0, midnight + timedelta(days=3))


def test_a_meter_replaces_billed_usage() -> None:
    """In the windows that it was asked for; features that it does not measure keep what was billed."""
    found = compiled(on("pro"), usage=(billed(50, NOW), billed(20, NOW, "mails", "il_2")))
    assert metered_windows(found).keys() == {"api_calls", "mails", "events"}
    assert metered_windows(found)["api_calls"] == month(1)
    measured = with_usage(found, {"api_calls": 80})
    assert ask(measured, "api_calls").remaining == 20
    assert ask(measured, "mails").remaining == 80
    assert ask(measured, "api_calls", at=month(1).end).used == 0


@pytest.mark.parametrize(
    ("reset", "start", "end"),
    [
        ("day", datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        ("week", datetime(2028, 2, 28, tzinfo=UTC), datetime(2028, 3, 6, tzinfo=UTC)),
        ("month", datetime(2028, 2, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        ("year", datetime(2028, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)),
    ],
)
def test_windows_of_the_calendar(reset: Any, start: datetime, end: datetime) -> None:
    """Half-open, in UTC, whatever the zone of the instant."""
    tuesday = datetime(2028, 2, 29, 12, tzinfo=UTC)
    assert calendar_window(reset, tuesday) == Period(start=start, end=end)
    assert tuesday in calendar_window(reset, tuesday)


# --- several sources --------------------------------------------------------------------------------------------------


def test_of_two_plans_the_larger_number_counts() -> None:
    """And every switch that either has."""
    found = compiled(on("pro"), on("team", "sub_2"))
    assert (ask(found, "projects").limit, ask(found, "exports").allowed, ask(found, "audit").allowed) == (
        20,
        True,
        True,
    )
    assert ask(found, "projects").sources == ("plan:pro", "plan:team")


def test_add_ons_add() -> None:
    """In a subscription of their own, with their own quantity."""
    found = compiled(on("pro"), on("extra", "sub_2", seats=3))
    verdict = ask(found, "projects")
    assert (verdict.limit, verdict.sources) == (35, ("addon:extra", "plan:pro"))


def test_an_add_on_among_the_items_of_a_subscription_adds_with_its_own_quantity() -> None:
    """The plan of the subscription stays the one that its base item names."""
    items = (
        item("si_1", price_id=PriceId("price_pro"), quantity=5),
        item("si_2", price_id=PriceId("price_extra"), quantity=2),
    )
    found = compiled(on("pro", items=items))
    assert (ask(found, "projects").limit, ask(found, "members").limit) == (25, 10)
    none_left = (items[0], attrs.evolve(items[1], quantity=0))
    assert ask(compiled(on("pro", items=none_left)), "projects").limit == 5


def test_an_add_on_may_lift_a_limit() -> None:
    """A switch in place of a number."""
    verdict = ask(compiled(on("pro"), on("unlimited", "sub_2")), "projects", 10_000)
    assert (verdict.allowed, verdict.limit, verdict.remaining) == (True, None, None)


def test_an_add_on_alone_gives_no_access() -> None:
    """Its features are refused with the access."""
    assert ask(compiled(on("extra")), "projects").reason is FeatureReason.ACCESS_BLOCKED


def test_the_provider_turns_features_on() -> None:
    """Also features that no plan gives, known to the catalog or not; numbers stay those of the plan."""
    found = compiled(on("pro"), features=("api_calls", "beta", "sso"))
    assert ask(found, "sso").sources == ("provider",)
    assert ask(found, "beta").allowed
    assert (ask(found, "api_calls").limit, ask(found, "api_calls").sources) == (100, ("plan:pro", "provider"))
    assert not ask(compiled(features=("beta",)), "beta").allowed


def test_a_grant_gives_its_plan_until_it_ends() -> None:
    """Beside what is paid for; the plan's fewest seats count."""
    until = NOW + timedelta(days=2)
    held: AccessGrant = grant(plan_code="team", until=until)
    found = compiled(on("pro"), grants=(held,))
    assert (ask(found, "projects").limit, ask(found, "projects").sources) == (20, ("grant:team", "plan:pro"))
    assert ask(found, "projects", at=until).limit == 5
    seats = attrs.evolve(PRO, seats=SeatBounds(minimum=3))
    assert ask(compiled(grants=(grant(),), plans=(seats,)), "members").limit == 6


def test_included_usage_of_a_grant_starts_over_with_the_calendar_month() -> None:
    """A grant has no billing period."""
    assert ask(compiled(grants=(grant(),)), "api_calls").resets_at == datetime(2026, 4, 1, tzinfo=UTC)


# --- access -----------------------------------------------------------------------------------------------------------


def test_no_access_refuses_everything() -> None:
    """Also what is known to be included."""
    found = compiled(on("pro", status="canceled"))
    assert {ask(found, key).reason for key in found.features(NOW)} == {FeatureReason.ACCESS_BLOCKED}
    assert ask(found, "projects").remaining == 0


def test_read_only_access_keeps_switches_on_and_lets_nothing_grow() -> None:
    """With a quantity of 0, what is there may stay."""
    found = compiled(on("pro", status="unpaid"))
    assert ask(found, "exports").allowed
    assert ask(found, "projects").reason is FeatureReason.ACCESS_READ_ONLY
    assert ask(found, "projects", 0).allowed
    assert ask(found, "api_calls").reason is FeatureReason.ACCESS_READ_ONLY


def test_a_feature_may_say_otherwise_for_read_only_access() -> None:
    """A team may stop an export, or let metered usage continue."""
    features = (
        PlanFeature(key="exports", read_only="refuse"),
        PlanFeature(key="api_calls", metered=True, included=10, read_only="allow"),
    )
    found = compiled(on("pro", status="unpaid"), plans=(plan("pro", *features),))
    assert ask(found, "exports").reason is FeatureReason.ACCESS_READ_ONLY
    assert ask(found, "api_calls").allowed


def test_a_subscription_that_is_read_only_gives_nothing_more_than_that() -> None:
    """Although another subscription of the tenant gives full access."""
    found = compiled(on("pro", status="unpaid"), on("team", "sub_2"))
    assert ask(found, "projects").limit == 20
    assert ask(found, "members").reason is FeatureReason.ACCESS_READ_ONLY
    assert ask(found, "exports").allowed


def test_the_larger_number_of_a_read_only_subscription_does_not_count() -> None:
    """A plan that is not paid for raises no limit of one that is."""
    verdict = ask(compiled(on("pro"), on("team", "sub_2", status="unpaid")), "projects")
    assert (verdict.limit, verdict.sources, verdict.allowed) == (5, ("plan:pro",), True)


def test_access_ends_by_the_clock() -> None:
    """The same instants as in the verdict on access: grace, then what follows it, then the end."""
    missed = NOW - timedelta(days=1)
    policy = AccessPolicy(states={"past_due": Grace(lasts=timedelta(days=7), then=AccessState.READ_ONLY)})
    end = NOW + timedelta(days=20)
    found = compiled(
        on("pro", status="past_due", cancel_at=end), invoices=(invoice(failed_at=(missed,)),), policy=policy
    )
    over = missed + timedelta(days=7)
    assert [span.until for span in found.spans] == [over, end, None]
    assert ask(found, "projects", at=over - timedelta(microseconds=1)).allowed
    assert ask(found, "projects", at=over).reason is FeatureReason.ACCESS_READ_ONLY
    assert ask(found, "exports", at=end).reason is FeatureReason.ACCESS_BLOCKED


def test_an_unknown_tenant_has_no_access() -> None:
    """The catalog's features are known, and refused."""
    found = compiled()
    assert ask(found, "exports").reason is FeatureReason.ACCESS_BLOCKED
    assert ask(found, "exprots").reason is FeatureReason.UNKNOWN_FEATURE


def test_tenants_with_the_same_features_share_them() -> None:
    """A hundred thousand tenants have to fit into memory."""
    one, other = compiled(on("pro"), sequence=1), compiled(on("pro"), sequence=2)
    assert one.spans[0].allowances is other.spans[0].allowances
    assert one.spans[0].access is other.spans[0].access
    assert one.known is other.known or one.known == other.known
