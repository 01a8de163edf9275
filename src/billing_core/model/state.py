"""A tenant's whole state, read at one instant."""

import attrs

from billing_core.model.access import AccessFacts
from billing_core.model.identifiers import TenantId
from billing_core.model.invoice import SubscriptionInvoice
from billing_core.model.subscription import TenantSubscription
from billing_core.model.usage import UsageRecord


@attrs.frozen(kw_only=True)
class TenantState:
    """A tenant's billing state as of the message numbered `sequence`; 0 when there was none yet."""

    tenant_id: TenantId
    sequence: int
    subscriptions: tuple[TenantSubscription, ...]
    invoices: tuple[SubscriptionInvoice, ...]
    """Invoices that the tenant still owes, oldest first."""
    usage: tuple[UsageRecord, ...]
    """Billed usage of the running and the last period."""
    features: tuple[str, ...] = ()
    """Lookup keys of all features that any of its customers is entitled to, sorted."""

    @property
    def access_facts(self) -> AccessFacts:
        """The part of the state that decides on access."""
        return AccessFacts(subscriptions=self.subscriptions, invoices=self.invoices)
