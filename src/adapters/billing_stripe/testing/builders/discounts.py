"""Coupons and promotion codes."""

from billing_stripe.testing import objects
from billing_stripe.testing.builders.values import Json, seconds
from billing_stripe.testing.versions import Shape


def coupon(source: objects.Coupon, api_version: str) -> Json:
    """Render a `coupon` object; it has the same shape in all versions."""
    return {
        "id": source.coupon_id,
        "object": "coupon",
        "amount_off": source.amount_off,
        "created": seconds(source.created_at),
        "currency": source.currency,
        "duration": source.duration,
        "duration_in_months": source.duration_in_months,
        "livemode": False,
        "max_redemptions": None,
        "metadata": dict(source.metadata),
        "name": source.name,
        "percent_off": source.percent_off,
        "redeem_by": None,
        "times_redeemed": source.times_redeemed,
        "valid": source.valid,
    }


def promotion_code(source: objects.PromotionCode, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `promotion_code` object."""
    shape = Shape(api_version, transitional)
    rendered: Json = {
        "id": source.promotion_code_id,
        "object": "promotion_code",
        "active": source.active,
        "code": source.code,
        "created": seconds(source.created_at),
        "customer": source.customer_id,
        "expires_at": None,
        "livemode": False,
        "max_redemptions": None,
        "metadata": dict(source.metadata),
        "restrictions": {"first_time_transaction": False, "minimum_amount": None, "minimum_amount_currency": None},
        "times_redeemed": source.times_redeemed,
    }
    if shape.discount_source:
        rendered["promotion"] = {"coupon": source.coupon.coupon_id, "type": "coupon"}
    else:
        rendered["coupon"] = coupon(source.coupon, api_version)
    if shape.customer_account:
        rendered["customer_account"] = None
    return rendered
