"""Plans are read from the price map, never from the order of items."""

from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import AT, invoice, item, line, metered, subscription

from billing_core.errors import UnknownPriceError
from billing_core.model import ItemSnapshot, Plan, PlanCatalog, PriceId, SubscriptionSnapshot

PRO = Plan(
    plan_code="pro",
    base_prices=(PriceId("price_pro"), PriceId("price_pro_yearly")),
    seat_prices=(PriceId("price_seat"),),
    metered_prices={"api_calls": PriceId("price_calls")},
)
STARTER = Plan(plan_code="starter", base_prices=(PriceId("price_starter"),))
CLOSED = PlanCatalog((PRO, STARTER))
OPEN = PlanCatalog()


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


def test_a_closed_catalog_refuses_a_live_subscription_without_a_known_price() -> None:
    """The error names the price to map."""
    with pytest.raises(UnknownPriceError, match="price_new"):
        CLOSED.read_subscription(subscription(items=(item(price_id="price_new"),)))


def test_an_ended_subscription_needs_no_price() -> None:
    """The end of a subscription that was sold long ago must be applied."""
    seen = CLOSED.read_subscription(subscription(status="canceled", items=(item(price_id="price_old", quantity=1),)))
    assert seen.plan_code == "price_old"


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
    ours = {"items", "plan_code", "price_id", "seat_count"}
    values: dict[str, Any] = {
        field.name: True if field.default is False else AT if field.validator else field.name
        for field in attrs.fields(SubscriptionSnapshot)
        if field.name not in ours
    }
    shown = SubscriptionSnapshot(**values)
    read = PlanCatalog().read_subscription(shown)
    assert {name: getattr(read, name) for name in values} == values
