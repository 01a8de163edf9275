"""Plans of set-up, made of a catalog and of what an account holds. Nothing is sent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from tests.provisioning import ENDPOINT, PLANS, PRO, STARTER, monthly

from billing_core.model import Plan, PlanFeature, PlanMatch, PlanPrice, SeatBounds
from billing_stripe.provisioning import (
    MANAGED,
    Desired,
    Found,
    ProvisioningPlan,
    Step,
    create_thin_destination,
    desired_objects,
    plan_provisioning,
)

NOTHING = Found()


def price(key: str, **fields: Any) -> dict[str, Any]:
    """Return Stripe's object of a monthly price."""
    return {
        "id": f"price_{key}",
        "active": True,
        "currency": "usd",
        "lookup_key": key,
        "product": "prod_A",
        "unit_amount": 1900,
        "unit_amount_decimal": "1900",
        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed", "meter": None},
        **fields,
    }


def planned(*plans: Plan, found: Found = NOTHING) -> ProvisioningPlan:
    """Plan without an endpoint."""
    return plan_provisioning(desired_objects(plans), found)


def step(plan: ProvisioningPlan, kind: str) -> Step:
    """Return the only step for a kind of object."""
    (found,) = [each for each in plan.steps if each.kind == kind]
    return found


def starter(*prices: PlanPrice, **fields: Any) -> Plan:
    """Return a plan with these prices."""
    return Plan(plan_code="starter", prices=prices, **fields)


def test_an_empty_account_gets_everything() -> None:
    """Each step is a sentence, and follows those that it refers to."""
    plan = planned(*PLANS)
    assert [each.text for each in plan.pending] == [
        "Create meter api_calls, which adds up the usage of each customer.",
        "Create product billing-plan-starter (Starter).",
        "Create product billing-plan-pro (Pro).",
        "Create product billing-seats-pro (Pro seats).",
        "Create product billing-usage-pro-api_calls (Pro api calls).",
        "Create price starter_monthly: 19.00 USD every month.",
        "Create price starter_yearly: 190.00 USD every year.",
        "Create price pro_monthly: 49.00 USD every month.",
        "Create price pro_yearly: 490.00 USD every year.",
        "Create price pro_seats: 9.00 USD every month.",
        "Create price pro_api_calls: 0.001 USD per unit every month.",
        "Create feature projects.",
        "Create feature exports.",
        "Create feature api_calls.",
        "Give feature projects with product billing-plan-starter.",
        "Give feature projects with product billing-plan-pro.",
        "Give feature exports with product billing-plan-pro.",
        "Give feature api_calls with product billing-plan-pro.",
        "Create a configuration of the customer portal: customers switch between plans, cancel at the end of the "
        "period, update payment methods.",
    ]


@pytest.mark.parametrize(
    ("found", "same"),
    [
        (price("s"), True),
        (price("s", unit_amount=2900, unit_amount_decimal="2900"), False),
        (price("s", currency="eur"), False),
        (price("s", recurring={"interval": "year", "interval_count": 1, "usage_type": "licensed"}), False),
        (price("s", recurring={"interval": "month", "interval_count": 3, "usage_type": "licensed"}), False),
        (price("s", recurring={"interval": "month", "interval_count": 1, "usage_type": "metered"}), False),
        (price("s", recurring=None), False),
        (price("s", unit_amount=None, unit_amount_decimal=None), False),
        (price("s", transform_quantity={"divide_by": 10, "round": "up"}), False),
    ],
)
def test_any_difference_of_a_price_makes_a_new_one(found: dict[str, Any], same: bool) -> None:
    """Tiers and one-time prices are among them: the catalog cannot describe such a price."""
    made = step(planned(starter(monthly("s", 1900)), found=Found(prices={"s": found})), "price")
    assert (made.action == "keep") is same
    if not same:
        assert made.call is not None
        assert made.call.params["transfer_lookup_key"] is True
        assert made.call.params["product"] == "prod_A"


def test_equal_amounts_may_be_written_differently() -> None:
    """`0.10` is `0.1`."""
    listed = PlanPrice(lookup_key="s", unit_amount_decimal="0.10", interval="month", currency="usd")
    found = price("s", unit_amount=None, unit_amount_decimal="0.1")
    assert step(planned(starter(listed), found=Found(prices={"s": found})), "price").action == "keep"


def test_a_replaced_seat_price_says_how_its_subscribers_keep_their_seats() -> None:
    """Without its lookup key it would be read as a base price."""
    plan = starter(monthly("base", 1), monthly("s", 2900, role="seat"))
    found = Found(prices={"base": price("base", unit_amount_decimal="1"), "s": price("s")})
    (replaced,) = [each for each in planned(plan, found=found).pending if each.kind == "price"]
    assert 'add id = "price_s" to the prices of starter' in replaced.text


def test_a_price_in_the_wrong_meter_is_replaced() -> None:
    """Usage would be counted elsewhere."""
    listed = monthly("calls", 1, role="metered", feature="api_calls")
    meter = {"id": "mtr_1", "event_name": "api_calls", "status": "active", "default_aggregation": {"formula": "sum"}}
    recurring = {"interval": "month", "interval_count": 1, "usage_type": "metered", "meter": "mtr_1"}
    found = price("calls", unit_amount_decimal="1", recurring=recurring)
    right = Found(prices={"calls": found}, meters={"api_calls": meter})
    assert step(planned(starter(listed), found=right), "price").action == "keep"
    wrong = Found(prices={"calls": found}, meters={"api_calls": {**meter, "id": "mtr_2"}})
    assert step(planned(starter(listed), found=wrong), "price").action == "change"
    assert step(planned(starter(listed), found=Found(prices={"calls": found})), "price").action == "change"


def test_a_meter_that_counts_in_another_way_is_a_problem() -> None:
    """Stripe cannot change it, and billing by it would be wrong."""
    meter = {"id": "mtr_1", "event_name": "api_calls", "status": "active", "default_aggregation": {"formula": "last"}}
    listed = monthly("calls", 1, role="metered", feature="api_calls")
    (problem,) = planned(starter(listed), found=Found(meters={"api_calls": meter})).problems
    assert "mtr_1 counts api_calls by `last`" in problem


def test_a_product_is_not_made_for_prices_that_exist() -> None:
    """A team that sold before set-up keeps its products."""
    plan = planned(starter(monthly("s", 1900), monthly("y", 1)), found=Found(prices={"s": price("s")}))
    assert step(plan, "product").action == "create"
    plan = planned(starter(monthly("s", 1900)), found=Found(prices={"s": price("s")}))
    assert [each for each in plan.steps if each.kind == "product"] == []


def test_only_products_of_set_up_are_renamed() -> None:
    """Others were named by people."""
    product = {"id": "billing-plan-starter", "active": True, "name": "Old", "metadata": {}}
    plan = starter(monthly("s", 1900), name="New")
    kept = planned(plan, found=Found(products={product["id"]: product}))
    assert step(kept, "product").action == "keep"
    ours = {**product, "metadata": {**MANAGED, "plan_code": "starter"}}
    changed = step(planned(plan, found=Found(products={product["id"]: ours})), "product")
    assert changed.text == "Change product billing-plan-starter: rename it from Old to New."


def test_products_of_different_plans_have_different_ids() -> None:
    """Also where their codes would be equal as parts of an id."""
    codes = ["a b", "a-b", "a_b", "A_B", "ä", "x" * 80, "x" * 81, "a", "a-"]
    plans = [Plan(plan_code=code, prices=(monthly(f"k{code}", 1),)) for code in codes]
    plans += [
        Plan(plan_code="p", prices=(monthly("m1", 1, role="metered", feature="q.r"),)),
        Plan(plan_code="p-q", prices=(monthly("m2", 1, role="metered", feature="r"),)),
    ]
    products = [product.product_id for product in desired_objects(plans).products]
    assert len(set(products)) == len(plans)


def test_features_that_a_product_gives_beside_the_plan_are_noted() -> None:
    """They are not removed: customers would lose what they have."""
    found = Found(prices={"s": price("s")}, attached={"prod_A": frozenset({"exports", "sso"})})
    plan = planned(starter(monthly("s", 1900), features=(PlanFeature(key="exports"),)), found=found)
    (note,) = plan.notes
    assert note.startswith("Product prod_A also gives sso")


def test_a_feature_that_is_switched_off_is_not_given() -> None:
    """`exports = false` says what a plan does not have."""
    off = PlanFeature(key="exports", enabled=False)
    assert desired_objects([starter(monthly("s", 1), features=(off,))]).features == ()


def portal(*plans: Plan) -> dict[str, Any]:
    """Return what the portal allows of subscriptions."""
    call = step(planned(*plans), "portal configuration").call
    assert call is not None
    updates: dict[str, Any] = call.params["features"]["subscription_update"]
    return updates


def test_the_portal_offers_one_price_per_interval() -> None:
    """Stripe refuses two monthly prices of a product; the first one is offered."""
    plan = starter(monthly("first", 1), monthly("second", 2), attrs.evolve(monthly("yearly", 3), interval="year"))
    (product,) = portal(plan)["products"]
    assert [ref.name for ref in product["prices"]] == ["first", "yearly"]


def test_seats_that_the_base_price_counts_can_be_changed_in_the_portal() -> None:
    """Within the bounds of the plan."""
    updates = portal(STARTER, PRO)
    assert updates["default_allowed_updates"] == ["price", "quantity"]
    assert [product["adjustable_quantity"] for product in updates["products"]] == [
        {"enabled": True, "minimum": 1, "maximum": 5},
        {"enabled": False},
    ]
    unlimited = attrs.evolve(STARTER, seats=SeatBounds(minimum=2))
    assert portal(unlimited)["products"][0]["adjustable_quantity"] == {"enabled": True, "minimum": 2}


def test_plans_of_several_groups_cannot_be_switched_in_the_portal() -> None:
    """It would let a customer switch from one product to another one."""
    other = attrs.evolve(PRO, group="other")
    assert portal(STARTER, other) == {"enabled": False, "default_allowed_updates": "", "products": ""}
    assert "customers cannot switch: the plans are of several groups" in planned(STARTER, other).steps[-1].text


def test_more_plans_than_the_portal_lists_cannot_be_switched_there() -> None:
    """Stripe refuses the eleventh."""
    plans = [Plan(plan_code=f"p{number}", prices=(monthly(f"k{number}", 1),)) for number in range(11)]
    assert portal(*plans[:10])["enabled"]
    assert not portal(*plans)["enabled"]


def test_add_on_plans_are_not_offered_in_the_portal() -> None:
    """A switch from a plan to an add-on would end access."""
    addon = Plan(plan_code="support", grants_access=False, prices=(monthly("support_monthly", 1),))
    assert len(portal(STARTER, addon)["products"]) == 1


def test_what_no_price_can_be_made_of_is_a_problem() -> None:
    """It is found before anything is sent."""
    plan = starter(
        PlanPrice(lookup_key="no_interval", amount=1, currency="usd"),
        monthly("x" * 201, 1),
        features=(PlanFeature(key="f" * 81),),
    )
    problems = desired_objects([plan]).problems
    assert [problem.split(" ")[0] for problem in problems] == ["Price", "Lookup", "The"]


def test_an_archived_price_that_the_catalog_only_names_is_noted() -> None:
    """Set-up does not know whether it may be sold again."""
    named = starter(PlanPrice(lookup_key="s"))
    plan = planned(named, found=Found(prices={"s": price("s", active=False)}))
    assert plan.notes == ("Price s of plan starter is archived and cannot be sold.",)
    assert step(plan, "price").action == "keep"


def test_amounts_are_compared_exactly() -> None:
    """Neither floats nor rounding."""
    desired: Desired = desired_objects([starter(monthly("s", 2**53 + 1))])
    (wanted,) = desired.prices
    assert wanted.shape is not None
    assert wanted.shape.amount == Decimal(2**53 + 1)


def test_prices_by_match_are_left_to_people() -> None:
    """They are recognized, and never made."""
    plan = Plan(plan_code="pro", match=PlanMatch(prices=("price_old",)))
    assert desired_objects([plan]).prices == ()


def test_two_endpoints_of_one_url_are_noted() -> None:
    """Each event arrives twice and counts once."""
    endpoint = {
        "id": "we_1",
        "url": ENDPOINT.url,
        "status": "enabled",
        "enabled_events": list(ENDPOINT.events),
        "api_version": ENDPOINT.api_version,
        "metadata": {},
    }
    plan = plan_provisioning(
        desired_objects([], endpoint=ENDPOINT), Found(endpoints=(endpoint, {**endpoint, "id": "we_2"}))
    )
    assert "we_2 has the same URL" in plan.notes[0]
    assert step(plan, "webhook endpoint").action == "keep"


def test_the_destination_for_thin_events_names_url_and_events() -> None:
    """Its steps can be followed without another page."""
    text = " ".join(create_thin_destination(ENDPOINT.url))
    assert ENDPOINT.url in text
    assert "v1.billing.meter.error_report_triggered" in text
