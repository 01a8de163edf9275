"""The plan a subscription is on: decided by the rules in force, never by the order of its items."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import attrs

from billing_core.model.catalog import CatalogSnapshot, PriceSnapshot, ProductSnapshot
from billing_core.model.identifiers import ItemId, PriceId
from billing_core.model.invoice import InvoiceLine, InvoiceSnapshot
from billing_core.model.plan_feature import PlanFeature
from billing_core.model.schedule import Phase, ScheduleSnapshot
from billing_core.model.scope import ProductScope, ScopedPrice, all_left_out
from billing_core.model.subscription import ItemSnapshot, Metadata, SubscriptionSnapshot
from billing_core.model.tracked import Snapshot

Role = Literal["base", "seat", "metered", "addon"]
ROLES: Final[tuple[Role, ...]] = ("base", "seat", "metered", "addon")
"""In the order in which they name the plan of a subscription."""

PLAN_METADATA: Final = "plan_code"
"""The metadata key by which a price or product names its plan without being listed in any rule."""
_PRICES_KEPT: Final = 8192
"""Places that are remembered: an account has few prices, and its events show them again and again."""


@attrs.frozen(kw_only=True)
class PlanPrice:
    """One price of a plan: its role, and what set-up provisions. It has an id, a lookup key, or both."""

    role: Role = "base"
    price_id: PriceId | None = None
    lookup_key: str | None = None
    feature: str | None = None
    """The feature that a metered price bills; several prices may bill one feature."""
    interval: str | None = None
    interval_count: int = 1
    amount: int | None = None
    """In the minor unit of the currency, per unit and interval."""
    unit_amount_decimal: str | None = None
    """In place of `amount`, where the price has digits below the minor unit."""
    currency: str | None = None


@attrs.frozen(kw_only=True)
class PlanMatch:
    """Prices that belong to a plan beside those it lists: any one of these conditions is enough."""

    prices: tuple[PriceId, ...] = ()
    products: tuple[str, ...] = ()
    lookup_keys: tuple[str, ...] = ()
    """Patterns as of a shell: `pro_*`."""
    metadata: Metadata = ()
    """Pairs of a price's or its product's metadata. `plan_code` with the code of the plan always counts."""


@attrs.frozen(kw_only=True)
class SeatBounds:
    """The numbers of seats with which a plan is sold, `[minimum, maximum]`."""

    minimum: int = 1
    maximum: int | None = None
    """None: any number."""

    def allow(self, seats: int) -> bool:
        """Tell whether a number of seats is within the bounds."""
        return self.minimum <= seats and (self.maximum is None or seats <= self.maximum)


@attrs.frozen(kw_only=True)
class Plan:
    """One plan that is sold: the prices that make it up, and what it gives."""

    plan_code: str
    name: str | None = None
    """For display; None: the code is shown."""
    group: str | None = None
    """A tenant should have one live subscription per group."""
    match: PlanMatch = PlanMatch()
    prices: tuple[PlanPrice, ...] = ()
    features: tuple[PlanFeature, ...] = ()
    trial_days: int | None = None
    seats: SeatBounds | None = None
    """None for a plan without a price per seat that is sold as one piece; with such a price, any number."""
    grants_access: bool = True
    """False for an add-on, which gives no access by itself."""

    @classmethod
    def of_prices(
        cls,
        plan_code: str,
        *,
        base: Iterable[str] = (),
        seat: Iterable[str] = (),
        metered: Mapping[str, Iterable[str]] = MappingProxyType({}),
    ) -> "Plan":
        """Return a plan that is nothing but price ids, as in the short form; `metered` maps features to prices."""
        prices = [PlanPrice(price_id=PriceId(price_id)) for price_id in base]
        prices += [PlanPrice(role="seat", price_id=PriceId(price_id)) for price_id in seat]
        for feature, price_ids in metered.items():
            prices += [PlanPrice(role="metered", price_id=PriceId(id_), feature=feature) for id_ in price_ids]
        return cls(plan_code=plan_code, prices=tuple(prices))

    @property
    def price_ids(self) -> tuple[PriceId, ...]:
        """All price ids of the plan; one that is listed twice appears twice."""
        return (*(price.price_id for price in self.prices if price.price_id is not None), *self.match.prices)


class _Sighting(NamedTuple):
    """All that an item or line shows of its price. A tuple, because it is looked up for each item of each event."""

    price_id: PriceId | None
    product_id: str | None
    lookup_key: str | None = None
    metadata: Metadata | None = None
    """None where the provider does not show it, nor the lookup key."""
    metered: bool = False


@attrs.frozen(kw_only=True)
class KnownPrice:
    """The details of a price in the provider's catalog, for places that name nothing but its id."""

    price_id: PriceId
    product_id: str | None = None
    lookup_key: str | None = None
    metadata: Metadata = ()
    metered: bool = False


@attrs.frozen
class _Place:
    """The plan of a price, and its role there."""

    plan: Plan
    role: Role
    feature: str | None = None
    rank: tuple[bool, int] = attrs.field(init=False)
    """Its turn to name the plan of a subscription: the lowest does, and an add-on plan only by itself."""

    @rank.default
    def _rank(self) -> tuple[bool, int]:
        return not self.plan.grants_access, ROLES.index(self.role)


@attrs.frozen(kw_only=True)
class PricePlace:
    """The place of a price in the catalog."""

    plan_code: str
    role: Role
    feature: str | None = None


_FIRST: Final = (False, ROLES.index("base"))
"""The rank of an item that no other outranks."""


class PlanCatalog:
    """Reads provider snapshots in our terms: price → plan, role, feature.

    A price is of the plan that lists it, by its id or else by its exact lookup key; else of the plan that names its
    product; else of the one whose pattern fits its lookup key, the longest pattern first; else of the one that the
    price's metadata names; else of its product's, as `plans_of_products` finds it.

    Without plans the catalog is open: plan and feature fall back to the price's own lookup key, then to its id.
    With plans it is closed: a subscription none of whose prices is known is on no plan.

    A coming phase names prices by their ids alone: the rest is taken from `known_prices`.

    It also says what is left out: subscriptions and invoices none of whose prices is in the scope. While items are
    missing, a subscription is kept.
    """

    def __init__(
        self,
        plans: Iterable[Plan] = (),
        scope: ProductScope = ProductScope(),  # noqa: B008 - frozen
        product_plans: Iterable[tuple[str, str]] = (),
        known_prices: Iterable[KnownPrice] = (),
    ) -> None:
        self.plans = tuple(plans)
        known = {plan.plan_code: plan for plan in self.plans}
        self._by_catalog = {product: known[code] for product, code in product_plans if code in known}
        self._known = {known.price_id: _known_sighting(known) for known in known_prices}
        self.scope = scope
        self._by_price: dict[str, Plan] = {}
        self._by_lookup_key: dict[str, Plan] = {}
        self._by_product: dict[str, Plan] = {}
        self._by_metadata: dict[tuple[str, str], Plan] = {}
        for plan in self.plans:
            self._by_price |= dict.fromkeys(plan.price_ids, plan)
            self._by_lookup_key |= {price.lookup_key: plan for price in plan.prices if price.lookup_key is not None}
            self._by_product |= dict.fromkeys(plan.match.products, plan)
            self._by_metadata |= dict.fromkeys([(PLAN_METADATA, plan.plan_code), *plan.match.metadata], plan)
        patterns = [(pattern, plan) for plan in self.plans for pattern in plan.match.lookup_keys]
        self._by_pattern = sorted(patterns, key=lambda found: (-len(found[0]), found[0]))
        self._place = lru_cache(maxsize=_PRICES_KEPT)(self._find_place)
        self._leaves_out = lru_cache(maxsize=_PRICES_KEPT)(self._find_whether_left_out)

    def read(self, snapshot: Snapshot) -> Snapshot:
        """Read a snapshot in our terms."""
        match snapshot:
            case SubscriptionSnapshot():
                return self.read_subscription(snapshot)
            case InvoiceSnapshot():
                return self.read_invoice(snapshot)
            case ScheduleSnapshot() if snapshot.phases:
                return self.read_schedule(snapshot)
            case _:
                return snapshot

    def read_subscription(self, snapshot: SubscriptionSnapshot) -> SubscriptionSnapshot:
        """Fill in plan code, deciding price, seat count and feature keys."""
        sightings = [_sighting(item) for item in snapshot.items] if self.plans or self.scope.limited else []
        places = [self._place(seen) for seen in sightings] if self.plans else [None] * len(snapshot.items)
        read = [(_read_item(item, place), place) for item, place in zip(snapshot.items, places, strict=True)]
        items = tuple([item for item, _ in read])
        if len(read) > 1:
            read.sort(key=lambda found: found[0].item_id)
        base, place = _naming_item(read, partial=snapshot.partial)
        seats = next((item for item, place in read if place is not None and place.role == "seat"), base)
        return snapshot.read_as(
            items=items,
            plan_code=self._plan_code(base, place),
            price_id=None if base is None else base.price_id,
            seat_count=None if seats is None else seats.quantity,
            out_of_scope=self.scope.limited and not snapshot.partial and self._all_left_out(sightings) is True,
            pending_change=None if snapshot.pending_change is None else self._read_phase(snapshot.pending_change),
            planned=tuple(map(self._read_phase, snapshot.planned)),
        )

    def read_schedule(self, snapshot: ScheduleSnapshot) -> ScheduleSnapshot:
        """Fill in the plans of coming phases."""
        return attrs.evolve(snapshot, phases=tuple(map(self._read_phase, snapshot.phases)))

    def _read_phase(self, phase: Phase) -> Phase:
        items = [
            ItemSnapshot(item_id=ItemId(planned.price_id), price_id=planned.price_id, quantity=planned.quantity)
            for planned in phase.items
        ]
        read = [(item, self._place(_sighting(item)) if self.plans else None) for item in items]
        base, place = _naming_item(read, partial=False)
        seats = next((item for item, place in read if place is not None and place.role == "seat"), base)
        return attrs.evolve(
            phase,
            plan_code=self._plan_code(base, place),
            price_id=None if base is None else base.price_id,
            seat_count=None if seats is None else seats.quantity,
        )

    def read_invoice(self, snapshot: InvoiceSnapshot) -> InvoiceSnapshot:
        """Fill in the feature keys of metered lines, and whether the lines are out of scope."""
        lines = tuple([self._read_line(line) for line in snapshot.lines]) if self.plans else snapshot.lines
        out_of_scope = None
        if self.scope.limited and snapshot.lines_complete:
            out_of_scope = self._all_left_out(_line_sighting(line) for line in lines if line.price_id is not None)
        if (lines, out_of_scope) == (snapshot.lines, snapshot.out_of_scope):
            return snapshot
        return attrs.evolve(snapshot, lines=lines, out_of_scope=out_of_scope)

    def place_of(self, item: ItemSnapshot) -> "PricePlace | None":
        """Return the plan and role of the price of an item; None if it is of no plan."""
        place = self._place(_sighting(item)) if self.plans else None
        if place is None:
            return None
        return PricePlace(plan_code=place.plan.plan_code, role=place.role, feature=place.feature)

    def needs_to_know(self, price: KnownPrice) -> bool:
        """Tell whether the plan of a price can be told, but not by its id."""
        return price.price_id not in self._by_price and self._find_plan(_known_sighting(price)) is not None

    def plan(self, plan_code: str) -> Plan | None:
        """Return a plan by its code."""
        return next((plan for plan in self.plans if plan.plan_code == plan_code), None)

    def names_plan(self, line: InvoiceLine) -> bool | None:
        """Tell whether a line bills the plan itself, as a base price does; None if no plan lists its price by id."""
        plan = self._by_price.get(line.price_id or "")
        if plan is None:
            return None
        first = min((ROLES.index(price.role) for price in plan.prices), default=0)
        return ROLES.index(_place_in(plan, _line_sighting(line)).role) == first

    def _read_line(self, line: InvoiceLine) -> InvoiceLine:
        place = self._place(_line_sighting(line))
        if place is None or place.role != "metered":
            return line
        return attrs.evolve(line, usage_type="metered", feature_key=place.feature)

    def _all_left_out(self, sightings: Iterable[_Sighting]) -> bool | None:
        return all_left_out(self._leaves_out(seen) for seen in sightings)

    def _find_whether_left_out(self, seen: _Sighting) -> bool | None:
        place = self._place(seen) if self.plans else None
        shown = ScopedPrice(
            price_id=seen.price_id,
            product_id=seen.product_id,
            metadata=seen.metadata,
            plan_code=None if place is None else place.plan.plan_code,
            plan_known=place is not None or seen.metadata is not None,
        )
        return self.scope.leaves_out(shown)

    def _find_place(self, seen: _Sighting) -> _Place | None:
        if seen.product_id is None and seen.price_id is not None:
            seen = self._known.get(seen.price_id, seen)
        plan = self._find_plan(seen)
        return None if plan is None else _place_in(plan, seen)

    def _find_plan(self, seen: _Sighting) -> Plan | None:
        return (
            self._by_price.get(seen.price_id or "")
            or self._by_lookup_key.get(seen.lookup_key or "")
            or self._by_product.get(seen.product_id or "")
            or self._find_by_pattern(seen.lookup_key)
            or self._find_by_metadata(seen.metadata or ())
            or self._by_catalog.get(seen.product_id or "")
        )

    def plan_of_product(self, metadata: Metadata, prices: Iterable[PriceSnapshot]) -> Plan | None:
        """Return the plan that a product's metadata names, else that of all its prices that plans list."""
        named = self._find_by_metadata(metadata)
        if named is not None:
            return named
        listed = (
            self._by_price.get(price.price_id) or self._by_lookup_key.get(price.lookup_key or "") for price in prices
        )
        plans = {plan.plan_code: plan for plan in listed if plan is not None}
        return next(iter(plans.values())) if len(plans) == 1 else None

    def _find_by_metadata(self, metadata: Metadata) -> Plan | None:
        return next((plan for pair in metadata if (plan := self._by_metadata.get(pair)) is not None), None)

    def _find_by_pattern(self, lookup_key: str | None) -> Plan | None:
        if lookup_key is None:
            return None
        return next((plan for pattern, plan in self._by_pattern if fnmatchcase(lookup_key, pattern)), None)

    def _plan_code(self, base: ItemSnapshot | None, place: _Place | None) -> str | None:
        if place is not None:
            return place.plan.plan_code
        if base is None or self.plans:
            return None
        return base.lookup_key or base.price_id


def plans_of_products(shown: Iterable[CatalogSnapshot], catalog: PlanCatalog) -> tuple[tuple[str, str], ...]:
    """Return the plans of products by the provider's catalog, by product: for prices that no rule recognizes.

    Deleted prices and products count: they may still be sold to those who have them.
    """
    metadata: dict[str, Metadata] = {}
    prices: defaultdict[str, list[PriceSnapshot]] = defaultdict(list)
    for seen in shown:
        if isinstance(seen, ProductSnapshot):
            metadata[seen.product_id] = seen.metadata
        elif seen.product_id is not None:
            prices[seen.product_id].append(seen)
    found = (
        (product_id, catalog.plan_of_product(metadata.get(product_id, ()), prices[product_id]))
        for product_id in sorted({*metadata, *prices})
    )
    return tuple((product_id, plan.plan_code) for product_id, plan in found if plan is not None)


def prices_to_know(shown: Iterable[CatalogSnapshot], catalog: PlanCatalog) -> tuple[KnownPrice, ...]:
    """Return the prices that belong to a plan by something else than their ids, by id.

    `catalog` has the plans of products, but no known prices. Deleted prices count: they may still be sold.
    """
    known = [
        KnownPrice(
            price_id=seen.price_id,
            product_id=seen.product_id,
            lookup_key=seen.lookup_key,
            metadata=seen.metadata,
            metered=seen.usage_type == "metered",
        )
        for seen in shown
        if isinstance(seen, PriceSnapshot)
    ]
    return tuple(sorted((each for each in known if catalog.needs_to_know(each)), key=lambda each: each.price_id))


def _known_sighting(known: KnownPrice) -> _Sighting:
    return _Sighting(known.price_id, known.product_id, known.lookup_key, known.metadata, known.metered)


def _sighting(item: ItemSnapshot) -> _Sighting:
    metered = item.usage_type == "metered"
    return _Sighting(item.price_id, item.product_id, item.lookup_key, item.price_metadata, metered)


def _line_sighting(line: InvoiceLine) -> _Sighting:
    return _Sighting(line.price_id, line.product_id, metered=line.usage_type == "metered")


def _naming_item(
    read: Sequence[tuple[ItemSnapshot, _Place | None]], *, partial: bool
) -> tuple[ItemSnapshot | None, _Place | None]:
    """Return the item that names the plan: the mapped one that ranks first, else the first licensed one by id.

    While items are missing only one that no other can outrank counts: the plan may be among those that are not shown.
    """
    placed = [(item, place) for item, place in read if place is not None]
    first = min(placed, key=lambda found: found[1].rank) if placed else None
    if first is not None and (first[1].rank == _FIRST or not partial):
        return first
    licensed = [item for item, _ in read if item.usage_type == "licensed"]
    unplaced = () if partial else licensed or [item for item, _ in read]
    return next(iter(unplaced), None), None


def _read_item(item: ItemSnapshot, place: _Place | None) -> ItemSnapshot:
    if place is not None and place.role == "metered":
        return attrs.evolve(item, usage_type="metered", quantity=None, feature_key=place.feature)
    feature_key = (item.lookup_key or item.price_id) if item.usage_type == "metered" else None
    return item if item.feature_key == feature_key else attrs.evolve(item, feature_key=feature_key)


def _place_in(plan: Plan, seen: _Sighting) -> _Place:
    """Return the place of a price in its plan: as listed, else by whether it is metered."""
    listed = [price for price in plan.prices if price.price_id is not None and price.price_id == seen.price_id] or [
        price for price in plan.prices if price.lookup_key is not None and price.lookup_key == seen.lookup_key
    ]
    for price in listed:
        return _Place(plan, price.role, price.feature)
    if not seen.metered:
        return _Place(plan, "base")
    features = {price.feature for price in plan.prices if price.role == "metered"}
    only = features.pop() if len(features) == 1 else None
    return _Place(plan, "metered", only or seen.lookup_key or seen.price_id)
