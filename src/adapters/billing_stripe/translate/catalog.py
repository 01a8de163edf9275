"""Prices and products of the account, which belong to no tenant."""

from billing_core.events import Translation
from billing_core.model import PriceId, PriceSnapshot, ProductSnapshot
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.reasons import PRICE_TWIN, UNREADABLE_OBJECT
from billing_stripe.translate.subscription import usage_type_of


def read_price(seen: Reader) -> Translation:
    """Read a current price."""
    return _price(seen, deleted=seen.flag("deleted") or False)


def read_deleted_price(seen: Reader) -> Translation:
    """Read a price that was deleted before its first use."""
    return _price(seen, deleted=True)


def read_product(seen: Reader) -> Translation:
    """Read a current product."""
    return _product(seen, deleted=seen.flag("deleted") or False)


def read_deleted_product(seen: Reader) -> Translation:
    """Read a deleted product."""
    return _product(seen, deleted=True)


def read_plan(_: Reader) -> Translation:
    """Ignore a plan: it is the price of the same id, which has events of its own."""
    return Translation(ignored=PRICE_TWIN)


def _price(seen: Reader, *, deleted: bool) -> Translation:
    price_id = seen.required("id", seen.word("id"))
    if price_id is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    snapshot = PriceSnapshot(
        price_id=PriceId(price_id),
        product_id=seen.reference("product"),
        lookup_key=seen.word("lookup_key"),
        metadata=seen.metadata(),
        usage_type=usage_type_of(seen),
        meter_id=seen.child("recurring").reference("meter"),
        currency=seen.currency("currency"),
        unit_amount=seen.integer("unit_amount"),
        unit_amount_decimal=seen.word("unit_amount_decimal"),
        active=seen.flag("active") or False,
        deleted=deleted,
    )
    return Translation(snapshots=(snapshot,))


def _product(seen: Reader, *, deleted: bool) -> Translation:
    product_id = seen.required("id", seen.word("id"))
    if product_id is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    snapshot = ProductSnapshot(
        product_id=product_id,
        name=seen.text("name"),
        metadata=seen.metadata(),
        active=seen.flag("active") or False,
        deleted=deleted,
    )
    return Translation(snapshots=(snapshot,))
