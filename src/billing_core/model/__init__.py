"""Values and pure transitions of billing. Nothing here does I/O or knows a vendor."""

from billing_core.model.access import (
    NO_SUBSCRIPTION,
    AccessFacts,
    AccessPolicy,
    AccessReason,
    AccessState,
    AccessVerdict,
    AnnouncedAccess,
    Grace,
)
from billing_core.model.adjustments import (
    ADJUSTMENT_KINDS,
    ChargeSnapshot,
    CreditNoteSnapshot,
    DisputeSnapshot,
    PaymentSnapshot,
    RefundSnapshot,
    payment_object_id,
)
from billing_core.model.catalog import CATALOG_KINDS, CatalogSnapshot, PriceSnapshot, ProductSnapshot
from billing_core.model.clock import ClockSnapshot
from billing_core.model.customer import CustomerSnapshot, TenantCustomer
from billing_core.model.duplicates import DuplicateSubscriptions, duplicate_subscriptions
from billing_core.model.entitlements import EntitlementsSnapshot, entitled_customer
from billing_core.model.grants import AccessGrant
from billing_core.model.identifiers import (
    CustomerId,
    EventId,
    GrantId,
    InvoiceId,
    ItemId,
    LineId,
    PriceId,
    SubscriptionId,
    TenantId,
)
from billing_core.model.invoice import DELETED, InvoiceLine, InvoiceSnapshot, SubscriptionInvoice, is_out_of_scope
from billing_core.model.links import UNDECIDED, LinkAction, LinkDecision, LinkStanding, standings
from billing_core.model.money import Money
from billing_core.model.occasion import TenantOccasion
from billing_core.model.ordering import Decision, Order, Ordered, Provenance, Sighting, compare, decide
from billing_core.model.payment_method import PaymentMethodSnapshot
from billing_core.model.plan import (
    PLAN_METADATA,
    ROLES,
    Plan,
    PlanCatalog,
    PlanFeature,
    PlanMatch,
    PlanPrice,
    Role,
    SeatBounds,
    plans_of_products,
)
from billing_core.model.records import (
    RECORD_KINDS,
    RecordSnapshot,
    TenantRecord,
    UnownedSnapshot,
    any_open,
    clock_times,
    invoice_of,
    leads_to,
)
from billing_core.model.rules import BillingRules, RulesInForce
from billing_core.model.schedule import Phase, PlannedItem, ScheduledChange, ScheduleSnapshot
from billing_core.model.scope import OUT_OF_SCOPE, ProductScope, ScopeRule
from billing_core.model.state import TenantState
from billing_core.model.subscription import (
    ItemSnapshot,
    Metadata,
    SubscriptionSnapshot,
    TenantSubscription,
    merge_metered_prices,
)
from billing_core.model.tenant_rules import TenantRules
from billing_core.model.time import Period, from_timestamp
from billing_core.model.tracked import Snapshot, Tracked
from billing_core.model.uncertainty import UNCERTAIN_KINDS, UNCERTAIN_SHOWN, Attention, Uncertainty, uncertainty_of
from billing_core.model.usage import UsageRecord, billed_usage

__all__ = [
    "UNCERTAIN_KINDS",
    "UNCERTAIN_SHOWN",
    "AccessFacts",
    "AccessGrant",
    "AccessPolicy",
    "AccessReason",
    "AccessState",
    "AccessVerdict",
    "AnnouncedAccess",
    "any_open",
    "Attention",
    "ADJUSTMENT_KINDS",
    "billed_usage",
    "CATALOG_KINDS",
    "BillingRules",
    "CatalogSnapshot",
    "ChargeSnapshot",
    "clock_times",
    "ClockSnapshot",
    "compare",
    "CreditNoteSnapshot",
    "CustomerId",
    "CustomerSnapshot",
    "decide",
    "Decision",
    "DELETED",
    "DisputeSnapshot",
    "duplicate_subscriptions",
    "DuplicateSubscriptions",
    "entitled_customer",
    "EntitlementsSnapshot",
    "EventId",
    "from_timestamp",
    "invoice_of",
    "Grace",
    "is_out_of_scope",
    "GrantId",
    "InvoiceId",
    "InvoiceLine",
    "InvoiceSnapshot",
    "ItemId",
    "ItemSnapshot",
    "leads_to",
    "LineId",
    "LinkAction",
    "LinkDecision",
    "LinkStanding",
    "merge_metered_prices",
    "Metadata",
    "Money",
    "NO_SUBSCRIPTION",
    "Order",
    "OUT_OF_SCOPE",
    "Ordered",
    "payment_object_id",
    "PaymentMethodSnapshot",
    "PaymentSnapshot",
    "Period",
    "Phase",
    "Plan",
    "PLAN_METADATA",
    "PlanCatalog",
    "PlanFeature",
    "PlanMatch",
    "PlannedItem",
    "PlanPrice",
    "plans_of_products",
    "PriceId",
    "PriceSnapshot",
    "ProductScope",
    "ProductSnapshot",
    "Provenance",
    "RECORD_KINDS",
    "RecordSnapshot",
    "RefundSnapshot",
    "RulesInForce",
    "Role",
    "ROLES",
    "ScheduledChange",
    "ScheduleSnapshot",
    "ScopeRule",
    "SeatBounds",
    "Sighting",
    "Snapshot",
    "standings",
    "SubscriptionId",
    "SubscriptionInvoice",
    "SubscriptionSnapshot",
    "TenantCustomer",
    "TenantId",
    "TenantOccasion",
    "TenantRecord",
    "TenantRules",
    "TenantState",
    "TenantSubscription",
    "Tracked",
    "Uncertainty",
    "uncertainty_of",
    "UNDECIDED",
    "UnownedSnapshot",
    "UsageRecord",
]
