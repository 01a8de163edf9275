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
        payment_method_id=_default_payment_method(seen),
        deleted=deleted,
    )
    return Translation(customer_id=customer_id, tenant_hint=seen.tenant_in_metadata(), snapshots=(snapshot,))


def _default_payment_method(seen: Reader) -> str | None:
    """Return the id of what is charged for subscriptions without a default of their own.

    The payment method for invoices outranks the source, which accounts from before 2018 may still have.
    """
    return seen.child("invoice_settings").reference("default_payment_method") or seen.reference("default_source")
