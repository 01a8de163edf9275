"""Values and pure transitions of billing. Nothing here does I/O or knows a vendor."""

from billing_core.model.access import NO_SUBSCRIPTION, AccessPolicy, AccessState, AccessVerdict
from billing_core.model.customer import CustomerSnapshot, TenantCustomer
from billing_core.model.duplicates import DuplicateSubscriptions, duplicate_subscriptions
from billing_core.model.identifiers import (
    CustomerId,
    EventId,
    InvoiceId,
    ItemId,
    LineId,
    PriceId,
    SubscriptionId,
    TenantId,
)
from billing_core.model.invoice import DELETED, InvoiceLine, InvoiceSnapshot, SubscriptionInvoice
from billing_core.model.money import Money
from billing_core.model.ordering import Decision, Order, Provenance, Sighting, compare, decide
from billing_core.model.plan import Plan, PlanCatalog
from billing_core.model.records import (
    ADJUSTMENT_KINDS,
    CATALOG_KINDS,
    RECORD_KINDS,
    CatalogSnapshot,
    ChargeSnapshot,
    CreditNoteSnapshot,
    DisputeSnapshot,
    EntitlementsSnapshot,
    PaymentSnapshot,
    PriceSnapshot,
    ProductSnapshot,
    RecordSnapshot,
    RefundSnapshot,
    ScheduleSnapshot,
    TenantRecord,
    entitled_customer,
    invoice_of,
    leads_to,
    payment_object_id,
)
from billing_core.model.state import TenantState, Tracked
from billing_core.model.subscription import (
    ItemSnapshot,
    SubscriptionSnapshot,
    TenantSubscription,
    merge_metered_prices,
)
from billing_core.model.time import Period, from_timestamp
from billing_core.model.uncertainty import Uncertainty, UncertaintyKind
from billing_core.model.usage import UsageRecord, billed_usage

__all__ = [
    "ADJUSTMENT_KINDS",
    "AccessPolicy",
    "AccessState",
    "AccessVerdict",
    "CATALOG_KINDS",
    "CatalogSnapshot",
    "ChargeSnapshot",
    "CreditNoteSnapshot",
    "CustomerId",
    "CustomerSnapshot",
    "DELETED",
    "Decision",
    "DisputeSnapshot",
    "Uncertainty",
    "UncertaintyKind",
    "DuplicateSubscriptions",
    "EntitlementsSnapshot",
    "EventId",
    "InvoiceId",
    "InvoiceLine",
    "InvoiceSnapshot",
    "ItemId",
    "ItemSnapshot",
    "LineId",
    "Money",
    "NO_SUBSCRIPTION",
    "Order",
    "PaymentSnapshot",
    "Period",
    "Plan",
    "PlanCatalog",
    "PriceId",
    "PriceSnapshot",
    "ProductSnapshot",
    "Provenance",
    "RECORD_KINDS",
    "RecordSnapshot",
    "RefundSnapshot",
    "ScheduleSnapshot",
    "Sighting",
    "SubscriptionId",
    "SubscriptionInvoice",
    "SubscriptionSnapshot",
    "TenantCustomer",
    "TenantId",
    "TenantRecord",
    "TenantState",
    "TenantSubscription",
    "Tracked",
    "UsageRecord",
    "billed_usage",
    "compare",
    "decide",
    "duplicate_subscriptions",
    "from_timestamp",
    "entitled_customer",
    "invoice_of",
    "leads_to",
    "merge_metered_prices",
    "payment_object_id",
]
