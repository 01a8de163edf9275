"""Access verdicts of the tenants of a batch, by the state as it is folded so far."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from billing_core.model import (
    AccessFacts,
    AccessPolicy,
    AccessVerdict,
    SubscriptionId,
    SubscriptionInvoice,
    TenantId,
    TenantSubscription,
)
from billing_core.state.shelf import Shelf


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
        self._subscriptions_of: dict[TenantId, set[SubscriptionId]] = {}
        self.include(subscriptions.all())

    def include(self, subscriptions: Iterable[TenantSubscription]) -> None:
        """Let these subscriptions count for their tenants."""
        for subscription in subscriptions:
            ids = self._subscriptions_of.setdefault(subscription.tenant_id, set())
            ids.add(subscription.snapshot.subscription_id)

    def of(self, tenant_id: TenantId) -> AccessVerdict:
        """Return a tenant's access as its state stands now."""
        held = [self._subscriptions.get(id_) for id_ in self._subscriptions_of.get(tenant_id, ())]
        subscriptions = [each for each in held if each]
        invoices: Sequence[SubscriptionInvoice] = ()
        if any(self._policy.counts_grace(each.snapshot) for each in subscriptions):
            invoices = [each for each in self._invoices.all() if each.tenant_id == tenant_id]
        return self._policy.evaluate(AccessFacts(subscriptions=subscriptions, invoices=invoices), self._now)
