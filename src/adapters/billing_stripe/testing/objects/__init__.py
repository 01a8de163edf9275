"""Stripe's objects, independent of the API version.

A test describes an object once and renders it in every version. Times are aware datetimes, amounts integers in the
currency's minor unit, periods half-open.
"""

from billing_stripe.testing.objects.account import Clock, EventDestination, WebhookEndpoint
from billing_stripe.testing.objects.benefits import AlertTriggered, CreditGrant, Entitlements, MeterEvent
from billing_stripe.testing.objects.catalog import (
    Coupon,
    Feature,
    Meter,
    Price,
    Product,
    ProductFeature,
    PromotionCode,
    Tier,
)
from billing_stripe.testing.objects.common import LONG_AGO, NO_METADATA, Span
from billing_stripe.testing.objects.customers import Customer, PaymentMethod, SetupIntent, TaxId
from billing_stripe.testing.objects.invoices import Invoice, InvoiceItem, InvoiceLine
from billing_stripe.testing.objects.pages import CheckoutSession, PortalConfiguration, PortalSession, SessionItem
from billing_stripe.testing.objects.payments import (
    Charge,
    CreditNote,
    CreditNoteLine,
    Dispute,
    InvoicePayment,
    PaymentIntent,
    Refund,
)
from billing_stripe.testing.objects.subscriptions import (
    Item,
    PendingUpdate,
    SchedulePhase,
    Subscription,
    SubscriptionSchedule,
)

__all__ = [
    "AlertTriggered",
    "Charge",
    "CheckoutSession",
    "Clock",
    "Coupon",
    "CreditGrant",
    "CreditNote",
    "CreditNoteLine",
    "Customer",
    "Dispute",
    "Entitlements",
    "EventDestination",
    "Feature",
    "Invoice",
    "InvoiceItem",
    "InvoiceLine",
    "InvoicePayment",
    "Item",
    "LONG_AGO",
    "Meter",
    "MeterEvent",
    "NO_METADATA",
    "PaymentIntent",
    "PaymentMethod",
    "PendingUpdate",
    "PortalConfiguration",
    "PortalSession",
    "Price",
    "Product",
    "ProductFeature",
    "PromotionCode",
    "Refund",
    "SchedulePhase",
    "SessionItem",
    "SetupIntent",
    "Span",
    "Subscription",
    "SubscriptionSchedule",
    "TaxId",
    "Tier",
    "WebhookEndpoint",
]
