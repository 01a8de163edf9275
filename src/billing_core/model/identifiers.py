"""Identifiers as types: a customer id cannot be passed where a tenant id is expected."""

from typing import NewType

TenantId = NewType("TenantId", str)
CustomerId = NewType("CustomerId", str)
SubscriptionId = NewType("SubscriptionId", str)
ItemId = NewType("ItemId", str)
PriceId = NewType("PriceId", str)
InvoiceId = NewType("InvoiceId", str)
LineId = NewType("LineId", str)
GrantId = NewType("GrantId", str)
"""An id of our own."""
EventId = NewType("EventId", str)
"""The provider's event id. Unique only together with account and livemode, see `billing_core.events.EventKey`."""
