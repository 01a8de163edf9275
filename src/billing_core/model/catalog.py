"""Prices and products of the provider's catalog. They belong to no tenant."""

from typing import ClassVar, Final

import attrs

from billing_core.model.identifiers import PriceId
from billing_core.model.ordering import Ordered
from billing_core.model.subscription import Metadata


@attrs.frozen(kw_only=True)
class PriceSnapshot(Ordered):
    """A price."""

    kind: ClassVar[str] = "price"

    price_id: PriceId
    product_id: str | None = None
    lookup_key: str | None = None
    metadata: Metadata = ()
    """Pairs that the merchant attached to the price; empty for rows of before."""
    usage_type: str = "licensed"
    meter_id: str | None = None
    currency: str | None = None
    unit_amount: int | None = None
    unit_amount_decimal: str | None = None
    """The exact unit amount as the provider writes it: it may have digits below the minor unit."""
    active: bool = True
    deleted: bool = False

    @property
    def object_id(self) -> str:
        """An id of our own: merchants choose the ids of prices and products, and the two may be equal."""
        return f"price:{self.price_id}"

    @property
    def precedence(self) -> int:
        """A deleted price never comes back."""
        return 1 if self.deleted else 0


@attrs.frozen(kw_only=True)
class ProductSnapshot(Ordered):
    """A product."""

    kind: ClassVar[str] = "product"

    product_id: str
    name: str | None = None
    metadata: Metadata = ()
    active: bool = True
    deleted: bool = False

    @property
    def object_id(self) -> str:
        """An id of our own: merchants choose the ids of prices and products, and the two may be equal."""
        return f"product:{self.product_id}"

    @property
    def precedence(self) -> int:
        """A deleted product never comes back."""
        return 1 if self.deleted else 0


CatalogSnapshot = PriceSnapshot | ProductSnapshot
CATALOG_KINDS: Final = (PriceSnapshot.kind, ProductSnapshot.kind)
