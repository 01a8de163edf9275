"""Billed usage in a ledger: each invoice is rated by the metered prices of its own subscription."""

from collections.abc import Mapping, Sequence

from billing_core.model import (
    InvoiceId,
    PriceId,
    SubscriptionInvoice,
    TenantSubscription,
    UsageRecord,
    billed_usage,
)
from billing_core.state.shelf import Shelf


class BilledUsage:
    """The usage that a ledger's invoices bill, and what of it has to be written."""

    def __init__(
        self,
        *,
        invoices: Shelf[SubscriptionInvoice],
        subscriptions: Shelf[TenantSubscription],
        stored: Mapping[InvoiceId, Sequence[UsageRecord]],
    ) -> None:
        """`stored` is the stored usage of invoices that replayed events show; it is compared with their lines."""
        self._invoices = invoices
        self._subscriptions = subscriptions
        self._stored = dict(stored)
        self.changed: dict[InvoiceId, tuple[UsageRecord, ...]] = {}
        """The complete usage of each invoice whose usage changed."""

    def bill(self, before: SubscriptionInvoice | None, after: SubscriptionInvoice) -> tuple[UsageRecord, ...]:
        """Return the usage of a changed invoice."""
        usage = self._of(after)
        if usage != (self._of(before) if before else ()):
            self.changed[after.snapshot.invoice_id] = usage
        return usage

    def rate_again(self, subscription: TenantSubscription, rated_by: Mapping[PriceId, str]) -> tuple[UsageRecord, ...]:
        """Rate earlier invoices again: new metered prices say which of their lines were usage."""
        if subscription.metered_prices == rated_by:
            return ()
        changed: list[UsageRecord] = []
        for invoice in self._invoices.all():
            if _bills(invoice, subscription):
                usage = billed_usage(invoice, subscription.metered_prices)
                if usage != billed_usage(invoice, rated_by):
                    self.changed[invoice.snapshot.invoice_id] = usage
                    changed.extend(usage)
        return tuple(changed)

    def correct(self, invoice: SubscriptionInvoice) -> tuple[UsageRecord, ...] | None:
        """Replace the stored usage of an invoice by what its lines bill; None if they agree or none was loaded."""
        id_ = invoice.snapshot.invoice_id
        usage = self._of(invoice)
        if id_ not in self._stored or set(usage) == set(self._stored[id_]):
            return None
        self._stored[id_] = self.changed[id_] = usage
        return usage

    def _of(self, invoice: SubscriptionInvoice) -> tuple[UsageRecord, ...]:
        id_ = invoice.snapshot.subscription_id
        subscription = None if id_ is None else self._subscriptions.get(id_)
        if subscription is None or not _bills(invoice, subscription):
            return billed_usage(invoice, {})
        return billed_usage(invoice, subscription.metered_prices)


def _bills(invoice: SubscriptionInvoice, subscription: TenantSubscription) -> bool:
    return (
        invoice.snapshot.subscription_id == subscription.snapshot.subscription_id
        and invoice.tenant_id == subscription.tenant_id
    )
