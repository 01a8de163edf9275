"""Messages to a tenant: an announcement with the state it is about, numbered and encoded."""

from collections.abc import Iterable
from datetime import datetime

from billing_core.events import BillingEvent, MessageSource
from billing_core.model import AccessVerdict, InvoiceSnapshot, SubscriptionSnapshot, TenantId, UsageRecord
from billing_core.payloads import (
    SCHEMA_VERSION,
    BillingEventPayload,
    PeriodSection,
    access_section,
    dumps,
    invoice_section,
    source_section,
    subscription_section,
    usage_sections,
)
from billing_core.state.announcements import Announcement


def billing_event(
    announcement: Announcement,
    source: MessageSource,
    *,
    occurred_at: datetime,
    tenant_id: TenantId,
    sequence: int,
    subscription: SubscriptionSnapshot | None,
    invoice: InvoiceSnapshot | None,
    usage: Iterable[UsageRecord],
    access: AccessVerdict,
    period: tuple[datetime, datetime | None] | None = None,
) -> BillingEvent:
    """Encode an announcement once, as it is stored, published and streamed.

    Args:
        announcement: the news.
        source: its cause.
        occurred_at: the instant at which it happened, by the provider's clock where the provider reported it.
        tenant_id: the tenant to notify.
        sequence: the message's number.
        subscription: the subscription that the message is about, if it is about one.
        invoice: the invoice that the message is about, if it is about one.
        usage: the billed usage that became known.
        access: the tenant's access now.
        period: of a renewal, the start and end of the period that began; its end may be unknown.
    """
    subject, event_id = subscription or invoice, source.event_id
    payload = BillingEventPayload(
        schema_version=SCHEMA_VERSION,
        sequence=sequence,
        tenant_id=tenant_id,
        event_type=announcement.event_type.value,
        source=source_section(source),
        stripe_event_id=event_id,
        occurred_at=occurred_at,
        summary=announcement.summary,
        status=subject.status if subject else None,
        subscription=subscription_section(subscription) if subscription else None,
        invoice=invoice_section(invoice) if invoice else None,
        usage=usage_sections(usage),
        access=access_section(access),
        period=None if period is None else PeriodSection(start=period[0], end=period[1]),
    )
    return BillingEvent(
        tenant_id=tenant_id,
        sequence=sequence,
        event_type=payload.event_type,
        event_id=event_id,
        occurred_at=payload.occurred_at,
        payload=dumps(payload),
    )
