"""Read what is stored of live subscriptions by other rules than before, and say what that changes for their tenants."""

from collections.abc import Collection, Iterator, Sequence

import attrs

from billing_core.model import (
    PlanCatalog,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantId,
    TenantSubscription,
    UsageRecord,
)
from billing_core.state.announcements import (
    Announcement,
    departure_announcement,
    rated_announcement,
    subscription_announcement,
)
from billing_core.state.billed_usage import BilledUsage
from billing_core.state.shelf import Shelf


@attrs.frozen(kw_only=True)
class RereadNews:
    """The news that other rules make of one subscription."""

    tenant_id: TenantId
    announcement: Announcement
    subscription: SubscriptionSnapshot | None
    """None if it is hidden from its tenant now."""
    usage: Sequence[UsageRecord]


class Rereader:
    """Reads the subscriptions of a ledger and their invoices again."""

    def __init__(
        self,
        subscriptions: Shelf[TenantSubscription],
        invoices: Shelf[SubscriptionInvoice],
        *,
        usage: BilledUsage,
        catalog: PlanCatalog,
    ) -> None:
        self._subscriptions = subscriptions
        self._invoices = invoices
        self._usage = usage
        self._catalog = catalog

    def reread(self, tenants: Collection[TenantId]) -> Iterator[RereadNews]:
        """Read the live subscriptions of these tenants by the rules in force, and yield the news, by subscription."""
        held = [each for each in self._subscriptions.all() if each.tenant_id in tenants and not each.snapshot.ended]
        for known in sorted(held, key=lambda each: each.object_id):
            rated = self._reread_invoices(known)
            after = self._catalog.read_subscription(known.snapshot)
            metered_prices = {**known.metered_prices, **after.metered_prices}
            read = attrs.evolve(known, snapshot=after, metered_prices=metered_prices)
            if not self._subscriptions.keep(read):
                continue
            usage = [*rated, *self._usage.rate_again(read, known.metered_prices)]
            news = _announcement(known.snapshot, after, usage)
            if news is not None:
                hidden = after.out_of_scope
                yield RereadNews(
                    tenant_id=known.tenant_id,
                    announcement=news,
                    subscription=None if hidden else after,
                    usage=() if hidden else usage,
                )

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


def _announcement(
    before: SubscriptionSnapshot, after: SubscriptionSnapshot, usage: Sequence[UsageRecord]
) -> Announcement | None:
    if after.out_of_scope:
        return None if before.out_of_scope else departure_announcement(before)
    changed = subscription_announcement(None if before.out_of_scope else before, after)
    return changed or (rated_announcement(after) if usage else None)
