"""Coupons and promotion codes."""

from decimal import Decimal

import attrs

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.account import Deleted
from billing_stripe.testing.fake_stripe.errors import invalid, refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    BOOLEAN,
    METADATA,
    NUMBER,
    TEXT,
    Form,
    Integer,
    Required,
    choice,
    listing,
    merged_metadata,
    unsupported,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

COUPON = Kind(
    source=objects.Coupon,
    noun="coupon",
    key=lambda source: source.coupon_id,
    render=builders.coupon,
)
PROMOTION_CODE = Kind(
    source=objects.PromotionCode,
    noun="promotion_code",
    key=lambda source: source.promotion_code_id,
    render=builders.promotion_code,
    expandable=frozenset({"customer", "promotion.coupon"}),
)
CREATE_COUPON = Form(
    id=TEXT,
    amount_off=Integer(least=1),
    currency=TEXT,
    duration=choice("forever", "once", "repeating"),
    duration_in_months=Integer(least=1),
    name=TEXT,
    percent_off=NUMBER,
    metadata=METADATA,
    **unsupported("applies_to", "currency_options", "max_redemptions", "redeem_by"),
)
CREATE_CODE = Form(
    promotion=Required(Form(type=Required(choice("coupon")), coupon=Required(TEXT))),
    code=TEXT,
    active=BOOLEAN,
    customer=TEXT,
    metadata=METADATA,
    **unsupported("expires_at", "max_redemptions", "restrictions"),
)


def create_coupon(call: Call) -> objects.Coupon:
    """POST /v1/coupons; the id may be given."""
    params = call.params
    if ("percent_off" in params) == ("amount_off" in params):
        raise invalid("Must provide exactly one of percent_off or amount_off.", param="percent_off")
    if "amount_off" in params and "currency" not in params:
        raise invalid("Must provide currency when setting amount_off", param="currency", code="parameter_missing")
    percent: Decimal | None = params.get("percent_off")
    if percent is not None and not 0 < percent <= 100:
        raise invalid("percent_off must be greater than 0 and at most 100", param="percent_off")
    coupon = objects.Coupon(
        coupon_id=params.get("id") or call.account.new_id("co").removeprefix("co_")[:8],
        created_at=call.now,
        percent_off=None if percent is None else float(percent),
        amount_off=params.get("amount_off"),
        currency=params.get("currency"),
        duration=params.get("duration", "once"),
        duration_in_months=params.get("duration_in_months"),
        name=params.get("name"),
        metadata=merged_metadata({}, params),
    )
    if call.account.find(objects.Coupon, coupon.coupon_id) is not None:
        raise refused("Coupon already exists.", param="id", code="resource_already_exists")
    return call.account.create(coupon)


def retrieve_coupon(call: Call) -> objects.Coupon:
    """GET /v1/coupons/:id"""
    return call.account.get(objects.Coupon, call.id)


def update_coupon(call: Call) -> objects.Coupon:
    """POST /v1/coupons/:id"""
    coupon, params = retrieve_coupon(call), call.params
    metadata = merged_metadata(coupon.metadata, params)
    return call.account.update(attrs.evolve(coupon, name=params.get("name", coupon.name), metadata=metadata))


def delete_coupon(call: Call) -> Deleted:
    """DELETE /v1/coupons/:id; discounts that were given stay."""
    coupon = retrieve_coupon(call)
    call.account.remove(coupon.coupon_id)
    call.account.emit("coupon.deleted", coupon)
    return Deleted(identifier=coupon.coupon_id, noun=COUPON.noun)


def coupons(call: Call) -> Listing:
    """GET /v1/coupons"""
    return Listing(list(call.account.all(objects.Coupon)), COUPON.noun)


def create_code(call: Call) -> objects.PromotionCode:
    """POST /v1/promotion_codes"""
    account, params = call.account, call.params
    code = params.get("code") or account.new_id("x").removeprefix("x_")[:8].upper()
    if any(other.active and other.code.lower() == code.lower() for other in account.all(objects.PromotionCode)):
        raise refused(f"An active promotion code with `code: {code}` already exists.", param="code")
    return account.create(
        objects.PromotionCode(
            promotion_code_id=account.new_id("promo"),
            code=code,
            coupon=account.get(objects.Coupon, params["promotion"]["coupon"], "promotion[coupon]"),
            created_at=call.now,
            active=params.get("active", True),
            customer_id=params.get("customer"),
            metadata=merged_metadata({}, params),
        )
    )


def retrieve_code(call: Call) -> objects.PromotionCode:
    """GET /v1/promotion_codes/:id"""
    return call.account.get(objects.PromotionCode, call.id)


def update_code(call: Call) -> objects.PromotionCode:
    """POST /v1/promotion_codes/:id"""
    code, params = retrieve_code(call), call.params
    metadata = merged_metadata(code.metadata, params)
    return call.account.update(attrs.evolve(code, active=params.get("active", code.active), metadata=metadata))


def codes(call: Call) -> Listing:
    """GET /v1/promotion_codes"""
    code = call.params.get("code")
    asked = select(
        call,
        objects.PromotionCode,
        active="active",
        coupon=lambda each: each.coupon.coupon_id,
        customer="customer_id",
    )
    return Listing([each for each in asked if code is None or each.code.lower() == code.lower()], PROMOTION_CODE.noun)


RESOURCE = Resource(
    kinds=[COUPON, PROMOTION_CODE],
    routes=[
        Route("POST", "/v1/coupons", create_coupon, CREATE_COUPON),
        Route("GET", "/v1/coupons", coupons, listing()),
        Route("GET", "/v1/coupons/{id}", retrieve_coupon),
        Route("POST", "/v1/coupons/{id}", update_coupon, Form(name=TEXT, metadata=METADATA)),
        Route("DELETE", "/v1/coupons/{id}", delete_coupon),
        Route("POST", "/v1/promotion_codes", create_code, CREATE_CODE),
        Route(
            "GET",
            "/v1/promotion_codes",
            codes,
            listing(active=BOOLEAN, code=TEXT, coupon=TEXT, customer=TEXT),
        ),
        Route("GET", "/v1/promotion_codes/{id}", retrieve_code),
        Route("POST", "/v1/promotion_codes/{id}", update_code, Form(active=BOOLEAN, metadata=METADATA)),
    ],
)
