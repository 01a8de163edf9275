"""The plan a subscription is on: decided by our price map, never by the order of its items."""

from collections.abc import Mapping
from typing import Literal

import attrs

from billing_core.errors import UnknownPriceError
from billing_core.model.identifiers import PriceId
from billing_core.model.invoice import InvoiceSnapshot
from billing_core.model.subscription import ItemSnapshot, SubscriptionSnapshot
from billing_core.model.tracked import Snapshot

Role = Literal["base", "seat", "metered"]


@attrs.frozen(kw_only=True)
class Plan:
    """One plan that is sold, and its prices."""

    plan_code: str
    base_prices: tuple[PriceId, ...] = ()
    seat_prices: tuple[PriceId, ...] = ()
    metered_prices: Mapping[str, PriceId] = attrs.field(factory=dict)
    """feature key → price."""

    @property
    def price_ids(self) -> tuple[PriceId, ...]:
        """All prices of the plan; one that is listed twice appears twice."""
        return (*self.base_prices, *self.seat_prices, *self.metered_prices.values())


@attrs.frozen(kw_only=True)
class _Place:
    """The plan and the role that a price has in it."""

    plan_code: str
    role: Role
    feature_key: str | None = None


class PlanCatalog:
    """Reads provider snapshots in our terms: price id → plan, role, feature.

    Without plans the catalog is open: plan and feature fall back to the price's own lookup key, then to its id.
    With plans it is closed: a live subscription none of whose prices is known raises `UnknownPriceError`.
    """

    def __init__(self, plans: tuple[Plan, ...] = ()) -> None:
        self.plans = plans
        self._places: dict[str, _Place] = {}
        for plan in plans:
            for price in plan.base_prices:
                self._places[price] = _Place(plan_code=plan.plan_code, role="base")
            for price in plan.seat_prices:
                self._places[price] = _Place(plan_code=plan.plan_code, role="seat")
            for feature_key, price in plan.metered_prices.items():
                self._places[price] = _Place(plan_code=plan.plan_code, role="metered", feature_key=feature_key)

    def read(self, snapshot: Snapshot) -> Snapshot:
        """Read a snapshot in our terms. Raises UnknownPriceError."""
        match snapshot:
            case SubscriptionSnapshot():
                return self.read_subscription(snapshot)
            case InvoiceSnapshot():
                return self.read_invoice(snapshot)
            case _:
                return snapshot

    def read_subscription(self, snapshot: SubscriptionSnapshot) -> SubscriptionSnapshot:
        """Fill in plan code, deciding price, seat count and feature keys. Raises UnknownPriceError."""
        items = tuple([self._read_item(item) for item in snapshot.items])
        base = self._base_item(snapshot, items)
        seats = self._seat_item(items) or base
        return snapshot.read_as(
            items=items,
            plan_code=None if base is None else self._plan_code(base),
            price_id=None if base is None else base.price_id,
            seat_count=None if seats is None else seats.quantity,
        )

    def read_invoice(self, snapshot: InvoiceSnapshot) -> InvoiceSnapshot:
        """Fill in the feature keys of lines whose price is mapped as metered."""
        if not self._places:
            return snapshot
        lines = tuple(
            attrs.evolve(line, usage_type="metered", feature_key=place.feature_key)
            if line.price_id is not None
            and (place := self._places.get(line.price_id)) is not None
            and place.role == "metered"
            else line
            for line in snapshot.lines
        )
        return snapshot if lines == snapshot.lines else attrs.evolve(snapshot, lines=lines)

    def _read_item(self, item: ItemSnapshot) -> ItemSnapshot:
        place = self._places.get(item.price_id)
        if place is not None and place.role == "metered":
            return attrs.evolve(item, usage_type="metered", quantity=None, feature_key=place.feature_key)
        if item.usage_type == "metered" and item.feature_key is None:
            return attrs.evolve(item, feature_key=item.lookup_key or item.price_id)
        return item

    def _base_item(self, snapshot: SubscriptionSnapshot, items: tuple[ItemSnapshot, ...]) -> ItemSnapshot | None:
        """Return the item that names the plan: mapped base, else any mapped one, else the first licensed by id.

        While items are missing only a mapped base counts: the plan may be among those that are not shown.
        """
        ordered = sorted(items, key=lambda item: item.item_id)
        for role in ("base",) if snapshot.partial else ("base", "seat", "metered"):
            for item in ordered:
                place = self._places.get(item.price_id)
                if place is not None and place.role == role:
                    return item
        if snapshot.partial:
            return None
        if self._places and not snapshot.ended and items:
            raise UnknownPriceError(f"no plan is mapped to {', '.join(item.price_id for item in ordered)}")
        licensed = [item for item in ordered if item.usage_type == "licensed"]
        return next(iter(licensed or ordered), None)

    def _seat_item(self, items: tuple[ItemSnapshot, ...]) -> ItemSnapshot | None:
        for item in items:
            place = self._places.get(item.price_id)
            if place is not None and place.role == "seat":
                return item
        return None

    def _plan_code(self, item: ItemSnapshot) -> str:
        place = self._places.get(item.price_id)
        return place.plan_code if place is not None else item.lookup_key or item.price_id
