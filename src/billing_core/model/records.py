"""Facts beside subscription and invoice: what was paid, given back and disputed, what is sold, what is entitled.

Each is a snapshot of one provider object, ordered like all others. Amounts are integers in the currency's minor unit
and absolute: what an event says replaces what was known, nothing is ever added up. A paid invoice stays paid whatever
is given back of it afterwards.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar, Final, get_args

import attrs

from billing_core.model.identifiers import CustomerId, InvoiceId, PriceId, SubscriptionId, TenantId
from billing_core.model.ordering import Provenance


def payment_object_id(payment_id: str) -> str:
    """What a payment that the provider calls `payment_id` is kept under."""
    return f"payment:{payment_id}"


@attrs.frozen(kw_only=True)
class PaymentSnapshot:
    """A payment of an invoice: what leads from a refund or a dispute back to the invoice it concerns."""

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
        """What has been paid is not taken out of a payment again: it is refunded, which is another object."""
        return self.amount_paid


@attrs.frozen(kw_only=True)
class ChargeSnapshot:
    """A charge and how much of it was given back."""

    kind: ClassVar[str] = "charge"

    charge_id: str
    payment_id: str | None = None
    invoice_id: InvoiceId | None = None
    amount: int
    amount_refunded: int
    """All that was refunded of it so far."""
    currency: str
    disputed: bool = False

    @property
    def object_id(self) -> str:
        """The provider's id of the object: prefixed by kind, so unique over all kinds."""
        return self.charge_id

    @property
    def precedence(self) -> int:
        """A failed refund lowers what was given back, so a charge is ordered by time alone."""
        return 0

    @property
    def progress(self) -> int:
        """Within one second refunds are made, they do not fail."""
        return self.amount_refunded


@attrs.frozen(kw_only=True)
class RefundSnapshot:
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
        """The provider's id of the object: prefixed by kind, so unique over all kinds."""
        return self.refund_id

    @property
    def precedence(self) -> int:
        """A failed or canceled refund stays so."""
        return 1 if self.fell_through else 0

    @property
    def progress(self) -> int:
        """It succeeds after it was pending."""
        return 1 if self.status == "succeeded" else 0

    @property
    def fell_through(self) -> bool:
        """Whether the money stays, or came back."""
        return self.status in ("failed", "canceled")


_DISPUTE_ENDS: Final = frozenset({"won", "lost", "warning_closed", "prevented"})
_DISPUTE_APPEALS: Final = frozenset({"appeal_needs_response", "appeal_under_review"})


@attrs.frozen(kw_only=True)
class DisputeSnapshot:
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
        """The provider's id of the object: prefixed by kind, so unique over all kinds."""
        return self.dispute_id

    @property
    def precedence(self) -> int:
        """A closed dispute is not argued again, except in an appeal, which follows the first end."""
        return 1 if self.closed or self.status in _DISPUTE_APPEALS else 0

    @property
    def progress(self) -> int:
        """Nothing of a dispute only grows."""
        return 0

    @property
    def closed(self) -> bool:
        """Whether it is decided."""
        return self.status in _DISPUTE_ENDS


@attrs.frozen(kw_only=True)
class CreditNoteSnapshot:
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
        """The provider's id of the object: prefixed by kind, so unique over all kinds."""
        return self.credit_note_id

    @property
    def precedence(self) -> int:
        """A voided credit note stays void."""
        return 1 if self.voided else 0

    @property
    def progress(self) -> int:
        """Nothing of a credit note only grows."""
        return 0

    @property
    def voided(self) -> bool:
        """Whether it does not count any more."""
        return self.status == "void"


_ENTITLEMENTS_OF: Final = "entitlements:"


def entitled_customer(object_id: str) -> CustomerId:
    """Whose entitlements are kept under this object id."""
    return CustomerId(object_id.removeprefix(_ENTITLEMENTS_OF))


def _sorted(features: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(features)))


@attrs.frozen(kw_only=True)
class EntitlementsSnapshot:
    """Every feature a customer is entitled to. The provider has one such list per customer and gives it no id."""

    kind: ClassVar[str] = "entitlements"

    customer_id: CustomerId
    features: tuple[str, ...] = attrs.field(converter=_sorted)
    """Lookup keys, sorted, so that equal content is equal."""
    complete: bool = True
    """False while the provider's payload holds only the first page."""

    @property
    def object_id(self) -> str:
        """An id of our own."""
        return f"{_ENTITLEMENTS_OF}{self.customer_id}"

    @property
    def precedence(self) -> int:
        """The list has no stages."""
        return 0

    @property
    def progress(self) -> int:
        """The list grows and shrinks."""
        return 0


@attrs.frozen(kw_only=True)
class ScheduleSnapshot:
    """A plan of coming changes to a subscription. The changes themselves are told by the subscription."""

    kind: ClassVar[str] = "schedule"

    schedule_id: str
    subscription_id: SubscriptionId | None = None
    status: str

    @property
    def object_id(self) -> str:
        """The provider's id of the object: prefixed by kind, so unique over all kinds."""
        return self.schedule_id

    @property
    def precedence(self) -> int:
        """A schedule that is over does not start again; one that runs was waiting before."""
        if self.status in ("released", "canceled", "completed"):
            return 2
        return 1 if self.status == "active" else 0

    @property
    def progress(self) -> int:
        """Nothing of a schedule only grows."""
        return 0


@attrs.frozen(kw_only=True)
class PriceSnapshot:
    """A price of the provider's catalog. It belongs to no tenant."""

    kind: ClassVar[str] = "price"

    price_id: PriceId
    product_id: str | None = None
    lookup_key: str | None = None
    plan_code: str | None = None
    """What the price's own metadata names as its plan."""
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
        """An id of our own: merchants choose ids of prices and products themselves, one may be like another."""
        return f"price:{self.price_id}"

    @property
    def precedence(self) -> int:
        """A deleted price never comes back."""
        return 1 if self.deleted else 0

    @property
    def progress(self) -> int:
        """Nothing of a price only grows."""
        return 0


@attrs.frozen(kw_only=True)
class ProductSnapshot:
    """A product of the provider's catalog. It belongs to no tenant."""

    kind: ClassVar[str] = "product"

    product_id: str
    name: str | None = None
    active: bool = True
    deleted: bool = False

    @property
    def object_id(self) -> str:
        """An id of our own: merchants choose ids of prices and products themselves, one may be like another."""
        return f"product:{self.product_id}"

    @property
    def precedence(self) -> int:
        """A deleted product never comes back."""
        return 1 if self.deleted else 0

    @property
    def progress(self) -> int:
        """Nothing of a product only grows."""
        return 0


CatalogSnapshot = PriceSnapshot | ProductSnapshot
"""What belongs to no tenant."""
RecordSnapshot = (
    PaymentSnapshot
    | ChargeSnapshot
    | RefundSnapshot
    | DisputeSnapshot
    | CreditNoteSnapshot
    | EntitlementsSnapshot
    | ScheduleSnapshot
    | PriceSnapshot
    | ProductSnapshot
)
RECORD_KINDS: Final[Mapping[str, type[RecordSnapshot]]] = MappingProxyType(
    {record.kind: record for record in get_args(RecordSnapshot)}
)
CATALOG_KINDS: Final = (PriceSnapshot.kind, ProductSnapshot.kind)
ADJUSTMENT_KINDS: Final = (RefundSnapshot.kind, DisputeSnapshot.kind, CreditNoteSnapshot.kind, ChargeSnapshot.kind)
"""What was given back, or may have to be."""


@attrs.frozen(kw_only=True)
class TenantRecord:
    """A record of one tenant: the deciding snapshot and the events it rests on. The catalog has no tenant."""

    tenant_id: TenantId | None
    snapshot: RecordSnapshot
    provenance: Provenance

    @property
    def named_as(self) -> str:
        """The id by which other objects' events name it."""
        seen = self.snapshot
        return seen.payment_id if isinstance(seen, PaymentSnapshot) else seen.object_id


def leads_to(snapshot: RecordSnapshot) -> tuple[str, ...]:
    """Object ids of the records that may say which invoice this one concerns."""
    match snapshot:
        case ChargeSnapshot() | RefundSnapshot() | DisputeSnapshot():
            named = [id_ for id_ in (snapshot.payment_id, snapshot.charge_id) if id_ is not None]
            charges = () if snapshot.charge_id is None else (snapshot.charge_id,)
            return (*map(payment_object_id, named), *charges)
        case _:
            return ()


def invoice_of(snapshot: RecordSnapshot, find: Callable[[str], RecordSnapshot | None]) -> InvoiceId | None:
    """The invoice a record concerns, if the record itself or what it leads to names one.

    Args:
        snapshot: the record.
        find: looks up what is known under an object id.
    """
    match snapshot:
        case PaymentSnapshot() | CreditNoteSnapshot():
            return snapshot.invoice_id
        case ChargeSnapshot() if snapshot.invoice_id is not None:
            return snapshot.invoice_id
    linked = [found for id_ in leads_to(snapshot) if (found := find(id_)) is not None]
    linked += [found for each in linked for id_ in leads_to(each) if (found := find(id_)) is not None]
    named = (each.invoice_id for each in linked if isinstance(each, PaymentSnapshot | ChargeSnapshot))
    return next((invoice_id for invoice_id in named if invoice_id is not None), None)
