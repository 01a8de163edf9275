"""Prices with tiers: how they are created and shown, and what they bill."""

from typing import Any

import pytest
import stripe
from tests.unit.fake_stripe.conftest import Shop

TIERS: list[dict[str, Any]] = [
    {"up_to": 5, "unit_amount": 1000, "flat_amount": 500},
    {"up_to": 10, "unit_amount_decimal": "800.5"},
    {"up_to": "inf", "unit_amount": 500},
]


async def tiered(shop: Shop, mode: str = "graduated", **changes: Any) -> Any:
    """Create a price with tiers."""
    given: Any = {
        "product": "prod_app",
        "currency": "usd",
        "recurring": {"interval": "month"},
        "billing_scheme": "tiered",
        "tiers_mode": mode,
        "tiers": TIERS,
        **changes,
    }
    return await shop.api.prices.create_async({name: value for name, value in given.items() if value is not None})


async def billed(shop: Shop, price_id: str, quantity: int) -> list[tuple[int, int]]:
    """Start a subscription and return quantity and amount of each line of its first invoice."""
    customer = await shop.customer()
    given: Any = {"customer": customer.id, "items": [{"price": price_id, "quantity": quantity}]}
    subscription = await shop.api.subscriptions.create_async(given)
    (invoice,) = await shop.invoices(subscription.id)
    assert invoice.total == sum(line.amount for line in invoice.lines.data)
    return [(line.quantity, line.amount) for line in invoice.lines.data]


@pytest.mark.parametrize(
    ("quantity", "lines"),
    [
        (0, [(0, 500)]),
        (5, [(5, 5500)]),
        (7, [(5, 5500), (2, 1601)]),
        (12, [(5, 5500), (5, 4003), (2, 1000)]),
    ],
)
async def test_graduated_tiers_bill_each_unit_by_its_tier(
    shop: Shop, quantity: int, lines: list[tuple[int, int]]
) -> None:
    """With a line for each tier that is reached, and the flat amount of the first one in any case."""
    assert await billed(shop, (await tiered(shop)).id, quantity) == lines


@pytest.mark.parametrize(("quantity", "amount"), [(5, 5500), (6, 4803), (11, 5500)])
async def test_by_volume_all_units_cost_what_the_tier_of_the_quantity_says(
    shop: Shop, quantity: int, amount: int
) -> None:
    """More units may cost less."""
    assert await billed(shop, (await tiered(shop, "volume")).id, quantity) == [(quantity, amount)]


async def test_tiers_are_shown_when_they_are_expanded(shop: Shop) -> None:
    """The price itself has no amount."""
    price = await tiered(shop)
    assert (price.billing_scheme, price.tiers_mode, price.unit_amount) == ("tiered", "graduated", None)
    assert "tiers" not in price
    expanded = await shop.api.prices.retrieve_async(price.id, {"expand": ["tiers"]})
    shown = [(tier.up_to, tier.unit_amount, str(tier.unit_amount_decimal)) for tier in expanded.tiers]
    assert shown == [(5, 1000, "1000"), (10, None, "800.5"), (None, 500, "500")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit_amount": 5}, "unit_amount"),
        ({"tiers_mode": None}, "tiers_mode"),
        ({"tiers": TIERS[:2]}, "up_to=inf"),
        ({"tiers": [TIERS[1], TIERS[0], TIERS[2]]}, "greater"),
        ({"billing_scheme": None, "unit_amount": 5}, "billing_scheme=tiered"),
    ],
)
async def test_tiers_that_cannot_be_priced_by_are_refused(shop: Shop, changes: dict[str, Any], message: str) -> None:
    """Bounds rise, and only the last tier has none."""
    with pytest.raises(stripe.InvalidRequestError, match=message):
        await tiered(shop, **changes)
