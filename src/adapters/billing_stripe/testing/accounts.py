"""Entitlements, schedules, alerts, credit grants and test clocks, rendered as Stripe's JSON objects."""

import hashlib
from datetime import timedelta
from typing import Final

from billing_stripe.testing import objects
from billing_stripe.testing.builders import Json, billing_details, seconds
from billing_stripe.testing.builders.values import optional_seconds
from billing_stripe.testing.events import make_id
from billing_stripe.testing.versions import Shape

_CLOCKS_LAST: Final = timedelta(days=7)


def entitlement_summary(source: objects.Entitlements) -> Json:
    """Render an `entitlements.active_entitlement_summary` object. It has no id, and the same shape in all versions."""
    return {
        "object": "entitlements.active_entitlement_summary",
        "customer": source.customer_id,
        "entitlements": {
            "object": "list",
            "data": [
                {
                    "id": f"ent_{source.customer_id.rpartition('_')[2]}{number:02}",
                    "object": "entitlements.active_entitlement",
                    "feature": f"feat_{feature}",
                    "livemode": False,
                    "lookup_key": feature,
                }
                | _entitlement_ids(source, feature)
                for number, feature in enumerate(source.features)
            ],
            "has_more": source.more_features,
            "url": f"/v1/customer/{source.customer_id}/entitlements",
        },
        "livemode": False,
    }


def _entitlement_ids(source: objects.Entitlements, lookup_key: str) -> Json:
    """Return the ids of an entitlement to a feature whose id is known: they stay the same as other features go."""
    if lookup_key not in source.feature_ids:
        return {}
    feature_id = source.feature_ids[lookup_key]
    return {"id": make_id("ent", source.customer_id, feature_id), "feature": feature_id}


def feature(source: objects.Feature) -> Json:
    """Render an `entitlements.feature` object. It has the same shape in all versions."""
    return {
        "id": source.feature_id,
        "object": "entitlements.feature",
        "active": source.active,
        "livemode": False,
        "lookup_key": source.lookup_key,
        "metadata": dict(source.metadata),
        "name": source.name,
    }


def product_feature(source: objects.ProductFeature) -> Json:
    """Render a `product_feature` object. It has the same shape in all versions."""
    return {
        "id": source.product_feature_id,
        "object": "product_feature",
        "entitlement_feature": feature(source.feature),
        "livemode": False,
    }


def subscription_schedule(
    source: objects.SubscriptionSchedule, api_version: str, *, transitional: bool = False
) -> Json:
    """Render a `subscription_schedule` object; its phases show only what they bill."""
    shape = Shape(api_version, transitional)
    released = source.status == "released"
    ended_at = seconds(source.ended_at)
    active = source.status == "active" and source.phases
    rendered: Json = {
        "id": source.schedule_id,
        "object": "subscription_schedule",
        "application": None,
        "canceled_at": ended_at if source.status == "canceled" else None,
        "completed_at": ended_at if source.status == "completed" else None,
        "created": seconds(source.created_at),
        "current_phase": _bounds(source.phases[source.current_phase]) if active else None,
        "customer": source.customer_id,
        "default_settings": {
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": None,
            "collection_method": "charge_automatically",
            "default_payment_method": None,
            "description": None,
            "invoice_settings": {"account_tax_ids": None, "days_until_due": None, "issuer": {"type": "self"}},
            "on_behalf_of": None,
            "transfer_data": None,
        },
        "end_behavior": source.end_behavior,
        "livemode": False,
        "metadata": dict(source.metadata),
        "phases": [_phase(phase) for phase in source.phases],
        "released_at": ended_at if released else None,
        "released_subscription": source.subscription_id if released else None,
        "status": source.status,
        "subscription": None if released else source.subscription_id,
        "test_clock": source.test_clock,
    }
    if shape.billing_mode:
        flexible = shape.flexible_by_default if source.flexible_billing is None else source.flexible_billing
        detail: Json = {"flexible": {"proration_discounts": "included"}} if flexible else {"flexible": None}
        rendered["billing_mode"] = {**detail, "type": "flexible" if flexible else "classic"}
    if shape.customer_account:
        rendered["customer_account"] = None
    if shape.endive:
        rendered["pause_schedules"] = []
    return rendered


_OF_NO_PHASE: Final = (
    "application_fee_percent",
    "billing_cycle_anchor",
    "billing_thresholds",
    "collection_method",
    "default_payment_method",
    "description",
    "invoice_settings",
    "on_behalf_of",
    "transfer_data",
)
"""Always shown and null here: what the schedule's default settings say."""


def _phase(source: objects.SchedulePhase) -> Json:
    return {
        **_bounds(source),
        **dict.fromkeys(_OF_NO_PHASE),
        "add_invoice_items": [],
        "currency": source.currency,
        "default_tax_rates": [],
        "discounts": [],
        "items": [
            {
                "billing_thresholds": None,
                "discounts": [],
                "metadata": {},
                "price": price_id,
                **({} if quantity is None else {"quantity": quantity}),
                "tax_rates": [],
            }
            for price_id, quantity in source.prices.items()
        ],
        "metadata": dict(source.metadata),
        "proration_behavior": source.proration_behavior,
        "trial_end": optional_seconds(source.trial_end),
    }


def _bounds(phase: objects.SchedulePhase) -> Json:
    return {"end_date": seconds(phase.period.end), "start_date": seconds(phase.period.start)}


def alert_triggered(source: objects.AlertTriggered) -> Json:
    """Render a `billing.alert_triggered` object. It has no id, and the same shape in all versions."""
    return {
        "object": "billing.alert_triggered",
        "alert": {
            "id": source.alert_id,
            "object": "billing.alert",
            "alert_type": "usage_threshold",
            "livemode": False,
            "status": "active",
            "title": "Usage threshold",
            "usage_threshold": {
                "filters": [],
                "gte": source.threshold,
                "meter": source.meter_id,
                "recurrence": "one_time",
            },
        },
        "created": seconds(source.created_at),
        "customer": source.customer_id,
        "livemode": False,
        "value": source.value,
    }


def payment_method(source: objects.PaymentMethod, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `payment_method` object."""
    rendered: Json = {
        "id": source.payment_method_id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": billing_details(),
        "created": seconds(source.created_at),
        "customer": source.customer_id,
        "livemode": False,
        "metadata": dict(source.metadata),
        source.type: _card(source) if source.type == "card" else _bank_account(source),
        "type": source.type,
    }
    if Shape(api_version, transitional).customer_account:
        rendered["customer_account"] = None
    return rendered


def _card(source: objects.PaymentMethod) -> Json:
    unchecked = ("address_line1_check", "address_postal_code_check", "cvc_check")
    return {
        "brand": source.brand,
        "checks": dict.fromkeys(unchecked),
        "country": "US",
        "display_brand": source.brand,
        "exp_month": source.exp_month,
        "exp_year": source.exp_year,
        "fingerprint": _fingerprint(source),
        "funding": "credit",
        "generated_from": None,
        "last4": source.last4,
        "networks": {"available": [source.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def _fingerprint(source: objects.PaymentMethod) -> str:
    """Return the same text for the same card or account, whatever payment methods stand for it."""
    numbers = f"{source.type} {source.brand} {source.last4} {source.exp_year} {source.exp_month}"
    return hashlib.sha256(numbers.encode()).hexdigest()[:16]


def _bank_account(source: objects.PaymentMethod) -> Json:
    return {
        "bank_code": "19043",
        "branch_code": "",
        "country": "AT",
        "fingerprint": _fingerprint(source),
        "generated_from": {"charge": None, "setup_attempt": None},
        "last4": source.last4,
    }


def credit_grant(source: objects.CreditGrant, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `billing.credit_grant` object."""
    rendered: Json = {
        "id": source.credit_grant_id,
        "object": "billing.credit_grant",
        "amount": {"monetary": {"currency": source.currency, "value": source.amount}, "type": "monetary"},
        "applicability_config": {"scope": {"price_type": "metered"}},
        "category": source.category,
        "created": seconds(source.created_at),
        "customer": source.customer_id,
        "effective_at": seconds(source.effective_at),
        "expires_at": optional_seconds(source.expires_at),
        "livemode": False,
        "metadata": dict(source.metadata),
        "name": source.name,
        "priority": source.priority,
        "test_clock": source.test_clock,
        "updated": seconds(source.updated_at),
        "voided_at": optional_seconds(source.voided_at),
    }
    if Shape(api_version, transitional).customer_account:
        rendered["customer_account"] = None
    return rendered


def webhook_endpoint(source: objects.WebhookEndpoint, api_version: str) -> Json:
    """Render a `webhook_endpoint` object without its secret."""
    return {
        "id": source.webhook_endpoint_id,
        "object": "webhook_endpoint",
        "api_version": source.api_version,
        "application": None,
        "created": seconds(source.created_at),
        "description": source.description,
        "enabled_events": list(source.enabled_events),
        "livemode": False,
        "metadata": dict(source.metadata),
        "status": "enabled" if source.enabled else "disabled",
        "url": source.url,
    }


def clock(source: objects.Clock) -> Json:
    """Render a `test_helpers.test_clock` object; the same in all versions."""
    target = source.target_at
    return {
        "id": source.clock_id,
        "object": "test_helpers.test_clock",
        "created": seconds(source.created_at),
        "deletes_after": seconds(source.created_at + _CLOCKS_LAST),
        "frozen_time": seconds(source.frozen_at),
        "livemode": False,
        "name": source.name,
        "status": source.status,
        "status_details": {} if target is None else {"advancing": {"target_frozen_time": seconds(target)}},
    }
