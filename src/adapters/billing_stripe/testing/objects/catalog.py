"""Products, their prices and features, discounts and meters."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import attrs

from billing_stripe.testing.objects.common import LONG_AGO, NO_METADATA, derived


@attrs.frozen(kw_only=True)
class Tier:
    """One tier of a price; the last has no upper bound."""

    up_to: int | None
    """The greatest quantity in it."""
    unit_amount: Decimal = Decimal(0)
    """In the minor unit; fractions of it are allowed."""
    flat_amount: Decimal = Decimal(0)
    """In the minor unit, whatever the quantity."""


@attrs.frozen(kw_only=True)
class Price:
    """One price of a product. A metered one bills usage in arrears and has no quantity on its item."""

    price_id: str
    product_id: str
    unit_amount: int | None
    """None if the price is finer than the minor unit; see `unit_amount_decimal`."""
    unit_amount_decimal: str | None = None
    currency: str = "usd"
    interval: str = "month"
    lookup_key: str | None = None
    nickname: str | None = None
    metered: bool = False
    plan_code: str | None = None
    """In the price's metadata."""
    active: bool = True
    interval_count: int = 1
    recurring: bool = True
    """False for a price that is charged once."""
    metadata: Mapping[str, str] = NO_METADATA
    """Beside the plan code."""
    meter_id: str | None = derived("mtr", "price_id")
    """Of a metered price."""
    tiers: tuple[Tier, ...] = ()
    """In place of a unit amount."""
    tiers_mode: str | None = None
    """`graduated` or `volume`, with tiers."""
    tax_behavior: str = "exclusive"
    created_at: datetime = LONG_AGO


@attrs.frozen(kw_only=True)
class Product:
    """A product."""

    product_id: str
    name: str
    active: bool = True
    description: str | None = None
    metadata: Mapping[str, str] = NO_METADATA
    default_price_id: str | None = None
    unit_label: str | None = None
    created_at: datetime = LONG_AGO
    updated_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)


@attrs.frozen(kw_only=True)
class Feature:
    """Something that products let customers use."""

    feature_id: str
    lookup_key: str
    name: str
    active: bool = True
    """False once it is archived: products that have it keep it."""
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class ProductFeature:
    """A feature of a product."""

    product_feature_id: str
    product_id: str
    feature: Feature


@attrs.frozen(kw_only=True)
class Coupon:
    """A reduction of invoices, by a share or by an amount."""

    coupon_id: str
    created_at: datetime
    percent_off: float | None = None
    amount_off: int | None = None
    currency: str | None = None
    duration: str = "forever"
    duration_in_months: int | None = None
    name: str | None = None
    valid: bool = True
    times_redeemed: int = 0
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class PromotionCode:
    """A code that customers enter for a coupon."""

    promotion_code_id: str
    code: str
    coupon: Coupon
    created_at: datetime
    active: bool = True
    customer_id: str | None = None
    times_redeemed: int = 0
    metadata: Mapping[str, str] = NO_METADATA


@attrs.frozen(kw_only=True)
class Meter:
    """Adds up the usage that events report, for the prices that name it."""

    meter_id: str
    display_name: str
    event_name: str
    created_at: datetime
    formula: str = "sum"
    """`sum`, `count`, or `last`."""
    customer_key: str = "stripe_customer_id"
    """The key of an event's payload that holds the customer."""
    value_key: str = "value"
    """The key of an event's payload that holds the usage."""
    event_time_window: str | None = None
    """`day`, `hour`, or None."""
    deactivated_at: datetime | None = None
    """None while it is active."""
    updated_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)
