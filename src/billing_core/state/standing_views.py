"""The provisional views of a ledger, beside the rows that they stand for."""

from collections.abc import Iterable
from datetime import datetime

from billing_core.model import (
    Answer,
    InvoiceSnapshot,
    ProvisionalView,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantId,
    TenantSubscription,
    Uncertainty,
)
from billing_core.state.copies import Copies
from billing_core.state.ports import LockedTenants
from billing_core.state.provisional import (
    ProvisionalBasis,
    Row,
    ViewShelf,
    beside,
    is_needless,
    left_of,
    replacement_of,
    succeeds,
    view_of,
)
from billing_core.state.reading import Statement
from billing_core.state.shelf import Shelves


class StandingViews:
    """Puts views beside rows, and ends them, by the rules of `billing_core.state.provisional`."""

    def __init__(self, tenants: LockedTenants, shelves: Shelves, copies: Copies) -> None:
        """Take over the views of locked tenants, without those that are needless by now."""
        self.shelf = ViewShelf(tenants.views)
        self._shelves = shelves
        self._copies = copies
        self._now: datetime = tenants.now
        for view in [*self.shelf.all()]:
            if is_needless(view, shelves.row(view.object_id), now=self._now):
                self.shelf.remove(view.object_id)

    def show(
        self, tenant_id: TenantId, answer: Answer, basis: ProvisionalBasis, echoes: Iterable[Answer]
    ) -> ProvisionalView | None:
        """Let the provider's answer to an operation stand beside its row; return what stands there then, if anything.

        `echoes` are what events of the operation that were applied showed of the object.
        """
        row, known = self._shelves.row(answer.object_id), self.shelf.get(answer.object_id)
        if isinstance(answer, SubscriptionSnapshot):
            answer = self._copies.with_method(tenant_id, answer)
        new = view_of(answer, basis, now=self._now)
        view = new if known is None else succeeds(new, known)
        echoed = [self._as_told(tenant_id, echo) for echo in echoes] if view.snapshot == new.snapshot else []
        left = view if row is None else beside(view, row, echoed or None, now=self._now)
        if left is None:
            self.shelf.remove(answer.object_id)
        else:
            self.shelf.put(left)
        return left

    def end(self, row: Row, seen: Answer, statement: Statement) -> bool:
        """Remove the view of an object if a statement that was folded into its row ends it; tell whether it did."""
        view = self.shelf.get(row.object_id)
        if view is None:
            return False
        left = left_of(view, row, statement, (self._as_told(row.tenant_id, seen),), now=self._now)
        if left is None:
            return self.shelf.remove(row.object_id)
        self.shelf.put(left)
        return False

    def due_refetch(self, view: ProvisionalView) -> Uncertainty | None:
        """Return the refetch that a view is due for now, if its object has a row to write under."""
        row = self._shelves.row(view.object_id)
        return None if row is None or view.refetch_due_at > self._now else replacement_of(view, row)

    def _as_told(self, tenant_id: TenantId, seen: Answer) -> Answer:
        """Return an object as an event tells it, with what a row would have beside that: to compare it with a view."""
        known = self._shelves.row(seen.object_id)
        match seen:
            case SubscriptionSnapshot():
                before = known.snapshot if isinstance(known, TenantSubscription) else None
                return self._copies.complete(tenant_id, seen.completed_by(before), before)
            case InvoiceSnapshot():
                return seen.completed_by(known.snapshot if isinstance(known, SubscriptionInvoice) else None)
