"""Entitlements: compiled ones agree with a plain computation, and a cache is never older than it says."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.choices import Choices, choices, scaled
from tests.unit.core.entitlement_doubles import Bus, Register, Store

from billing_core.entitlements.cache import CachePolicy
from billing_core.entitlements.loading import EntitlementLoader
from billing_core.entitlements.service import Entitlements
from billing_core.errors import StoreUnavailableError
from billing_core.events import BillingEvent
from billing_core.model import (
    AccessPolicy,
    AccessState,
    BillingRules,
    FeatureReason,
    Freshness,
    Grace,
    ItemId,
    ItemSnapshot,
    Period,
    Plan,
    PlanFeature,
    PlanPrice,
    PriceId,
    Quantity,
    RulesInForce,
    SeatBounds,
    TenantId,
    TenantState,
    TenantSubscription,
    calendar_window,
    entitlements_of,
)
from billing_core.state.rules import RulesBook
from billing_core.testing.builders import ACME, AT, GLOBEX, grant, invoice, month, subscription, usage

HOURS = st.integers(-24 * 45, 24 * 45).map(lambda hours: AT + timedelta(hours=hours))
KEYS = ("switch", "number", "metered")
AMOUNTS = st.none() | st.integers(0, 20)


@st.composite
def features(draw: st.DrawFn) -> tuple[PlanFeature, ...]:
    """Draw up to three features, of any kind under any key: plans need not agree."""
    drawn = []
    for key in draw(st.lists(st.sampled_from(KEYS), unique=True)):
        kind = draw(st.sampled_from(["switch", "limit", "metered"]))
        fields: dict[str, Any] = {
            "read_only": draw(st.sampled_from([None, "allow", "refuse"])),
            "per_seat": kind != "switch" and draw(st.booleans()),
            "enforcement": None if kind == "switch" else draw(st.sampled_from([None, "soft", "hard"])),
        }
        if kind == "switch":
            fields["enabled"] = draw(st.booleans())
        elif kind == "limit":
            fields["limit"] = draw(st.integers(0, 20))
        else:
            reset = draw(st.sampled_from([None, "period", "day", "week", "month", "year"]))
            fields |= {"metered": True, "included": draw(AMOUNTS), "reset": reset}
        drawn.append(PlanFeature(key=key, **fields))
    return tuple(drawn)


@st.composite
def catalogs(draw: st.DrawFn) -> RulesInForce:
    """Draw two plans and an add-on, and an access policy."""
    plans = [
        Plan(
            plan_code=code,
            prices=(PlanPrice(price_id=PriceId(code)),),
            features=draw(features()),
            grants_access=code != "addon",
            seats=draw(st.none() | st.builds(SeatBounds, minimum=st.integers(0, 3))),
        )
        for code in ("one", "two", "addon")
    ]
    policy = draw(
        st.sampled_from(
            [
                AccessPolicy(),
                AccessPolicy(states={"active": AccessState.FULL, "past_due": Grace(lasts=timedelta(days=3))}),
                AccessPolicy(unmapped_price=AccessState.READ_ONLY, paused_collection={"void": AccessState.READ_ONLY}),
            ]
        )
    )
    return RulesInForce(BillingRules(plans=tuple(plans), access=policy), 1)


@st.composite
def subscriptions(draw: st.DrawFn, number: int) -> TenantSubscription:
    """Draw a subscription of any status, with one or two prices."""
    codes = draw(st.lists(st.sampled_from(["one", "two", "addon", "other"]), min_size=1, max_size=2, unique=True))
    period = draw(st.none() | st.sampled_from([month(-1), month(0), month(1), month(2)]))
    items = tuple(
        ItemSnapshot(
            item_id=ItemId(f"si_{number}_{code}"),
            price_id=PriceId(code),
            quantity=draw(st.none() | st.integers(0, 3)),
            period=period,
            feature_key=draw(st.none() | st.just("metered")),
        )
        for code in codes
    )
    status = draw(st.sampled_from(["active", "trialing", "past_due", "unpaid", "canceled"]))
    fields: dict[str, Any] = {
        "cancel_at": draw(st.none() | HOURS),
        "trial_ends_at": draw(st.none() | HOURS),
        "test_clock": draw(st.none() | st.just("clock_1")),
        "collection_paused": draw(st.booleans()),
        "pause_behavior": "void",
    }
    named = next((code for code in codes if code in ("one", "two")), codes[0])
    return subscription(
        f"sub_{number}",
        status=status,
        items=items,
        plan_code=None if named == "other" else named,
        price_id=PriceId(named),
        seat_count=draw(st.none() | st.integers(0, 3)),
        **fields,
    )


@st.composite
def states(draw: st.DrawFn) -> TenantState:
    """Draw the state of a tenant at any instant."""
    as_of = draw(HOURS)
    held = [draw(subscriptions(number)) for number in range(draw(st.integers(0, 2)))]
    lines = [
        usage(
            line_id=f"il_{number}",
            feature_key=draw(st.sampled_from(KEYS)),
            quantity=draw(st.sampled_from(["3", "0.5", "12"])),
            period=Period(start=as_of - timedelta(hours=hours), end=as_of - timedelta(hours=hours)),
        )
        for number, hours in enumerate(draw(st.lists(st.integers(0, 24 * 40), max_size=3)))
    ]
    grants = [
        grant(f"grant_{code}", plan_code=code, until=draw(st.none() | HOURS), granted_at=AT)
        for code in draw(st.lists(st.sampled_from(["one", "two", "addon", "gone"]), max_size=2, unique=True))
    ]
    return TenantState(
        tenant_id=ACME,
        sequence=1,
        as_of=as_of,
        subscriptions=tuple(held),
        invoices=(invoice(subscription_id=held[0].object_id, failed_at=(draw(HOURS),)),) if held else (),
        usage=tuple(lines),
        grants=tuple(each for each in grants if each.holds(as_of)),
        features=tuple(draw(st.sets(st.sampled_from(["switch", "number", "beta"])))),
        clocks={"clock_1": draw(HOURS)} if draw(st.booleans()) else {},
    )


Plain = tuple[FeatureReason, int | None, Quantity | None]
Given = tuple[PlanFeature, int, bool, bool, Period | None, str]
"""A feature as one source gives it: seats, whether it adds, whether it is read-only, the billing period, the source."""


def plainly(state: TenantState, rules: RulesInForce, key: str, now: Any, quantity: int, used: int | None) -> Plain:
    """Answer by computing everything for this instant: reason, limit and usage."""
    access = rules.policy.evaluate(state.access_facts, now)
    given: list[Given] = []
    for held in state.subscriptions:
        seen = held.snapshot
        own = rules.policy.evaluate_subscription(seen, state.access_facts, now)
        for plan in rules.rules.plans if own.state is not AccessState.BLOCKED else ():
            of_plan = [item for item in seen.items if item.price_id == plan.plan_code]
            if seen.plan_code == plan.plan_code:
                seats = 1 if seen.seat_count is None else seen.seat_count
            elif of_plan and not plan.grants_access and of_plan[0].quantity != 0:
                seats = of_plan[0].quantity or 1
            else:
                continue
            read_only = own.state is AccessState.READ_ONLY
            adds, period = not plan.grants_access, seen.items[0].period
            name = f"{'addon' if adds else 'plan'}:{plan.plan_code}"
            given += [(each, seats, adds, read_only, period, name) for each in plan.features]
    for held_grant in state.grants:
        for plan in rules.rules.plans:
            if held_grant.holds(now) and held_grant.plan_code == plan.plan_code:
                seats = 1 if plan.seats is None else plan.seats.minimum
                name = f"grant:{plan.plan_code}"
                given += [(each, seats, not plan.grants_access, False, None, name) for each in plan.features]
    given = [each for each in given if each[0].key == key and each[0].enabled]
    usable = [each for each in given if not each[3]]
    counting = usable or given
    listed = any(each.key == key for plan in rules.rules.plans for each in plan.features)
    if not counting and key not in state.features:
        if not listed:
            return FeatureReason.UNKNOWN_FEATURE, None, None
        blocked = access.state is AccessState.BLOCKED
        return FeatureReason.ACCESS_BLOCKED if blocked else FeatureReason.NOT_INCLUDED, None, None

    def number(each: Given) -> float:
        most = each[0].included if each[0].metered else each[0].limit
        return float("inf") if most is None else most * (each[1] if each[0].per_seat else 1)

    plans = [each for each in counting if not each[2]] or counting
    best = min(plans, key=lambda each: (-number(each), each[5])) if plans else None
    total = number(best) + sum(number(each) for each in counting if each[2] and each is not best) if best else 0
    limit = None if best is None or total == float("inf") else int(total)
    counted = best is not None and best[0].kind != "switch"
    known: Quantity | None = used if counted else None
    if best is not None and best[0].metered and used is None:
        known = _used(state, best, now)
    if access.state is AccessState.BLOCKED:
        return FeatureReason.ACCESS_BLOCKED, limit, known
    allow = best is None or (best[0].read_only or ("refuse" if counted else "allow")) == "allow"
    frozen = bool(given) and not usable
    if (frozen or access.state is AccessState.READ_ONLY) and not allow and (quantity > 0 or not counted):
        return FeatureReason.ACCESS_READ_ONLY, limit, known
    if not counted or limit is None or quantity == 0 or (known or 0) + quantity <= limit:
        return FeatureReason.INCLUDED, limit, known
    added = [each for each in counting if each[2] and each is not best]
    soft = any(not each[0].hard for each in [best, *added] if each is not None)
    return FeatureReason.OVER_INCLUDED if soft else FeatureReason.LIMIT_REACHED, limit, known


def _used(state: TenantState, best: Given, now: Any) -> Quantity:
    reset, period = best[0].reset, best[4]
    if reset not in (None, "period"):
        window = calendar_window(reset, now)
    elif period is None:
        window = calendar_window("month", now)
    else:
        far = period.end + timedelta(days=10_000)
        window = period if now < period.end else Period(start=period.end, end=far)
    key = best[0].key
    lines = [each for each in state.usage if each.feature_key == key and each.period and each.period.start in window]
    return sum((each.quantity for each in lines), Decimal(0))


@settings(max_examples=scaled(400), deadline=None)
@given(states(), catalogs(), st.integers(0, 24 * 60), st.integers(0, 25), st.none() | st.integers(0, 25))
def test_compiled_entitlements_agree_with_a_plain_computation(
    state: TenantState, catalog: RulesInForce, hours: int, quantity: int, used: int | None
) -> None:
    """Now and at any later instant: access, reason, limit and usage; and a reading at that instant says the same."""
    now = state.as_of + timedelta(hours=hours)
    compiled = entitlements_of(state, catalog)
    later = entitlements_of(attrs.evolve(state, as_of=now), catalog)
    assert compiled.span(now).access == catalog.policy.evaluate(state.access_facts, now)
    for key in (*KEYS, "beta", "unknown"):
        verdict = compiled.allows(key, now, quantity, used=used)
        assert (verdict.reason, verdict.limit, verdict.used) == plainly(state, catalog, key, now, quantity, used)
        again = later.allows(key, now, quantity, used=used)
        assert attrs.evolve(again, as_of=state.as_of, resets_at=verdict.resets_at) == verdict
        assert again.resets_at == verdict.resets_at or verdict.resets_at is None


# --- the cache --------------------------------------------------------------------------------------------------------

POLICY = CachePolicy(
    capacity=2,
    live_for=timedelta(seconds=60),
    polled_for=timedelta(seconds=2),
    stale_for=timedelta(minutes=15),
    patience=timedelta(seconds=5),
    rules_every=timedelta(days=1),
)
TENANTS: Sequence[TenantId] = (ACME, GLOBEX, TenantId("initech"))
ALLOWANCE = {Freshness.LIVE: 60.0, Freshness.POLLED: 2.0, Freshness.STALE: 900.0}


class World:
    """A store that changes, a bus that comes and goes, and a cache that is asked."""

    def __init__(self) -> None:
        self.store = Store()
        self.store.sequences = dict.fromkeys(TENANTS, 1)
        self.bus = Bus()
        loader = EntitlementLoader(reader=self.store, rules=RulesBook(BillingRules(), Register(self.store)))
        self.service = Entitlements(loader=loader, bus=self.bus, policy=POLICY, elapsed=lambda: self.store.elapsed)
        self.committed: list[tuple[float, TenantId, int]] = [(0.0, each, 1) for each in TENANTS]
        self.unpublished: list[BillingEvent] = []
        self.heard: dict[TenantId, int] = {}
        self.following = False
        self.back_at = 0.0

    async def act(self, draw: Choices) -> None:
        """Do one thing that may happen."""
        tenant = draw.choice(TENANTS)
        match draw.randrange(8):
            case 0 | 1:
                await self.ask(tenant)
            case 2:
                self.unpublished.append(self.store.change(tenant, draw.choice(["active", "unpaid", "canceled"])))
                self.committed.append((self.store.elapsed, tenant, self.store.sequences[tenant]))
            case 3 if self.following:
                await self.publish()
            case 4:
                self.store.elapsed += draw.choice([0.5, 1.9, 30, 400])
            case 5 if self.following:
                self.following = False
                await self.bus.fail()
            case 5 | 6:
                await self.follow()
            case 7:
                self.store.unavailable = not self.store.unavailable
                self.back_at = self.store.elapsed

    async def follow(self) -> None:
        """Let the follower be subscribed, or let it miss what was published meanwhile."""
        await self.bus.say()
        self.following = True
        self.heard.clear()

    async def publish(self) -> None:
        """Publish everything that is committed."""
        if self.unpublished:
            await self.bus.say(*self.unpublished)
            self.heard |= {event.tenant_id: event.sequence for event in self.unpublished}
            self.unpublished.clear()

    async def ask(self, tenant_id: TenantId) -> None:
        """Ask, and check that the answer is no older than it says."""
        try:
            verdict = await self.service.allows(tenant_id, "exports")
        except StoreUnavailableError:
            assert self.store.unavailable
            return
        oldest = self.store.elapsed - ALLOWANCE[verdict.freshness]
        due = [number for at, tenant, number in self.committed if tenant == tenant_id and at <= oldest]
        assert verdict.sequence >= max(due, default=1)
        if verdict.freshness is Freshness.STALE:
            assert self.store.unavailable or self.store.elapsed < self.back_at + 1
        if verdict.freshness is Freshness.LIVE:
            assert self.following
            assert verdict.sequence >= self.heard.get(tenant_id, 0)


@settings(max_examples=scaled(60), deadline=None)
@given(choices(block=16))
def test_an_answer_is_never_older_than_it_says(draw: Choices) -> None:
    """The bus and the database come and go meanwhile; once all is quiet, it is that of a fresh reading."""
    asyncio.run(_live(draw))


async def _live(draw: Choices) -> None:
    world = World()
    await world.service.allows(ACME, "exports")
    running = asyncio.create_task(world.service.run())
    await world.follow()
    for _ in range(draw.randrange(40)):
        await world.act(draw)
    world.store.unavailable = False
    await world.follow()
    world.store.elapsed += 2
    for tenant_id in TENANTS:
        await world.ask(tenant_id)
    await world.publish()
    for tenant_id in TENANTS:
        verdict = await world.service.allows(tenant_id, "exports")
        fresh = entitlements_of(await world.store.state(tenant_id), world.store.rules)
        assert verdict.sequence == world.store.sequences[tenant_id]
        assert verdict.reason is fresh.allows("exports", fresh.as_of).reason
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
