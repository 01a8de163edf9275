"""Choose prices and items of a plan."""

from collections.abc import Sequence

import attrs

from billing_core.model import Plan, PlanPrice, Role, SeatBounds
from billing_core.operations.commands import NewItem, PriceChoice
from billing_core.operations.errors import OperationRefusedError, Refusal


@attrs.frozen(kw_only=True)
class Terms:
    """The wanted billing interval and currency; None: whatever the plan has, if it has one only."""

    interval: str | None = None
    interval_count: int | None = None
    currency: str | None = None

    def fit(self, price: PlanPrice) -> bool:
        """Tell whether a price has these terms. What the catalog does not say of it, it may have."""
        if self.currency is not None and price.currency not in (None, self.currency):
            return False
        if self.interval is None or price.interval is None:
            return True
        return (price.interval, price.interval_count) == (self.interval, self.interval_count or 1)


@attrs.frozen(kw_only=True)
class Quantities:
    """The quantities of a plan's items for a number of seats."""

    lead: int = 1
    """Of the item that names the plan."""
    seats: int | None = None
    """Of a second item that counts the seats; None if the first one does, or nothing does."""


def lead_role(plan: Plan) -> Role | None:
    """Return the role of the item that names a plan; None for a plan that bills nothing but usage."""
    roles = {price.role for price in plan.prices}
    return next((role for role in ("base", "seat") if role in roles), None)


def has_seats(plan: Plan) -> bool:
    """Tell whether a plan is sold by the seat."""
    return plan.seats is not None or any(price.role == "seat" for price in plan.prices)


def quantities(plan: Plan, seats: int | None) -> Quantities:
    """Return the quantities for a number of seats, by default the fewest. Raises: OperationRefusedError."""
    if not has_seats(plan):
        if seats not in (None, 1):
            raise OperationRefusedError(Refusal.NO_SEATS)
        return Quantities()
    bounds = plan.seats or SeatBounds()
    wanted = bounds.minimum if seats is None else seats
    if not bounds.allow(wanted):
        raise OperationRefusedError(Refusal.SEATS_OUT_OF_BOUNDS, _bounds_text(bounds))
    priced = any(price.role == "seat" for price in plan.prices)
    return Quantities(seats=wanted) if priced and lead_role(plan) == "base" else Quantities(lead=wanted)


def seats_of(plan: Plan, seats: int | None) -> int | None:
    """Return the number of seats that a plan is sold with, if it is sold by the seat, by default the fewest."""
    if not has_seats(plan):
        return None
    return (plan.seats or SeatBounds()).minimum if seats is None else seats


def _bounds_text(bounds: SeatBounds) -> str:
    if bounds.maximum is None:
        return f"It is sold with {bounds.minimum} or more."
    return f"It is sold with {bounds.minimum} to {bounds.maximum}."


def choose(plan: Plan, role: Role, terms: Terms, feature: str | None = None) -> PriceChoice:
    """Return the only price of a plan with a role, a feature and these terms. Raises: OperationRefusedError."""
    found = [price for price in plan.prices if (price.role, price.feature) == (role, feature) and terms.fit(price)]
    if not found:
        raise OperationRefusedError(Refusal.UNKNOWN_PRICE)
    if len(found) > 1:
        raise OperationRefusedError(Refusal.PRICE_NOT_UNIQUE)
    return choice_of(plan, found[0])


def metered_prices(plan: Plan, terms: Terms) -> Sequence[PriceChoice]:
    """Return the metered prices of a plan with these terms; where a feature has none, its only one.

    Raises: OperationRefusedError if several fit one feature.
    """
    chosen = []
    for feature in dict.fromkeys(price.feature for price in plan.prices if price.role == "metered"):
        of_feature = [price for price in plan.prices if (price.role, price.feature) == ("metered", feature)]
        fitting = [price for price in of_feature if terms.fit(price)] or of_feature
        if len(fitting) > 1:
            raise OperationRefusedError(Refusal.PRICE_NOT_UNIQUE)
        chosen.append(choice_of(plan, fitting[0]))
    return chosen


def new_items(plan: Plan, terms: Terms, seats: int | None) -> tuple[NewItem, ...]:
    """Return all items of a new subscription to a plan. Raises: OperationRefusedError."""
    wanted = quantities(plan, seats)
    items = []
    if (role := lead_role(plan)) is not None:
        lead = choose(plan, role, terms)
        terms = terms_of(lead, terms)
        items.append(NewItem(price=lead, quantity=wanted.lead))
    if wanted.seats is not None:
        items.append(NewItem(price=choose(plan, "seat", terms), quantity=wanted.seats))
    items += [NewItem(price=price) for price in metered_prices(plan, terms)]
    if not items:
        raise OperationRefusedError(Refusal.UNKNOWN_PRICE)
    return tuple(items)


def terms_of(lead: PriceChoice, terms: Terms) -> Terms:
    """Return the terms for the other prices of a plan, once the first is chosen."""
    return Terms(
        interval=lead.interval or terms.interval,
        interval_count=lead.interval_count if lead.interval else terms.interval_count,
        currency=lead.currency or terms.currency,
    )


def choice_of(plan: Plan, price: PlanPrice) -> PriceChoice:
    """Return a price of the catalog as a command names it."""
    return PriceChoice(
        plan_code=plan.plan_code,
        role=price.role,
        feature=price.feature,
        interval=price.interval,
        interval_count=price.interval_count,
        currency=price.currency,
        price_id=price.price_id,
        lookup_key=price.lookup_key,
    )
