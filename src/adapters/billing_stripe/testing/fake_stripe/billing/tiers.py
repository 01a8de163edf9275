"""Amounts of prices: per unit, or by tiers.

Graduated tiers bill each unit by the tier that it falls into; by volume, all units cost what the tier of the whole
quantity says. A flat amount is added for each tier that bills anything, and for the first one without any units.
Source: https://docs.stripe.com/products-prices/pricing-models#tiered-pricing
"""

from collections.abc import Iterator
from decimal import Decimal

import attrs

from billing_stripe.testing import objects


@attrs.frozen
class Part:
    """A part of a quantity, and the amount that a price bills for it."""

    quantity: int | Decimal
    amount: Decimal
    """In the minor unit, not rounded."""
    tier: int | None = None
    """From 1; None for a price per unit."""


def parts_of(price: objects.Price, quantity: int | Decimal) -> list[Part]:
    """Return what a price bills for a quantity, part by part; never nothing."""
    if not price.tiers:
        return [Part(quantity, Decimal(price.unit_amount_decimal or price.unit_amount or 0) * quantity)]
    if price.tiers_mode == "volume":
        number, tier = _tier_of(price, quantity)
        return [_part(number, tier, quantity)]
    return list(_graduated(price, quantity))


def _graduated(price: objects.Price, quantity: int | Decimal) -> Iterator[Part]:
    begun: int | Decimal = 0
    for number, tier in enumerate(price.tiers, 1):
        end = quantity if tier.up_to is None else min(quantity, tier.up_to)
        if end > begun or number == 1:
            yield _part(number, tier, end - begun)
            begun = end


def _tier_of(price: objects.Price, quantity: int | Decimal) -> tuple[int, objects.Tier]:
    numbered = enumerate(price.tiers, 1)
    return next((number, tier) for number, tier in numbered if tier.up_to is None or quantity <= tier.up_to)


def _part(number: int, tier: objects.Tier, quantity: int | Decimal) -> Part:
    return Part(quantity, tier.unit_amount * quantity + tier.flat_amount, number)
