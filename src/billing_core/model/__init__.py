"""Values and pure transitions of billing. Nothing here does I/O or knows a vendor."""

from billing_core.model.access import NO_SUBSCRIPTION, AccessPolicy, AccessState, AccessVerdict
from billing_core.model.customer import CustomerSnapshot, TenantCustomer
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
from billing_core.model.state import TenantState
from billing_core.model.subscription import (
    ItemSnapshot,
    SubscriptionSnapshot,
    TenantSubscription,
    merge_metered_prices,
)
from billing_core.model.time import Period, from_timestamp
from billing_core.model.usage import UsageRecord, billed_usage

__all__ = [
    "NO_SUBSCRIPTION",
    "AccessPolicy",
    "AccessState",
    "AccessVerdict",
    "CustomerId",
    "CustomerSnapshot",
    "DELETED",
    "Decision",
    "EventId",
    "InvoiceId",
    "InvoiceLine",
    "InvoiceSnapshot",
    "ItemId",
    "ItemSnapshot",
    "LineId",
    "Money",
    "Order",
    "Period",
    "Plan",
    "PlanCatalog",
    "PriceId",
    "Provenance",
    "Sighting",
    "SubscriptionId",
    "SubscriptionInvoice",
    "SubscriptionSnapshot",
    "TenantCustomer",
    "TenantId",
    "TenantState",
    "TenantSubscription",
    "UsageRecord",
    "billed_usage",
    "compare",
    "decide",
    "from_timestamp",
    "merge_metered_prices",
]
