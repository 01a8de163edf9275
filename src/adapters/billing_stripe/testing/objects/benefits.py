"""Entitlements, usage, alerts and prepaid credit of customers."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import attrs

from billing_stripe.testing.objects.common import NO_METADATA


@attrs.frozen(kw_only=True)
class Entitlements:
    """The current features of a customer."""

    customer_id: str
    features: tuple[str, ...]
    """Lookup keys."""
    more_features: bool = False
    """Whether Stripe has more than the event shows."""
    feature_ids: Mapping[str, str] = attrs.field(factory=dict)
    """By lookup key; derived from it where it is missing."""
    basis: frozenset[tuple[str, str, datetime]] = frozenset()
    """Subscriptions that entitle, their products and the starts of their periods; not rendered."""


@attrs.frozen(kw_only=True)
class MeterEvent:
    """Usage of one customer at one time."""

    identifier: str
    meter_id: str
    event_name: str
    customer_id: str
    value: Decimal
    payload: Mapping[str, str]
    used_at: datetime
    created_at: datetime
    canceled: bool = False
    """Whether an adjustment withdrew it; not rendered."""


@attrs.frozen(kw_only=True)
class AlertTriggered:
    """A customer's usage reached the threshold of an alert."""

    alert_id: str
    customer_id: str
    created_at: datetime
    meter_id: str
    threshold: int
    value: int


@attrs.frozen(kw_only=True)
class CreditGrant:
    """Prepaid credit of a customer, for metered usage."""

    credit_grant_id: str
    customer_id: str
    created_at: datetime
    amount: int
    currency: str = "usd"
    category: str = "paid"
    """`paid` or `promotional`."""
    name: str | None = "Prepaid credit"
    priority: int | None = None
    """From 0, which is used first, to 100; not rendered where it is not set."""
    effective_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)
    expires_at: datetime | None = None
    voided_at: datetime | None = None
    updated_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)
    metadata: Mapping[str, str] = NO_METADATA
    test_clock: str | None = None
