"""Discounts: what a coupon takes off an invoice, and for how long."""

from datetime import datetime
from decimal import Decimal

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing.lines import rounded
from billing_stripe.testing.fake_stripe.billing.times import later


def current_coupon(account: Account, subscription: objects.Subscription, at: datetime) -> objects.Coupon | None:
    """Return the coupon that reduces an invoice which a subscription gets at this time."""
    coupon = account.find(objects.Coupon, subscription.coupon_id)
    if coupon is None or (coupon.duration == "once" and _is_used(account, subscription)):
        return None
    started_at = subscription.discounted_at or subscription.created_at
    if coupon.duration == "repeating" and at >= later(started_at, "month", coupon.duration_in_months or 1):
        return None
    return coupon


def discount_of(coupon: objects.Coupon | None, subtotal: int) -> int:
    """Return the part of a subtotal that a coupon takes off."""
    if coupon is None or subtotal <= 0:
        return 0
    if coupon.percent_off is not None:
        return rounded(Decimal(subtotal) * Decimal(str(coupon.percent_off)) / 100)
    return min(subtotal, coupon.amount_off or 0)


def _is_used(account: Account, subscription: objects.Subscription) -> bool:
    """Return whether an earlier invoice was reduced since the discount began."""
    started_at = subscription.discounted_at or subscription.created_at
    return any(
        invoice.subscription_id == subscription.subscription_id
        and invoice.discount > 0
        and invoice.created_at >= started_at
        for invoice in account.all(objects.Invoice)
    )
