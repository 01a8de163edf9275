"""Rules in force: what a process may activate, and how the others follow."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import attrs
import pytest
from tests.unit.core.conftest import ACME, GLOBEX, Loop
from tests.unit.core.conftest import invoice as billed
from tests.unit.core.conftest import line as usage_line
from tests.unit.core.conftest import subscription as snapshot

from billing_core.converters import rules_from_json, rules_to_json
from billing_core.events import BillingEvent, ProviderEvent
from billing_core.model import (
    AccessPolicy,
    AccessState,
    BillingRules,
    CustomerId,
    InvoiceId,
    ItemId,
    Plan,
    PlanFeature,
    PriceId,
    ProductScope,
    RulesInForce,
    ScopeRule,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantId,
    TenantRules,
)
from billing_core.payloads import loads
from billing_core.state.following_rules import RulesFollower
from billing_core.state.rules import Activation, RulesBook, activate, fingerprint_of
from billing_core.state.service import BillingService
from billing_core.testing.arrange import claimed
from billing_core.testing.builders import subscription
from billing_core.testing.state.rules_register import RULES
from billing_memory.database import MemoryDatabase
from billing_memory.state.rules import MemoryRulesRegister

PRO, MAX = Plan.of_prices("pro", base=["price_pro"]), Plan.of_prices("max", base=["price_max"])
ONE, BOTH, OTHER = BillingRules(plans=(PRO,)), BillingRules(plans=(PRO, MAX)), BillingRules(plans=(MAX,))


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase()


@pytest.fixture
def register(database: MemoryDatabase) -> MemoryRulesRegister:
    return MemoryRulesRegister(database)


def test_rules_survive_their_text() -> None:
    """Every part, and the defaults."""
    assert rules_from_json(rules_to_json(RULES)) == RULES
    assert rules_from_json(rules_to_json(BillingRules())) == BillingRules()


def test_rules_of_earlier_versions_keep_their_fingerprint() -> None:
    """Fields of features that came later are written only where they are set, and then they count."""
    plain = BillingRules(plans=(Plan(plan_code="pro", features=(PlanFeature(key="projects", limit=5),)),))
    assert "per_seat" not in rules_to_json(plain)
    assert "read_only" not in rules_to_json(attrs.evolve(plain, access=AccessPolicy(states={})))
    for change in ({"per_seat": True}, {"read_only": "allow"}):
        feature = PlanFeature(key="projects", limit=5, **change)
        other = BillingRules(plans=(Plan(plan_code="pro", features=(feature,)),))
        assert rules_from_json(rules_to_json(other)) == other
        assert fingerprint_of(other) != fingerprint_of(plain)


def test_a_fingerprint_ignores_order() -> None:
    """Equal rules are equal, however a file lists them; any other rule is another fingerprint."""
    turned = attrs.evolve(
        RULES,
        plans=RULES.plans[::-1],
        access=attrs.evolve(RULES.access, states=dict(reversed(RULES.access.states.items()))),
    )
    assert fingerprint_of(turned) == fingerprint_of(RULES)
    assert fingerprint_of(attrs.evolve(RULES, product_plans=())) == fingerprint_of(RULES)
    different = (
        attrs.evolve(RULES, plans=RULES.plans[:1]),
        attrs.evolve(RULES, access=AccessPolicy(unmapped_price=AccessState.BLOCKED)),
        attrs.evolve(RULES, tenants=TenantRules()),
    )
    assert len({fingerprint_of(each) for each in (RULES, *different)}) == 4


async def test_new_rules_are_activated_and_superseded_ones_are_not(register: MemoryRulesRegister) -> None:
    """An old container that starts again in a rolling deployment follows the new one."""
    assert (await activate(register, ONE, actor="a")).result is Activation.ACTIVATED
    assert (await activate(register, ONE, actor="b")).result is Activation.UNCHANGED
    assert (await activate(register, BOTH, actor="b")).generation == 2
    late = await activate(register, ONE, actor="a")
    assert (late.result, late.generation) == (Activation.SUPERSEDED, 2)
    assert (await activate(register, ONE, actor="ann", always=True)).generation == 3
    assert await register.active() == RulesInForce(ONE, 3)


async def test_rules_that_take_plans_away_wait_for_an_operator(
    register: MemoryRulesRegister, database: MemoryDatabase
) -> None:
    """Only live subscriptions count, and the first rules with plans take none away."""
    live = subscription("sub_1")
    ended = subscription("sub_2", status="canceled")
    database.tables.subscriptions = {each.snapshot.subscription_id: each for each in (live, ended)}
    assert (await activate(register, BillingRules(), actor="a")).result is Activation.ACTIVATED
    assert (await activate(register, BOTH, actor="a")).result is Activation.ACTIVATED
    refused = await activate(register, OTHER, actor="b")
    assert (refused.result, refused.generation, list(refused.lost)) == (Activation.TAKES_PLANS_AWAY, 2, ["sub_1"])
    database.tables.subscriptions.pop(live.snapshot.subscription_id)
    assert (await activate(register, OTHER, actor="b")).result is Activation.ACTIVATED


async def test_a_book_follows_the_rules_in_force(register: MemoryRulesRegister) -> None:
    """Its own rules hold until some were activated."""
    book = RulesBook(ONE, register)
    assert (await book.reload()) == RulesInForce(ONE)
    await activate(register, BOTH, actor="b")
    assert book.current == RulesInForce(ONE)
    assert (await book.reload()) is book.current == RulesInForce(BOTH, 1)
    catalog = book.current.catalog
    assert (await book.reload()).catalog is catalog


MONTHLY = BillingRules(plans=(Plan.of_prices("pro", base=["price_pro"]), Plan.of_prices("max", base=["price_max"])))
RENAMED = BillingRules(plans=(Plan.of_prices("gold", base=["price_pro"]), Plan.of_prices("max", base=["price_max"])))


class Follower:
    """A loop whose processes follow the rules of one register."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.register = MemoryRulesRegister(loop.database)
        self.book = RulesBook(MONTHLY, self.register)
        self.published: list[BillingEvent] = []
        self.service = BillingService(unit_of_work=loop.repository, translator=loop.provider, rules=self.book)

    async def activate(self, rules: BillingRules) -> None:
        """Put rules in force, as another process does."""
        assert (await activate(self.register, rules, actor="ann", always=True)).result is Activation.ACTIVATED

    async def follow(self) -> int:
        """Run the follower once; return how many tenants it read."""
        follower = RulesFollower(
            service=self.service,
            rules=self.book,
            register=self.register,
            every=timedelta(0),
            publish=self.published.extend,
            observe=lambda _: None,
        )
        return (await follower.run_once()).reread

    async def apply(self, event: ProviderEvent) -> Sequence[BillingEvent]:
        """Store and apply one event."""
        claim = await claimed(self.loop.inbox, event)
        return (await self.service.apply([(claim, self.loop.provider.translate(event))])).events

    @property
    def plans(self) -> Mapping[str, str | None]:
        """The stored plans of all subscriptions."""
        stored = self.loop.database.tables.subscriptions
        return {str(id_): held.snapshot.plan_code for id_, held in sorted(stored.items())}


@pytest.fixture
async def follower(loop: Loop) -> Follower:
    """Two tenants on one plan, one of them with an ended subscription beside it."""
    follower = Follower(loop)
    await follower.activate(MONTHLY)
    for held, tenant in (("sub_1", ACME), ("sub_2", GLOBEX)):
        await follower.apply(loop.says(live(held), tenant=tenant, customer_id=CustomerId(f"cus_{tenant}")))
    await follower.apply(loop.says(live("sub_9", "canceled"), tenant=ACME, customer_id=CustomerId("cus_acme")))
    return follower


def live(subscription_id: str, status: str = "active") -> SubscriptionSnapshot:
    """A subscription as its event shows it."""
    customer_id = CustomerId("cus_globex" if subscription_id == "sub_2" else "cus_acme")
    return snapshot(subscription_id, status, customer_id=customer_id)


async def test_other_rules_are_told_to_each_tenant_once(follower: Follower) -> None:
    """By one message for each live subscription whose plan they change, with the rules as its source."""
    assert await follower.follow() == 0
    await follower.activate(RENAMED)
    assert await follower.follow() == 2
    assert await follower.follow() == 0
    assert follower.plans == {"sub_1": "gold", "sub_2": "gold", "sub_9": "pro"}
    payloads = [loads(message.payload) for message in follower.published]
    assert sorted((payload.tenant_id, payload.event_type, payload.summary) for payload in payloads) == [
        ("acme", "subscription.plan_changed", "The plan changed from pro to gold."),
        ("globex", "subscription.plan_changed", "The plan changed from pro to gold."),
    ]
    assert {(payload.source.kind, payload.source.id, payload.stripe_event_id) for payload in payloads} == {
        ("catalog", "2", None)
    }


async def test_a_batch_under_other_rules_starts_over(follower: Follower) -> None:
    """Its process has not looked yet. The tenant's other state is read again before the event is folded."""
    await follower.activate(RENAMED)
    assert follower.book.current.generation == 1
    event = follower.loop.says(live("sub_3"), at=9, tenant=ACME, customer_id=CustomerId("cus_acme"))
    created = await follower.apply(event)
    assert follower.book.current.generation == 2
    assert follower.plans == {"sub_1": "gold", "sub_2": "pro", "sub_3": "gold", "sub_9": "pro"}
    assert [message.event_type for message in created] == ["subscription.plan_changed", "subscription.created"]
    assert await follower.follow() == 1


async def test_what_an_operator_moves_is_read_by_the_rules_in_force_first(follower: Follower) -> None:
    """Its new tenant may be up to date, and would never read it again."""
    await follower.activate(RENAMED)
    change = await follower.service.move("cus_globex", TenantId("initech"))
    assert follower.plans == {"sub_1": "pro", "sub_2": "gold", "sub_9": "pro"}
    assert [message.event_type for message in change.events] == ["customer.unlinked", "customer.linked"]
    assert await follower.follow() == 1


async def test_a_preview_changes_nothing(follower: Follower) -> None:
    """It shows the rows and messages that other rules would change."""
    trial = await follower.service.preview([ACME, GLOBEX], RENAMED)
    assert [(change.object_id, change.fields[0].after) for change in trial.differences] == [
        ("sub_1", "gold"),
        ("sub_2", "gold"),
    ]
    assert [message.event_type for message in trial.events] == ["subscription.plan_changed"] * 2
    assert follower.plans == {"sub_1": "pro", "sub_2": "pro", "sub_9": "pro"}
    assert await follower.follow() == 0


async def test_a_price_that_becomes_metered_rates_stored_invoices(follower: Follower) -> None:
    """Their lines turn out to bill usage."""
    loop = follower.loop
    bill = billed("in_1", lines=(usage_line("il_1", amount=100),), customer_id=CustomerId("cus_acme"))
    await follower.apply(loop.says(bill, at=5, tenant=ACME, customer_id=CustomerId("cus_acme")))
    await follower.activate(
        BillingRules(plans=(Plan.of_prices("pro", base=["price_pro"], metered={"calls": ["price_calls"]}),))
    )
    item = attrs.evolve(live("sub_1").items[0], item_id=ItemId("si_2"), price_id=PriceId("price_calls"))
    stored = loop.database.tables.subscriptions[SubscriptionId("sub_1")]
    both = attrs.evolve(stored.snapshot, items=(*stored.snapshot.items, item))
    loop.database.tables.subscriptions[SubscriptionId("sub_1")] = attrs.evolve(stored, snapshot=both)
    assert await follower.follow() == 2
    (usage,) = loop.database.tables.usage[InvoiceId("in_1")]
    assert (usage.feature_key, usage.amount) == ("calls", 100)


async def test_a_scope_that_changes_hides_and_shows_what_is_stored(follower: Follower) -> None:
    """Each is told once: without the subscription when it is left out, with all of it when it is back."""
    other = attrs.evolve(MONTHLY, scope=ProductScope(ignore=ScopeRule(prices=(PriceId("price_pro"),))))
    await follower.activate(other)
    assert await follower.follow() == 2
    assert await follower.follow() == 0
    (hidden, _) = [loads(message.payload) for message in follower.published]
    assert (hidden.event_type, hidden.subscription, hidden.access.state) == ("subscription.updated", None, "blocked")
    await follower.activate(MONTHLY)
    await follower.follow()
    (_, _, shown, _) = [loads(message.payload) for message in follower.published]
    assert (shown.event_type, shown.access.state) == ("subscription.created", "full")
    assert shown.subscription is not None
    assert shown.subscription.subscription_id == "sub_1"


async def test_a_service_without_a_register_says_that_it_needs_one(loop: Loop, follower: Follower) -> None:
    """It could only start over again and again."""
    lonely = BillingService(unit_of_work=loop.repository, translator=loop.provider, rules=RulesBook(MONTHLY))
    with pytest.raises(RuntimeError, match="register"):
        await lonely.reread([ACME])
    assert follower.plans["sub_1"] == "pro"
