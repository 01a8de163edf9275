"""The objects at Stripe that a catalog of plans needs."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

import attrs

from billing_core.model import Plan, PlanPrice, SeatBounds
from billing_core.model.plan import PLAN_METADATA
from billing_stripe.client import Json
from billing_stripe.translate import HANDLED_TYPES

MANAGED: Final = {"managed_by": "billing-core"}
"""The metadata of every object that set-up makes, where Stripe takes metadata."""
_LONGEST_LOOKUP_KEY: Final = 200
_LONGEST_FEATURE_KEY: Final = 80
_MOST_IN_PORTAL: Final = 10
"""Products between which customers may switch. Source: https://docs.stripe.com/api/customer_portal/configurations"""


@attrs.frozen(kw_only=True)
class DesiredMeter:
    """A meter that counts the usage of one feature."""

    event_name: str
    display_name: str


@attrs.frozen(kw_only=True)
class DesiredProduct:
    """A product under an id of our own. It is needed for prices that do not exist yet."""

    product_id: str
    name: str
    plan_code: str


@attrs.frozen(kw_only=True)
class PriceShape:
    """Everything about a price that Stripe never changes once it exists."""

    currency: str
    amount: Decimal
    """In the minor unit, with digits below it if it has any."""
    interval: str
    interval_count: int = 1
    meter: str | None = None
    """The event name of the meter of a metered price."""


@attrs.frozen(kw_only=True)
class DesiredPrice:
    """A price, by its lookup key or by its id."""

    plan_code: str
    role: str
    lookup_key: str | None = None
    price_id: str | None = None
    product_id: str
    """The product of the price if it has to be created."""
    shape: PriceShape | None = None
    """None for a price that must exist: one with an id, or without an amount."""

    @property
    def name(self) -> str:
        """The id in the catalog, else the lookup key."""
        return self.price_id or self.lookup_key or ""


@attrs.frozen(kw_only=True)
class DesiredFeature:
    """A feature that customers of a plan are entitled to."""

    lookup_key: str
    name: str


@attrs.frozen(kw_only=True)
class Attachment:
    """A feature of every product that sells a plan."""

    plan_code: str
    feature: str


@attrs.frozen(kw_only=True)
class SwitchablePlan:
    """A plan to which customers may switch in the portal, with the names of its base prices."""

    plan_code: str
    prices: tuple[str, ...]
    seats: SeatBounds | None = None
    """The quantities that customers may choose; None if they may not."""


@attrs.frozen(kw_only=True)
class DesiredPortal:
    """The configuration of the customer portal."""

    plans: tuple[SwitchablePlan, ...] = ()
    """Empty if customers cannot switch there."""
    why_none: str | None = None
    """The reason for that."""


@attrs.frozen(kw_only=True)
class DesiredEndpoint:
    """A webhook endpoint for snapshot events."""

    url: str
    api_version: str
    events: tuple[str, ...] = HANDLED_TYPES


@attrs.frozen(kw_only=True)
class Desired:
    """All of them."""

    meters: tuple[DesiredMeter, ...] = ()
    products: tuple[DesiredProduct, ...] = ()
    prices: tuple[DesiredPrice, ...] = ()
    features: tuple[DesiredFeature, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    portal: DesiredPortal | None = None
    endpoint: DesiredEndpoint | None = None
    problems: tuple[str, ...] = ()
    """Entries of the catalog that no object can be made of, as sentences."""

    def base_prices(self, plan_code: str) -> Sequence[DesiredPrice]:
        """Return the prices that name a plan."""
        return [price for price in self.prices if price.plan_code == plan_code and price.role == "base"]


def desired_objects(plans: Iterable[Plan], *, endpoint: DesiredEndpoint | None = None) -> Desired:
    """Return the objects that plans need, and the endpoint."""
    sold = tuple(plans)
    products: dict[str, DesiredProduct] = {}
    prices, problems = [], []
    for plan in sold:
        for listed in plan.prices:
            problem = _problem(plan, listed)
            if problem is not None:
                problems.append(problem)
                continue
            product = _product(plan, listed)
            prices.append(_price(plan, listed, product))
            if prices[-1].shape is not None:
                products.setdefault(product.product_id, product)
    features = {key: DesiredFeature(lookup_key=key, name=_words(key)) for plan in sold for key in _entitled(plan)}
    meters = {price.shape.meter for price in prices if price.shape is not None and price.shape.meter is not None}
    problems += [
        f"The key of feature {key} has more than {_LONGEST_FEATURE_KEY} characters, which Stripe does not take."
        for key in features
        if len(key) > _LONGEST_FEATURE_KEY
    ]
    return Desired(
        meters=tuple(DesiredMeter(event_name=name, display_name=_words(name)) for name in sorted(meters)),
        products=tuple(products.values()),
        prices=tuple(prices),
        features=tuple(features.values()),
        attachments=tuple(
            Attachment(plan_code=plan.plan_code, feature=key)
            for plan in sold
            if any(price.role == "base" for price in plan.prices)
            for key in _entitled(plan)
        ),
        portal=_portal(sold),
        endpoint=endpoint,
        problems=tuple(problems),
    )


def product_metadata(product: DesiredProduct) -> Json:
    """Return the metadata by which the catalog recognizes prices that are made in the dashboard later."""
    return {**MANAGED, PLAN_METADATA: product.plan_code}


def _problem(plan: Plan, price: PlanPrice) -> str | None:
    """Return why a price cannot be provisioned, or None."""
    if price.price_id is not None or price.lookup_key is None:
        return None
    if len(price.lookup_key) > _LONGEST_LOOKUP_KEY:
        return f"Lookup key {price.lookup_key[:20]}… of plan {plan.plan_code} has more than 200 characters."
    if _amount(price) is not None and price.interval is None:
        return f'Price {price.lookup_key} of plan {plan.plan_code} has no interval: add interval = "month" to it.'
    return None


def _price(plan: Plan, price: PlanPrice, product: DesiredProduct) -> DesiredPrice:
    amount = _amount(price)
    shape = None
    if price.price_id is None and amount is not None and price.currency is not None and price.interval is not None:
        shape = PriceShape(
            currency=price.currency,
            amount=amount,
            interval=price.interval,
            interval_count=price.interval_count,
            meter=price.feature if price.role == "metered" else None,
        )
    return DesiredPrice(
        plan_code=plan.plan_code,
        role=price.role,
        lookup_key=price.lookup_key,
        price_id=price.price_id,
        product_id=product.product_id,
        shape=shape,
    )


def _amount(price: PlanPrice) -> Decimal | None:
    if price.amount is not None:
        return Decimal(price.amount)
    return None if price.unit_amount_decimal is None else Decimal(price.unit_amount_decimal)


def _product(plan: Plan, price: PlanPrice) -> DesiredProduct:
    """Return the product of a price: invoices show its name, and the portal takes one price per interval of it."""
    code, name = plan.plan_code, plan.name or plan.plan_code
    match price.role:
        case "base" if plan.match.products:
            product_id = plan.match.products[0]
        case "base":
            product_id = _own_id("plan", code)
        case "seat":
            product_id, name = _own_id("seats", code), f"{name} seats"
        case "metered":
            feature = price.feature or ""
            product_id, name = _own_id("usage", code, feature), f"{name} {_words(feature).lower()}"
        case _:
            addon = price.lookup_key or ""
            product_id, name = _own_id("addon", code, addon), f"{name} add-on {_words(addon).lower()}"
    return DesiredProduct(product_id=product_id, name=name, plan_code=code)


def _own_id(kind: str, *names: str) -> str:
    return "-".join(["billing", kind, *(_slug(name) for name in names)])


def _slug(name: str) -> str:
    """Return a name as a part of an id; one that had to be changed gets a hash, so that no two become equal."""
    if re.fullmatch(r"[A-Za-z0-9_]{1,60}", name):
        return name
    readable = re.sub(r"[^A-Za-z0-9_]+", "_", name)[:40]
    return f"{readable}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _entitled(plan: Plan) -> Iterator[str]:
    return (feature.key for feature in plan.features if feature.enabled)


def _words(key: str) -> str:
    """Return a key as words: `api_calls` as `Api calls`."""
    words = re.sub(r"[_.\s-]+", " ", key).strip()
    return words[:1].upper() + words[1:]


def _portal(plans: Sequence[Plan]) -> DesiredPortal:
    """Return the portal. Its list of plans is a flat one: where groups must be kept apart, nothing can be switched."""
    offered = [plan for plan in (_switchable(plan) for plan in plans if plan.grants_access) if plan is not None]
    if len({plan.group for plan in plans if plan.grants_access}) > 1:
        return DesiredPortal(why_none="the plans are of several groups, which the portal cannot keep apart")
    if len(offered) > _MOST_IN_PORTAL:
        return DesiredPortal(why_none=f"there are {len(offered)} plans, and the portal lists at most {_MOST_IN_PORTAL}")
    return DesiredPortal(plans=tuple(offered), why_none=None if offered else "no plan has a base price")


def _switchable(plan: Plan) -> SwitchablePlan | None:
    """Return a plan that has a base price."""
    prices = tuple(price.price_id or price.lookup_key or "" for price in plan.prices if price.role == "base")
    if not prices:
        return None
    sold_as_seats = plan.seats is not None and all(price.role != "seat" for price in plan.prices)
    return SwitchablePlan(plan_code=plan.plan_code, prices=prices, seats=plan.seats if sold_as_seats else None)
