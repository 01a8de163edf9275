"""Payments of invoices, and their refunds, disputes and credit notes.

Since 2025-03-31 neither charge nor payment names its invoice; the payment of an invoice is an object of its own, and
the only link between the two. Refunds and disputes do not name a customer either: their owner is that of the payment.
"""

from billing_core.events import Translation
from billing_core.model import (
    ChargeSnapshot,
    CreditNoteSnapshot,
    CustomerId,
    DisputeSnapshot,
    InvoiceId,
    PaymentMethodSnapshot,
    PaymentSnapshot,
    RecordSnapshot,
    RefundSnapshot,
)
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.reasons import NO_CUSTOMER, UNREADABLE_OBJECT


def read_invoice_payment(seen: Reader) -> Translation:
    """Read which payment settled which invoice; its owner is that of the invoice."""
    payment_id = seen.required("payment", _payment_of_invoice(seen.child("payment")))
    invoice_id = seen.required("invoice", seen.reference("invoice"))
    status = seen.required("status", seen.word("status"))
    currency = seen.required("currency", seen.currency("currency"))
    if payment_id is None or invoice_id is None or status is None or currency is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    snapshot = PaymentSnapshot(
        payment_id=payment_id,
        invoice_id=InvoiceId(invoice_id),
        amount_paid=seen.amount("amount_paid"),
        currency=currency,
        status=status,
    )
    return Translation(about=(invoice_id,), snapshots=(snapshot,))


def read_charge(seen: Reader) -> Translation:
    """Read how much of a charge was refunded, in all refunds together, so that the latest value counts.

    Before 2025-03-31 a charge names its invoice: it is the payment of an invoice that newer versions show apart.
    """
    charge_id = seen.required("id", seen.word("id"))
    currency = seen.required("currency", seen.currency("currency"))
    customer_id = seen.customer()
    if charge_id is None or currency is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    if customer_id is None:
        return Translation(ignored=NO_CUSTOMER)
    payment_id, invoice_id = seen.reference("payment_intent"), seen.reference("invoice")
    charge = ChargeSnapshot(
        charge_id=charge_id,
        payment_id=payment_id,
        amount=seen.amount("amount"),
        amount_refunded=seen.amount("amount_refunded"),
        currency=currency,
        disputed=seen.flag("disputed") or False,
    )
    if invoice_id is None:
        return Translation(customer_id=customer_id, snapshots=(charge,))
    payment = _paid(payment_id or charge_id, InvoiceId(invoice_id), charge.amount, currency)
    return Translation(customer_id=customer_id, snapshots=(payment, charge))


def read_refund(seen: Reader) -> Translation:
    """Read a refund; it may still fail after it succeeded."""
    refund_id = seen.required("id", seen.word("id"))
    status = seen.required("status", seen.word("status"))
    currency = seen.required("currency", seen.currency("currency"))
    if refund_id is None or status is None or currency is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    snapshot = RefundSnapshot(
        refund_id=refund_id,
        payment_id=seen.reference("payment_intent"),
        charge_id=seen.reference("charge"),
        amount=seen.amount("amount"),
        currency=currency,
        status=status,
        reason=seen.word("reason"),
    )
    return _of_payment(snapshot, seen.customer(), snapshot.payment_id, snapshot.charge_id)


def read_dispute(seen: Reader) -> Translation:
    """Read a dispute: the bank takes a payment back, provisionally or permanently."""
    dispute_id = seen.required("id", seen.word("id"))
    status = seen.required("status", seen.word("status"))
    currency = seen.required("currency", seen.currency("currency"))
    if dispute_id is None or status is None or currency is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    snapshot = DisputeSnapshot(
        dispute_id=dispute_id,
        payment_id=seen.reference("payment_intent"),
        charge_id=seen.reference("charge"),
        amount=seen.amount("amount"),
        currency=currency,
        status=status,
        reason=seen.word("reason"),
    )
    return _of_payment(snapshot, None, snapshot.payment_id, snapshot.charge_id)


def read_credit_note(seen: Reader) -> Translation:
    """Read a credit note, which reduces an invoice afterwards."""
    credit_note_id = seen.required("id", seen.word("id"))
    invoice_id = seen.required("invoice", seen.reference("invoice"))
    status = seen.required("status", seen.word("status"))
    currency = seen.required("currency", seen.currency("currency"))
    if credit_note_id is None or invoice_id is None or status is None or currency is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    snapshot = CreditNoteSnapshot(
        credit_note_id=credit_note_id,
        invoice_id=InvoiceId(invoice_id),
        amount=seen.amount("amount"),
        currency=currency,
        status=status,
        reason=seen.word("reason"),
    )
    return _of_payment(snapshot, seen.customer(), invoice_id)


def read_payment_method(seen: Reader) -> Translation:
    """Read what people recognize a payment method by: of a card, or of an account that is debited."""
    return _payment_method(seen, detached=False)


def read_detached_payment_method(seen: Reader) -> Translation:
    """Read a payment method that was removed. It names no customer any more: its owner is the one that had it."""
    return _payment_method(seen, detached=True)


def _payment_method(seen: Reader, *, detached: bool) -> Translation:
    payment_method_id = seen.required("id", seen.word("id"))
    if payment_method_id is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    type_ = seen.required("type", seen.word("type"))
    details = seen.child(type_ or "card")
    snapshot = PaymentMethodSnapshot(
        payment_method_id=payment_method_id,
        type=type_,
        brand=details.word("brand") or details.word("bank_name"),
        last4=details.word("last4"),
        exp_month=details.integer("exp_month"),
        exp_year=details.integer("exp_year"),
        detached=detached,
    )
    return _of_payment(snapshot, seen.customer(), payment_method_id if detached else None)


def payment_in_invoice(seen: Reader, invoice_id: InvoiceId, currency: str) -> PaymentSnapshot | None:
    """Return the payment that a paid invoice before 2025-03-31 names; in later versions it is an object of its own."""
    payment_id = seen.reference("payment_intent") or seen.reference("charge")
    return None if payment_id is None else _paid(payment_id, invoice_id, seen.amount("amount_paid"), currency)


def _paid(payment_id: str, invoice_id: InvoiceId, amount: int, currency: str) -> PaymentSnapshot:
    return PaymentSnapshot(
        payment_id=payment_id, invoice_id=invoice_id, amount_paid=amount, currency=currency, status="paid"
    )


def _of_payment(snapshot: RecordSnapshot, customer_id: CustomerId | None, *about: str | None) -> Translation:
    """Assign an object to its customer, or else to the owner of the objects it names."""
    if customer_id is not None:
        return Translation(customer_id=customer_id, snapshots=(snapshot,))
    named = tuple(name for name in about if name is not None)
    return Translation(about=named, snapshots=(snapshot,)) if named else Translation(ignored=NO_CUSTOMER)


def _payment_of_invoice(payment: Reader) -> str | None:
    """Return the id of the payment: a payment intent's rather than its charge's."""
    kinds = ("payment_intent", "charge", "payment_record")
    return next((name for kind in kinds if (name := payment.reference(kind)) is not None), None)
