"""Prices, and the plans that are their legacy twins."""

from decimal import Decimal

from billing_stripe.testing import objects
from billing_stripe.testing.builders.values import Json, seconds
from billing_stripe.testing.versions import Shape


def price(source: objects.Price, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `price` object."""
    shape = Shape(api_version, transitional)
    return {
        "id": source.price_id,
        "object": "price",
        "active": source.active,
        "billing_scheme": "tiered" if source.tiers else "per_unit",
        "created": seconds(source.created_at),
        "currency": source.currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": source.lookup_key,
        "metadata": _metadata(source),
        "nickname": source.nickname,
        "product": source.product_id,
        "recurring": _recurring(source, shape) if source.recurring else None,
        "tax_behavior": source.tax_behavior,
        "tiers_mode": source.tiers_mode,
        "transform_quantity": None,
        "type": "recurring" if source.recurring else "one_time",
        "unit_amount": source.unit_amount,
        "unit_amount_decimal": decimal(source),
    }


def tiers(source: objects.Price) -> list[Json] | None:
    """Render the `tiers` of a price, which are shown only when they are expanded; None for a price per unit."""
    return [_tier(tier) for tier in source.tiers] or None


def _tier(source: objects.Tier) -> Json:
    return {
        "flat_amount": _whole(source.flat_amount),
        "flat_amount_decimal": _plain(source.flat_amount),
        "unit_amount": _whole(source.unit_amount),
        "unit_amount_decimal": _plain(source.unit_amount),
        "up_to": source.up_to,
    }


def _whole(amount: Decimal) -> int | None:
    return int(amount) if amount and amount == amount.to_integral_value() else None


def _plain(amount: Decimal) -> str | None:
    return f"{amount.normalize():f}" if amount else None


def _metadata(source: objects.Price) -> Json:
    return {**source.metadata, **({} if source.plan_code is None else {"plan_code": source.plan_code})}


def _recurring(source: objects.Price, shape: Shape) -> Json:
    return {
        **({"aggregate_usage": "sum" if source.metered else None} if shape.before_basil else {}),
        "interval": source.interval,
        "interval_count": source.interval_count,
        **({"meter": source.meter_id if source.metered else None} if shape.meters else {}),
        "trial_period_days": None,
        "usage_type": _usage_type(source),
    }


def plan(source: objects.Price, api_version: str, *, transitional: bool = False) -> Json:
    """Render the `plan` object of a price, its legacy twin."""
    return plan_of(source, Shape(api_version, transitional))


def plan_of(source: objects.Price, shape: Shape) -> Json:
    """Render the legacy twin of a price; all versions still have it."""
    return {
        "id": source.price_id,
        "object": "plan",
        "active": source.active,
        **({"aggregate_usage": "sum" if source.metered else None} if shape.before_basil else {}),
        "amount": source.unit_amount,
        "amount_decimal": decimal(source),
        "billing_scheme": "tiered" if source.tiers else "per_unit",
        "created": seconds(source.created_at),
        "currency": source.currency,
        "interval": source.interval,
        "interval_count": source.interval_count,
        "livemode": False,
        "metadata": _metadata(source),
        **({"meter": source.meter_id if source.metered else None} if shape.meters else {}),
        "nickname": source.nickname,
        "product": source.product_id,
        "tiers_mode": source.tiers_mode,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": _usage_type(source),
    }


def _usage_type(source: objects.Price) -> str:
    return "metered" if source.metered else "licensed"


def decimal(source: objects.Price) -> str | None:
    """Return the unit amount as a decimal string, if the price has one."""
    if source.unit_amount_decimal is not None:
        return source.unit_amount_decimal
    return None if source.unit_amount is None else str(source.unit_amount)
