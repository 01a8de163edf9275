"""A tenant's invoice and its lines."""

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

import attrs

from billing_core.frozen import frozen
from billing_core.model.identifiers import CustomerId, InvoiceId, ItemId, LineId, PriceId, SubscriptionId, TenantId
from billing_core.model.ordering import Ordered, Provenance
from billing_core.model.subscription import SubscriptionSnapshot, UsageType
from billing_core.model.time import Period, aware

DELETED = "deleted"
"""Our status of a draft the provider removed. Kept as a tombstone, so that a late snapshot does not bring it back."""

_STAGES = {"draft": 0, "open": 1, "uncollectible": 2, "paid": 3, "void": 3, DELETED: 3}


@frozen(kw_only=True)
class InvoiceLine:
    """One line of an invoice. `amount` is in the invoice's minor unit and negative for credits."""

    line_id: LineId
    amount: int
    quantity: int | None = None
    quantity_decimal: Decimal | None = None
    """The exact quantity if it has a fraction; the provider truncates `quantity`."""
    price_id: PriceId | None = None
    product_id: str | None = None
    subscription_item_id: ItemId | None = None
    usage_type: UsageType | None = None
    """None where the provider does not say: in newer API versions only the subscription's item has it."""
    feature_key: str | None = None
    proration: bool = False
    description: str | None = None
    period: Period | None = None

    @property
    def exact_quantity(self) -> Decimal:
        """The quantity with its fraction; 0 if the line has none."""
        return Decimal(self.quantity or 0) if self.quantity_decimal is None else self.quantity_decimal


@frozen(kw_only=True)
class InvoiceSnapshot(Ordered):
    """An invoice as one event shows it. Amounts are integers in the currency's minor unit."""

    kind: ClassVar[str] = "invoice"
    refetchable: ClassVar[bool] = True

    invoice_id: InvoiceId
    customer_id: CustomerId | None
    status: str
    currency: str
    subscription_id: SubscriptionId | None = None
    number: str | None = None
    amount_due: int = 0
    amount_paid: int = 0
    amount_remaining: int = 0
    subtotal: int | None = None
    """The sum of the lines, before discounts and exclusive taxes; None if no event since this is kept showed it."""
    total: int = 0
    tax: int = 0
    billing_reason: str | None = None
    collection_method: str | None = None
    hosted_invoice_url: str | None = None
    invoice_pdf: str | None = None
    period: Period | None = None
    """The window of pending items, not the service period: that is on the lines."""
    created_at: datetime | None = attrs.field(default=None, validator=aware)
    finalized_at: datetime | None = attrs.field(default=None, validator=aware)
    due_at: datetime | None = attrs.field(default=None, validator=aware)
    paid_at: datetime | None = attrs.field(default=None, validator=aware)
    attempt_count: int = 0
    next_payment_attempt_at: datetime | None = attrs.field(default=None, validator=aware)
    lines: tuple[InvoiceLine, ...] = ()
    """Ordered by line id, so that equal content is equal."""
    lines_complete: bool = True
    """False while the provider's payload holds only the first page of lines."""
    out_of_scope: bool | None = None
    """Whether its lines are for other products of the account; None if its subscription decides.

    Our reading of the lines, filled in by the plan catalog.
    """

    @property
    def object_id(self) -> str:
        """The provider's id."""
        return self.invoice_id

    @property
    def precedence(self) -> int:
        """An invoice only moves draft → open → uncollectible → paid or void; an unknown status counts as open."""
        return _STAGES.get(self.status, 1)

    @property
    def progress(self) -> int:
        """Payment attempts are only ever added."""
        return self.attempt_count

    @property
    def partial(self) -> bool:
        """Lines are missing; a deleted draft's lines no longer matter."""
        return not self.lines_complete and self.status != DELETED

    @property
    def outstanding(self) -> bool:
        """Whether the tenant still owes it."""
        return self.precedence in (1, 2) and self.amount_remaining > 0

    def completed_by(self, known: "InvoiceSnapshot | None") -> "InvoiceSnapshot":
        """Return this with all lines, where it shows a part of a known list: the lines of a final invoice stay.

        A draft's lines still come and go, so those that an earlier event showed say nothing about now.
        """
        if self.lines_complete or known is None or not known.lines_complete:
            return self
        if min(self.precedence, known.precedence) == 0:
            return self
        if not {line.line_id for line in self.lines} <= {line.line_id for line in known.lines}:
            return self
        return attrs.evolve(self, lines=known.lines, lines_complete=True)


@frozen(kw_only=True)
class SubscriptionInvoice:
    """An invoice of one tenant: the deciding snapshot and the events it rests on."""

    kind: ClassVar[str] = InvoiceSnapshot.kind

    tenant_id: TenantId
    snapshot: InvoiceSnapshot
    provenance: Provenance
    failed_at: tuple[datetime, ...] = ()
    """When its payments failed, ascending: the creation times of all events that said so, stale ones too.

    It only grows. No snapshot says it, and the count of attempts includes partial payments and debits under way.
    """

    @property
    def object_id(self) -> str:
        """The id it is stored under."""
        return self.snapshot.invoice_id

    @property
    def missed_at(self) -> datetime | None:
        """When money was first missed: on the due date, else at the first failure; None while neither is known."""
        return self.snapshot.due_at or next(iter(self.failed_at), None)

    @property
    def missed_by_clock(self) -> datetime | None:
        """The same by the test clock that it lives by; without a due date, when a payment that failed was first tried.

        The provider dates events in real time, also those of a failure, but the objects that they show by the clock.
        """
        tried_at = self.snapshot.finalized_at or self.snapshot.created_at
        return self.snapshot.due_at or (tried_at if self.failed_at else None)


def is_out_of_scope(invoice: InvoiceSnapshot, subscription: SubscriptionSnapshot | None) -> bool:
    """Return whether an invoice is for other products of the account: by its lines, else by its subscription."""
    if invoice.out_of_scope is not None:
        return invoice.out_of_scope
    return subscription is not None and subscription.out_of_scope
