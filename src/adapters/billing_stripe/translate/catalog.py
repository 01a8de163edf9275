"""Prices and products: what the account sells. They belong to nobody."""

from billing_core.events import Translation
from billing_core.model import PriceId, PriceSnapshot, ProductSnapshot
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.reasons import PRICE_TWIN, UNREADABLE_OBJECT
from billing_stripe.translate.subscription import usage_type_of


def read_price(seen: Reader) -> Translation:
    """A price as it is sold now."""
    return _price(seen, deleted=seen.flag("deleted") or False)


def read_deleted_price(seen: Reader) -> Translation:
    """A price that was removed before anybody paid it."""
    return _price(seen, deleted=True)


def read_product(seen: Reader) -> Translation:
    """A product as it is sold now."""
    return _product(seen, deleted=seen.flag("deleted") or False)


def read_deleted_product(seen: Reader) -> Translation:
    """A product that was removed."""
    return _product(seen, deleted=True)


def read_plan(_: Reader) -> Translation:
    """Nothing that is not said better: every plan is the price of the same id, which has events of its own."""
    return Translation(ignored=PRICE_TWIN)


def _price(seen: Reader, *, deleted: bool) -> Translation:
    price_id = seen.required("id", seen.word("id"))
    if price_id is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    snapshot = PriceSnapshot(
        price_id=PriceId(price_id),
        product_id=seen.reference("product"),
        lookup_key=seen.word("lookup_key"),
        plan_code=seen.child("metadata").word("plan_code"),
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
        active=seen.flag("active") or False,
        deleted=deleted,
    )
    return Translation(snapshots=(snapshot,))
