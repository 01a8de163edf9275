"""What a customer has beside subscriptions and invoices, rendered as Stripe's JSON objects."""

from billing_stripe.testing import objects
from billing_stripe.testing.builders import Json, seconds
from billing_stripe.testing.versions import Shape


def entitlement_summary(fact: objects.Entitlements) -> Json:
    """An `entitlements.active_entitlement_summary` object: it has no id, and one shape."""
    return {
        "object": "entitlements.active_entitlement_summary",
        "customer": fact.customer_id,
        "entitlements": {
            "object": "list",
            "data": [
                {
                    "id": f"ent_{fact.customer_id.rpartition('_')[2]}{number:02}",
                    "object": "entitlements.active_entitlement",
                    "feature": f"feat_{feature}",
                    "livemode": False,
                    "lookup_key": feature,
                }
                for number, feature in enumerate(fact.features)
            ],
            "has_more": fact.more_features,
            "url": f"/v1/customer/{fact.customer_id}/entitlements",
        },
        "livemode": False,
    }


def subscription_schedule(fact: objects.SubscriptionSchedule, api_version: str, *, transitional: bool = False) -> Json:
    """A `subscription_schedule` object, without its phases."""
    shape = Shape(api_version, transitional)
    released = fact.status == "released"
    ended_at = seconds(fact.created_at)
    rendered: Json = {
        "id": fact.schedule_id,
        "object": "subscription_schedule",
        "application": None,
        "canceled_at": ended_at if fact.status == "canceled" else None,
        "completed_at": ended_at if fact.status == "completed" else None,
        "created": ended_at,
        "current_phase": None,
        "customer": fact.customer_id,
        "end_behavior": "release",
        "livemode": False,
        "metadata": {},
        "phases": [],
        "released_at": ended_at if released else None,
        "released_subscription": fact.subscription_id if released else None,
        "status": fact.status,
        "subscription": None if released else fact.subscription_id,
        "test_clock": None,
    }
    if shape.billing_mode:
        rendered["billing_mode"] = {"type": "flexible" if shape.flexible_by_default else "classic"}
    if shape.customer_account:
        rendered["customer_account"] = None
    if shape.endive:
        rendered["pause_schedules"] = []
    return rendered


def alert_triggered(fact: objects.AlertTriggered) -> Json:
    """A `billing.alert_triggered` object: it has no id, and one shape."""
    return {
        "object": "billing.alert_triggered",
        "alert": {
            "id": fact.alert_id,
            "object": "billing.alert",
            "alert_type": "usage_threshold",
            "livemode": False,
            "status": "active",
            "title": "Usage threshold",
            "usage_threshold": {
                "filters": [],
                "gte": fact.threshold,
                "meter": fact.meter_id,
                "recurrence": "one_time",
            },
        },
        "created": seconds(fact.created_at),
        "customer": fact.customer_id,
        "livemode": False,
        "value": fact.value,
    }


def credit_grant(fact: objects.CreditGrant, api_version: str, *, transitional: bool = False) -> Json:
    """A `billing.credit_grant` object."""
    rendered: Json = {
        "id": fact.credit_grant_id,
        "object": "billing.credit_grant",
        "amount": {"monetary": {"currency": fact.currency, "value": fact.amount}, "type": "monetary"},
        "applicability_config": {"scope": {"price_type": "metered"}},
        "category": "paid",
        "created": seconds(fact.created_at),
        "customer": fact.customer_id,
        "effective_at": seconds(fact.created_at),
        "expires_at": None,
        "livemode": False,
        "metadata": {},
        "name": "Prepaid credit",
        "test_clock": None,
        "updated": seconds(fact.created_at),
        "voided_at": None,
    }
    if Shape(api_version, transitional).customer_account:
        rendered["customer_account"] = None
    return rendered
