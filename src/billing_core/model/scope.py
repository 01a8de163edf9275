"""The part of the provider's account that is ours: other products of it are left out."""

from collections.abc import Iterable
from functools import cached_property
from typing import Final

import attrs

from billing_core.model.identifiers import PriceId
from billing_core.model.subscription import Metadata

OUT_OF_SCOPE: Final = "out_of_scope"
"""The reason to ignore an event of another product of the account."""


@attrs.frozen(kw_only=True)
class ScopedPrice:
    """All that is known of a price."""

    price_id: PriceId | None = None
    product_id: str | None = None
    metadata: Metadata | None = None
    """None where the provider does not show it."""
    plan_code: str | None = None
    plan_known: bool = True
    """False if the price may be of a plan that cannot be told from what is shown."""


@attrs.frozen(kw_only=True)
class ScopeRule:
    """Prices by any of these conditions: one is enough. Without conditions it names none."""

    products: tuple[str, ...] = ()
    prices: tuple[PriceId, ...] = ()
    metadata: Metadata = ()
    """Pairs of a price's metadata."""
    plans: tuple[str, ...] = ()

    def names(self, price: ScopedPrice) -> bool | None:
        """Return whether a condition fits; None if one may, by what is not shown of the price."""
        if price.price_id in self.prices or price.product_id in self.products or price.plan_code in self.plans:
            return True
        if not set(self.metadata).isdisjoint(price.metadata or ()):
            return True
        unknown = (self.metadata and price.metadata is None) or (self.plans and not price.plan_known)
        return None if unknown else False


@attrs.frozen(kw_only=True)
class ProductScope:
    """The products that are ours: those that `only` names, if it has conditions, without those that `ignore` names."""

    ignore: ScopeRule = ScopeRule()
    only: ScopeRule = ScopeRule()

    @cached_property
    def limited(self) -> bool:
        """Whether anything is left out at all."""
        return self != ProductScope()

    def leaves_out(self, price: ScopedPrice) -> bool | None:
        """Return whether a price is left out; None if that depends on what is not shown of it."""
        ignored = self.ignore.names(price)
        listed = True if self.only == ScopeRule() else self.only.names(price)
        if ignored or listed is False:
            return True
        return None if ignored is None or listed is None else False


def all_left_out(verdicts: Iterable[bool | None]) -> bool | None:
    """Return whether all prices of an object are left out: one that is ours is enough to keep it. None if unknown."""
    found = set(verdicts)
    if not found:
        return None
    return False if False in found else None if None in found else True
