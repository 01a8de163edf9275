"""Customers, and the Checkout sessions that create them."""

from billing_stripe.testing import objects
from billing_stripe.testing.builders.values import Json, seconds, short
from billing_stripe.testing.versions import Shape


def customer(source: objects.Customer, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `customer` object."""
    shape = Shape(api_version, transitional)
    if source.deleted:
        return {"id": source.customer_id, "object": "customer", "deleted": True}
    return {
        "id": source.customer_id,
        "object": "customer",
        "address": None if source.address is None else dict(source.address),
        "balance": source.balance,
        "created": seconds(source.created_at),
        "currency": source.currency,
        **({"customer_account": None} if shape.customer_account else {}),
        "default_source": None,
        "delinquent": source.delinquent,
        "description": source.description,
        "discount": None,
        "email": source.email,
        "invoice_prefix": short(source.customer_id),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": source.default_payment_method_id,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": dict(source.metadata),
        "name": source.name,
        "next_invoice_sequence": source.next_invoice_sequence,
        "phone": source.phone,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": source.tax_exempt,
        "test_clock": source.test_clock,
    }


def checkout_session(source: objects.CheckoutSession, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `checkout.session` object."""
    shape = Shape(api_version, transitional)
    return {
        "id": source.session_id,
        "object": "checkout.session",
        "allow_promotion_codes": None,
        "amount_subtotal": source.amount_total,
        "amount_total": source.amount_total,
        "automatic_tax": {"enabled": False, "status": None},
        "billing_address_collection": None,
        "cancel_url": "https://app.example.com/billing",
        "client_reference_id": source.client_reference_id,
        "created": seconds(source.created_at),
        "currency": source.currency,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": source.customer_id,
        **({"customer_account": None} if shape.customer_account else {}),
        "customer_details": {"email": source.customer_email, "name": None, "phone": None, "tax_exempt": "none"},
        "customer_email": None,
        "expires_at": seconds(source.created_at) + 86400,
        "invoice": source.invoice_id,
        "livemode": False,
        "locale": None,
        "metadata": dict(source.metadata),
        "mode": source.mode,
        "payment_intent": None,
        "payment_method_types": ["card"],
        "payment_status": source.payment_status,
        "setup_intent": None,
        "shipping_options": [],
        "status": source.status,
        "submit_type": None,
        "subscription": source.subscription_id,
        "success_url": "https://app.example.com/billing?done",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page" if shape.dahlia else "hosted",
        "url": None,
    }
