"""Duplicate subscriptions: reported, not prevented, because the provider is the authority."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import attrs

from billing_core.model.identifiers import SubscriptionId, TenantId
from billing_core.model.subscription import TenantSubscription


@attrs.frozen(kw_only=True)
class DuplicateSubscriptions:
    """A tenant that has several live subscriptions of one plan."""

    tenant_id: TenantId
    plan_code: str
    subscription_ids: tuple[SubscriptionId, ...]
    """By id; at least two."""


def duplicate_subscriptions(subscriptions: Iterable[TenantSubscription]) -> Sequence[DuplicateSubscriptions]:
    """Find tenants with several live subscriptions of one plan, by tenant and plan.

    A subscription whose first payment is open is not live yet: repeated attempts to subscribe leave those for a day.
    One that is set to end is left out: that is how an operator settles a duplicate. So are other products.
    """
    live: defaultdict[tuple[TenantId, str], list[SubscriptionId]] = defaultdict(list)
    for subscription in subscriptions:
        seen = subscription.snapshot
        if seen.plan_code is not None and not seen.out_of_scope and seen.auto_renew and seen.status != "incomplete":
            live[subscription.tenant_id, seen.plan_code].append(seen.subscription_id)
    return [
        DuplicateSubscriptions(tenant_id=tenant_id, plan_code=plan_code, subscription_ids=tuple(sorted(ids)))
        for (tenant_id, plan_code), ids in sorted(live.items())
        if len(ids) > 1
    ]
