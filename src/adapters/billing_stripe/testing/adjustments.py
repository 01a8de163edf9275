"""Payments, refunds, disputes and credit notes, rendered as Stripe's JSON objects of any API version."""

from decimal import Decimal
from typing import Any

from billing_stripe.testing import objects
from billing_stripe.testing.builders import Json, billing_details, seconds
from billing_stripe.testing.builders.values import optional_seconds
from billing_stripe.testing.versions import Shape

_EVIDENCE = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
)
_OF_NO_CHARGE = (
    "application",
    "application_fee",
    "application_fee_amount",
    "balance_transaction",
    "calculated_statement_descriptor",
    "failure_balance_transaction",
    "fraud_details",
    "on_behalf_of",
    "outcome",
    "receipt_email",
    "receipt_number",
    "receipt_url",
    "review",
    "shipping",
    "source_transfer",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_data",
    "transfer_group",
)
"""Always shown and null here: fraud checks, balances and Connect."""


def invoice_payment(source: objects.InvoicePayment, api_version: str) -> Json:
    """Render an `invoice_payment` object. Raises ValueError for a version without them."""
    if Shape(api_version).before_basil:
        raise ValueError(f"{api_version} has no invoice payments")
    kind = "charge" if source.payment_id.startswith(("ch_", "py_")) else "payment_intent"
    return {
        "id": source.invoice_payment_id,
        "object": "invoice_payment",
        "amount_paid": source.amount_paid if source.status == "paid" else None,
        "amount_requested": source.amount_requested,
        "created": seconds(source.created_at),
        "currency": source.currency,
        "invoice": source.invoice_id,
        "is_default": True,
        "livemode": False,
        "payment": {kind: source.payment_id, "type": kind},
        "status": source.status,
        "status_transitions": {
            "canceled_at": optional_seconds(source.canceled_at),
            "paid_at": seconds(source.paid_at or source.created_at) if source.status == "paid" else None,
        },
    }


def charge(source: objects.Charge, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `charge` object."""
    shape = Shape(api_version, transitional)
    rendered: Json = {
        "id": source.charge_id,
        "object": "charge",
        **dict.fromkeys(_OF_NO_CHARGE),
        "amount": source.amount,
        "amount_captured": source.amount if source.status == "succeeded" else 0,
        "amount_refunded": source.amount_refunded,
        "billing_details": billing_details(),
        "captured": source.status == "succeeded",
        "created": seconds(source.created_at),
        "currency": source.currency,
        "customer": source.customer_id,
        "description": "Subscription update",
        "disputed": source.disputed,
        "failure_code": source.failure_code,
        "failure_message": source.failure_message,
        "livemode": False,
        "metadata": {},
        "paid": source.status == "succeeded",
        "payment_intent": source.payment_id,
        "payment_method": source.payment_method_id,
        "payment_method_details": None,
        "refunded": source.amount_refunded == source.amount,
        "status": source.status,
    }
    if shape.before_basil:
        rendered["invoice"] = source.invoice_id
    if shape.charge_refunds:
        rendered["refunds"] = {
            "object": "list",
            "data": [],
            "has_more": False,
            "total_count": 0,
            "url": f"/v1/charges/{source.charge_id}/refunds",
        }
    return rendered


def refund(source: objects.Refund, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `refund` object."""
    rendered: Json = {
        "id": source.refund_id,
        "object": "refund",
        "amount": source.amount,
        "balance_transaction": None,
        "charge": source.charge_id,
        "created": seconds(source.created_at),
        "currency": source.currency,
        "metadata": dict(source.metadata),
        "payment_intent": source.payment_id,
        "reason": source.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": source.status,
        "transfer_reversal": None,
    }
    if source.status == "failed":
        rendered["failure_reason"] = "expired_or_canceled_card"
    if Shape(api_version, transitional).refund_customer:
        rendered |= {"customer": source.customer_id, "customer_account": None, "payment_method": None}
    return rendered


def dispute(source: objects.Dispute, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `dispute` object without evidence."""
    rendered: Json = {
        "id": source.dispute_id,
        "object": "dispute",
        "amount": source.amount,
        "balance_transactions": [],
        "charge": source.charge_id,
        "created": seconds(source.created_at),
        "currency": source.currency,
        "evidence": dict.fromkeys(_EVIDENCE) | {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": seconds(source.created_at) + 7 * 86400,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": dict(source.metadata),
        "payment_intent": source.payment_id,
        "reason": source.reason,
        "status": source.status,
    }
    if Shape(api_version, transitional).dispute_eligibility:
        rendered["enhanced_eligibility_types"] = []
        rendered["evidence_details"]["enhanced_eligibility"] = {}
    return rendered


def credit_note(source: objects.CreditNote, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `credit_note` object that credits one amount of an invoice."""
    shape = Shape(api_version, transitional)
    rendered: Json = {
        "id": source.credit_note_id,
        "object": "credit_note",
        "amount": source.amount,
        "amount_shipping": 0,
        "created": seconds(source.created_at),
        "currency": source.currency,
        "customer": source.customer_id,
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": seconds(source.created_at),
        "invoice": source.invoice_id,
        "lines": {
            "object": "list",
            "data": [_credit_note_line(line) for line in source.lines],
            "has_more": False,
            "url": f"/v1/credit_notes/{source.credit_note_id}/lines",
        },
        "livemode": False,
        "memo": source.memo,
        "metadata": dict(source.metadata),
        "number": f"{source.credit_note_id.rpartition('_')[2][-8:].upper()}-CN-01",
        "out_of_band_amount": None,
        "pdf": f"https://pay.stripe.com/credit_notes/test_{source.credit_note_id}/pdf",
        "pretax_credit_amounts": [],
        "reason": source.reason,
        "status": source.status,
        "shipping_cost": None,
        "subtotal": source.amount,
        "subtotal_excluding_tax": source.amount,
        "total": source.amount,
        "total_excluding_tax": source.amount,
        "type": _type_of_credit(source),
        "voided_at": seconds(source.created_at) if source.status == "void" else None,
    }
    before: dict[str, Any] = {"refund": None, "tax_amounts": []}
    since: dict[str, Any] = {
        "post_payment_amount": source.amount - source.before_payment,
        "pre_payment_amount": source.before_payment,
        "refunds": [],
        "total_taxes": [],
    }
    if shape.before_basil:
        rendered |= before
    if shape.basil:
        rendered |= since
    if shape.customer_account:
        rendered["customer_account"] = None
    return rendered


def _type_of_credit(source: objects.CreditNote) -> str:
    if source.before_payment == 0:
        return "post_payment"
    return "pre_payment" if source.before_payment == source.amount else "mixed"


def _credit_note_line(source: objects.CreditNoteLine) -> Json:
    rendered: Json = {
        "id": source.line_id,
        "object": "credit_note_line_item",
        "amount": source.amount,
        "description": source.description,
        "discount_amount": 0,
        "discount_amounts": [],
        "livemode": False,
        "metadata": {},
        "pretax_credit_amounts": [],
        "quantity": source.quantity,
        "tax_rates": [],
        "taxes": None,
        "type": "custom_line_item" if source.invoice_line_id is None else "invoice_line_item",
        "unit_amount": source.amount // source.quantity,
        "unit_amount_decimal": f"{Decimal(source.amount) / source.quantity:f}",
    }
    if source.invoice_line_id is not None:
        rendered["invoice_line_item"] = source.invoice_line_id
    return rendered
