"""Read what is stored of live subscriptions by other rules than before, and say what that changes for their tenants."""

from collections.abc import Collection, Iterator, Sequence

import attrs

from billing_core.model import (
    InvoiceSnapshot,
    PlanCatalog,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantId,
    TenantSubscription,
    UsageRecord,
)
from billing_core.state.announcements import Announcement, rated_announcement, visible_announcement
from billing_core.state.billed_usage import BilledUsage
from billing_core.state.provisional import ViewShelf, read_again
from billing_core.state.shelf import Shelf
from billing_core.state.visibility import Visibility


@attrs.frozen(kw_only=True)
class RereadNews:
    """The news that other rules make of one subscription."""

    tenant_id: TenantId
    announcement: Announcement
    subscription: SubscriptionSnapshot | None
    """None if it is hidden from its tenant now."""
    usage: Sequence[UsageRecord]


class Rereader:
    """Reads the subscriptions of a ledger, their invoices and their provisional views again."""

    def __init__(
        self,
        subscriptions: Shelf[TenantSubscription],
        invoices: Shelf[SubscriptionInvoice],
        views: ViewShelf,
        *,
        visibility: Visibility,
        usage: BilledUsage,
        catalog: PlanCatalog,
    ) -> None:
        self._subscriptions = subscriptions
        self._invoices = invoices
        self._views = views
        self._visibility = visibility
        self._usage = usage
        self._catalog = catalog

    def reread(self, tenants: Collection[TenantId]) -> Iterator[RereadNews]:
        """Read the live subscriptions of these tenants by the rules in force, and yield the news, by subscription."""
        for view in [view for view in self._views.all() if view.kind == InvoiceSnapshot.kind]:
            if view.tenant_id in tenants:
                self._views.put(read_again(view, self._catalog))
        held = [each for each in self._visibility.subscriptions.all() if each.tenant_id in tenants]
        for shown in sorted(held, key=lambda each: each.object_id):
            usage = self._reread(shown.object_id)
            after = None if usage is None else self._visibility.subscription(shown.object_id)
            if usage is None or after is None:
                continue
            news = visible_announcement(shown.snapshot, after)
            if news is None and usage and not after.out_of_scope:
                news = rated_announcement(after)
            if news is not None:
                hidden = after.out_of_scope
                yield RereadNews(
                    tenant_id=shown.tenant_id,
                    announcement=news,
                    subscription=None if hidden else after,
                    usage=() if hidden else usage,
                )

    def _reread(self, subscription_id: str) -> Sequence[UsageRecord] | None:
        """Read a subscription again; return the usage that turns out to be billed, or None if nothing changed."""
        view = self._views.get(subscription_id)
        again = None if view is None else read_again(view, self._catalog)
        if again is not None:
            self._views.put(again)
        known = self._subscriptions.get(subscription_id)
        if known is None or known.snapshot.ended:
            return None if again == view else ()
        rated = self._reread_invoices(known)
        after = self._catalog.read_subscription(known.snapshot)
        metered_prices = {**known.metered_prices, **after.metered_prices}
        read = attrs.evolve(known, snapshot=after, metered_prices=metered_prices)
        if not self._subscriptions.keep(read):
            return None if again == view else ()
        return [*rated, *self._usage.rate_again(read, known.metered_prices)]

    def _reread_invoices(self, known: TenantSubscription) -> Sequence[UsageRecord]:
        """Return the usage that the lines of its invoices turn out to bill."""
        found: list[UsageRecord] = []
        for invoice in [each for each in self._invoices.all() if each.snapshot.subscription_id == known.object_id]:
            read = attrs.evolve(invoice, snapshot=self._catalog.read_invoice(invoice.snapshot))
            before = self._usage.changed.get(read.snapshot.invoice_id)
            if self._invoices.keep(read):
                usage = self._usage.bill(invoice, read)
                found += () if self._usage.changed.get(read.snapshot.invoice_id) == before else usage
        return found
