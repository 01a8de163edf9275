"""`[scope]`: the products of the Stripe account that are ours."""

from typing import Final

from billing_app.settings.rules.kinds import ListOf, matching
from billing_app.settings.rules.plans import METADATA, PRICE_ID, PRODUCT_ID
from billing_app.settings.rules.table import Key, Table
from billing_core.model import ProductScope, ScopeRule

_PLAN: Final = matching(r"\S(.*\S)?", "the code of a plan", "newsletter")

SCOPE_RULE: Final = Table(
    ScopeRule,
    (
        Key("products", ListOf(PRODUCT_ID), "Products."),
        Key("prices", ListOf(PRICE_ID), "Prices."),
        Key("metadata", METADATA, "Pairs of the metadata of prices."),
        Key("plans", ListOf(_PLAN), "Plans, as `[plans]` recognizes them."),
    ),
)

SCOPE: Final = Table(
    ProductScope,
    (
        Key("ignore", SCOPE_RULE, "Products that are not ours. One condition is enough."),
        Key("only", SCOPE_RULE, "The only products that are ours; without it, all that `ignore` does not name."),
    ),
)
