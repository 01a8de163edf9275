"""Payment intents and setup intents."""

from typing import Any

from billing_stripe.testing import objects
from billing_stripe.testing.builders.values import Json, optional_seconds, seconds
from billing_stripe.testing.versions import Shape


def payment_intent(source: objects.PaymentIntent, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `payment_intent` object."""
    shape = Shape(api_version, transitional)
    rendered: Json = {
        "id": source.payment_id,
        "object": "payment_intent",
        "amount": source.amount,
        "amount_capturable": 0,
        "amount_received": source.amount_received,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": optional_seconds(source.canceled_at),
        "cancellation_reason": None if source.canceled_at is None else "void_invoice",
        "capture_method": "automatic",
        "client_secret": f"{source.payment_id}_secret_{source.payment_id[-12:]}",
        "confirmation_method": "automatic",
        "created": seconds(source.created_at),
        "currency": source.currency,
        "customer": source.customer_id,
        "description": source.description,
        "excluded_payment_method_types": None,
        "last_payment_error": None if source.error is None else dict(source.error),
        "latest_charge": source.latest_charge_id,
        "livemode": False,
        "managed_payments": None,
        "metadata": dict(source.metadata),
        "next_action": _next_action(source.status),
        "on_behalf_of": None,
        "payment_method": source.payment_method_id,
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": source.setup_future_usage,
        "shipping": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": source.status,
        "transfer_data": None,
        "transfer_group": None,
    }
    if shape.before_basil:
        rendered["invoice"] = source.invoice_id
    if shape.customer_account:
        rendered["customer_account"] = None
    return rendered


def setup_intent(source: objects.SetupIntent, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `setup_intent` object."""
    rendered: Json = {
        "id": source.setup_intent_id,
        "object": "setup_intent",
        "application": None,
        "automatic_payment_methods": None,
        "cancellation_reason": None,
        "client_secret": f"{source.setup_intent_id}_secret_{source.setup_intent_id[-12:]}",
        "created": seconds(source.created_at),
        "customer": source.customer_id,
        "description": source.description,
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None if source.error is None else dict(source.error),
        "latest_attempt": None,
        "livemode": False,
        "managed_payments": None,
        "mandate": None,
        "metadata": dict(source.metadata),
        "next_action": _next_action(source.status),
        "on_behalf_of": None,
        "payment_method": source.payment_method_id,
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "single_use_mandate": None,
        "status": source.status,
        "usage": source.usage,
    }
    if Shape(api_version, transitional).customer_account:
        rendered["customer_account"] = None
    return rendered


def _next_action(status: str) -> dict[str, Any] | None:
    if status != "requires_action":
        return None
    return {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}
