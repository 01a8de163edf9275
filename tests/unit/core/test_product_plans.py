"""Plans by the provider's catalog: by the metadata of products, or because their mapped prices are of one plan."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import ACME, AT, Loop, item, subscription

from billing_core.events import BillingEvent, ProviderEvent, Translation
from billing_core.model import (
    BillingRules,
    Phase,
    Plan,
    PlanCatalog,
    PlanMatch,
    PlannedItem,
    PlanPrice,
    PriceId,
    PriceSnapshot,
    ProductSnapshot,
    RulesInForce,
    ScheduleSnapshot,
    plans_of_products,
    prices_to_know,
)
from billing_core.payloads import loads
from billing_core.state.following_products import ProductFollower, ProductReport
from billing_core.state.following_rules import RulesFollower
from billing_core.state.rules import Activation, RulesBook, activate, fingerprint_of
from billing_core.state.service import BillingService
from billing_memory.state.rules import MemoryRulesRegister

PRO = Plan(
    plan_code="pro",
    prices=(PlanPrice(price_id=PriceId("price_pro")), PlanPrice(lookup_key="pro_yearly")),
    match=PlanMatch(metadata=(("tier", "2"),)),
)
MAX = Plan.of_prices("max", base=["price_max"])
CATALOG = PlanCatalog([PRO, MAX])


def price(price_id: str, product_id: str | None = "prod_a", lookup_key: str | None = None) -> PriceSnapshot:
    """Build a price."""
    return PriceSnapshot(price_id=PriceId(price_id), product_id=product_id, lookup_key=lookup_key)


class TestPlansOfProducts:
    """The plans of products by the stored catalog."""

    def test_all_mapped_prices_of_a_product_say_its_plan(self) -> None:
        """Prices that no plan lists do not matter, and two plans say nothing."""
        mapped = [price("price_pro"), price("price_new", lookup_key="pro_yearly"), price("price_bespoke")]
        assert plans_of_products(mapped, CATALOG) == (("prod_a", "pro"),)
        assert plans_of_products([*mapped, price("price_max")], CATALOG) == ()
        assert plans_of_products([price("price_bespoke"), price("price_pro", None)], CATALOG) == ()

    @pytest.mark.parametrize("pair", [("tier", "2"), ("plan_code", "pro")])
    def test_metadata_of_a_product_says_its_plan(self, pair: tuple[str, str]) -> None:
        """Before its prices do."""
        product = ProductSnapshot(product_id="prod_a", metadata=(("a", "b"), pair))
        assert plans_of_products([product, price("price_max")], CATALOG) == (("prod_a", "pro"),)
        other = attrs.evolve(product, metadata=(("plan_code", "unknown"),))
        assert plans_of_products([other, price("price_max")], CATALOG) == (("prod_a", "max"),)

    def test_a_rule_outranks_what_the_catalog_says(self) -> None:
        """And a plan that does not exist any more is none."""
        by_catalog = PlanCatalog([PRO, MAX], product_plans=[("prod_a", "max"), ("prod_b", "gone")])
        for shown, plan_code in (
            (item(price_id="price_x", product_id="prod_a"), "max"),
            (item(price_id="price_x", product_id="prod_a", price_metadata=(("tier", "2"),)), "pro"),
            (item(price_id="price_pro", product_id="prod_a"), "pro"),
            (item(price_id="price_x", product_id="prod_b"), None),
        ):
            assert by_catalog.read_subscription(subscription(items=(shown,))).plan_code == plan_code


class TestKnownPrices:
    """The plans of prices that are named by their ids alone, as coming phases name them."""

    @pytest.mark.parametrize(
        ("shown", "of_products"),
        [
            ({"lookup_key": "pro_yearly"}, ()),
            ({"lookup_key": "pro_old_2"}, ()),
            ({"product_id": "prod_pro"}, ()),
            ({"metadata": (("a", "b"), ("tier", "2"))}, ()),
            ({"metadata": (("plan_code", "pro"),)}, ()),
            ({"product_id": "prod_a"}, [("prod_a", "pro")]),
        ],
        ids=["lookup key", "pattern", "product", "metadata", "plan code", "product of the catalog"],
    )
    def test_every_rule_names_the_plan_of_a_coming_phase(self, shown: dict[str, Any], of_products: Any) -> None:
        """As it does for an item, which shows all of its price; a deleted price may still be sold."""
        plans = [attrs.evolve(PRO, match=attrs.evolve(PRO.match, products=("prod_pro",), lookup_keys=("pro_old_*",)))]
        before = PlanCatalog(plans, product_plans=of_products)
        snapshot = PriceSnapshot(price_id=PriceId("price_x"), deleted=True, **{"product_id": "prod_x", **shown})
        known = prices_to_know([snapshot, ProductSnapshot(product_id="prod_x")], before)
        after = PlanCatalog(plans, product_plans=of_products, known_prices=known)
        phase = Phase(items=(PlannedItem(price_id=PriceId("price_x"), quantity=3),))
        assert [_read(catalog, phase).plan_code for catalog in (before, after)] == [None, "pro"]

    def test_the_role_of_a_known_price_is_that_of_its_lookup_key(self) -> None:
        """So that the seats of a coming phase are counted."""
        team = Plan(plan_code="team", prices=(PlanPrice(lookup_key="team"), PlanPrice(role="seat", lookup_key="seat")))
        shown = [price("price_1", lookup_key="seat"), price("price_2", lookup_key="team")]
        catalog = PlanCatalog([team], known_prices=prices_to_know(shown, PlanCatalog([team])))
        items = [
            PlannedItem(price_id=PriceId("price_1"), quantity=7),
            PlannedItem(price_id=PriceId("price_2"), quantity=1),
        ]
        phase = _read(catalog, Phase(items=tuple(items)))
        assert (phase.plan_code, phase.price_id, phase.seat_count) == ("team", "price_2", 7)

    def test_only_prices_that_need_it_are_known(self) -> None:
        """Neither those that plans list by id nor those of no plan: the rules in force hold all that are known."""
        shown = [price("price_pro"), price("price_max", lookup_key="pro_yearly"), price("price_x")]
        assert prices_to_know(shown, CATALOG) == ()


def _read(catalog: PlanCatalog, phase: Phase) -> Phase:
    (found,) = catalog.read_schedule(
        ScheduleSnapshot(schedule_id="sub_sched_1", status="active", phases=(phase,))
    ).phases
    return found


@attrs.define
class Deployment:
    """A loop whose process follows the rules in force and the provider's catalog."""

    loop: Loop = attrs.field(factory=Loop)
    published: list[BillingEvent] = attrs.field(factory=list)

    @property
    def register(self) -> MemoryRulesRegister:
        """The register of rules."""
        return MemoryRulesRegister(self.loop.database)

    async def start(self, *plans: Plan) -> Activation:
        """Put plans in force, as a process does that starts."""
        return (await activate(self.register, BillingRules(plans=plans), actor="ann")).result

    async def arrive(self, *events: ProviderEvent) -> None:
        """Store and apply events, one by one."""
        for event in events:
            receipt = await self.loop.inbox.record(event, lease=timedelta(minutes=1))
            assert receipt.claim is not None
            await self._service().apply([(receipt.claim, self.loop.provider.translate(event))])

    async def follow(self) -> ProductReport:
        """Look at the catalog once, and then read the state of tenants by what was found."""
        reports: list[ProductReport] = []
        every, register = timedelta(0), self.register
        products = ProductFollower(reader=self.loop.repository, register=register, every=every, observe=reports.append)
        report = await products.run_once()
        rules = RulesFollower(
            service=self._service(),
            rules=RulesBook(BillingRules(), register),
            register=register,
            every=every,
            publish=self.published.extend,
            observe=lambda _: None,
        )
        await rules.run_once()
        return report

    async def plan(self) -> str | None:
        """Return the stored plan of the subscription."""
        return (await self.loop.subscription()).plan_code

    async def scheduled(self) -> list[str | None]:
        """Return the plans of the coming phases of the subscription."""
        return [phase.plan_code for phase in (await self.loop.subscription()).planned]

    def _service(self) -> BillingService:
        rules = RulesBook(BillingRules(), self.register)
        return BillingService(unit_of_work=self.loop.repository, translator=self.loop.provider, rules=rules)


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


def shows(loop: Loop, shown: PriceSnapshot | ProductSnapshot, *, at: int = 0) -> ProviderEvent:
    """Build an event that shows a part of the catalog."""
    id_ = f"evt_{shown.object_id}_{at}"
    return loop.provider.event(id_, Translation(snapshots=(shown,)), at=loop.clock.now() + timedelta(seconds=at))


BESPOKE = subscription(items=(item(price_id="price_bespoke", product_id="prod_a", quantity=1),))


async def test_a_product_event_reads_the_subscriptions_to_its_prices_again(deployment: Deployment) -> None:
    """The tenant is told once; nothing happens while the catalog says the same."""
    loop = deployment.loop
    await deployment.start(PRO, MAX)
    await deployment.arrive(loop.says(BESPOKE))
    assert await deployment.plan() is None
    assert await deployment.follow() == ProductReport(generation=1)
    product = ProductSnapshot(product_id="prod_a", metadata=(("plan_code", "max"),))
    await deployment.arrive(shows(loop, product))
    assert await deployment.follow() == ProductReport(generation=2, products=1, changed=True)
    assert await deployment.plan() == "max"
    assert await deployment.follow() == ProductReport(generation=2, products=1)
    (payload,) = [loads(message.payload) for message in deployment.published]
    assert (payload.tenant_id, payload.event_type, payload.source.kind) == (
        ACME,
        "subscription.plan_changed",
        "catalog",
    )
    await deployment.arrive(shows(loop, attrs.evolve(product, metadata=()), at=1))
    await deployment.follow()
    assert await deployment.plan() is None


async def test_the_plan_does_not_depend_on_the_order_of_arrival() -> None:
    """Of prices, products and the subscription."""
    found = set()
    for order in permutations(range(3)):
        deployment = Deployment()
        loop = deployment.loop
        await deployment.start(PRO, MAX)
        events = [
            loop.says(BESPOKE),
            shows(loop, price("price_pro")),
            shows(loop, ProductSnapshot(product_id="prod_a", name="Pro")),
        ]
        for index in order:
            await deployment.arrive(events[index])
            await deployment.follow()
        found.add(await deployment.plan())
    assert found == {"pro"}


async def test_what_the_catalog_says_is_no_change_of_the_file(deployment: Deployment) -> None:
    """A process that starts again finds its rules in force; new rules keep it until the catalog is looked at again."""
    loop = deployment.loop
    await deployment.start(PRO)
    await deployment.arrive(loop.says(BESPOKE), shows(loop, price("price_pro")))
    await deployment.follow()
    assert await deployment.start(PRO) is Activation.UNCHANGED
    assert await deployment.start(PRO, MAX) is Activation.ACTIVATED
    active = await deployment.register.active()
    assert active is not None
    assert active.rules.product_plans == (("prod_a", "pro"),)
    await deployment.follow()
    assert await deployment.plan() == "pro"


async def test_another_activation_meanwhile_is_not_overwritten(deployment: Deployment) -> None:
    """The next look compares the catalog with those rules."""
    await deployment.start(PRO)
    await deployment.arrive(shows(deployment.loop, price("price_pro")))
    register = deployment.register

    class Late(MemoryRulesRegister):
        async def active(self) -> RulesInForce | None:
            before = await super().active()
            if before is not None and before.generation == 1:
                both = BillingRules(plans=(PRO, MAX))
                await register.activate(RulesInForce(both, 2), fingerprint=fingerprint_of(both), actor="bob")
            return before

    reports: list[ProductReport] = []
    late = ProductFollower(
        reader=deployment.loop.repository,
        register=Late(deployment.loop.database),
        every=timedelta(0),
        observe=reports.append,
    )
    assert not (await late.run_once()).changed
    assert (await late.run_once()) == ProductReport(generation=3, products=1, changed=True)
    active = await register.active()
    assert active is not None
    assert [plan.plan_code for plan in active.rules.plans] == ["pro", "max"]


async def test_nothing_is_put_in_force_where_nothing_ever_was(deployment: Deployment) -> None:
    """A library that embeds the service without a register keeps its own rules."""
    await deployment.arrive(shows(deployment.loop, price("price_pro")))
    assert await deployment.follow() == ProductReport(generation=0)
    assert await deployment.register.active() is None


async def test_a_coming_phase_gets_its_plan_once_the_catalog_showed_its_price(deployment: Deployment) -> None:
    """The customer sees which plan comes, and its seats can be set before: in catalogs by lookup keys alone, too."""
    loop = deployment.loop
    await deployment.start(PRO)
    phase = Phase(starts_at=AT + timedelta(days=20), items=(PlannedItem(price_id=PriceId("price_yearly"), quantity=1),))
    seen = subscription(items=(item(price_id="price_pro", product_id="prod_a"),), schedule_id="sub_sched_1")
    coming = ScheduleSnapshot(
        schedule_id="sub_sched_1", subscription_id=seen.subscription_id, status="active", phases=(phase,)
    )
    scheduled = Translation(snapshots=(coming,), customer_id=seen.customer_id)
    await deployment.arrive(loop.says(seen), loop.provider.event("evt_scheduled", scheduled, at=loop.clock.now()))
    assert await deployment.scheduled() == [None]
    await deployment.arrive(shows(loop, price("price_yearly", lookup_key="pro_yearly")))
    assert (await deployment.follow()).changed
    assert await deployment.scheduled() == ["pro"]
    assert not (await deployment.follow()).changed
