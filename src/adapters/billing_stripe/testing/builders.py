"""Facts rendered as Stripe's JSON objects, in the shape of any API version."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from billing_stripe.testing import objects
from billing_stripe.testing.versions import Shape

Json = dict[str, Any]

_ACCOUNT = "acct_1ExampleAccount00"
_TAX_RATE = "txr_1ExampleTaxRate00000000"


def customer(fact: objects.Customer, api_version: str, *, transitional: bool = False) -> Json:
    """A `customer` object."""
    shape = Shape(api_version, transitional)
    if fact.deleted:
        return {"id": fact.customer_id, "object": "customer", "deleted": True}
    return {
        "id": fact.customer_id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": seconds(fact.created_at),
        "currency": fact.currency,
        **({"customer_account": None} if shape.customer_account else {}),
        "default_source": None,
        "delinquent": fact.delinquent,
        "description": None,
        "discount": None,
        "email": fact.email,
        "invoice_prefix": _short(fact.customer_id),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": _derived("pm", fact.customer_id),
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": dict(fact.metadata),
        "name": fact.name,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def subscription(fact: objects.Subscription, api_version: str, *, transitional: bool = False) -> Json:
    """A `subscription` object with its items."""
    shape = Shape(api_version, transitional)
    rendered: Json = {
        "id": fact.subscription_id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": seconds(fact.created_at),
        "billing_thresholds": None,
        "cancel_at": _optional_seconds(fact.cancel_at),
        "cancel_at_period_end": fact.cancel_at_period_end,
        "canceled_at": _optional_seconds(fact.canceled_at),
        "collection_method": fact.collection_method,
        "created": seconds(fact.created_at),
        "customer": fact.customer_id,
        "days_until_due": fact.days_until_due,
        "default_payment_method": _derived("pm", fact.customer_id),
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "ended_at": _optional_seconds(fact.ended_at),
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": _list(
            [_item(item, fact.subscription_id, shape) for item in fact.items],
            f"/v1/subscription_items?subscription={fact.subscription_id}",
        ),
        "latest_invoice": fact.latest_invoice_id,
        "livemode": False,
        "metadata": dict(fact.metadata),
        "next_pending_invoice_item_invoice": None,
        "pause_collection": None
        if fact.pause_collection is None
        else {"behavior": fact.pause_collection, "resumes_at": None},
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": seconds(fact.created_at),
        "status": fact.status,
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None if fact.trial is None else seconds(fact.trial.end),
        "trial_start": None if fact.trial is None else seconds(fact.trial.start),
    }
    rendered |= _discounts(fact, shape) | _single_item(fact, shape) | _newer_subscription_fields(fact, shape)
    return rendered


def invoice(fact: objects.Invoice, api_version: str, *, transitional: bool = False) -> Json:
    """An `invoice` object with its lines; a preview has no id."""
    shape = Shape(api_version, transitional)
    identity = {} if fact.invoice_id is None else {"id": fact.invoice_id}
    rendered: Json = {
        **identity,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Example Ltd",
        "amount_due": fact.amount_due,
        "amount_paid": fact.amount_paid,
        "amount_remaining": fact.amount_remaining,
        "attempt_count": fact.attempt_count,
        "attempted": fact.attempt_count > 0 or fact.status == "paid",
        "auto_advance": fact.status in ("draft", "open"),
        "billing_reason": fact.billing_reason,
        "collection_method": fact.collection_method,
        "created": seconds(fact.created_at),
        "currency": fact.currency,
        "customer": fact.customer_id,
        "customer_email": fact.customer_email,
        "customer_name": fact.customer_name,
        "customer_tax_exempt": "none",
        "default_payment_method": None,
        "description": None,
        "due_date": _optional_seconds(fact.due_at),
        "ending_balance": None if fact.status == "draft" else 0,
        **_links(fact),
        "lines": _list(
            [_line(line, fact, shape) for line in fact.lines],
            f"/v1/invoices/{fact.invoice_id or 'upcoming'}/lines",
            has_more=fact.more_lines,
        ),
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": _optional_seconds(fact.next_payment_attempt_at),
        "number": fact.number,
        "period_end": seconds(fact.period.end),
        "period_start": seconds(fact.period.start),
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "starting_balance": -fact.credited,
        "statement_descriptor": None,
        "status": fact.status,
        "status_transitions": {
            "finalized_at": _optional_seconds(fact.finalized_at),
            "marked_uncollectible_at": _optional_seconds(fact.marked_uncollectible_at),
            "paid_at": _optional_seconds(fact.paid_at),
            "voided_at": _optional_seconds(fact.voided_at),
        },
        "subtotal": fact.subtotal,
        "test_clock": None,
        "total": fact.total,
        "total_discount_amounts": [],
        "webhooks_delivered_at": None,
    }
    if shape.before_basil:
        rendered |= _invoice_before_basil(fact, shape)
    if shape.basil:
        rendered |= _invoice_since_basil(fact)
    if shape.customer_account:
        rendered["customer_account"] = None
    if shape.billing_schedules:
        rendered["amount_paid_off_stripe"] = 0
    if shape.endive:
        rendered["status_details"] = None
    return rendered


def checkout_session(fact: objects.CheckoutSession, api_version: str, *, transitional: bool = False) -> Json:
    """A `checkout.session` object in mode `subscription`."""
    shape = Shape(api_version, transitional)
    return {
        "id": fact.session_id,
        "object": "checkout.session",
        "allow_promotion_codes": None,
        "amount_subtotal": fact.amount_total,
        "amount_total": fact.amount_total,
        "automatic_tax": {"enabled": False, "status": None},
        "billing_address_collection": None,
        "cancel_url": "https://app.example.com/billing",
        "client_reference_id": fact.client_reference_id,
        "created": seconds(fact.created_at),
        "currency": fact.currency,
        "customer": fact.customer_id,
        **({"customer_account": None} if shape.customer_account else {}),
        "customer_details": {"email": fact.customer_email, "name": None, "phone": None, "tax_exempt": "none"},
        "customer_email": None,
        "expires_at": seconds(fact.created_at) + 86400,
        "invoice": fact.invoice_id,
        "livemode": False,
        "locale": None,
        "metadata": dict(fact.metadata),
        "mode": "subscription",
        "payment_intent": None,
        "payment_method_types": ["card"],
        "payment_status": fact.payment_status,
        "setup_intent": None,
        "shipping_options": [],
        "status": fact.status,
        "submit_type": None,
        "subscription": fact.subscription_id,
        "success_url": "https://app.example.com/billing?done",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page" if shape.dahlia else "hosted",
        "url": None,
    }


def price(fact: objects.Price, api_version: str, *, transitional: bool = False) -> Json:
    """A `price` object."""
    shape = Shape(api_version, transitional)
    return {
        "id": fact.price_id,
        "object": "price",
        "active": fact.active,
        "billing_scheme": "per_unit",
        "created": 1577836800,
        "currency": fact.currency,
        "livemode": False,
        "lookup_key": fact.lookup_key,
        "metadata": {} if fact.plan_code is None else {"plan_code": fact.plan_code},
        "nickname": fact.nickname,
        "product": fact.product_id,
        "recurring": {
            **({"aggregate_usage": "sum" if fact.metered else None} if shape.before_basil else {}),
            "interval": fact.interval,
            "interval_count": 1,
            **({"meter": _derived("mtr", fact.price_id) if fact.metered else None} if shape.meters else {}),
            "trial_period_days": None,
            "usage_type": _usage_type(fact),
        },
        "tax_behavior": "exclusive",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": fact.unit_amount,
        "unit_amount_decimal": _decimal(fact),
    }


def plan(fact: objects.Price, api_version: str, *, transitional: bool = False) -> Json:
    """The `plan` object that is a price's legacy twin."""
    return _plan(fact, Shape(api_version, transitional))


def previous_attributes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Json:
    """What `data.previous_attributes` of an update says: the old values of what changed, in the objects' own shape.

    Objects are reduced to their changed members, lists are given whole, and a member that is new was null before.
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


def _item(fact: objects.Item, subscription_id: str, shape: Shape) -> Json:
    rendered: Json = {
        "id": fact.item_id,
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": seconds(fact.period.start),
        "metadata": {},
        "plan": _plan(fact.price, shape),
        "price": price(fact.price, shape.api_version, transitional=shape.transitional),
        "subscription": subscription_id,
        "tax_rates": [],
    }
    if not fact.price.metered:
        rendered["quantity"] = fact.quantity
    if shape.basil:
        rendered["current_period_end"] = seconds(fact.period.end)
        rendered["current_period_start"] = seconds(fact.period.start)
    if shape.cancellation_details:
        rendered["discounts"] = []
    if shape.billing_schedules:
        rendered["billed_until"] = None
    if shape.endive:
        rendered["current_trial"] = None
    return rendered


def _plan(fact: objects.Price, shape: Shape) -> Json:
    """The legacy twin of a price: every version still has it."""
    return {
        "id": fact.price_id,
        "object": "plan",
        "active": True,
        **({"aggregate_usage": "sum" if fact.metered else None} if shape.before_basil else {}),
        "amount": fact.unit_amount,
        "amount_decimal": _decimal(fact),
        "billing_scheme": "per_unit",
        "created": 1577836800,
        "currency": fact.currency,
        "interval": fact.interval,
        "interval_count": 1,
        "livemode": False,
        "metadata": {},
        "nickname": fact.nickname,
        "product": fact.product_id,
        "trial_period_days": None,
        "usage_type": _usage_type(fact),
    }


def _single_item(fact: objects.Subscription, shape: Shape) -> Json:
    """Period, plan and quantity of the subscription itself.

    Plan and quantity are filled for a single item only. Later versions no longer document them, and send them still.
    """
    rendered: Json = {"plan": None, "quantity": None}
    if len(fact.items) == 1:
        (item,) = fact.items
        rendered["plan"] = _plan(item.price, shape)
        if not item.price.metered:
            rendered["quantity"] = item.quantity
    if shape.before_basil and fact.items:
        rendered["current_period_end"] = seconds(fact.span.end)
        rendered["current_period_start"] = seconds(fact.span.start)
    return rendered


def _discounts(fact: objects.Subscription, shape: Shape) -> Json:
    discount: Json | None = None
    if fact.coupon_id is not None:
        coupon = {"id": fact.coupon_id, "object": "coupon", "duration": "forever", "percent_off": 20.0, "valid": True}
        source: Json = {"source": {"coupon": fact.coupon_id, "type": "coupon"}}
        discount = {
            "id": _derived("di", fact.subscription_id),
            "object": "discount",
            **(source if shape.discount_source else {"coupon": coupon}),
            "customer": fact.customer_id,
            "end": None,
            "start": seconds(fact.created_at),
            "subscription": fact.subscription_id,
        }
    rendered: Json = {"discount": discount} if shape.before_basil else {}
    if shape.cancellation_details:
        rendered["discounts"] = [] if discount is None else [discount["id"]]
    return rendered


def _newer_subscription_fields(fact: objects.Subscription, shape: Shape) -> Json:
    rendered: Json = {}
    if shape.subscription_currency:
        rendered["currency"] = fact.currency
    if shape.cancellation_details:
        reason = "cancellation_requested" if fact.canceled_at is not None else None
        rendered["cancellation_details"] = {"comment": None, "feedback": None, "reason": reason}
        rendered["trial_settings"] = {"end_behavior": {"missing_payment_method": "pause"}}
    if shape.billing_mode:
        flexible = shape.flexible_by_default if fact.flexible_billing is None else fact.flexible_billing
        detail: Json = {"flexible": {"proration_discounts": "included"}} if flexible else {"flexible": None}
        rendered["billing_mode"] = {**detail, "type": "flexible" if flexible else "classic"}
    if shape.customer_account:
        rendered["customer_account"] = None
    if shape.billing_schedules:
        rendered["billing_schedules"] = []
    if shape.endive:
        rendered["status_details"] = None if fact.paused_at is None else _paused_details(fact.paused_at)
    return rendered


def _paused_details(paused_at: datetime) -> Json:
    return {
        "paused": {
            "subscription": {"type": "pause_requested"},
            "transitioned_at": seconds(paused_at),
            "type": "subscription",
        }
    }


def _links(fact: objects.Invoice) -> Json:
    """Where to see the invoice: nowhere until it is finalized."""
    if fact.finalized_at is None or fact.invoice_id is None:
        return {"hosted_invoice_url": None, "invoice_pdf": None}
    address = f"{_ACCOUNT}/test_{fact.invoice_id}"
    return {
        "hosted_invoice_url": f"https://invoice.stripe.com/i/{address}",
        "invoice_pdf": f"https://pay.stripe.com/invoice/{address}/pdf",
    }


def _invoice_before_basil(fact: objects.Invoice, shape: Shape) -> Json:
    paid = fact.status == "paid"
    charged = paid and fact.amount_paid > 0
    rendered: Json = {
        "charge": _derived("ch", str(fact.invoice_id)) if charged else None,
        "discount": None,
        "paid": paid,
        "paid_out_of_band": False,
        "payment_intent": _derived("pi", str(fact.invoice_id)) if fact.finalized_at and fact.amount_due else None,
        "subscription": fact.subscription_id,
        "tax": fact.tax if fact.tax else None,
        "total_tax_amounts": _tax_amounts(fact.tax),
    }
    if shape.invoice_subscription_metadata:
        metadata = None if fact.subscription_id is None else dict(fact.subscription_metadata)
        rendered["subscription_details"] = {"metadata": metadata}
    return rendered


def _invoice_since_basil(fact: objects.Invoice) -> Json:
    parent: Json | None = None
    if fact.subscription_id is not None:
        parent = {
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(fact.subscription_metadata),
                "subscription": fact.subscription_id,
            },
            "type": "subscription_details",
        }
    return {"amount_overpaid": 0, "parent": parent, "total_taxes": _taxes(fact.tax, fact.subtotal)}


def _line(fact: objects.InvoiceLine, owner: objects.Invoice, shape: Shape) -> Json:
    rendered: Json = {
        "id": fact.line_id,
        "object": "line_item",
        "amount": fact.amount,
        "currency": owner.currency,
        "description": fact.description,
        "discount_amounts": [],
        "discountable": not fact.proration,
        "discounts": [],
        "invoice": owner.invoice_id,
        "livemode": False,
        "metadata": dict(fact.metadata),
        "period": {"end": seconds(fact.period.end), "start": seconds(fact.period.start)},
        "quantity": fact.quantity,
    }
    if shape.before_basil:
        rendered |= _line_before_basil(fact, shape)
    if shape.basil:
        rendered |= _line_since_basil(fact)
    if shape.customer_account:
        rendered["subtotal"] = fact.amount
    if shape.dahlia:
        rendered["quantity_decimal"] = None if fact.quantity is None else str(fact.quantity)
    return rendered


def _line_before_basil(fact: objects.InvoiceLine, shape: Shape) -> Json:
    rendered: Json = {
        "plan": _plan(fact.price, shape),
        "price": price(fact.price, shape.api_version, transitional=shape.transitional),
        "proration": fact.proration,
        "proration_details": {"credited_items": None},
        "subscription": fact.subscription_id,
        "tax_amounts": _tax_amounts(fact.tax),
        "tax_rates": [],
        "type": "subscription" if fact.invoice_item_id is None else "invoiceitem",
    }
    if fact.item_id is not None:
        rendered["subscription_item"] = fact.item_id
    if fact.invoice_item_id is not None:
        rendered["invoice_item"] = fact.invoice_item_id
    return rendered


def _line_since_basil(fact: objects.InvoiceLine) -> Json:
    details: Json = {
        "invoice_item": fact.invoice_item_id,
        "proration": fact.proration,
        "proration_details": {"credited_items": None},
        "subscription": fact.subscription_id,
    }
    of_item = fact.item_id is not None
    return {
        "parent": {
            "invoice_item_details": None if of_item else details,
            "subscription_item_details": {**details, "subscription_item": fact.item_id} if of_item else None,
            "type": "subscription_item_details" if of_item else "invoice_item_details",
        },
        "pricing": {
            "price_details": {"price": fact.price.price_id, "product": fact.price.product_id},
            "type": "price_details",
            "unit_amount_decimal": _decimal(fact.price),
        },
        "taxes": _taxes(fact.tax, fact.amount),
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


def _usage_type(fact: objects.Price) -> str:
    return "metered" if fact.metered else "licensed"


def _decimal(fact: objects.Price) -> str | None:
    if fact.unit_amount_decimal is not None:
        return fact.unit_amount_decimal
    return None if fact.unit_amount is None else str(fact.unit_amount)


def _derived(prefix: str, identifier: str) -> str:
    """The id of an object that the facts do not name, the same every time."""
    return f"{prefix}_{identifier.rpartition('_')[2]}"


def _short(identifier: str) -> str:
    return identifier.rpartition("_")[2][-8:].upper()


def seconds(instant: datetime) -> int:
    """Unix time. Raises ValueError for a naive datetime, which would be read in the machine's own zone."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone")
    return int(instant.timestamp())


def _optional_seconds(instant: datetime | None) -> int | None:
    return None if instant is None else seconds(instant)
