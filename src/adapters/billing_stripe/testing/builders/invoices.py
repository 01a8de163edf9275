"""Invoices with their lines."""

from billing_stripe.testing import objects
from billing_stripe.testing.builders.prices import decimal, plan_of, price
from billing_stripe.testing.builders.values import Json, derived, json_list, optional_seconds, seconds
from billing_stripe.testing.versions import Shape

_ACCOUNT = "acct_1ExampleAccount00"
_TAX_RATE = "txr_1ExampleTaxRate00000000"


_OF_NO_INVOICE = (
    "account_tax_ids",
    "application",
    "custom_fields",
    "customer_address",
    "customer_phone",
    "customer_shipping",
    "default_source",
    "footer",
    "from_invoice",
    "last_finalization_error",
    "latest_revision",
    "on_behalf_of",
    "receipt_number",
    "rendering",
    "shipping_cost",
    "shipping_details",
    "statement_descriptor",
    "webhooks_delivered_at",
)
"""Always shown and null here."""


def invoice(source: objects.Invoice, api_version: str, *, transitional: bool = False) -> Json:
    """Render an `invoice` object with its lines; a preview has no id."""
    shape = Shape(api_version, transitional)
    identity = {} if source.invoice_id is None else {"id": source.invoice_id}
    rendered: Json = {
        **identity,
        "object": "invoice",
        **dict.fromkeys(_OF_NO_INVOICE),
        "account_country": "US",
        "account_name": "Example Ltd",
        "amount_due": source.amount_due,
        "amount_paid": source.amount_paid,
        "amount_remaining": source.amount_remaining,
        "amount_shipping": 0,
        "attempt_count": source.attempt_count,
        "attempted": source.attempt_count > 0 or source.status == "paid",
        "auto_advance": source.status in ("draft", "open") if source.auto_advance is None else source.auto_advance,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": optional_seconds(source.finalizes_at if source.status == "draft" else None),
        "billing_reason": source.billing_reason,
        "collection_method": source.collection_method,
        "created": seconds(source.created_at),
        "currency": source.currency,
        "customer": source.customer_id,
        "customer_email": source.customer_email,
        "customer_name": source.customer_name,
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_payment_method": source.default_payment_method_id,
        "default_tax_rates": [],
        "description": source.description,
        "discounts": [] if source.discount_id is None else [source.discount_id],
        "due_date": optional_seconds(source.due_at),
        "effective_at": optional_seconds(source.finalized_at),
        "ending_balance": _ending_balance(source),
        **_links(source),
        "issuer": {"type": "self"},
        "lines": json_list(
            [_line(line, source, shape) for line in source.lines],
            f"/v1/invoices/{source.invoice_id or 'upcoming'}/lines",
            has_more=source.more_lines,
        ),
        "livemode": False,
        "metadata": dict(source.metadata),
        "next_payment_attempt": optional_seconds(source.next_payment_attempt_at),
        "number": source.number,
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": seconds(source.period.end),
        "period_start": seconds(source.period.start),
        "post_payment_credit_notes_amount": source.credited_after_payment,
        "pre_payment_credit_notes_amount": source.credited_before_payment,
        "starting_balance": -source.credited if source.starting_balance is None else source.starting_balance,
        "status": source.status,
        "status_transitions": {
            "finalized_at": optional_seconds(source.finalized_at),
            "marked_uncollectible_at": optional_seconds(source.marked_uncollectible_at),
            "paid_at": optional_seconds(source.paid_at),
            "voided_at": optional_seconds(source.voided_at),
        },
        "subtotal": source.subtotal,
        "subtotal_excluding_tax": source.subtotal,
        "test_clock": source.test_clock,
        "total": source.total,
        "total_discount_amounts": _discount_amounts(source),
        "total_excluding_tax": source.total - source.tax,
        "total_pretax_credit_amounts": [],
    }
    if shape.before_basil:
        rendered |= _invoice_before_basil(source, shape)
    if shape.basil:
        rendered |= _invoice_since_basil(source)
    if shape.customer_account:
        rendered["customer_account"] = None
    if shape.billing_schedules:
        rendered["amount_paid_off_stripe"] = 0
    if shape.endive:
        rendered["status_details"] = None
    return rendered


def _ending_balance(source: objects.Invoice) -> int | None:
    usual = None if source.status == "draft" else 0
    return usual if source.ending_balance is None else source.ending_balance


def _discount_amounts(source: objects.Invoice) -> list[Json]:
    return [{"amount": source.discount, "discount": source.discount_id}] if source.discount_id is not None else []


def _payment_intent(source: objects.Invoice) -> str | None:
    if source.payment_id is not None:
        return source.payment_id
    return derived("pi", str(source.invoice_id)) if source.finalized_at and source.amount_due else None


def _links(source: objects.Invoice) -> Json:
    """Return the links to the invoice; a draft has none."""
    if source.finalized_at is None or source.invoice_id is None:
        return {"hosted_invoice_url": None, "invoice_pdf": None}
    address = f"{_ACCOUNT}/test_{source.invoice_id}"
    return {
        "hosted_invoice_url": f"https://invoice.stripe.com/i/{address}",
        "invoice_pdf": f"https://pay.stripe.com/invoice/{address}/pdf",
    }


def _invoice_before_basil(source: objects.Invoice, shape: Shape) -> Json:
    paid = source.status == "paid"
    charged = paid and source.amount_paid > 0
    rendered: Json = {
        "charge": derived("ch", str(source.invoice_id)) if charged else None,
        "discount": None,
        "paid": paid,
        "paid_out_of_band": source.paid_out_of_band,
        "payment_intent": _payment_intent(source),
        "subscription": source.subscription_id,
        "tax": source.tax if source.tax else None,
        "total_tax_amounts": _tax_amounts(source.tax),
    }
    if shape.invoice_subscription_metadata:
        metadata = None if source.subscription_id is None else dict(source.subscription_metadata)
        rendered["subscription_details"] = {"metadata": metadata}
    return rendered


def _invoice_since_basil(source: objects.Invoice) -> Json:
    parent: Json | None = None
    if source.subscription_id is not None:
        parent = {
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(source.subscription_metadata),
                "subscription": source.subscription_id,
            },
            "type": "subscription_details",
        }
    return {"amount_overpaid": 0, "parent": parent, "total_taxes": _taxes(source.tax, source.subtotal)}


def _line(source: objects.InvoiceLine, owner: objects.Invoice, shape: Shape) -> Json:
    rendered: Json = {
        "id": source.line_id,
        "object": "line_item",
        "amount": source.amount,
        "currency": owner.currency,
        "description": source.description,
        "discount_amounts": [],
        "discountable": not source.proration,
        "discounts": [],
        "invoice": owner.invoice_id,
        "livemode": False,
        "metadata": dict(source.metadata),
        "period": {"end": seconds(source.period.end), "start": seconds(source.period.start)},
        "pretax_credit_amounts": [],
        "quantity": None if source.quantity is None else int(source.quantity),
    }
    if shape.before_basil:
        rendered |= _line_before_basil(source, shape)
    if shape.basil:
        rendered |= _line_since_basil(source)
    if shape.customer_account:
        rendered["subtotal"] = source.amount
    if shape.dahlia:
        rendered["quantity_decimal"] = None if source.quantity is None else str(source.quantity)
    return rendered


def _line_before_basil(source: objects.InvoiceLine, shape: Shape) -> Json:
    rendered: Json = {
        "plan": plan_of(source.price, shape),
        "price": price(source.price, shape.api_version, transitional=shape.transitional),
        "proration": source.proration,
        "proration_details": {"credited_items": None},
        "subscription": source.subscription_id,
        "tax_amounts": _tax_amounts(source.tax),
        "tax_rates": [],
        "type": "subscription" if source.invoice_item_id is None else "invoiceitem",
    }
    if source.item_id is not None:
        rendered["subscription_item"] = source.item_id
    if source.invoice_item_id is not None:
        rendered["invoice_item"] = source.invoice_item_id
    return rendered


def _line_since_basil(source: objects.InvoiceLine) -> Json:
    details: Json = {
        "invoice_item": source.invoice_item_id,
        "proration": source.proration,
        "proration_details": {"credited_items": None},
        "subscription": source.subscription_id,
    }
    of_item = source.item_id is not None
    return {
        "parent": {
            "invoice_item_details": None if of_item else details,
            "subscription_item_details": {**details, "subscription_item": source.item_id} if of_item else None,
            "type": "subscription_item_details" if of_item else "invoice_item_details",
        },
        "pricing": {
            "price_details": {"price": source.price.price_id, "product": source.price.product_id},
            "type": "price_details",
            "unit_amount_decimal": decimal(source.price),
        },
        "taxes": _taxes(source.tax, source.amount),
    }


def _tax_amounts(tax: int) -> list[Json]:
    return [{"amount": tax, "inclusive": False, "tax_rate": _TAX_RATE}] if tax else []


def _taxes(tax: int, taxable: int) -> list[Json]:
    if not tax:
        return []
    return [
        {
            "amount": tax,
            "tax_behavior": "exclusive",
            "tax_rate_details": {"tax_rate": _TAX_RATE},
            "taxability_reason": "standard_rated",
            "taxable_amount": taxable,
            "type": "tax_rate_details",
        }
    ]
