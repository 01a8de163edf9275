"""Provisional views: the provider's answer to an operation, shown in place of the stored row until its events arrive.

A row stays a function of events. A view stands beside it and never enters the ordering.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs
from attrs.validators import matches_re, optional

from billing_core.model.identifiers import TenantId
from billing_core.model.invoice import InvoiceSnapshot, SubscriptionInvoice
from billing_core.model.ordering import Provenance
from billing_core.model.subscription import SubscriptionSnapshot, TenantSubscription
from billing_core.model.time import aware, end_of

OPERATION_PREFIX: Final = "bo_"
"""Every operation's key begins with it, so that its events are recognized before its answer is known."""
DATE_TOLERANCE: Final = timedelta(seconds=1)
"""An event that is created this much after an answer may still be caused by the same call: both stamps are rounded."""
ANSWER_TRUSTED: Final = timedelta(minutes=10)
"""How long an answer is shown before the provider is asked again."""

Answer = SubscriptionSnapshot | InvoiceSnapshot
"""An object that the provider shows in its answer to an operation."""

operation_key = matches_re(rf"{OPERATION_PREFIX}[A-Za-z0-9_-]+")
"""Refuses other texts than keys of operations. A key has no dot: what follows one in a request's key is its step."""


def operation_of(request_key: str | None) -> str | None:
    """Return the key of the operation that made a request, `bo_1f` of `bo_1f.create`; None if it was none of ours."""
    if request_key is None or not request_key.startswith(OPERATION_PREFIX):
        return None
    return request_key.partition(".")[0]


@attrs.frozen(kw_only=True)
class ProvisionalView:
    """An object as the provider showed it in its answer to an operation, or the mere need to ask about it again."""

    tenant_id: TenantId
    kind: str
    """Of a subscription or an invoice."""
    object_id: str
    operation_key: str = attrs.field(validator=operation_key)
    snapshot: Answer | None = None
    """None if the answer had no date: nothing says whether it or the row is later."""
    answered_at: datetime | None = attrs.field(default=None, validator=optional(aware))
    """The `Date` of the answer: whole seconds of the provider's clock. None only without a snapshot."""
    refetch_due_at: datetime = attrs.field(validator=aware)
    """When the provider is to be asked, by the store's clock. Once it is confirmed: when it is no longer needed."""
    confirmed: bool = False
    """An event of its operation has shown the same. Others of that operation may still arrive, and show steps to it."""

    def __attrs_post_init__(self) -> None:
        if self.snapshot is not None and self.answered_at is None:
            raise ValueError("an answer without a time cannot be shown")

    def is_older_than(self, row: TenantSubscription | SubscriptionInvoice) -> bool:
        """Tell whether a row shows a later stage of life, or rests on a later event than the answer can have caused."""
        if self.snapshot is None or self.answered_at is None:
            return False
        mine = self.snapshot.precedence, self.answered_at + DATE_TOLERANCE
        return (row.snapshot.precedence, row.provenance.observed_at) > mine

    def confirm(self, *, now: datetime) -> "ProvisionalView":
        """Return the view once an event of its operation has shown the same."""
        return self if self.confirmed else attrs.evolve(self, confirmed=True, refetch_due_at=now + ANSWER_TRUSTED)

    def is_over(self, row: TenantSubscription | SubscriptionInvoice) -> bool:
        """Tell whether a view goes because of its row.

        One that is confirmed outlives a row that its events leave undecided: those of one second that arrive out of
        order may end the row in an earlier step of the operation. It goes once the row is decided and shows another.
        """
        decided = self.confirmed and not row.provenance.ambiguous
        return self.is_older_than(row) or (decided and self.shown_over(row) != row.snapshot)

    def shown_over(self, row: TenantSubscription | SubscriptionInvoice | None) -> Answer | None:
        """Return the object as it is shown beside its row; None if the view shows nothing.

        A row knows more of a schedule and of a payment method than the answer may: their events are their own.
        """
        known = None if row is None else row.snapshot
        match self.snapshot:
            case SubscriptionSnapshot() as seen:
                return _completed(seen, known if isinstance(known, SubscriptionSnapshot) else None)
            case InvoiceSnapshot() as seen:
                return seen.completed_by(known if isinstance(known, InvoiceSnapshot) else None)
            case None:
                return None


def _completed(answer: SubscriptionSnapshot, known: SubscriptionSnapshot | None) -> SubscriptionSnapshot:
    """Return a subscription with what its row knows of its schedule and payment method, where the answer does not."""
    seen = answer.completed_by(known)
    if known is None:
        return seen
    planned, method = seen.planned, seen.payment_method
    if not planned and seen.schedule_id is not None and seen.schedule_id == known.schedule_id:
        planned = known.planned
    if seen.charged and known.charged and seen.payment_method_id == known.payment_method_id:
        method = known.payment_method
    if (planned, method) == (seen.planned, seen.payment_method):
        return seen
    return attrs.evolve(seen, planned=planned, payment_method=method)


def view_subscription(view: ProvisionalView | None, row: TenantSubscription | None) -> TenantSubscription | None:
    """Return a subscription as its tenant sees it. A row of another tenant is not covered by a view."""
    shown = None if view is None else view.shown_over(row)
    if view is None or not isinstance(shown, SubscriptionSnapshot) or not _covers(view, row):
        return row
    if row is not None:
        return attrs.evolve(row, snapshot=shown)
    return TenantSubscription(tenant_id=view.tenant_id, snapshot=shown, provenance=_no_event(view))


def view_invoice(view: ProvisionalView | None, row: SubscriptionInvoice | None) -> SubscriptionInvoice | None:
    """Return an invoice as its tenant sees it. A row of another tenant is not covered by a view."""
    shown = None if view is None else view.shown_over(row)
    if view is None or not isinstance(shown, InvoiceSnapshot) or not _covers(view, row):
        return row
    if row is not None:
        return attrs.evolve(row, snapshot=shown)
    return SubscriptionInvoice(tenant_id=view.tenant_id, snapshot=shown, provenance=_no_event(view))


def view_subscriptions(
    views: Iterable[ProvisionalView], rows: Iterable[TenantSubscription]
) -> Sequence[TenantSubscription]:
    """Return subscriptions of tenants as they see them; `rows` hold those of all `views`, as far as there are any."""
    rows, pending = list(rows), _of_kind(views, SubscriptionSnapshot.kind)
    if not pending:
        return rows
    shown = [view_subscription(pending.pop(row.object_id, None), row) for row in rows]
    shown += [view_subscription(view, None) for view in pending.values()]
    return [each for each in shown if each is not None]


def view_invoices(
    views: Iterable[ProvisionalView], rows: Iterable[SubscriptionInvoice]
) -> Sequence[SubscriptionInvoice]:
    """Return invoices of tenants as they see them; `rows` hold those of all `views`, as far as there are any."""
    rows, pending = list(rows), _of_kind(views, InvoiceSnapshot.kind)
    if not pending:
        return rows
    shown = [view_invoice(pending.pop(row.object_id, None), row) for row in rows]
    shown += [view_invoice(view, None) for view in pending.values()]
    return [each for each in shown if each is not None]


def subscription_order(held: TenantSubscription) -> tuple[datetime, str]:
    """Return the key by which a tenant's subscriptions are sorted, the newest period last."""
    return held.snapshot.current_period_end or _NEVER, held.object_id


def invoice_order(held: SubscriptionInvoice) -> tuple[datetime, str]:
    """Return the key by which a tenant's invoices are sorted, the newest last."""
    return end_of(held.snapshot.period) or _NEVER, held.object_id


_NEVER: Final = datetime.min.replace(tzinfo=UTC)


def _of_kind(views: Iterable[ProvisionalView], kind: str) -> dict[str, ProvisionalView]:
    return {view.object_id: view for view in views if view.kind == kind and view.snapshot is not None}


def _covers(view: ProvisionalView, row: TenantSubscription | SubscriptionInvoice | None) -> bool:
    return row is None or row.tenant_id == view.tenant_id


def _no_event(view: ProvisionalView) -> Provenance:
    """Return the provenance of an object without any event."""
    if view.answered_at is None:
        raise LookupError(f"nothing is known of {view.object_id}")
    return Provenance(observed_at=view.answered_at, event_ids=())


Views = Mapping[TenantId, Sequence[ProvisionalView]]
"""All provisional views of some tenants, by object id."""
