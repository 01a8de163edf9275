"""Payments, and what is given back of them: charges, refunds, disputes and credit notes.

Amounts are integers in the currency's minor unit and absolute: what an event says replaces what was known, nothing is
ever added up. A paid invoice stays paid whatever is given back of it afterwards.
"""

from typing import ClassVar, Final

import attrs

from billing_core.model.identifiers import InvoiceId
from billing_core.model.ordering import Ordered


def payment_object_id(payment_id: str) -> str:
    """Return the object id of the payment that the provider calls `payment_id`."""
    return f"payment:{payment_id}"


@attrs.frozen(kw_only=True)
class PaymentSnapshot(Ordered):
    """A payment of an invoice: it leads from a refund or a dispute back to the invoice."""

    kind: ClassVar[str] = "payment"

    payment_id: str
    """The provider's payment, or its charge where the invoice was paid by one directly."""
    invoice_id: InvoiceId
    amount_paid: int
    currency: str
    status: str

    @property
    def object_id(self) -> str:
        """An id of our own: a payment may be named by its charge, which is an object beside it."""
        return payment_object_id(self.payment_id)

    @property
    def precedence(self) -> int:
        """A payment is open until it is paid or canceled."""
        return 1 if self.status in ("paid", "canceled") else 0

    @property
    def progress(self) -> int:
        """The amount paid never falls: what is given back is a refund, which is another object."""
        return self.amount_paid


@attrs.frozen(kw_only=True)
class ChargeSnapshot(Ordered):
    """A charge and how much of it was given back.

    It has one stage only: a failed refund lowers what was given back, so charges are ordered by time alone.
    """

    kind: ClassVar[str] = "charge"

    charge_id: str
    payment_id: str | None = None
    invoice_id: InvoiceId | None = None
    amount: int
    amount_refunded: int
    """The sum of all refunds so far."""
    currency: str
    disputed: bool = False

    @property
    def object_id(self) -> str:
        """The provider's id."""
        return self.charge_id

    @property
    def progress(self) -> int:
        """Within one second refunds are made, they do not fail."""
        return self.amount_refunded


@attrs.frozen(kw_only=True)
class RefundSnapshot(Ordered):
    """One refund. It can still fail after it succeeded: the bank sends the money back."""

    kind: ClassVar[str] = "refund"

    refund_id: str
    payment_id: str | None = None
    charge_id: str | None = None
    amount: int
    currency: str
    status: str
    reason: str | None = None

    @property
    def object_id(self) -> str:
        """The provider's id."""
        return self.refund_id

    @property
    def precedence(self) -> int:
        """A failed or canceled refund stays so."""
        return 1 if self.fell_through else 0

    @property
    def progress(self) -> int:
        """A refund is pending first, then succeeds."""
        return 1 if self.status == "succeeded" else 0

    @property
    def fell_through(self) -> bool:
        """Whether the payer does not get the money after all."""
        return self.status in ("failed", "canceled")


_DISPUTE_ENDS: Final = frozenset({"won", "lost", "warning_closed", "prevented"})
_DISPUTE_APPEALS: Final = frozenset({"appeal_needs_response", "appeal_under_review"})


@attrs.frozen(kw_only=True)
class DisputeSnapshot(Ordered):
    """A payment that the payer's bank has taken back, or asks about."""

    kind: ClassVar[str] = "dispute"

    dispute_id: str
    payment_id: str | None = None
    charge_id: str | None = None
    amount: int
    currency: str
    status: str
    reason: str | None = None

    @property
    def object_id(self) -> str:
        """The provider's id."""
        return self.dispute_id

    @property
    def precedence(self) -> int:
        """A closed dispute is not reopened, except by an appeal, which follows the first decision."""
        return 1 if self.closed or self.status in _DISPUTE_APPEALS else 0

    @property
    def closed(self) -> bool:
        """Whether it is decided."""
        return self.status in _DISPUTE_ENDS


@attrs.frozen(kw_only=True)
class CreditNoteSnapshot(Ordered):
    """An invoice's correction downwards."""

    kind: ClassVar[str] = "credit_note"

    credit_note_id: str
    invoice_id: InvoiceId
    amount: int
    currency: str
    status: str
    reason: str | None = None

    @property
    def object_id(self) -> str:
        """The provider's id."""
        return self.credit_note_id

    @property
    def precedence(self) -> int:
        """A voided credit note stays void."""
        return 1 if self.voided else 0

    @property
    def voided(self) -> bool:
        """Whether it no longer counts."""
        return self.status == "void"


ADJUSTMENT_KINDS: Final = (RefundSnapshot.kind, DisputeSnapshot.kind, CreditNoteSnapshot.kind, ChargeSnapshot.kind)
"""Money that was given back, or may have to be."""
