"""Commands about subscriptions."""

from datetime import datetime
from typing import ClassVar, Literal

import attrs

from billing_core.model import CustomerId, ItemId, SubscriptionId, TenantId
from billing_core.model.time import aware
from billing_core.operations.commands.values import (
    BillingMode,
    Cancellation,
    ItemChange,
    NewItem,
    PriceChoice,
    Proration,
    Trial,
)


def first_plan(prices: "list[PriceChoice | None]") -> str | None:
    """Return the plan code of the first price that names one."""
    return next((price.plan_code for price in prices if price is not None and price.plan_code is not None), None)


@attrs.frozen(kw_only=True)
class StartSubscription:
    """Start a subscription. Its metadata names the tenant."""

    operation: ClassVar[str] = "start_subscription"

    tenant_id: TenantId
    customer_id: CustomerId
    items: tuple[NewItem, ...]
    payment: Literal["on_file", "confirm", "off_session"] = "confirm"
    """How the first invoice is paid.

    `on_file` charges the default payment method and leaves the subscription incomplete if the customer has to confirm;
    `confirm` charges nothing until the customer confirms in the browser, with the client secret of the result;
    `off_session` charges the default payment method and starts nothing if that fails.
    """
    expire: tuple[str, ...] = ()
    """Checkout sessions of the tenant that are still open, to expire first: they would make a second subscription."""
    trial: Trial | None = None
    promotion_code_id: str | None = None
    currency: str | None = None
    """None: the customer's or the price's."""
    billing_mode: BillingMode = "flexible"

    @property
    def plan_code(self) -> str | None:
        """The plan that is started."""
        return first_plan([item.price for item in self.items])


@attrs.frozen(kw_only=True)
class ChangeItems:
    """Change items now: another plan, another interval, more or fewer of something.

    Items that are not named stay as they are.
    """

    operation: ClassVar[str] = "change_items"

    subscription_id: SubscriptionId
    changed: tuple[ItemChange, ...] = ()
    added: tuple[NewItem, ...] = ()
    proration: Proration = "invoice_now"
    proration_date: datetime | None = attrs.field(default=None, validator=aware)
    """The instant up to which the old items count; that of the preview which was confirmed. None: now."""
    only_if_paid: bool = True
    """The change waits until it is paid, and is withdrawn by the provider if it never is."""
    release_schedule: str | None = None
    """A schedule of the subscription to release first: it would undo the change."""

    @property
    def plan_code(self) -> str | None:
        """The plan of the first changed or added price."""
        return first_plan([*(item.price for item in self.changed), *(item.price for item in self.added)])


@attrs.frozen(kw_only=True)
class ScheduleChange:
    """Replace the items at the end of the current period."""

    operation: ClassVar[str] = "schedule_change"

    subscription_id: SubscriptionId
    effective_at: datetime = attrs.field(validator=aware)
    """The end of the current period."""
    items: tuple[NewItem, ...]
    """All items from then on, those that stay among them."""
    release_schedule: str | None = None
    """An earlier schedule of the subscription to release first."""

    @property
    def plan_code(self) -> str | None:
        """The plan from then on."""
        return first_plan([item.price for item in self.items])


@attrs.frozen(kw_only=True)
class WithdrawScheduledChange:
    """Release the schedule of a subscription: it continues as it is. A scheduled end remains."""

    operation: ClassVar[str] = "withdraw_scheduled_change"

    subscription_id: SubscriptionId
    schedule_id: str
    plan_code: str | None = None


@attrs.frozen(kw_only=True)
class WithdrawPendingUpdate:
    """Void the open invoice that a pending update waits for: the update is dropped."""

    operation: ClassVar[str] = "withdraw_pending_update"

    subscription_id: SubscriptionId
    plan_code: str | None = None


@attrs.frozen(kw_only=True)
class SetSeats:
    """Set the seat count, in absolute numbers."""

    operation: ClassVar[str] = "set_seats"

    subscription_id: SubscriptionId
    item_id: ItemId
    quantity: int = attrs.field(validator=attrs.validators.ge(0))
    proration: Proration = "next_invoice"
    proration_date: datetime | None = attrs.field(default=None, validator=aware)
    only_if_paid: bool = False
    former_quantity: int | None = None
    """The quantity when it was decided: it is set again where a change cannot be scheduled again."""
    reschedule: ScheduleChange | None = None
    """A scheduled change, with the new seat count, to schedule again afterwards.

    Its `release_schedule` is released before the seats are set: a schedule would set them back.
    """
    plan_code: str | None = None


@attrs.frozen(kw_only=True)
class ApplyPromotionCode:
    """Give a subscription the discount of a promotion code, from its next invoice on, beside those it has."""

    operation: ClassVar[str] = "apply_promotion_code"

    subscription_id: SubscriptionId
    promotion_code_id: str
    plan_code: str | None = None


@attrs.frozen(kw_only=True)
class CancelNow:
    """End a subscription at once."""

    operation: ClassVar[str] = "cancel_now"

    subscription_id: SubscriptionId
    invoice_usage: bool = True
    """Whether usage that was not billed yet is billed now; otherwise it never is."""
    credit_unused_time: bool = False
    reason: Cancellation = attrs.field(factory=Cancellation)
    plan_code: str | None = None


@attrs.frozen(kw_only=True)
class CancelAtPeriodEnd:
    """Let a subscription end with its period."""

    operation: ClassVar[str] = "cancel_at_period_end"

    subscription_id: SubscriptionId
    at: Literal["period_end", "earliest_item_end", "latest_item_end"] = "period_end"
    """`period_end` for a subscription whose items have one period; where they have several, one of the other two."""
    reason: Cancellation = attrs.field(factory=Cancellation)
    release_schedule: str | None = None
    """A schedule of the subscription to release first: the two exclude each other."""
    plan_code: str | None = None


@attrs.frozen(kw_only=True)
class WithdrawCancellation:
    """Let a subscription whose end is scheduled continue."""

    operation: ClassVar[str] = "withdraw_cancellation"

    subscription_id: SubscriptionId
    at_period_end: bool
    """Whether the end was scheduled for the end of the period; otherwise for a date."""
    plan_code: str | None = None


@attrs.frozen(kw_only=True)
class PauseSubscription:
    """Pause a subscription: it gives nothing and bills nothing until it is resumed. Needs flexible billing mode."""

    operation: ClassVar[str] = "pause"

    subscription_id: SubscriptionId
    invoice_usage: bool = True
    """Whether usage of the current period is billed now; otherwise it never is."""
    credit_unused_time: bool = True
    plan_code: str | None = None


@attrs.frozen(kw_only=True)
class ResumeSubscription:
    """Resume a paused subscription."""

    operation: ClassVar[str] = "resume"

    subscription_id: SubscriptionId
    period: Literal["new", "continued"] = "new"
    """Whether a period begins now, or the one from before the pause continues."""
    only_if_paid: bool = True
    """It stays paused until the invoice of the resumption is paid."""
    plan_code: str | None = None


@attrs.frozen(kw_only=True)
class PauseCollection:
    """Keep a subscription running, and stop collecting payments for it."""

    operation: ClassVar[str] = "pause_collection"

    subscription_id: SubscriptionId
    behavior: Literal["keep_as_draft", "mark_uncollectible", "void"] = "keep_as_draft"
    """The fate of invoices until collection is resumed."""
    resumes_at: datetime | None = attrs.field(default=None, validator=aware)
    """None: until it is resumed by a command."""
    plan_code: str | None = None


@attrs.frozen(kw_only=True)
class ResumeCollection:
    """Collect payments for a subscription again."""

    operation: ClassVar[str] = "resume_collection"

    subscription_id: SubscriptionId
    plan_code: str | None = None


SubscriptionCommand = (
    StartSubscription
    | ChangeItems
    | ScheduleChange
    | WithdrawScheduledChange
    | WithdrawPendingUpdate
    | SetSeats
    | ApplyPromotionCode
    | CancelNow
    | CancelAtPeriodEnd
    | WithdrawCancellation
    | PauseSubscription
    | ResumeSubscription
    | PauseCollection
    | ResumeCollection
)
