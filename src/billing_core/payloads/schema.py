"""The wire schema of messages and of `/state`.

Only compatible changes: fields may be added, never renamed, retyped or removed; readers ignore unknown fields. An added
field needs a default, because the history keeps messages that were written without it.
Instants are ISO 8601 in UTC with `Z`; amounts are integers in the minor unit of `currency`.

Unlike those of the model, these classes are not frozen: every message builds some of them to be encoded at once, and
frozen ones take twice as long to build.
"""

from datetime import datetime
from typing import Annotated, Final

import attrs

from billing_core.model import AccessReason, AccessState, FeatureReason, Freshness

SCHEMA_VERSION: Final = 2


@attrs.define(kw_only=True)
class ItemSection:
    """One price that a subscription bills. `quantity` is null for metered items."""

    item_id: str
    price_id: str
    quantity: int | None
    usage_type: str
    feature_key: str | None
    current_period_start: datetime | None
    current_period_end: datetime | None


@attrs.define(kw_only=True)
class ScheduledChangeSection:
    """One thing that is going to happen to a subscription unless it is withdrawn."""

    kind: str
    """`plan_change` at a known time, `pending_update` once it is paid, or `cancellation`."""
    effective_at: datetime | None
    plan_code: str | None
    """The plan from then on; null for a cancellation, and where the catalog does not know the price."""
    price_id: str | None
    quantity: int | None


@attrs.define(kw_only=True)
class PaymentMethodSection:
    """The details by which people recognize a payment method. Fields that do not apply are null."""

    type: str | None
    """The provider's word, such as `card` or `sepa_debit`."""
    brand: str | None
    last4: str | None
    exp_month: int | None
    exp_year: int | None


@attrs.define(kw_only=True)
class SubscriptionSection:
    """A whole subscription. `status` is the provider's word, verbatim; decide by `access`, not by `status`."""

    subscription_id: str
    customer_id: str
    status: str
    plan_code: str | None
    price_id: str | None
    seat_count: int | None
    auto_renew: bool
    cancel_at_period_end: bool
    current_period_start: datetime | None
    current_period_end: datetime | None
    trial_ends_at: datetime | None
    cancel_at: datetime | None
    canceled_at: datetime | None
    ended_at: datetime | None
    collection_paused: bool
    currency: str | None
    items: tuple[ItemSection, ...]
    interval: str | None = None
    """The billing interval of the plan's item: `day`, `week`, `month` or `year`, `interval_count` of them."""
    interval_count: int | None = None
    unit_amount: int | None = None
    """The unit amount of the plan's item; null if its price has tiers or digits below the minor unit."""
    unit_amount_decimal: str | None = None
    """The exact unit amount of the plan's item, only if it has digits below the minor unit."""
    collection_method: str | None = None
    """`charge_automatically` or `send_invoice`."""
    cancellation_reason: str | None = None
    """The provider's word, such as `cancellation_requested` or `payment_failed`."""
    cancellation_feedback: str | None = None
    """The reason that the customer chose, such as `too_expensive`."""
    scheduled_changes: tuple[ScheduledChangeSection, ...] = ()
    """The known coming changes: by schedules, pending updates and set cancellations."""
    default_payment_method: PaymentMethodSection | None = None
    """The subscription's own default, where an event of the payment method showed it."""


@attrs.define(kw_only=True)
class InvoiceSection:
    """A whole invoice, without its lines."""

    invoice_id: str
    subscription_id: str | None
    customer_id: str | None
    number: str | None
    status: str
    amount_due: int
    amount_paid: int
    amount_remaining: int
    total: int
    tax: int
    currency: str
    billing_reason: str | None
    collection_method: str | None
    hosted_invoice_url: str | None
    period_start: datetime | None
    period_end: datetime | None
    due_at: datetime | None
    paid_at: datetime | None
    attempt_count: int
    next_payment_attempt_at: datetime | None
    subtotal: int | None = None
    """The sum of the lines, before discounts and exclusive taxes."""
    created_at: datetime | None = None
    finalized_at: datetime | None = None
    invoice_pdf: str | None = None


@attrs.define(kw_only=True)
class UsageSection:
    """The usage of a metered feature that one invoice line billed."""

    feature_key: str
    quantity: int
    """Rounded half to even where the quantity has a fraction; see `quantity_decimal`."""
    quantity_decimal: str | None = None
    """The exact quantity, as a decimal number without exponent; null in messages of earlier releases."""
    amount: int
    currency: str
    period_start: datetime | None
    period_end: datetime | None
    invoice_id: str
    line_id: str


@attrs.define(kw_only=True)
class AdjustmentSection:
    """A refund, dispute or credit note, or the refunded amount of a charge. Fields that do not apply are null."""

    kind: str
    """`refund`, `dispute`, `credit_note` or `charge`."""
    adjustment_id: str
    status: str | None = None
    """The provider's word; null for a charge."""
    amount: int
    """For a charge: the amount paid."""
    amount_refunded: int | None = None
    """For a charge: the total refunded so far."""
    currency: str
    reason: str | None = None
    disputed: bool = False
    invoice_id: str | None = None
    payment_id: str | None = None
    charge_id: str | None = None
    observed_at: datetime
    """When the provider reported this."""


@attrs.define(kw_only=True)
class AccessSection:
    """The tenant's access (`full`, `grace`, `read_only` or `blocked`), the reason, and its end if that is known."""

    state: Annotated[str, AccessState]
    reason: Annotated[str, AccessReason]
    until: datetime | None


@attrs.define(kw_only=True)
class PeriodSection:
    """The period of a renewal. `end` is null where the plan bills usage only and the period is not known yet."""

    start: datetime
    end: datetime | None


@attrs.define(kw_only=True)
class SourceSection:
    """The cause of a message."""

    kind: str
    """`webhook`, `operation`, `clock`, `grant`, `link`, `catalog` or `refetch`."""
    id: str | None
    """The id of the event, operation, grant or decision; of a refetch, the object's; null for the clock."""


@attrs.define(kw_only=True)
class BillingEventPayload:
    """One change to a tenant's billing. Sections that the event does not concern are null or empty."""

    schema_version: int
    sequence: int
    """The number of the message: each tenant's are counted from 1 without gaps. Also the stream's event id."""
    tenant_id: str
    event_type: str
    source: SourceSection
    stripe_event_id: str | None
    """Null if no Stripe event stands behind the message."""
    occurred_at: datetime
    summary: str
    """One English sentence for people."""
    status: str | None
    """The status of the object the message is about."""
    subscription: SubscriptionSection | None
    invoice: InvoiceSection | None
    usage: tuple[UsageSection, ...]
    access: AccessSection
    period: PeriodSection | None = None
    """The period that `subscription.renewed` announces, each once; null in other messages."""


@attrs.define(kw_only=True)
class GrantSection:
    """Access to a plan that was granted beside what is paid for; without an end if `until` is null."""

    grant_id: str
    plan_code: str
    until: datetime | None
    granted_at: datetime


@attrs.define(kw_only=True)
class StatePayload:
    """A tenant's whole state as of message `sequence`. Start a stream with `after` set to `position` to continue."""

    tenant_id: str
    sequence: int
    position: str
    """The position of `sequence` in the stream, in the form of the stream's event ids."""
    access: AccessSection
    subscriptions: tuple[SubscriptionSection, ...]
    invoices: tuple[InvoiceSection, ...]
    usage: tuple[UsageSection, ...]
    features: tuple[str, ...] = ()
    """Lookup keys of the features the tenant is entitled to, sorted; empty unless the provider manages entitlements."""
    grants: tuple[GrantSection, ...] = ()
    """Grants that hold now."""


@attrs.define(kw_only=True)
class FeatureSection:
    """The answer to whether a tenant may use a feature, or so much more of it, at the instant of the request."""

    feature: str
    allowed: bool
    reason: Annotated[str, FeatureReason]
    kind: str | None
    """`switch`, `limit` or `metered`; null if nothing gives the feature."""
    limit: int | None
    """The number that is allowed or included; null for no limit."""
    used: int | None
    """Rounded up where the amount has a fraction; null if it is not known."""
    used_decimal: str | None
    """The exact amount, as a decimal number without exponent."""
    remaining: int | None
    """Rounded down; 0 if the feature is refused altogether, null for no limit."""
    resets_at: datetime | None
    """When `used` starts over; null if it does not, or while the next period is unknown."""
    sources: tuple[str, ...]
    """`plan:CODE`, `addon:CODE`, `grant:CODE` or `provider`, sorted."""


@attrs.define(kw_only=True)
class EntitlementsPayload:
    """Everything that a tenant may use, as of message `sequence`: each feature that a plan lists or the tenant has."""

    tenant_id: str
    sequence: int
    as_of: datetime
    """When the state was read."""
    freshness: Annotated[str, Freshness]
    access: AccessSection
    features: tuple[FeatureSection, ...]
    """By key."""


@attrs.define(kw_only=True)
class EntitlementPayload:
    """One feature of a tenant, as of message `sequence`."""

    tenant_id: str
    sequence: int
    as_of: datetime
    freshness: Annotated[str, Freshness]
    access: AccessSection
    entitlement: FeatureSection


@attrs.define(kw_only=True)
class UncertainSection:
    """An object whose state may be wrong until it is fetched from Stripe."""

    kind: str
    """`subscription`, `invoice`, `customer` or `entitlements`."""
    object_id: str
    complete: bool
    """False if lines or features are missing."""
    ambiguous: bool
    """True if events of one second do not tell which was last."""


@attrs.define(kw_only=True)
class ProvisionalSection:
    """An object that is shown as Stripe answered to an operation, until its events or a refetch arrive."""

    kind: str
    """`subscription` or `invoice`."""
    object_id: str
    operation_key: str
    """The key of the operation, as in the source of its message."""
    shown: bool
    """False if the answer was a repeated one: it is not shown, and only makes a refetch due."""
    answered_at: datetime | None
    """When Stripe answered, by its own clock; null if the answer is not shown."""
    refetch_due_at: datetime
    """When Stripe is to be asked again; it is asked until it answers, once an event of the object has arrived."""


@attrs.define(kw_only=True)
class OperatorStatePayload(StatePayload):
    """A tenant's whole state, and what needs attention: only for the roles of BILLING_JWT_OPERATOR_ROLES."""

    attention: bool
    """True if events of the tenant failed permanently: its state may lack them until an operator replays them."""
    dead_events: int
    uncertain: tuple[UncertainSection, ...]
    """By object id; at most 100."""
    provisional: tuple[ProvisionalSection, ...]
    """By object id."""
