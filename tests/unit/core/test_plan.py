"""Plans are recognized by the rules in force, never by the order of items."""

from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import AT, invoice, item, line, metered, subscription

from billing_core.model import (
    ItemSnapshot,
    Phase,
    Plan,
    PlanCatalog,
    PlanMatch,
    PlannedItem,
    PlanPrice,
    PriceId,
    Role,
    ScheduleSnapshot,
    SubscriptionSnapshot,
)

PRO = Plan.of_prices(
    "pro", base=["price_pro", "price_pro_yearly"], seat=["price_seat"], metered={"api_calls": ["price_calls"]}
)
STARTER = Plan.of_prices("starter", base=["price_starter"])
CLOSED = PlanCatalog((PRO, STARTER))
OPEN = PlanCatalog()
UNSEEN = {"item_id": "si_1", "price_id": "price_unseen", "product_id": "prod_unseen", "lookup_key": "unseen"}


def test_the_base_item_names_the_plan_wherever_it_stands() -> None:
    """Item 0 is whatever was created first."""
    items = (metered("si_0"), item("si_1", "price_seat", quantity=7), item("si_2", "price_pro_yearly", quantity=1))
    seen = CLOSED.read_subscription(subscription(items=items))
    assert (seen.plan_code, seen.price_id, seen.seat_count) == ("pro", "price_pro_yearly", 7)


def test_without_a_seat_item_the_base_counts_the_seats() -> None:
    """Plans sold per seat have one item whose quantity is the number of seats."""
    seen = CLOSED.read_subscription(subscription(items=(item(quantity=12),)))
    assert seen.seat_count == 12


@pytest.mark.parametrize(
    ("items", "price_id"),
    [((item("si_1", "price_seat", quantity=3),), "price_seat"), ((metered(),), "price_calls")],
    ids=["seats alone", "metered alone"],
)
def test_a_plan_is_recognized_by_any_of_its_prices(items: tuple[ItemSnapshot, ...], price_id: str) -> None:
    """An item may have been removed, or a plan may have no base fee."""
    seen = CLOSED.read_subscription(subscription(items=items))
    assert (seen.plan_code, seen.price_id) == ("pro", price_id)


def test_unknown_items_beside_a_known_one_do_no_harm() -> None:
    """Add-ons that are sold without being mapped."""
    items = (item("si_0", "price_addon", quantity=1), item("si_1", "price_starter", quantity=1))
    assert CLOSED.read_subscription(subscription(items=items)).plan_code == "starter"


@pytest.mark.parametrize("catalog", [OPEN, CLOSED], ids=["open", "closed"])
@pytest.mark.parametrize("shown", [item(price_id="price_addon"), item(price_id="price_seat"), metered()])
def test_the_plan_is_unknown_while_it_may_be_among_missing_items(catalog: PlanCatalog, shown: ItemSnapshot) -> None:
    """A page of add-ons says nothing about the plan."""
    seen = catalog.read_subscription(subscription(items=(shown,), items_complete=False))
    assert (seen.plan_code, seen.price_id, seen.seat_count) == (None, None, None)


def test_a_base_price_names_the_plan_although_items_are_missing() -> None:
    """No other item can contradict it."""
    assert CLOSED.read_subscription(subscription(items=(item(),), items_complete=False)).plan_code == "pro"


@pytest.mark.parametrize("status", ["active", "canceled"])
def test_a_closed_catalog_puts_an_unknown_price_on_no_plan(status: str) -> None:
    """The first licensed item still tells the price and the seats, and the snapshot is folded like any other."""
    items = (metered("si_0", "price_else"), item("si_1", price_id="price_new", quantity=9))
    seen = CLOSED.read_subscription(subscription(status=status, items=items))
    assert (seen.status, seen.plan_code, seen.price_id, seen.seat_count) == (status, None, "price_new", 9)


def test_a_subscription_without_items_has_no_plan() -> None:
    """Damaged payloads are no error."""
    seen = CLOSED.read_subscription(subscription(items=()))
    assert (seen.plan_code, seen.price_id, seen.seat_count) == (None, None, None)


def test_a_mapped_metered_price_is_metered_whatever_the_payload_says() -> None:
    """Its feature is the map's, and its quantity is usage, not a setting."""
    seen = CLOSED.read_subscription(subscription(items=(item("si_calls", "price_calls", quantity=5),)))
    (read,) = seen.items
    assert (read.usage_type, read.feature_key, read.quantity) == ("metered", "api_calls", None)


def test_an_open_catalog_falls_back_to_lookup_keys_and_ids() -> None:
    """Licensed items name the plan; metered ones their own feature."""
    items = (
        metered("si_0", lookup_key="calls"),
        metered("si_1", "price_gigabytes"),
        item("si_2", lookup_key="pro", quantity=4),
    )
    seen = OPEN.read_subscription(subscription(items=items))
    assert (seen.plan_code, seen.price_id, seen.seat_count) == ("pro", "price_pro", 4)
    assert [read.feature_key for read in seen.items] == ["calls", "price_gigabytes", None]
    assert OPEN.read_subscription(subscription(items=(item(),))).plan_code == "price_pro"


def test_lines_of_mapped_metered_prices_get_their_feature() -> None:
    """Other lines, and all lines under an open catalog, stay as they are."""
    seen = invoice(lines=(line("il_1"), line("il_2", "price_pro")))
    first, second = CLOSED.read_invoice(seen).lines
    assert (first.usage_type, first.feature_key) == ("metered", "api_calls")
    assert second == seen.lines[1]
    assert OPEN.read_invoice(seen) == seen


def test_reading_a_subscription_keeps_every_field_that_is_not_ours() -> None:
    """A field that a copy forgot would fall back to its default."""
    ours = {"items", "plan_code", "price_id", "seat_count", "out_of_scope", "pending_change", "planned"}
    values: dict[str, Any] = {
        field.name: True if field.default is False else AT if field.validator else field.name
        for field in attrs.fields(SubscriptionSnapshot)
        if field.name not in ours
    }
    shown = SubscriptionSnapshot(**values)
    read = PlanCatalog().read_subscription(shown)
    assert {name: getattr(read, name) for name in values} == values


def matching(code: str, **conditions: Any) -> Plan:
    """Build a plan that lists no price."""
    return Plan(plan_code=code, match=PlanMatch(**conditions))


class TestMatching:
    """The conditions by which a price belongs to a plan."""

    @pytest.mark.parametrize(
        ("plan", "shown"),
        [
            (Plan.of_prices("pro", base=["price_x"]), {"price_id": "price_x"}),
            (matching("pro", prices=(PriceId("price_x"),)), {"price_id": "price_x"}),
            (matching("pro", products=("prod_a", "prod_b")), {"product_id": "prod_b"}),
            (matching("pro", lookup_keys=("pro_*",)), {"lookup_key": "pro_acme"}),
            (matching("pro", metadata=(("tier", "2"),)), {"price_metadata": (("app", "x"), ("tier", "2"))}),
            (matching("pro"), {"price_metadata": (("plan_code", "pro"),)}),
            (Plan(plan_code="pro", prices=(PlanPrice(lookup_key="monthly"),)), {"lookup_key": "monthly"}),
        ],
        ids=["price", "further price", "product", "pattern", "metadata", "plan code in metadata", "lookup key"],
    )
    def test_any_one_condition_is_enough(self, plan: Plan, shown: dict[str, Any]) -> None:
        """Nothing else of the price is known to the catalog."""
        seen = PlanCatalog([STARTER, plan]).read_subscription(subscription(items=(item(**{**UNSEEN, **shown}),)))
        assert seen.plan_code == "pro"

    def test_the_most_exact_condition_decides(self) -> None:
        """In this order: price, listed lookup key, product, pattern, metadata."""
        plans = [
            Plan.of_prices("by_price", base=["price_x"]),
            Plan(plan_code="by_key", prices=(PlanPrice(lookup_key="key_x"),)),
            matching("by_product", products=("prod_x",)),
            matching("by_long_pattern", lookup_keys=("key_*",)),
            matching("by_pattern", lookup_keys=("k*",)),
            matching("by_metadata", metadata=(("tier", "2"),)),
        ]
        shown = item("si_1", "price_x", lookup_key="key_x", product_id="prod_x", price_metadata=(("tier", "2"),))
        found = []
        for count in range(len(plans)):
            catalog = PlanCatalog(list(reversed(plans[count:])))
            found.append(catalog.read_subscription(subscription(items=(shown,))).plan_code)
        assert found == [plan.plan_code for plan in plans]

    def test_a_pattern_is_not_read_as_a_prefix(self) -> None:
        """Case counts, and the whole key has to fit."""
        catalog = PlanCatalog([matching("pro", lookup_keys=("pro_?",))])
        for key, plan_code in {"pro_1": "pro", "pro_12": None, "Pro_1": None}.items():
            seen = catalog.read_subscription(subscription(items=(item(lookup_key=key),)))
            assert seen.plan_code == plan_code

    def test_a_bespoke_price_counts_the_seats_of_its_plan(self) -> None:
        """It is a base price, unless it is metered."""
        catalog = PlanCatalog([matching("pro", products=("prod_a",))])
        seen = catalog.read_subscription(
            subscription(items=(item("si_1", "price_b", product_id="prod_a", quantity=40),))
        )
        assert (seen.plan_code, seen.price_id, seen.seat_count) == ("pro", "price_b", 40)

    def test_a_bespoke_metered_price_bills_the_only_feature_of_its_plan(self) -> None:
        """Of several features none is meant: then it is named by its own lookup key."""
        calls = PlanPrice(role="metered", feature="api_calls", price_id=PriceId("price_calls"))
        yearly = attrs.evolve(calls, price_id=PriceId("price_calls_yearly"))
        storage = attrs.evolve(calls, feature="storage", price_id=PriceId("price_gb"))
        bespoke = metered("si_1", "price_b", product_id="prod_a", lookup_key="acme_calls")
        for prices, feature in (((calls, yearly), "api_calls"), ((calls, storage), "acme_calls")):
            plan = Plan(plan_code="pro", prices=prices, match=PlanMatch(products=("prod_a",)))
            (read,) = PlanCatalog([plan]).read_subscription(subscription(items=(bespoke,))).items
            assert read.feature_key == feature

    def test_a_line_is_recognized_by_its_product(self) -> None:
        """A line shows no lookup key and no metadata of its price."""
        calls = PlanPrice(role="metered", feature="api_calls", price_id=PriceId("price_calls"))
        plan = Plan(plan_code="pro", prices=(calls,), match=PlanMatch(products=("prod_a",)))
        seen = invoice(lines=(line("il_1", "price_b", product_id="prod_a", usage_type="metered"),))
        (read,) = PlanCatalog([plan]).read_invoice(seen).lines
        assert read.feature_key == "api_calls"


class TestRoles:
    """The item that names the plan of a subscription."""

    @pytest.mark.parametrize("role", ["base", "seat", "metered"])
    def test_an_add_on_never_names_the_plan_beside_another_item(self, role: Role) -> None:
        """Wherever it stands."""
        pro = Plan(plan_code="pro", prices=(PlanPrice(role=role, price_id=PriceId("price_pro")),))
        extra = Plan(plan_code="extra", prices=(PlanPrice(role="addon", price_id=PriceId("price_extra")),))
        items = (item("si_0", "price_extra"), item("si_1", "price_pro"))
        seen = PlanCatalog([extra, pro]).read_subscription(subscription(items=items))
        assert (seen.plan_code, seen.price_id) == ("pro", "price_pro")

    def test_a_plan_without_access_names_a_subscription_only_by_itself(self) -> None:
        """Its base price does not hide that the tenant pays for seats of another plan."""
        extra = Plan(plan_code="extra", prices=(PlanPrice(price_id=PriceId("price_x")),), grants_access=False)
        catalog = PlanCatalog([extra, PRO])
        both = (item("si_0", "price_x"), item("si_1", "price_seat", quantity=3))
        assert catalog.read_subscription(subscription(items=both)).plan_code == "pro"
        assert catalog.read_subscription(subscription(items=both[:1])).plan_code == "extra"

    def test_a_price_plays_the_role_of_its_own_id_before_that_of_its_lookup_key(self) -> None:
        """A lookup key may have been transferred to another price of the plan."""
        prices = (
            PlanPrice(role="seat", lookup_key="pro"),
            PlanPrice(role="base", price_id=PriceId("price_pro")),
        )
        catalog = PlanCatalog([Plan(plan_code="pro", prices=prices)])
        items = (item("si_0", "price_pro", lookup_key="pro", quantity=1), item("si_1", "price_new", lookup_key="pro"))
        seen = catalog.read_subscription(subscription(items=items))
        assert seen.price_id == "price_pro"


def test_reading_again_by_other_rules_gives_what_the_first_reading_would_have_given() -> None:
    """Rows are read again when the rules change."""
    shown = subscription(items=(metered("si_0", "price_calls", lookup_key="calls"), item("si_1", "price_pro")))
    for first in (OPEN, CLOSED, PlanCatalog([STARTER])):
        for second in (OPEN, CLOSED, PlanCatalog([STARTER])):
            assert second.read(first.read(shown)) == second.read(shown)


@pytest.mark.parametrize(
    ("catalog", "prices", "expected"),
    [
        (CLOSED, {"price_pro": 1}, ("pro", "price_pro", 1)),
        (CLOSED, {"price_addon": 1, "price_seat": 7, "price_pro": 1}, ("pro", "price_pro", 7)),
        (CLOSED, {"price_other": 1}, (None, "price_other", 1)),
        (OPEN, {"price_other": 1}, ("price_other", "price_other", 1)),
        (CLOSED, {}, (None, None, None)),
    ],
)
def test_coming_phases_are_read_as_subscriptions_are(
    catalog: PlanCatalog, prices: dict[str, int], expected: Any
) -> None:
    """Wherever they stand: in a schedule, and copied to its subscription; so are changes that have to be paid."""
    items = tuple(PlannedItem(price_id=PriceId(price_id), quantity=count) for price_id, count in prices.items())
    phase = Phase(starts_at=AT, items=items)
    schedule = catalog.read(ScheduleSnapshot(schedule_id="sub_sched_1", status="active", phases=(phase,)))
    seen = catalog.read(subscription(planned=(phase,), pending_change=phase))
    assert isinstance(schedule, ScheduleSnapshot)
    assert isinstance(seen, SubscriptionSnapshot)
    for read in (*schedule.phases, *seen.planned, seen.pending_change):
        assert read is not None
        assert (read.starts_at, read.items) == (AT, items)
        assert (read.plan_code, read.price_id, read.seat_count) == expected
