"""Objects rendered as Stripe's JSON, in the shape of any API version."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from billing_stripe.testing import objects
from billing_stripe.testing.versions import Shape

Json = dict[str, Any]

_ACCOUNT = "acct_1ExampleAccount00"
_TAX_RATE = "txr_1ExampleTaxRate00000000"


def customer(source: objects.Customer, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `customer` object."""
    shape = Shape(api_version, transitional)
    if source.deleted:
        return {"id": source.customer_id, "object": "customer", "deleted": True}
    return {
        "id": source.customer_id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": seconds(source.created_at),
        "currency": source.currency,
        **({"customer_account": None} if shape.customer_account else {}),
        "default_source": None,
        "delinquent": source.delinquent,
        "description": None,
        "discount": None,
        "email": source.email,
        "invoice_prefix": _short(source.customer_id),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": _derived("pm", source.customer_id),
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": dict(source.metadata),
        "name": source.name,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def subscription(source: objects.Subscription, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `subscription` object with its items."""
    shape = Shape(api_version, transitional)
    rendered: Json = {
        "id": source.subscription_id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": seconds(source.created_at),
        "billing_thresholds": None,
        "cancel_at": _optional_seconds(source.cancel_at),
        "cancel_at_period_end": source.cancel_at_period_end,
        "canceled_at": _optional_seconds(source.canceled_at),
        "collection_method": source.collection_method,
        "created": seconds(source.created_at),
        "customer": source.customer_id,
        "days_until_due": source.days_until_due,
        "default_payment_method": _derived("pm", source.customer_id),
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "ended_at": _optional_seconds(source.ended_at),
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": _list(
            [_item(item, source.subscription_id, shape) for item in source.items],
            f"/v1/subscription_items?subscription={source.subscription_id}",
        ),
        "latest_invoice": source.latest_invoice_id,
        "livemode": False,
        "metadata": dict(source.metadata),
        "next_pending_invoice_item_invoice": None,
        "pause_collection": None
        if source.pause_collection is None
        else {"behavior": source.pause_collection, "resumes_at": None},
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": seconds(source.created_at),
        "status": source.status,
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None if source.trial is None else seconds(source.trial.end),
        "trial_start": None if source.trial is None else seconds(source.trial.start),
    }
    rendered |= _discounts(source, shape) | _single_item(source, shape) | _newer_subscription_fields(source, shape)
    return rendered


def invoice(source: objects.Invoice, api_version: str, *, transitional: bool = False) -> Json:
    """Render an `invoice` object with its lines; a preview has no id."""
    shape = Shape(api_version, transitional)
    identity = {} if source.invoice_id is None else {"id": source.invoice_id}
    rendered: Json = {
        **identity,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Example Ltd",
        "amount_due": source.amount_due,
        "amount_paid": source.amount_paid,
        "amount_remaining": source.amount_remaining,
        "attempt_count": source.attempt_count,
        "attempted": source.attempt_count > 0 or source.status == "paid",
        "auto_advance": source.status in ("draft", "open"),
        "billing_reason": source.billing_reason,
        "collection_method": source.collection_method,
        "created": seconds(source.created_at),
        "currency": source.currency,
        "customer": source.customer_id,
        "customer_email": source.customer_email,
        "customer_name": source.customer_name,
        "customer_tax_exempt": "none",
        "default_payment_method": None,
        "description": None,
        "due_date": _optional_seconds(source.due_at),
        "ending_balance": None if source.status == "draft" else 0,
        **_links(source),
        "lines": _list(
            [_line(line, source, shape) for line in source.lines],
            f"/v1/invoices/{source.invoice_id or 'upcoming'}/lines",
            has_more=source.more_lines,
        ),
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": _optional_seconds(source.next_payment_attempt_at),
        "number": source.number,
        "period_end": seconds(source.period.end),
        "period_start": seconds(source.period.start),
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "starting_balance": -source.credited,
        "statement_descriptor": None,
        "status": source.status,
        "status_transitions": {
            "finalized_at": _optional_seconds(source.finalized_at),
            "marked_uncollectible_at": _optional_seconds(source.marked_uncollectible_at),
            "paid_at": _optional_seconds(source.paid_at),
            "voided_at": _optional_seconds(source.voided_at),
        },
        "subtotal": source.subtotal,
        "test_clock": None,
        "total": source.total,
        "total_discount_amounts": [],
        "webhooks_delivered_at": None,
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


def price(source: objects.Price, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `price` object."""
    shape = Shape(api_version, transitional)
    return {
        "id": source.price_id,
        "object": "price",
        "active": source.active,
        "billing_scheme": "per_unit",
        "created": 1577836800,
        "currency": source.currency,
        "livemode": False,
        "lookup_key": source.lookup_key,
        "metadata": {} if source.plan_code is None else {"plan_code": source.plan_code},
        "nickname": source.nickname,
        "product": source.product_id,
        "recurring": {
            **({"aggregate_usage": "sum" if source.metered else None} if shape.before_basil else {}),
            "interval": source.interval,
            "interval_count": 1,
            **({"meter": _derived("mtr", source.price_id) if source.metered else None} if shape.meters else {}),
            "trial_period_days": None,
            "usage_type": _usage_type(source),
        },
        "tax_behavior": "exclusive",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": source.unit_amount,
        "unit_amount_decimal": _decimal(source),
    }


def plan(source: objects.Price, api_version: str, *, transitional: bool = False) -> Json:
    """Render the `plan` object of a price, its legacy twin."""
    return _plan(source, Shape(api_version, transitional))


def previous_attributes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Json:
    """Return `data.previous_attributes` of an update: the old values of changed fields, in the objects' own shape.

    Objects are reduced to their changed members, lists are complete, and a new member was null before.
    """
    changed: Json = {}
    for key in [*before, *(key for key in after if key not in before)]:
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            changed[key] = previous_attributes(old, new)
        else:
            changed[key] = old
    return changed


def _item(source: objects.Item, subscription_id: str, shape: Shape) -> Json:
    rendered: Json = {
        "id": source.item_id,
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": seconds(source.period.start),
        "metadata": {},
        "plan": _plan(source.price, shape),
        "price": price(source.price, shape.api_version, transitional=shape.transitional),
        "subscription": subscription_id,
        "tax_rates": [],
    }
    if not source.price.metered:
        rendered["quantity"] = source.quantity
    if shape.basil:
        rendered["current_period_end"] = seconds(source.period.end)
        rendered["current_period_start"] = seconds(source.period.start)
    if shape.cancellation_details:
        rendered["discounts"] = []
    if shape.billing_schedules:
        rendered["billed_until"] = None
    if shape.endive:
        rendered["current_trial"] = None
    return rendered


def _plan(source: objects.Price, shape: Shape) -> Json:
    """Render the legacy twin of a price; all versions still have it."""
    return {
        "id": source.price_id,
        "object": "plan",
        "active": True,
        **({"aggregate_usage": "sum" if source.metered else None} if shape.before_basil else {}),
        "amount": source.unit_amount,
        "amount_decimal": _decimal(source),
        "billing_scheme": "per_unit",
        "created": 1577836800,
        "currency": source.currency,
        "interval": source.interval,
        "interval_count": 1,
        "livemode": False,
        "metadata": {},
        "nickname": source.nickname,
        "product": source.product_id,
        "trial_period_days": None,
        "usage_type": _usage_type(source),
    }


def _single_item(source: objects.Subscription, shape: Shape) -> Json:
    """Return period, plan and quantity of the subscription itself.

    Plan and quantity are set for a single item only. Later versions no longer document them, but still send them.
    """
    rendered: Json = {"plan": None, "quantity": None}
    if len(source.items) == 1:
        (item,) = source.items
        rendered["plan"] = _plan(item.price, shape)
        if not item.price.metered:
            rendered["quantity"] = item.quantity
    if shape.before_basil and source.items:
        rendered["current_period_end"] = seconds(source.span.end)
        rendered["current_period_start"] = seconds(source.span.start)
    return rendered


def _discounts(source: objects.Subscription, shape: Shape) -> Json:
    discount: Json | None = None
    if source.coupon_id is not None:
        coupon = {"id": source.coupon_id, "object": "coupon", "duration": "forever", "percent_off": 20.0, "valid": True}
        by_source: Json = {"source": {"coupon": source.coupon_id, "type": "coupon"}}
        discount = {
            "id": _derived("di", source.subscription_id),
            "object": "discount",
            **(by_source if shape.discount_source else {"coupon": coupon}),
            "customer": source.customer_id,
            "end": None,
            "start": seconds(source.created_at),
            "subscription": source.subscription_id,
        }
    rendered: Json = {"discount": discount} if shape.before_basil else {}
    if shape.cancellation_details:
        rendered["discounts"] = [] if discount is None else [discount["id"]]
    return rendered


def _newer_subscription_fields(source: objects.Subscription, shape: Shape) -> Json:
    rendered: Json = {}
    if shape.subscription_currency:
        rendered["currency"] = source.currency
    if shape.cancellation_details:
        reason = "cancellation_requested" if source.canceled_at is not None else None
        rendered["cancellation_details"] = {"comment": None, "feedback": None, "reason": reason}
        rendered["trial_settings"] = {"end_behavior": {"missing_payment_method": "pause"}}
    if shape.billing_mode:
        flexible = shape.flexible_by_default if source.flexible_billing is None else source.flexible_billing
        detail: Json = {"flexible": {"proration_discounts": "included"}} if flexible else {"flexible": None}
        rendered["billing_mode"] = {**detail, "type": "flexible" if flexible else "classic"}
    if shape.customer_account:
        rendered["customer_account"] = None
    if shape.billing_schedules:
        rendered["billing_schedules"] = []
    if shape.endive:
        rendered["status_details"] = None if source.paused_at is None else _paused_details(source.paused_at)
    return rendered


def _paused_details(paused_at: datetime) -> Json:
    return {
        "paused": {
            "subscription": {"type": "pause_requested"},
            "transitioned_at": seconds(paused_at),
            "type": "subscription",
        }
    }


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
        "charge": _derived("ch", str(source.invoice_id)) if charged else None,
        "discount": None,
        "paid": paid,
        "paid_out_of_band": False,
        "payment_intent": _derived("pi", str(source.invoice_id)) if source.finalized_at and source.amount_due else None,
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
        "quantity": source.quantity,
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
        "plan": _plan(source.price, shape),
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
            "unit_amount_decimal": _decimal(source.price),
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


def _list(data: Iterable[Json], url: str, *, has_more: bool = False) -> Json:
    members = list(data)
    return {"object": "list", "data": members, "has_more": has_more, "total_count": len(members), "url": url}


def _usage_type(source: objects.Price) -> str:
    return "metered" if source.metered else "licensed"


def _decimal(source: objects.Price) -> str | None:
    if source.unit_amount_decimal is not None:
        return source.unit_amount_decimal
    return None if source.unit_amount is None else str(source.unit_amount)


def _derived(prefix: str, identifier: str) -> str:
    """Derive the id of an object that the source does not name."""
    return f"{prefix}_{identifier.rpartition('_')[2]}"


def _short(identifier: str) -> str:
    return identifier.rpartition("_")[2][-8:].upper()


def seconds(instant: datetime) -> int:
    """Return the Unix time. Raises ValueError for a naive datetime, which would be read in the machine's time zone."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone")
    return int(instant.timestamp())


def _optional_seconds(instant: datetime | None) -> int | None:
    return None if instant is None else seconds(instant)
