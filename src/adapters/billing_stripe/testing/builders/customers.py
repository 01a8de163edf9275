"""Customers, and the Checkout sessions that create them."""

from billing_stripe.testing import objects
from billing_stripe.testing.builders.prices import price
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


_OF_NO_SESSION = (
    "adaptive_pricing",
    "after_expiration",
    "billing_address_collection",
    "collected_information",
    "consent",
    "consent_collection",
    "currency_conversion",
    "customer_creation",
    "discounts",
    "integration_identifier",
    "invoice_creation",
    "locale",
    "managed_payments",
    "optional_items",
    "origin_context",
    "payment_link",
    "payment_method_configuration_details",
    "payment_method_options",
    "permissions",
    "recovered_from",
    "saved_payment_method_options",
    "shipping_address_collection",
    "shipping_cost",
    "submit_type",
    "wallet_options",
)
"""Always shown and null here."""


def checkout_session(source: objects.CheckoutSession, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `checkout.session` object."""
    shape = Shape(api_version, transitional)
    return {
        "id": source.session_id,
        "object": "checkout.session",
        **dict.fromkeys(_OF_NO_SESSION),
        "allow_promotion_codes": source.allow_promotion_codes,
        "amount_subtotal": None if source.mode == "setup" else source.amount_total + source.discount,
        "amount_total": None if source.mode == "setup" else source.amount_total,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "cancel_url": source.cancel_url,
        "client_reference_id": source.client_reference_id,
        "client_secret": _client_secret(source),
        "created": seconds(source.created_at),
        "currency": None if source.mode == "setup" else source.currency,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": source.customer_id,
        **({"customer_account": None} if shape.customer_account else {}),
        "customer_details": _customer_details(source),
        "customer_email": source.customer_email if source.is_open and source.customer_id is None else None,
        "expires_at": seconds(source.expires_at),
        "invoice": source.invoice_id,
        "livemode": False,
        "metadata": dict(source.metadata),
        "mode": source.mode,
        "payment_intent": source.payment_id,
        "payment_method_collection": source.payment_method_collection,
        "payment_method_types": list(source.payment_method_types),
        "payment_status": source.payment_status,
        **({} if source.return_url is None else {"return_url": source.return_url}),
        "setup_intent": source.setup_intent_id,
        "shipping_options": [],
        "status": source.status,
        "subscription": source.subscription_id,
        "success_url": source.success_url,
        "total_details": {"amount_discount": source.discount, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": source.ui_mode if shape.dahlia else source.ui_mode.removesuffix("_page"),
        "url": source.url if source.is_open else None,
    }


def session_item(source: objects.SessionItem, api_version: str, *, transitional: bool = False) -> Json:
    """Render one of the `line_items` of a `checkout.session`."""
    return {
        "id": source.item_id,
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": source.amount,
        "amount_tax": 0,
        "amount_total": source.amount,
        "currency": source.price.currency,
        "description": source.description,
        "metadata": {},
        "price": price(source.price, api_version, transitional=transitional),
        "quantity": source.quantity,
    }


def _client_secret(source: objects.CheckoutSession) -> str | None:
    embedded = source.is_open and source.ui_mode != "hosted_page"
    return f"{source.session_id}_secret_{source.session_id[-12:]}" if embedded else None


def _customer_details(source: objects.CheckoutSession) -> Json | None:
    if source.is_open and source.customer_email is None:
        return None
    unknown = dict.fromkeys(("address", "business_name", "individual_name", "name", "phone", "tax_ids"))
    return {**unknown, "email": source.customer_email, "tax_exempt": "none"}
