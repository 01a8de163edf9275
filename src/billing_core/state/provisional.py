"""The provisional views of a ledger, and the rules by which one is shown and goes. Pure.

A view is confirmed by an event that its operation caused and that shows the same. It goes when its row is later than
its answer, or decided and different once it is confirmed; or when the provider's answer to a refetch is written. See
docs/adr/0029-provisional-views.md.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

import attrs
from attrs.validators import optional

from billing_core.events import Claim, MessageSource, SourceKind
from billing_core.model import (
    ANSWER_TRUSTED,
    Answer,
    InvoiceSnapshot,
    PlanCatalog,
    ProvisionalView,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantId,
    TenantSubscription,
    Uncertainty,
    Views,
    operation_of,
)
from billing_core.model.provisional import operation_key
from billing_core.model.time import aware
from billing_core.state.reading import ClaimedEvent, ProviderAnswer, Statement

Row = TenantSubscription | SubscriptionInvoice
_NO_VIEWS: Final[Views] = {}


@attrs.frozen(kw_only=True)
class EventBasis:
    """A snapshot is folded under the stamp of a claimed event that did not show it."""

    claim: Claim


@attrs.frozen(kw_only=True)
class UncertaintyBasis:
    """A snapshot takes the place of an uncertain state, under the stamp of the events that this rests on."""

    uncertainty: Uncertainty


@attrs.frozen(kw_only=True)
class ProvisionalBasis:
    """A snapshot is the provider's answer to an operation: it is shown, and never enters the ordering."""

    tenant_id: TenantId
    """The tenant that the operation was made for."""
    operation_key: str = attrs.field(validator=operation_key)
    """As stored before the call. The idempotency keys of its requests are this, or begin with it and a dot."""
    answered_at: datetime | None = attrs.field(validator=optional(aware))
    """The `Date` of the answer; None if it had none."""


Basis = EventBasis | UncertaintyBasis | ProvisionalBasis


@attrs.frozen(kw_only=True)
class OperationAnswer:
    """The provider's answer to an operation: the cause of a message."""

    operation_key: str
    created_at: datetime
    """The answer's `Date`."""

    @property
    def source(self) -> MessageSource:
        """The cause of the messages that follow."""
        return MessageSource(kind=SourceKind.OPERATION, id=self.operation_key)


class ViewShelf:
    """The provisional views of locked tenants, by object."""

    def __init__(self, loaded: Views = _NO_VIEWS) -> None:
        self.by_object: Final = {view.object_id: view for views in loaded.values() for view in views}
        """The views as they stand; nearly always there is none."""
        self._changed: set[TenantId] = set()

    def get(self, object_id: str) -> ProvisionalView | None:
        """Return the view of an object, if it has one."""
        return self.by_object.get(object_id)

    def all(self) -> Collection[ProvisionalView]:
        """Return every view."""
        return self.by_object.values()

    def put(self, view: ProvisionalView) -> None:
        """Put a view in place of what is held of its object."""
        if self.by_object.get(view.object_id) != view:
            self.by_object[view.object_id] = view
            self._changed.add(view.tenant_id)

    def remove(self, object_id: str) -> bool:
        """Remove the view of an object; False if it had none."""
        view = self.by_object.pop(object_id, None)
        if view is not None:
            self._changed.add(view.tenant_id)
        return view is not None

    def changed(self) -> Views:
        """Return all views of each tenant that got or lost one."""
        return {
            tenant_id: sorted(
                (view for view in self.by_object.values() if view.tenant_id == tenant_id),
                key=lambda view: view.object_id,
            )
            for tenant_id in sorted(self._changed)
        }


def left_of(
    view: ProvisionalView, row: Row, statement: Statement, seen: Iterable[object], *, now: datetime
) -> ProvisionalView | None:
    """Return what is left of a view once a statement is folded; None if it goes.

    Args:
        view: the view.
        row: its row as it stands then.
        statement: the event, or the provider's answer to a refetch.
        seen: what the statement shows of the object.
        now: the store's time.
    """
    if isinstance(statement, ProviderAnswer):
        return None if statement.view == view.operation_key or view.is_over(row) else view
    return beside(view, row, seen if _is_caused_by(statement, view) else None, now=now)


def beside(
    view: ProvisionalView, row: Row, echoed: Iterable[object] | None, *, now: datetime
) -> ProvisionalView | None:
    """Return a view as it stands beside its row; None if it goes.

    `echoed` is what events of the same operation showed of the object; None if there are none.
    """
    if view.snapshot is not None and echoed is not None and view.shown_over(row) in (row.snapshot, *echoed):
        view = view.confirm(now=now)
    return None if view.is_over(row) else view


def is_needless(view: ProvisionalView, row: Row | None, *, now: datetime) -> bool:
    """Tell whether a confirmed view has stood for long enough, and its row shows the same by itself."""
    if row is None or not view.confirmed or view.refetch_due_at > now:
        return False
    return not row.provenance.ambiguous and view.shown_over(row) == row.snapshot


def _is_caused_by(event: ClaimedEvent, view: ProvisionalView) -> bool:
    return operation_of(event.translation.request_key) == view.operation_key


def view_of(answer: Answer, basis: ProvisionalBasis, *, now: datetime) -> ProvisionalView:
    """Return the view that an answer asks for. One without a date shows nothing and is asked about at once."""
    shown = basis.answered_at is not None
    return ProvisionalView(
        tenant_id=basis.tenant_id,
        kind=answer.kind,
        object_id=answer.object_id,
        operation_key=basis.operation_key,
        snapshot=answer if shown else None,
        answered_at=basis.answered_at if shown else None,
        refetch_due_at=now + ANSWER_TRUSTED if shown else now,
    )


def succeeds(new: ProvisionalView, known: ProvisionalView) -> ProvisionalView:
    """Return the view to keep of an object that has one: that of the later answer. Answers may overtake each other."""
    due_at = min(new.refetch_due_at, known.refetch_due_at)
    if new.answered_at is None:
        return attrs.evolve(known, refetch_due_at=due_at, confirmed=False)
    if known.answered_at is None:
        return attrs.evolve(new, refetch_due_at=due_at)
    return new if new.answered_at >= known.answered_at else known


def replacement_of(view: ProvisionalView, row: Row) -> Uncertainty:
    """Return the need to have a view replaced, under the stamp of its row."""
    return Uncertainty(
        kind=view.kind,
        object_id=view.object_id,
        basis=row.provenance,
        complete=not row.snapshot.partial,
        view=view.operation_key,
    )


def read_again(view: ProvisionalView, catalog: PlanCatalog) -> ProvisionalView:
    """Return a view as the catalog reads it."""
    return view if view.snapshot is None else attrs.evolve(view, snapshot=read_answer(view.snapshot, catalog))


def read_answer(answer: Answer, catalog: PlanCatalog) -> Answer:
    """Return an answer of the provider as the catalog reads it."""
    match answer:
        case SubscriptionSnapshot():
            return catalog.read_subscription(answer)
        case InvoiceSnapshot():
            return catalog.read_invoice(answer)
