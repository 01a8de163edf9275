"""The configuration of the customer portal, which operations name when they open it."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from billing_stripe.client import CLEAR, Json
from billing_stripe.provisioning.desired import MANAGED, Desired, DesiredPortal, DesiredPrice, SwitchablePlan
from billing_stripe.provisioning.found import Found
from billing_stripe.provisioning.steps import Call, Ref, Step

PORTAL = Ref("portal configuration", "portal")


def portal_step(portal: DesiredPortal, desired: Desired, found: Found, ids: Mapping[Ref, str]) -> Step:
    """Return the step for the configuration; settings that set-up does not name are left as they are."""
    features = _features(_products(portal, desired, found))
    switching = "customers switch between plans" if portal.plans else f"customers cannot switch: {portal.why_none}"
    about = f"{switching}, cancel at the end of the period, update payment methods"
    if not found.portals:
        return Step(
            kind="portal configuration",
            name=PORTAL.name,
            action="create",
            text=f"Create a configuration of the customer portal: {about}.",
            call=Call(operation="create_portal_configuration", params={"features": features, "metadata": MANAGED}),
        )
    current = found.portals[0]
    kept = Step(
        kind="portal configuration",
        name=PORTAL.name,
        action="keep",
        text=f"Portal configuration {current['id']} is up to date.",
        object_id=current["id"],
    )
    if current["active"] and _covers(current["features"], _known(features, ids)):
        return kept
    params = {"active": True, "features": features}
    return attrs.evolve(
        kept,
        action="change",
        text=f"Update portal configuration {current['id']}: {about}.",
        call=Call(operation="update_portal_configuration", ids=(current["id"],), params=params, basis=current),
    )


def _features(products: Sequence[Json]) -> Json:
    quantities = any(product["adjustable_quantity"]["enabled"] for product in products)
    switching: dict[str, Any] = {"enabled": False, "default_allowed_updates": CLEAR, "products": CLEAR}
    if products:
        switching = {
            "enabled": True,
            "default_allowed_updates": ["price", "quantity"] if quantities else ["price"],
            "products": products,
            "proration_behavior": "create_prorations",
        }
    return {
        "customer_update": {"enabled": True, "allowed_updates": ["address", "email", "tax_id"]},
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
        "subscription_update": switching,
    }


def _products(portal: DesiredPortal, desired: Desired, found: Found) -> Sequence[Json]:
    """Return the products between which customers switch, with one price per interval."""
    named = {price.name: price for price in desired.prices}
    prices: dict[str, dict[tuple[str, int], Ref]] = {}
    seats: dict[str, Json] = {}
    for plan in portal.plans:
        for name in plan.prices:
            interval = _interval(named.get(name), found.prices.get(name))
            if interval is None:
                continue
            product_id = _product_id(named[name], found.prices.get(name))
            prices.setdefault(product_id, {}).setdefault(interval, Ref("price", name))
            if plan.seats is not None:
                seats[product_id] = _quantities(plan)
    return [
        {
            "product": product_id,
            "prices": list(each.values()),
            "adjustable_quantity": seats.get(product_id, {"enabled": False}),
        }
        for product_id, each in prices.items()
    ]


def _quantities(plan: SwitchablePlan) -> Json:
    assert plan.seats is not None
    maximum = {} if plan.seats.maximum is None else {"maximum": plan.seats.maximum}
    return {"enabled": True, "minimum": plan.seats.minimum, **maximum}


def _product_id(price: DesiredPrice, found: Json | None) -> str:
    return price.product_id if found is None else str(found["product"])


def _interval(price: DesiredPrice | None, found: Json | None) -> tuple[str, int] | None:
    """Return the interval of a price; None if it does not recur or does not exist."""
    if price is not None and price.shape is not None:
        return price.shape.interval, price.shape.interval_count
    recurring = None if found is None else found.get("recurring")
    return None if price is None or recurring is None else (recurring["interval"], recurring["interval_count"])


def _known(value: Any, ids: Mapping[Ref, str]) -> Any:
    """Return parameters with the ids of objects that exist; other references equal nothing."""
    match value:
        case Ref():
            return ids.get(value, value)
        case Mapping():
            return {name: _known(each, ids) for name, each in value.items()}
        case list():
            return [_known(each, ids) for each in value]
    return value


def _covers(shown: Any, wanted: Any) -> bool:
    """Return whether an object shows everything that is wanted; the order of arrays means nothing."""
    match wanted:
        case Mapping():
            return isinstance(shown, Mapping) and all(_covers(shown.get(name), wanted[name]) for name in wanted)
        case list():
            if not isinstance(shown, list) or len(shown) != len(wanted):
                return False
            return all(any(_covers(each, one) for each in shown) for one in wanted)
        case "":
            return not shown
    return bool(shown == wanted)
