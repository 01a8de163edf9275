"""Access verdicts of the tenants of a batch, by the state as it is folded so far."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from billing_core.model import (
    AccessFacts,
    AccessPolicy,
    AccessVerdict,
    InvoiceId,
    SubscriptionId,
    SubscriptionInvoice,
    TenantId,
    TenantSubscription,
)
from billing_core.state.shelf import Shelf, T


class Verdicts:
    """Decides on the access of locked tenants at the instant of their locks."""

    def __init__(
        self,
        subscriptions: Shelf[TenantSubscription],
        invoices: Shelf[SubscriptionInvoice],
        *,
        policy: AccessPolicy,
        now: datetime,
    ) -> None:
        self._subscriptions = subscriptions
        self._invoices = invoices
        self._policy = policy
        self._now = now
        self._subscriptions_of: defaultdict[TenantId, set[SubscriptionId]] = defaultdict(set)
        self._invoices_of: defaultdict[TenantId, set[InvoiceId]] = defaultdict(set)
        for subscription in subscriptions.all():
            self.include(subscription)
        for invoice in invoices.all():
            self.include(invoice)

    def include(self, held: TenantSubscription | SubscriptionInvoice) -> None:
        """Let an object count for its tenant."""
        if isinstance(held, TenantSubscription):
            self._subscriptions_of[held.tenant_id].add(held.snapshot.subscription_id)
        else:
            self._invoices_of[held.tenant_id].add(held.snapshot.invoice_id)

    def of(self, tenant_id: TenantId) -> AccessVerdict:
        """Return a tenant's access as its state stands now."""
        subscriptions = _found(self._subscriptions, self._subscriptions_of[tenant_id])
        invoices: Sequence[SubscriptionInvoice] = ()
        if any(self._policy.counts_grace(each.snapshot) for each in subscriptions):
            invoices = _found(self._invoices, self._invoices_of[tenant_id])
        return self._policy.evaluate(AccessFacts(subscriptions=subscriptions, invoices=invoices), self._now)


def _found(shelf: Shelf[T], ids: Iterable[str]) -> Sequence[T]:
    return [held for id_ in ids if (held := shelf.get(id_)) is not None]
