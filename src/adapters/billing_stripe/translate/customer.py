"""Customers."""

from billing_core.events import Translation
from billing_core.model import CustomerId, CustomerSnapshot
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.reasons import UNREADABLE_OBJECT


def read_customer(seen: Reader) -> Translation:
    """Read a customer."""
    return _translation(seen, deleted=seen.flag("deleted") or False)


def read_deleted_customer(seen: Reader) -> Translation:
    """Read a deleted customer, which may contain only its id."""
    return _translation(seen, deleted=True)


def _translation(seen: Reader, *, deleted: bool) -> Translation:
    name = seen.required("id", seen.word("id"))
    if name is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    customer_id = CustomerId(name)
    snapshot = CustomerSnapshot(
        customer_id=customer_id,
        email=seen.text("email"),
        name=seen.text("name"),
        delinquent=seen.flag("delinquent") or False,
        deleted=deleted,
    )
    return Translation(customer_id=customer_id, tenant_hint=seen.tenant_in_metadata(), snapshots=(snapshot,))
