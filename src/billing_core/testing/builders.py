"""Domain values for tests: complete, plausible, and equal whenever their arguments are equal."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from billing_core.events import BillingEvent, EventKey, ProviderEvent
from billing_core.model import (
    AccessGrant,
    CustomerId,
    CustomerSnapshot,
    EventId,
    GrantId,
    InvoiceId,
    InvoiceLine,
    InvoiceSnapshot,
    ItemId,
    ItemSnapshot,
    LineId,
    Period,
    PriceId,
    Provenance,
    SubscriptionId,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantId,
    TenantSubscription,
    UsageRecord,
)

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
ACME = TenantId("acme")
GLOBEX = TenantId("globex")


def month(number: int) -> Period:
    """Return the month of that number: 1 starts at `AT`, all have 30 days."""
    start = AT + timedelta(days=30 * (number - 1))
    return Period(start=start, end=start + timedelta(days=30))


def provider_event(event_id: str = "evt_1", **fields: Any) -> ProviderEvent:
    """Return an event as received; `livemode` and `account` are part of its key."""
    key = EventKey(
        event_id=EventId(event_id), livemode=fields.pop("livemode", False), account=fields.pop("account", "")
    )
    given = {
        "type": "customer.subscription.updated",
        "api_version": "2026-10-28.endive",
        "created_at": AT,
        "received_at": AT + timedelta(microseconds=1_234_567),
        "body": b'{"id": "' + event_id.encode() + b'"}',
    }
    return ProviderEvent(key=key, **{**given, **fields})


def provenance(*event_ids: str, observed_at: datetime = AT, ambiguous: bool = False) -> Provenance:
    """Return the basis of a state, by default the event `evt_1`."""
    return Provenance(
        observed_at=observed_at, event_ids=tuple(map(EventId, event_ids or ("evt_1",))), ambiguous=ambiguous
    )


def customer(customer_id: str = "cus_1", tenant_id: TenantId | None = ACME, **fields: Any) -> TenantCustomer:
    """Return a customer, with a snapshot of its own if `fields` are given."""
    if not fields:
        return TenantCustomer(customer_id=CustomerId(customer_id), tenant_id=tenant_id)
    basis = fields.pop("provenance", provenance())
    snapshot = CustomerSnapshot(customer_id=CustomerId(customer_id), **fields)
    return TenantCustomer(customer_id=CustomerId(customer_id), tenant_id=tenant_id, snapshot=snapshot, provenance=basis)


def item(item_id: str = "si_1", **fields: Any) -> ItemSnapshot:
    """Return an item with a seat price in the first month."""
    given = {"price_id": PriceId("price_pro"), "quantity": 5, "period": month(1)}
    return ItemSnapshot(item_id=ItemId(item_id), **{**given, **fields})


def subscription(
    subscription_id: str = "sub_1",
    tenant_id: TenantId = ACME,
    *,
    basis: Provenance | None = None,
    **fields: Any,
) -> TenantSubscription:
    """Return an active subscription with one item."""
    given = {
        "customer_id": CustomerId("cus_1"),
        "status": "active",
        "items": (item(),),
        "currency": "usd",
        "plan_code": "pro",
        "price_id": PriceId("price_pro"),
        "seat_count": 5,
        "collection_method": "charge_automatically",
    }
    snapshot = SubscriptionSnapshot(subscription_id=SubscriptionId(subscription_id), **{**given, **fields})
    return TenantSubscription(tenant_id=tenant_id, snapshot=snapshot, provenance=basis or provenance())


def line(line_id: str = "il_1", amount: int = 1900, **fields: Any) -> InvoiceLine:
    """Return a line of the first month."""
    return InvoiceLine(line_id=LineId(line_id), amount=amount, **{"period": month(1), **fields})


def invoice(
    invoice_id: str = "in_1",
    tenant_id: TenantId = ACME,
    *,
    basis: Provenance | None = None,
    failed_at: tuple[datetime, ...] = (),
    **fields: Any,
) -> SubscriptionInvoice:
    """Return an open invoice with one line."""
    given = {
        "customer_id": CustomerId("cus_1"),
        "subscription_id": SubscriptionId("sub_1"),
        "status": "open",
        "currency": "usd",
        "amount_due": 1900,
        "amount_remaining": 1900,
        "total": 1900,
        "period": month(1),
        "lines": (line(),),
    }
    snapshot = InvoiceSnapshot(invoice_id=InvoiceId(invoice_id), **{**given, **fields})
    return SubscriptionInvoice(
        tenant_id=tenant_id, snapshot=snapshot, provenance=basis or provenance(), failed_at=failed_at
    )


def usage(invoice_id: str = "in_1", line_id: str = "il_1", tenant_id: TenantId = ACME, **fields: Any) -> UsageRecord:
    """Return 1000 API calls of the first month."""
    given = {
        "subscription_id": SubscriptionId("sub_1"),
        "feature_key": "api_calls",
        "quantity": Decimal(fields.pop("quantity", 1000)),
        "amount": 500,
        "currency": "usd",
        "period": month(1),
    }
    return UsageRecord(
        tenant_id=tenant_id, invoice_id=InvoiceId(invoice_id), line_id=LineId(line_id), **{**given, **fields}
    )


def grant(grant_id: str = "grant_1", tenant_id: TenantId = ACME, **fields: Any) -> AccessGrant:
    """Return a grant of plan pro without an end."""
    given = {"plan_code": "pro", "actor": "ops", "reason": "goodwill", "granted_at": AT}
    return AccessGrant(grant_id=GrantId(grant_id), tenant_id=tenant_id, **{**given, **fields})


def message(tenant_id: TenantId = ACME, sequence: int = 1, **fields: Any) -> BillingEvent:
    """Return a numbered message whose payload names its tenant and number."""
    given = {
        "event_type": "subscription.updated",
        "event_id": EventId(f"evt_{sequence}"),
        "occurred_at": AT,
        "payload": f'{{"tenant_id":"{tenant_id}","sequence":{sequence}}}',
    }
    return BillingEvent(tenant_id=tenant_id, sequence=sequence, **{**given, **fields})


def messages(tenant_id: TenantId, first: int, last: int) -> Sequence[BillingEvent]:
    """Return consecutive messages of one tenant, from `first` to `last` inclusive."""
    return [message(tenant_id, sequence) for sequence in range(first, last + 1)]
