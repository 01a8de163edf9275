"""Subscriptions, and the schedules that change them."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from billing_stripe.testing.objects.catalog import Price
from billing_stripe.testing.objects.common import NO_METADATA, Span, derived


@attrs.frozen(kw_only=True)
class Item:
    """One item of a subscription."""

    item_id: str
    price: Price
    period: Span
    quantity: int | None = 1
    """Not rendered for a metered price."""
    metadata: Mapping[str, str] = NO_METADATA
    created_at: datetime = attrs.Factory(lambda item: item.period.start, takes_self=True)


@attrs.frozen(kw_only=True)
class PendingUpdate:
    """A change that waits for its payment."""

    items: tuple[Item, ...]
    """All items from then on."""
    expires_at: datetime
    invoice_id: str
    """The invoice that has to be paid; not rendered."""
    billing_cycle_anchor: datetime | None = None
    trial_end: datetime | None = None
    metadata: Mapping[str, str] | None = None


@attrs.frozen(kw_only=True)
class Subscription:
    """A subscription and its items."""

    subscription_id: str
    customer_id: str
    status: str
    created_at: datetime
    items: tuple[Item, ...]
    metadata: Mapping[str, str] = NO_METADATA
    trial: Span | None = None
    """Stays set after the trial."""
    cancel_at_period_end: bool = False
    cancel_at: datetime | None = None
    canceled_at: datetime | None = None
    """The time of the request to cancel, not of the end."""
    ended_at: datetime | None = None
    pause_collection: str | None = None
    """`keep_as_draft`, `mark_uncollectible` or `void`; None while payments are collected."""
    paused_at: datetime | None = None
    """Start of the status `paused`; in the newest versions only."""
    collection_method: str = "charge_automatically"
    days_until_due: int | None = None
    latest_invoice_id: str | None = None
    flexible_billing: bool | None = None
    """None for the default of the API version."""
    coupon_id: str | None = None
    promotion_code_id: str | None = None
    """The code by which the coupon was applied."""
    discounted_at: datetime | None = None
    """Start of the discount; None for the subscription's own. Not rendered."""
    schedule_id: str | None = None
    billing_cycle_anchor: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)
    started_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)
    default_payment_method_id: str | None = derived("pm", "customer_id")
    save_default_payment_method: bool = False
    """Whether the payment method of the first payment becomes its default."""
    description: str | None = None
    cancellation_reason: str | None = None
    """None for the usual one, once it is canceled."""
    cancellation_comment: str | None = None
    cancellation_feedback: str | None = None
    missing_payment_method: str = "pause"
    """The end of a trial without a payment method: `cancel`, `create_invoice` or `pause`."""
    pause_resumes_at: datetime | None = None
    """End of `pause_collection`."""
    pending_setup_intent_id: str | None = None
    pending_update: PendingUpdate | None = None
    test_clock: str | None = None
    announced_until: datetime | None = None
    """The end of a period or trial that was announced to webhooks; not rendered."""
    resuming_invoice_id: str | None = None
    """The invoice whose payment ends a pause; not rendered."""

    @property
    def currency(self) -> str:
        """A subscription has one currency: that of its prices."""
        return self.items[0].price.currency if self.items else "usd"

    @property
    def span(self) -> Span:
        """The subscription's period by Stripe's definition: the latest start and earliest end of its items."""
        return Span(max(item.period.start for item in self.items), min(item.period.end for item in self.items))


@attrs.frozen(kw_only=True)
class SchedulePhase:
    """One phase of a schedule: the quantity of each price."""

    period: Span
    prices: Mapping[str, int | None]
    """None for a metered price."""
    currency: str = "usd"
    proration_behavior: str = "create_prorations"
    metadata: Mapping[str, str] = NO_METADATA
    """Merged into the subscription's when the phase begins."""
    trial_end: datetime | None = None


@attrs.frozen(kw_only=True)
class SubscriptionSchedule:
    """A schedule for the phases of a subscription."""

    schedule_id: str
    customer_id: str
    subscription_id: str | None
    """None before its first phase."""
    created_at: datetime
    status: str = "active"
    """A `released` one names its subscription in `released_subscription`."""
    phases: tuple[SchedulePhase, ...] = ()
    current_phase: int = 0
    """Position of the phase that is current while the schedule is active."""
    end_behavior: str = "release"
    metadata: Mapping[str, str] = NO_METADATA
    ended_at: datetime = attrs.Factory(lambda source: source.created_at, takes_self=True)
    """Time of its release, cancellation or completion."""
    expiring: bool = False
    """Whether webhooks were notified that it ends soon; not rendered."""
    flexible_billing: bool | None = None
    """None for the default of the API version."""
    test_clock: str | None = None
