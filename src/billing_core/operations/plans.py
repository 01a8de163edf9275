"""The plans that are sold, as a pricing page shows them."""

from collections.abc import Mapping, Sequence

import attrs

from billing_core.model import Plan, PlanFeature, PlanPrice, PriceSnapshot, Role, SeatBounds
from billing_core.state.ports import TenantReader
from billing_core.state.rules import RulesBook


@attrs.frozen(kw_only=True)
class PriceOffer:
    """A price of a plan."""

    role: Role
    feature: str | None = None
    interval: str | None = None
    interval_count: int = 1
    amount: int | None = None
    """Per unit and interval, in the minor unit of the currency; None if the price has tiers or is not known yet."""
    unit_amount_decimal: str | None = None
    """In place of `amount`, where the price has digits below the minor unit."""
    currency: str | None = None


@attrs.frozen(kw_only=True)
class PlanOffer:
    """A plan, with everything that a customer needs to choose it."""

    plan_code: str
    name: str
    group: str | None = None
    addon: bool = False
    trial_days: int | None = None
    seats: SeatBounds | None = None
    prices: tuple[PriceOffer, ...] = ()
    features: tuple[PlanFeature, ...] = ()


@attrs.frozen(kw_only=True)
class PlanCatalogReader:
    """Reads the plans in force, with the amounts that the provider's events showed where the file names none."""

    stored: TenantReader
    rules: RulesBook

    async def list(self) -> Sequence[PlanOffer]:
        """Return all plans, in the order of the file. Raises: StoreUnavailableError."""
        rules = await self.rules.reload()
        shown = [record.snapshot for record in await self.stored.catalog()]
        prices = [each for each in shown if isinstance(each, PriceSnapshot) and not each.deleted]
        known = {name: each for each in prices for name in (each.price_id, each.lookup_key) if name is not None}
        return [_offer(plan, known) for plan in rules.rules.plans]


def _offer(plan: Plan, known: Mapping[str, PriceSnapshot]) -> PlanOffer:
    return PlanOffer(
        plan_code=plan.plan_code,
        name=plan.name or plan.plan_code,
        group=plan.group,
        addon=not plan.grants_access,
        trial_days=plan.trial_days,
        seats=plan.seats,
        prices=tuple(_price(price, known.get(price.price_id or price.lookup_key or "")) for price in plan.prices),
        features=plan.features,
    )


def _price(price: PlanPrice, known: PriceSnapshot | None) -> PriceOffer:
    """Return a price as the catalog says, filled in with what the provider's own record of it says."""
    listed = price.amount is not None or price.unit_amount_decimal is not None or known is None
    return PriceOffer(
        role=price.role,
        feature=price.feature,
        interval=price.interval,
        interval_count=price.interval_count,
        amount=price.amount if listed or known is None else known.unit_amount,
        unit_amount_decimal=price.unit_amount_decimal if listed or known is None else known.unit_amount_decimal,
        currency=price.currency or (None if known is None else known.currency),
    )
