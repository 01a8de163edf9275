"""Coupons and promotion codes as requests name them."""

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.errors import missing, refused
from billing_stripe.testing.fake_stripe.forms import Params


def resolve_discount(
    account: Account, given: Params, customer_id: str, param: str, *, redeem: bool = True
) -> objects.Coupon:
    """Return the coupon that one member of `discounts` names, directly or by a promotion code.

    Args:
        account: of the coupon.
        given: the member.
        customer_id: who gets the discount.
        param: the name of the member.
        redeem: whether the code counts as used; False for a preview.
    """
    if "promotion_code" in given:
        code = account.get(objects.PromotionCode, given["promotion_code"], f"{param}[promotion_code]")
        if not code.active or code.customer_id not in (None, customer_id):
            raise refused("This promotion code is expired or not redeemable by this customer.", param=param)
        if redeem:
            account.put(attrs.evolve(code, times_redeemed=code.times_redeemed + 1))
        return code.coupon
    if "coupon" not in given:
        raise missing("coupon", "", param)
    return account.get(objects.Coupon, given["coupon"], f"{param}[coupon]")
