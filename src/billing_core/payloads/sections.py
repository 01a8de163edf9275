"""Build the wire form of what is stored."""

import math
from collections.abc import Iterable
from datetime import datetime

import attrs

from billing_core.events import MessageSource
from billing_core.model import (
    AccessVerdict,
    Attention,
    ChargeSnapshot,
    CreditNoteSnapshot,
    DisputeSnapshot,
    FeatureVerdict,
    Freshness,
    InvoiceSnapshot,
    ItemSnapshot,
    PaymentMethodSnapshot,
    ProvisionalView,
    RefundSnapshot,
    ScheduledChange,
    SubscriptionSnapshot,
    TenantEntitlements,
    TenantId,
    TenantRecord,
    TenantState,
    UsageRecord,
)
from billing_core.model.epoch import FIRST_EPOCH, Epoch
from billing_core.model.time import end_of, start_of
from billing_core.payloads.schema import (
    AccessSection,
    AdjustmentSection,
    EntitlementPayload,
    EntitlementsPayload,
    FeatureSection,
    GrantSection,
    InvoiceSection,
    ItemSection,
    OperatorStatePayload,
    PaymentMethodSection,
    ProvisionalSection,
    ScheduledChangeSection,
    SourceSection,
    StatePayload,
    SubscriptionSection,
    UncertainSection,
    UsageSection,
)


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
        default_payment_method=payment_method_section(seen.payment_method),
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


def payment_method_section(seen: PaymentMethodSnapshot | None) -> PaymentMethodSection | None:
    """Build the wire form of a payment method: what people recognize it by, without its id."""
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


def operator_state_payload(
    state: StatePayload, attention: Attention, views: Iterable[ProvisionalView]
) -> OperatorStatePayload:
    """Add what needs attention, and what is shown provisionally, to the wire form of a tenant's state."""
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
        provisional=tuple(map(provisional_section, views)),
    )


def provisional_section(view: ProvisionalView) -> ProvisionalSection:
    """Build the wire form of a provisional view, without the object: that is shown among the others."""
    return ProvisionalSection(
        kind=view.kind,
        object_id=view.object_id,
        operation_key=view.operation_key,
        shown=view.snapshot is not None,
        answered_at=view.answered_at,
        refetch_due_at=view.refetch_due_at,
    )


def feature_section(verdict: FeatureVerdict) -> FeatureSection:
    """Build the wire form of a verdict on a feature."""
    return FeatureSection(
        feature=verdict.feature,
        allowed=verdict.allowed,
        reason=verdict.reason.value,
        kind=verdict.kind,
        limit=verdict.limit,
        used=None if verdict.used is None else math.ceil(verdict.used),
        used_decimal=None
        if verdict.used is None
        else f"{verdict.used:f}"
        if verdict.used % 1
        else str(int(verdict.used)),
        remaining=None if verdict.remaining is None else math.floor(verdict.remaining),
        resets_at=verdict.resets_at,
        sources=verdict.sources,
    )


def entitlements_payload(
    entitlements: TenantEntitlements, now: datetime, freshness: Freshness = Freshness.LIVE
) -> EntitlementsPayload:
    """Build the wire form of everything that a tenant may use at `now`."""
    return EntitlementsPayload(
        tenant_id=entitlements.tenant_id,
        sequence=entitlements.sequence,
        as_of=entitlements.as_of,
        freshness=freshness.value,
        access=access_section(entitlements.span(now).access),
        features=tuple(feature_section(entitlements.allows(key, now)) for key in entitlements.features(now)),
    )


def entitlement_payload(tenant_id: TenantId, verdict: FeatureVerdict) -> EntitlementPayload:
    """Build the wire form of a verdict on one feature of a tenant."""
    return EntitlementPayload(
        tenant_id=tenant_id,
        sequence=verdict.sequence,
        as_of=verdict.as_of,
        freshness=verdict.freshness.value,
        access=access_section(verdict.access),
        entitlement=feature_section(verdict),
    )
