"""The objects that events describe: as one event shows them, and as they are stored."""

from billing_core.model.customer import CustomerSnapshot, TenantCustomer
from billing_core.model.invoice import InvoiceSnapshot, SubscriptionInvoice
from billing_core.model.records import RecordSnapshot, TenantRecord
from billing_core.model.subscription import SubscriptionSnapshot, TenantSubscription

Snapshot = SubscriptionSnapshot | InvoiceSnapshot | CustomerSnapshot | RecordSnapshot
"""An object as one event shows it."""

Tracked = TenantSubscription | SubscriptionInvoice | TenantCustomer | TenantRecord
"""An object of a tenant: the deciding snapshot and the events it rests on."""
