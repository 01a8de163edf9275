"""A tenant's whole state, read at one instant."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from billing_core.model.access import AccessFacts
from billing_core.model.grants import AccessGrant
from billing_core.model.identifiers import SubscriptionId, TenantId
from billing_core.model.invoice import SubscriptionInvoice
from billing_core.model.provisional import ProvisionalView
from billing_core.model.subscription import TenantSubscription
from billing_core.model.time import aware
from billing_core.model.usage import UsageRecord


@attrs.frozen(kw_only=True)
class TenantState:
    """A tenant's billing state as of the message numbered `sequence`; 0 when there was none yet.

    Each object is shown by its provisional view, if it has one, else by its row.
    """

    tenant_id: TenantId
    sequence: int
    as_of: datetime = attrs.field(eq=False, validator=aware)
    """The store's time at which it was read: the instant to decide on access for."""
    generation: int = attrs.field(default=0, eq=False)
    """The generation of the rules that were in force then; 0 if none ever were."""
    subscriptions: tuple[TenantSubscription, ...]
    invoices: tuple[SubscriptionInvoice, ...]
    """Invoices that the tenant still owes, oldest first."""
    usage: tuple[UsageRecord, ...]
    """Billed usage of the running and the last period."""
    paying: frozenset[SubscriptionId] = frozenset()
    """Subscriptions with a known payment."""
    disputed: bool = False
    """Whether a dispute of a payment is open."""
    grants: tuple[AccessGrant, ...] = ()
    """Grants that hold, by the instant at which they were made."""
    clocks: Mapping[str, datetime] = attrs.field(factory=dict)
    """Where the test clocks of its subscriptions stand, as far as it is known, by id."""
    features: tuple[str, ...] = ()
    """Lookup keys of all features that any of its customers is entitled to, sorted."""
    views: tuple[ProvisionalView, ...] = ()
    """The views among these that await their events, and refetches that are due, by object id: for operators."""

    @property
    def access_facts(self) -> AccessFacts:
        """The part of the state that decides on access."""
        return AccessFacts(
            subscriptions=self.subscriptions,
            invoices=self.invoices,
            paying=self.paying,
            disputed=self.disputed,
            grants=self.grants,
            clocks=self.clocks,
        )
