"""The contract of RulesRegister."""

from datetime import timedelta

from billing_core.model import (
    AccessPolicy,
    AccessState,
    BillingRules,
    Grace,
    KnownPrice,
    Plan,
    PlanFeature,
    PlanMatch,
    PlanPrice,
    PriceId,
    ProductScope,
    RulesInForce,
    ScopeRule,
    SeatBounds,
    SubscriptionId,
    TenantRules,
)
from billing_core.state.ports import Changes, RulesRegister, UnitOfWork
from billing_core.state.rules import fingerprint_of
from billing_core.testing.arrange import save
from billing_core.testing.builders import ACME, GLOBEX, subscription
from billing_core.testing.suite import Suite

RULES = BillingRules(
    plans=(
        Plan(plan_code="extra", grants_access=False),
        Plan(
            plan_code="pro",
            name="Pro 💶",
            group="main",
            trial_days=7,
            seats=SeatBounds(minimum=2, maximum=9),
            match=PlanMatch(products=("prod_1",), lookup_keys=("pro_*",), metadata=(("plan", "pro"),)),
            prices=(
                PlanPrice(price_id=PriceId("price_1"), interval="month", amount=4900, currency="usd"),
                PlanPrice(role="metered", feature="calls", lookup_key="calls", unit_amount_decimal="0.1"),
            ),
            features=(PlanFeature(key="calls", metered=True, included=100, enforcement="soft", reset="period"),),
        ),
    ),
    access=AccessPolicy(
        past_due_grace=timedelta(hours=36),
        states={"active": AccessState.FULL, "past_due": Grace(lasts=timedelta(days=1), then=AccessState.BLOCKED)},
        by_mail={"past_due": AccessState.GRACE},
        never_paid_trial=AccessState.BLOCKED,
        paused_collection={"void": AccessState.READ_ONLY},
        unmapped_price=AccessState.READ_ONLY,
    ),
    scope=ProductScope(ignore=ScopeRule(products=("prod_2",), metadata=(("app", "other"),))),
    tenants=TenantRules(link="subscription", id_pattern="[a-z]+"),
    product_plans=(("prod_1", "pro"), ("prod_3", "extra")),
    known_prices=(
        KnownPrice(
            price_id=PriceId("price_9"), product_id="prod_9", lookup_key="pro_old", metadata=(("a", "b"),), metered=True
        ),
    ),
)
"""Rules that differ from the defaults in every part."""


class RulesRegisterContract(Suite):
    """The rules in force, the same for all processes.

    A binding provides `rules_register`, and `unit_of_work` on the same data, all empty.
    """

    async def test_rules_are_read_as_they_were_activated(self, rules_register: RulesRegister) -> None:
        """Every part of them, with their number."""
        assert await rules_register.active() is None
        given = RulesInForce(RULES, 1)
        assert await rules_register.activate(given, fingerprint=fingerprint_of(RULES), actor="ann")
        assert await rules_register.active() == given

    async def test_of_two_processes_one_activates_a_generation(self, rules_register: RulesRegister) -> None:
        """The other one reads again, and sees what it would replace."""
        first, second = BillingRules(), RULES
        assert await rules_register.activate(RulesInForce(first, 1), fingerprint="first", actor="a")
        assert not await rules_register.activate(RulesInForce(second, 1), fingerprint="second", actor="b")
        assert not await rules_register.activate(RulesInForce(second, 3), fingerprint="second", actor="b")
        assert await rules_register.active() == RulesInForce(first, 1)
        assert await rules_register.activate(RulesInForce(second, 2), fingerprint="second", actor="b")
        assert await rules_register.active() == RulesInForce(second, 2)

    async def test_rules_that_were_ever_active_are_known(self, rules_register: RulesRegister) -> None:
        """Superseded ones, too; the same rules may come back under another number."""
        for generation, fingerprint in enumerate(("first", "second", "first"), start=1):
            assert await rules_register.activate(RulesInForce(RULES, generation), fingerprint=fingerprint, actor="a")
        assert [await rules_register.was_active(name) for name in ("first", "second", "third")] == [True, True, False]

    async def test_live_subscriptions_come_page_by_page(
        self, rules_register: RulesRegister, unit_of_work: UnitOfWork
    ) -> None:
        """With their items; ended ones are left out."""
        held = [subscription(f"sub_{number}") for number in range(4)]
        ended = subscription("sub_9", status="canceled")
        await save(unit_of_work, Changes(subscriptions=[*held, ended]))
        first = await rules_register.live_subscriptions(after=SubscriptionId(""), limit=3)
        assert list(first) == held[:3]
        after = first[-1].snapshot.subscription_id
        assert list(await rules_register.live_subscriptions(after=after, limit=3)) == held[3:]

    async def test_tenants_are_behind_until_they_are_read_again(
        self, rules_register: RulesRegister, unit_of_work: UnitOfWork
    ) -> None:
        """Tenants that existed before are behind; a new one begins with the rules in force."""
        await save(unit_of_work, Changes(), tenants=[ACME])
        assert (await rules_register.tenants_behind(limit=10), await rules_register.count_behind()) == ([], 0)
        assert await rules_register.activate(RulesInForce(RULES, 1), fingerprint="first", actor="a")
        await save(unit_of_work, Changes(), tenants=[GLOBEX])
        assert (await rules_register.tenants_behind(limit=10), await rules_register.count_behind()) == ([ACME], 1)
        async with unit_of_work.transaction() as transaction:
            locked = await transaction.lock_tenants([ACME, GLOBEX])
            assert (locked.generation, set(locked.behind)) == (1, {ACME})
            await transaction.save(Changes(read_by={ACME: 1}))
        assert (await rules_register.tenants_behind(limit=10), await rules_register.count_behind()) == ([], 0)
