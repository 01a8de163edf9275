"""`BillingEventPayload` v1: the wire schema of the stream, the history and `/state`.

Only compatible changes: fields may be added, never renamed, retyped or removed; readers ignore unknown fields. An added
field needs a default, because the history keeps messages that were written without it.
Instants are ISO 8601 in UTC with `Z`; amounts are integers in the minor unit of `currency`.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final

import attrs

from billing_core import converters
from billing_core.events import MessageSource, SourceKind
from billing_core.model import (
    AccessReason,
    AccessState,
    AccessVerdict,
    Attention,
    ChargeSnapshot,
    CreditNoteSnapshot,
    DisputeSnapshot,
    InvoiceSnapshot,
    ItemSnapshot,
    PaymentMethodSnapshot,
    RefundSnapshot,
    ScheduledChange,
    SubscriptionSnapshot,
    TenantRecord,
    TenantState,
    UsageRecord,
)
from billing_core.model.epoch import FIRST_EPOCH, Epoch
from billing_core.model.time import end_of, start_of

SCHEMA_VERSION: Final = 2


@attrs.frozen(kw_only=True)
class ItemSection:
    """One price that a subscription bills. `quantity` is null for metered items."""

    item_id: str
    price_id: str
    quantity: int | None
    usage_type: str
    feature_key: str | None
    current_period_start: datetime | None
    current_period_end: datetime | None


@attrs.frozen(kw_only=True)
class ScheduledChangeSection:
    """One thing that is going to happen to a subscription unless it is withdrawn."""

    kind: str
    """`plan_change` at a known time, `pending_update` once it is paid, or `cancellation`."""
    effective_at: datetime | None
    plan_code: str | None
    """The plan from then on; null for a cancellation, and where the catalog does not know the price."""
    price_id: str | None
    quantity: int | None


@attrs.frozen(kw_only=True)
class PaymentMethodSection:
    """The details by which people recognize a payment method. Fields that do not apply are null."""

    type: str | None
    """The provider's word, such as `card` or `sepa_debit`."""
    brand: str | None
    last4: str | None
    exp_month: int | None
    exp_year: int | None


@attrs.frozen(kw_only=True)
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


@attrs.frozen(kw_only=True)
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


@attrs.frozen(kw_only=True)
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


@attrs.frozen(kw_only=True)
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


@attrs.frozen(kw_only=True)
class AccessSection:
    """The tenant's access (`full`, `grace`, `read_only` or `blocked`), the reason, and its end if that is known."""

    state: Annotated[str, AccessState]
    reason: Annotated[str, AccessReason]
    until: datetime | None


@attrs.frozen(kw_only=True)
class PeriodSection:
    """The period of a renewal. `end` is null where the plan bills usage only and the period is not known yet."""

    start: datetime
    end: datetime | None


@attrs.frozen(kw_only=True)
class SourceSection:
    """The cause of a message."""

    kind: str
    """`webhook`, `operation`, `clock`, `grant`, `link`, `catalog` or `refetch`."""
    id: str | None
    """The id of the event, operation, grant or decision; of a refetch, the object's; null for the clock."""


@attrs.frozen(kw_only=True)
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


@attrs.frozen(kw_only=True)
class GrantSection:
    """Access to a plan that was granted beside what is paid for; without an end if `until` is null."""

    grant_id: str
    plan_code: str
    until: datetime | None
    granted_at: datetime


@attrs.frozen(kw_only=True)
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


@attrs.frozen(kw_only=True)
class UncertainSection:
    """An object whose state may be wrong until it is fetched from Stripe."""

    kind: str
    """`subscription`, `invoice`, `customer` or `entitlements`."""
    object_id: str
    complete: bool
    """False if lines or features are missing."""
    ambiguous: bool
    """True if events of one second do not tell which was last."""


@attrs.frozen(kw_only=True)
class OperatorStatePayload(StatePayload):
    """A tenant's whole state, and what needs attention: only for the roles of BILLING_JWT_OPERATOR_ROLES."""

    attention: bool
    """True if events of the tenant failed permanently: its state may lack them until an operator replays them."""
    dead_events: int
    uncertain: tuple[UncertainSection, ...]
    """By object id; at most 100."""


def subscription_section(seen: SubscriptionSnapshot) -> SubscriptionSection:
    """Build the wire form of a subscription."""
    plan = seen.plan_item
    exact = None if plan is None else plan.unit_amount_decimal
    return SubscriptionSection(
        subscription_id=seen.subscription_id,
        customer_id=seen.customer_id,
        status=seen.status,
        plan_code=seen.plan_code,
        price_id=seen.price_id,
        seat_count=seen.seat_count,
        auto_renew=seen.auto_renew,
        cancel_at_period_end=seen.cancel_at_period_end,
        current_period_start=seen.current_period_start,
        current_period_end=seen.current_period_end,
        trial_ends_at=seen.trial_ends_at,
        cancel_at=seen.cancel_at,
        canceled_at=seen.canceled_at,
        ended_at=seen.ended_at,
        collection_paused=seen.collection_paused,
        currency=seen.currency,
        items=tuple(map(_item_section, seen.items)),
        interval=None if plan is None else plan.interval,
        interval_count=None if plan is None else plan.interval_count,
        unit_amount=None if plan is None else plan.unit_amount,
        unit_amount_decimal=None if exact is None else f"{exact:f}",
        collection_method=seen.collection_method,
        cancellation_reason=seen.cancellation_reason,
        cancellation_feedback=seen.cancellation_feedback,
        scheduled_changes=tuple(map(_change_section, seen.scheduled_changes)),
        default_payment_method=_payment_method_section(seen.payment_method),
    )


def _item_section(item: ItemSnapshot) -> ItemSection:
    return ItemSection(
        item_id=item.item_id,
        price_id=item.price_id,
        quantity=item.quantity,
        usage_type=item.usage_type,
        feature_key=item.feature_key,
        current_period_start=start_of(item.period),
        current_period_end=end_of(item.period),
    )


def _change_section(change: ScheduledChange) -> ScheduledChangeSection:
    return ScheduledChangeSection(
        kind=change.kind,
        effective_at=change.effective_at,
        plan_code=change.plan_code,
        price_id=change.price_id,
        quantity=change.quantity,
    )


def _payment_method_section(seen: PaymentMethodSnapshot | None) -> PaymentMethodSection | None:
    if seen is None:
        return None
    return PaymentMethodSection(
        type=seen.type, brand=seen.brand, last4=seen.last4, exp_month=seen.exp_month, exp_year=seen.exp_year
    )


def invoice_section(seen: InvoiceSnapshot) -> InvoiceSection:
    """Build the wire form of an invoice."""
    return InvoiceSection(
        invoice_id=seen.invoice_id,
        subscription_id=seen.subscription_id,
        customer_id=seen.customer_id,
        number=seen.number,
        status=seen.status,
        amount_due=seen.amount_due,
        amount_paid=seen.amount_paid,
        amount_remaining=seen.amount_remaining,
        total=seen.total,
        tax=seen.tax,
        currency=seen.currency,
        billing_reason=seen.billing_reason,
        collection_method=seen.collection_method,
        hosted_invoice_url=seen.hosted_invoice_url,
        period_start=start_of(seen.period),
        period_end=end_of(seen.period),
        due_at=seen.due_at,
        paid_at=seen.paid_at,
        attempt_count=seen.attempt_count,
        next_payment_attempt_at=seen.next_payment_attempt_at,
        subtotal=seen.subtotal,
        created_at=seen.created_at,
        finalized_at=seen.finalized_at,
        invoice_pdf=seen.invoice_pdf,
    )


def usage_section(record: UsageRecord) -> UsageSection:
    """Build the wire form of billed usage."""
    return UsageSection(
        feature_key=record.feature_key,
        quantity=record.whole_quantity,
        quantity_decimal=f"{record.quantity:f}",
        amount=record.amount,
        currency=record.currency,
        period_start=start_of(record.period),
        period_end=end_of(record.period),
        invoice_id=record.invoice_id,
        line_id=record.line_id,
    )


def usage_sections(records: Iterable[UsageRecord]) -> tuple[UsageSection, ...]:
    """Build the wire form of several usage records."""
    return tuple(map(usage_section, records))


def adjustment_section(record: TenantRecord) -> AdjustmentSection:
    """Build the wire form of a record whose kind is in `ADJUSTMENT_KINDS`. Raises TypeError for any other kind."""
    seen, observed_at = record.snapshot, record.provenance.observed_at
    match seen:
        case ChargeSnapshot():
            return AdjustmentSection(
                kind=seen.kind,
                adjustment_id=seen.charge_id,
                amount=seen.amount,
                amount_refunded=seen.amount_refunded,
                currency=seen.currency,
                disputed=seen.disputed,
                invoice_id=seen.invoice_id,
                payment_id=seen.payment_id,
                charge_id=seen.charge_id,
                observed_at=observed_at,
            )
        case RefundSnapshot() | DisputeSnapshot():
            return AdjustmentSection(
                kind=seen.kind,
                adjustment_id=seen.object_id,
                status=seen.status,
                amount=seen.amount,
                currency=seen.currency,
                reason=seen.reason,
                disputed=isinstance(seen, DisputeSnapshot),
                payment_id=seen.payment_id,
                charge_id=seen.charge_id,
                observed_at=observed_at,
            )
        case CreditNoteSnapshot():
            return AdjustmentSection(
                kind=seen.kind,
                adjustment_id=seen.credit_note_id,
                status=seen.status,
                amount=seen.amount,
                currency=seen.currency,
                reason=seen.reason,
                invoice_id=seen.invoice_id,
                observed_at=observed_at,
            )
        case _:
            raise TypeError(f"a {seen.kind} is not an adjustment")


def source_section(source: MessageSource) -> SourceSection:
    """Build the wire form of a message's cause."""
    return SourceSection(kind=source.kind.value, id=source.id)


def access_section(verdict: AccessVerdict) -> AccessSection:
    """Build the wire form of an access verdict."""
    return AccessSection(state=verdict.state.value, reason=verdict.reason.value, until=verdict.until)


def state_payload(state: TenantState, access: AccessVerdict, epoch: Epoch = FIRST_EPOCH) -> StatePayload:
    """Build the wire form of a tenant's state, read in the given epoch."""
    return StatePayload(
        tenant_id=state.tenant_id,
        sequence=state.sequence,
        position=epoch.position(state.sequence),
        access=access_section(access),
        subscriptions=tuple(subscription_section(subscription.snapshot) for subscription in state.subscriptions),
        invoices=tuple(invoice_section(invoice.snapshot) for invoice in state.invoices),
        usage=usage_sections(state.usage),
        features=state.features,
        grants=tuple(
            GrantSection(grant_id=each.grant_id, plan_code=each.plan_code, until=each.until, granted_at=each.granted_at)
            for each in state.grants
        ),
    )


def operator_state_payload(state: StatePayload, attention: Attention) -> OperatorStatePayload:
    """Add what needs attention to the wire form of a tenant's state."""
    return OperatorStatePayload(
        **{field.name: getattr(state, field.name) for field in attrs.fields(StatePayload)},
        attention=attention.needed,
        dead_events=attention.dead_events,
        uncertain=tuple(
            UncertainSection(
                kind=each.kind, object_id=each.object_id, complete=each.complete, ambiguous=each.basis.ambiguous
            )
            for each in attention.uncertain
        ),
    )


def dumps(payload: BillingEventPayload | StatePayload) -> str:
    """Encode a payload as one line of JSON."""
    return converters.dumps(payload)


def loads(text: str | bytes) -> BillingEventPayload:
    """Decode a message; fields that a later revision added are ignored. Version 1 knew no cause but a provider event.

    Raises ValueError, KeyError or TypeError.
    """
    content = converters.decode(text)
    if isinstance(content, dict) and content.get("schema_version") == 1:
        content.setdefault("source", {"kind": SourceKind.WEBHOOK.value, "id": content["stripe_event_id"]})
    return converters.from_decoded(content, BillingEventPayload)
