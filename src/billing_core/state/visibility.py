"""The state of a ledger as tenants see it: provisional view, else row, of each object; nothing that is out of scope."""

from collections.abc import Callable, Iterable, Mapping
from typing import Generic

from billing_core.model import (
    Answer,
    InvoiceSnapshot,
    ProvisionalView,
    RecordSnapshot,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantRecord,
    TenantSubscription,
    invoice_of,
    is_out_of_scope,
    view_invoice,
    view_subscription,
)
from billing_core.state.provisional import ViewShelf
from billing_core.state.shelf import Shelf, T


class Shown(Generic[T]):
    """The objects of one kind as tenants see them."""

    def __init__(
        self,
        rows: Shelf[T],
        views: Mapping[str, ProvisionalView],
        *,
        kind: str,
        beside: Callable[[ProvisionalView | None, T | None], T | None],
    ) -> None:
        self._rows = rows
        self._views = views
        self._kind = kind
        self._beside = beside

    def get(self, object_id: str) -> T | None:
        """Return an object; None if it is neither stored nor shown by a view."""
        row = self._rows.get(object_id)
        if not self._views:  # as nearly always, and every event asks several times
            return row
        view = self._views.get(object_id)
        return row if view is None or view.kind != self._kind else self._beside(view, row)

    def all(self) -> Iterable[T]:
        """Return every object."""
        viewed = {view.object_id for view in self._views.values() if view.kind == self._kind}
        if not viewed:
            return self._rows.all()
        ids = viewed.union(row.object_id for row in self._rows.all())
        return [held for id_ in sorted(ids) if (held := self.get(id_)) is not None]


class Visibility:
    """The subscriptions and invoices of a ledger as tenants see them."""

    def __init__(
        self,
        subscriptions: Shelf[TenantSubscription],
        invoices: Shelf[SubscriptionInvoice],
        records: Shelf[TenantRecord],
        views: ViewShelf,
    ) -> None:
        shown = views.by_object
        self.subscriptions = Shown(subscriptions, shown, kind=SubscriptionSnapshot.kind, beside=view_subscription)
        self.invoices = Shown(invoices, shown, kind=InvoiceSnapshot.kind, beside=view_invoice)
        self._records = records

    def is_hidden(self, object_id: str) -> bool:
        """Tell whether an object is out of scope: a subscription, an invoice, or a record of such."""
        subscription = self.subscriptions.get(object_id)
        if subscription is not None:
            return subscription.snapshot.out_of_scope
        invoice = self.invoices.get(object_id)
        if invoice is None and (record := self._records.get(object_id)) is not None:
            invoice_id = invoice_of(record.snapshot, self.find_record)
            invoice = None if invoice_id is None else self.invoices.get(invoice_id)
        if invoice is None:
            return False
        billed = self.subscriptions.get(invoice.snapshot.subscription_id or "")
        return is_out_of_scope(invoice.snapshot, None if billed is None else billed.snapshot)

    def shows_only_hidden(self, ids: Iterable[str]) -> bool:
        """Tell whether there are objects with these ids, and all of them are out of scope."""
        ids = list(ids)
        return bool(ids) and all(map(self.is_hidden, ids))

    def subscription(self, object_id: str) -> SubscriptionSnapshot | None:
        """Return a subscription."""
        held = self.subscriptions.get(object_id)
        return None if held is None else held.snapshot

    def invoice(self, object_id: str) -> InvoiceSnapshot | None:
        """Return an invoice."""
        held = self.invoices.get(object_id)
        return None if held is None else held.snapshot

    def either(self, object_id: str) -> Answer | None:
        """Return the subscription or the invoice with an id, also if it is out of scope."""
        return self.subscription(object_id) or self.invoice(object_id)

    def object(self, object_id: str | None) -> tuple[SubscriptionSnapshot | None, InvoiceSnapshot | None]:
        """Return the subscription or the invoice with an id, unless it is out of scope."""
        if object_id is None or self.is_hidden(object_id):
            return None, None
        subscription = self.subscription(object_id)
        return subscription, None if subscription is not None else self.invoice(object_id)

    def invoice_of(self, record: TenantRecord) -> InvoiceSnapshot | None:
        """Return the invoice of its tenant that a record concerns."""
        invoice_id = invoice_of(record.snapshot, self.find_record)
        invoice = None if invoice_id is None else self.invoices.get(invoice_id)
        return None if invoice is None or invoice.tenant_id != record.tenant_id else invoice.snapshot

    def find_record(self, object_id: str) -> RecordSnapshot | None:
        """Return a record, if it is loaded."""
        held = self._records.get(object_id)
        return None if held is None else held.snapshot
