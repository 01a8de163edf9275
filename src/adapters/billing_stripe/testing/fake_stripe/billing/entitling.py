"""The features that customers are entitled to, by their subscriptions."""

from typing import Final

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account

ENTITLED: Final = frozenset({"trialing", "active", "past_due"})
"""Statuses of subscriptions that entitle."""


def entitle(account: Account, subscription: objects.Subscription) -> None:
    """Replace a customer's entitlements when a subscription starts, ends, changes products or begins a period.

    Features that were attached or removed in the meantime count from then on, as at Stripe.
    Source: https://docs.stripe.com/billing/entitlements
    """
    if not any(account.all(objects.Feature)):
        return
    customer_id = subscription.customer_id
    basis = frozenset(
        (each.subscription_id, item.price.product_id, item.period.start)
        for each in account.all(objects.Subscription)
        if each.customer_id == customer_id and each.status in ENTITLED
        for item in each.items
    )
    before = account.find(objects.Entitlements, entitlements_id(customer_id))
    if before is None:
        before = objects.Entitlements(customer_id=customer_id, features=())
        account.put(before)
    if before.basis == basis:
        return
    products = {product_id for _, product_id, _ in basis}
    features = [each.feature for each in account.all(objects.ProductFeature) if each.product_id in products]
    ids = {feature.lookup_key: feature.feature_id for feature in features}
    account.update(
        objects.Entitlements(customer_id=customer_id, features=tuple(sorted(ids)), feature_ids=ids, basis=basis)
    )


def entitlements_id(customer_id: str) -> str:
    """Return the id under which a customer's entitlements are kept: Stripe's summary has none."""
    return f"entitlements:{customer_id}"
