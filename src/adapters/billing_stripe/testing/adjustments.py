"""Payments and what corrects them, rendered as Stripe's JSON objects in the shape of any API version."""

from typing import Any

from billing_stripe.testing import objects
from billing_stripe.testing.builders import Json, seconds
from billing_stripe.testing.versions import Shape


def invoice_payment(fact: objects.InvoicePayment, api_version: str) -> Json:
    """An `invoice_payment` object. Raises ValueError for a version that has none."""
    if Shape(api_version).before_basil:
        raise ValueError(f"{api_version} has no invoice payments")
    kind = "charge" if fact.payment_id.startswith(("ch_", "py_")) else "payment_intent"
    return {
        "id": fact.invoice_payment_id,
        "object": "invoice_payment",
        "amount_paid": fact.amount_paid,
        "amount_requested": fact.amount_paid,
        "created": seconds(fact.created_at),
        "currency": fact.currency,
        "invoice": fact.invoice_id,
        "is_default": True,
        "livemode": False,
        "payment": {kind: fact.payment_id, "type": kind},
        "status": fact.status,
        "status_transitions": {
            "canceled_at": None,
            "paid_at": seconds(fact.created_at) if fact.status == "paid" else None,
        },
    }


def charge(fact: objects.Charge, api_version: str, *, transitional: bool = False) -> Json:
    """A `charge` object that succeeded."""
    shape = Shape(api_version, transitional)
    rendered: Json = {
        "id": fact.charge_id,
        "object": "charge",
        "amount": fact.amount,
        "amount_captured": fact.amount,
        "amount_refunded": fact.amount_refunded,
        "captured": True,
        "created": seconds(fact.created_at),
        "currency": fact.currency,
        "customer": fact.customer_id,
        "description": "Subscription update",
        "disputed": fact.disputed,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": {},
        "paid": True,
        "payment_intent": fact.payment_id,
        "payment_method": None,
        "refunded": fact.amount_refunded == fact.amount,
        "status": "succeeded",
    }
    if shape.before_basil:
        rendered["invoice"] = fact.invoice_id
    if shape.charge_refunds:
        rendered["refunds"] = {
            "object": "list",
            "data": [],
            "has_more": False,
            "total_count": 0,
            "url": f"/v1/charges/{fact.charge_id}/refunds",
        }
    return rendered


def refund(fact: objects.Refund, api_version: str, *, transitional: bool = False) -> Json:
    """A `refund` object."""
    rendered: Json = {
        "id": fact.refund_id,
        "object": "refund",
        "amount": fact.amount,
        "balance_transaction": None,
        "charge": fact.charge_id,
        "created": seconds(fact.created_at),
        "currency": fact.currency,
        "metadata": {},
        "payment_intent": fact.payment_id,
        "reason": fact.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": fact.status,
        "transfer_reversal": None,
    }
    if fact.status == "failed":
        rendered["failure_reason"] = "expired_or_canceled_card"
    if Shape(api_version, transitional).refund_customer:
        rendered |= {"customer": fact.customer_id, "customer_account": None, "payment_method": None}
    return rendered


def dispute(fact: objects.Dispute, api_version: str, *, transitional: bool = False) -> Json:
    """A `dispute` object, without the evidence."""
    rendered: Json = {
        "id": fact.dispute_id,
        "object": "dispute",
        "amount": fact.amount,
        "balance_transactions": [],
        "charge": fact.charge_id,
        "created": seconds(fact.created_at),
        "currency": fact.currency,
        "evidence_details": {
            "due_by": seconds(fact.created_at) + 7 * 86400,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": fact.payment_id,
        "reason": fact.reason,
        "status": fact.status,
    }
    if Shape(api_version, transitional).dispute_eligibility:
        rendered["enhanced_eligibility_types"] = []
    return rendered


def credit_note(fact: objects.CreditNote, api_version: str, *, transitional: bool = False) -> Json:
    """A `credit_note` object that credits an unpaid or paid invoice as a whole amount."""
    shape = Shape(api_version, transitional)
    rendered: Json = {
        "id": fact.credit_note_id,
        "object": "credit_note",
        "amount": fact.amount,
        "amount_shipping": 0,
        "created": seconds(fact.created_at),
        "currency": fact.currency,
        "customer": fact.customer_id,
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "invoice": fact.invoice_id,
        "livemode": False,
        "memo": None,
        "metadata": {},
        "number": f"{fact.credit_note_id.rpartition('_')[2][-8:].upper()}-CN-01",
        "out_of_band_amount": None,
        "reason": fact.reason,
        "status": fact.status,
        "subtotal": fact.amount,
        "total": fact.amount,
        "type": "post_payment",
        "voided_at": seconds(fact.created_at) if fact.status == "void" else None,
    }
    before: dict[str, Any] = {"refund": None, "tax_amounts": []}
    since: dict[str, Any] = {
        "post_payment_amount": fact.amount,
        "pre_payment_amount": 0,
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
