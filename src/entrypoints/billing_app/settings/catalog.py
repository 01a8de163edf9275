"""The plans that are sold."""

import attrs

from billing_app.settings import parsers, price_map
from billing_app.settings.declaration import setting
from billing_core.model import Plan


@attrs.frozen(kw_only=True)
class CatalogSettings:
    """The plans and their prices at the provider."""

    plans: tuple[Plan, ...] = setting(
        "STRIPE_PRODUCT_PRICE_MAP",
        parsers.Parser(price_map.EXPECTS, price_map.parse_price_map),
        (),
        "Stripe prices of each plan.",
        example="starter=price_1,pro=price_2",
    )
