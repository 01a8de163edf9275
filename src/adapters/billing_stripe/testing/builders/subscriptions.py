"""Subscriptions with their items."""

from datetime import datetime

from billing_stripe.testing import objects
from billing_stripe.testing.builders.prices import plan_of, price
from billing_stripe.testing.builders.values import Json, derived, json_list, optional_seconds, seconds
from billing_stripe.testing.versions import Shape


def subscription(source: objects.Subscription, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `subscription` object with its items."""
    shape = Shape(api_version, transitional)
    rendered: Json = {
        "id": source.subscription_id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": seconds(source.billing_cycle_anchor),
        "billing_cycle_anchor_config": None,
        "billing_thresholds": None,
        "cancel_at": optional_seconds(source.cancel_at),
        "cancel_at_period_end": source.cancel_at_period_end,
        "canceled_at": optional_seconds(source.canceled_at),
        "collection_method": source.collection_method,
        "created": seconds(source.created_at),
        "customer": source.customer_id,
        "days_until_due": source.days_until_due,
        "default_payment_method": source.default_payment_method_id,
        "default_source": None,
        "default_tax_rates": [],
        "description": source.description,
        "ended_at": optional_seconds(source.ended_at),
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": json_list(
            [_item(item, source.subscription_id, shape) for item in source.items],
            f"/v1/subscription_items?subscription={source.subscription_id}",
        ),
        "latest_invoice": source.latest_invoice_id,
        "livemode": False,
        "managed_payments": None,
        "metadata": dict(source.metadata),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None
        if source.pause_collection is None
        else {"behavior": source.pause_collection, "resumes_at": optional_seconds(source.pause_resumes_at)},
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "on_subscription" if source.save_default_payment_method else "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": source.pending_setup_intent_id,
        "pending_update": _pending_update(source, shape),
        "schedule": source.schedule_id,
        "start_date": seconds(source.started_at),
        "status": source.status,
        "test_clock": source.test_clock,
        "transfer_data": None,
        "trial_end": None if source.trial is None else seconds(source.trial.end),
        "trial_start": None if source.trial is None else seconds(source.trial.start),
    }
    rendered |= _discounts(source, shape) | _single_item(source, shape) | _newer_subscription_fields(source, shape)
    return rendered


def _pending_update(source: objects.Subscription, shape: Shape) -> Json | None:
    pending = source.pending_update
    if pending is None:
        return None
    return {
        "billing_cycle_anchor": optional_seconds(pending.billing_cycle_anchor),
        "expires_at": seconds(pending.expires_at),
        "subscription_items": [_item(item, source.subscription_id, shape) for item in pending.items],
        "trial_end": optional_seconds(pending.trial_end),
        "trial_from_plan": None,
    }


def _item(source: objects.Item, subscription_id: str, shape: Shape) -> Json:
    rendered: Json = {
        "id": source.item_id,
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": seconds(source.created_at),
        "metadata": dict(source.metadata),
        "plan": plan_of(source.price, shape),
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
    if shape.endive:
        rendered["current_trial"] = None
    return rendered


def _single_item(source: objects.Subscription, shape: Shape) -> Json:
    """Return period, plan and quantity of the subscription itself.

    Plan and quantity are set for a single item only. Later versions no longer document them, but still send them.
    """
    rendered: Json = {"plan": None, "quantity": None}
    if len(source.items) == 1:
        (item,) = source.items
        rendered["plan"] = plan_of(item.price, shape)
        if not item.price.metered:
            rendered["quantity"] = item.quantity
    if shape.before_basil and source.items:
        rendered["current_period_end"] = seconds(source.span.end)
        rendered["current_period_start"] = seconds(source.span.start)
    return rendered


def discounts(source: objects.Subscription, api_version: str) -> list[Json]:
    """Render the `discounts` of a subscription as they are shown when they are expanded."""
    discount = _discount(source, Shape(api_version))
    if discount is None:
        return []
    nowhere = dict.fromkeys(("checkout_session", "invoice", "invoice_item", "subscription_item"))
    return [{**discount, **nowhere, "promotion_code": source.promotion_code_id}]


def _discount(source: objects.Subscription, shape: Shape) -> Json | None:
    if source.coupon_id is None:
        return None
    coupon = {"id": source.coupon_id, "object": "coupon", "duration": "forever", "percent_off": 20.0, "valid": True}
    by_source: Json = {"source": {"coupon": source.coupon_id, "type": "coupon"}}
    return {
        "id": derived("di", source.subscription_id),
        "object": "discount",
        **(by_source if shape.discount_source else {"coupon": coupon}),
        "customer": source.customer_id,
        "end": None,
        "start": seconds(source.created_at),
        "subscription": source.subscription_id,
    }


def _discounts(source: objects.Subscription, shape: Shape) -> Json:
    discount = _discount(source, shape)
    rendered: Json = {"discount": discount} if shape.before_basil else {}
    if shape.cancellation_details:
        rendered["discounts"] = [] if discount is None else [discount["id"]]
    return rendered


def _newer_subscription_fields(source: objects.Subscription, shape: Shape) -> Json:
    rendered: Json = {}
    if shape.subscription_currency:
        rendered["currency"] = source.currency
    if shape.cancellation_details:
        usual = None if source.canceled_at is None else "cancellation_requested"
        rendered["cancellation_details"] = {
            "comment": source.cancellation_comment,
            "feedback": source.cancellation_feedback,
            "reason": source.cancellation_reason or usual,
        }
        rendered["trial_settings"] = {"end_behavior": {"missing_payment_method": source.missing_payment_method}}
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
