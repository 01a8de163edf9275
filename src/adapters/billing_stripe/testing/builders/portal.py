"""The customer portal: its configurations and sessions."""

from collections.abc import Mapping
from typing import Any, Final

from billing_stripe.testing import objects
from billing_stripe.testing.builders.values import Json, seconds
from billing_stripe.testing.versions import Shape

_FLOWS: Final = ("subscription_cancel", "subscription_update", "subscription_update_confirm")


def portal_configuration(source: objects.PortalConfiguration, api_version: str) -> Json:
    """Render a `billing_portal.configuration` object; a feature that was not named is off."""
    return {
        "id": source.configuration_id,
        "object": "billing_portal.configuration",
        "active": source.active,
        "application": None,
        "business_profile": {"headline": source.headline, "privacy_policy_url": None, "terms_of_service_url": None},
        "created": seconds(source.created_at),
        "default_return_url": source.default_return_url,
        "features": _features(source.features),
        "is_default": source.is_default,
        "livemode": False,
        "login_page": {"enabled": False, "url": None},
        "metadata": dict(source.metadata),
        **({"name": source.name} if api_version >= "2025-08-27" else {}),
        "updated": seconds(source.created_at),
    }


def switchable_products(source: objects.PortalConfiguration) -> list[Json] | None:
    """Render the products of a configuration between which customers may switch."""
    products = source.features.get("subscription_update", {}).get("products")
    return None if products is None else [_switchable(product) for product in products]


def portal_session(source: objects.PortalSession, api_version: str, *, transitional: bool = False) -> Json:
    """Render a `billing_portal.session` object."""
    rendered: Json = {
        "id": source.portal_session_id,
        "object": "billing_portal.session",
        "configuration": source.configuration_id,
        "created": seconds(source.created_at),
        "customer": source.customer_id,
        "flow": None if source.flow is None else _flow(source.flow),
        "livemode": False,
        "locale": None,
        "on_behalf_of": None,
        "return_url": source.return_url,
        "url": source.url,
    }
    if Shape(api_version, transitional).customer_account:
        rendered["customer_account"] = None
    return rendered


def _features(given: Mapping[str, Any]) -> Json:
    cancel, update = given.get("subscription_cancel", {}), given.get("subscription_update", {})
    customer = given.get("customer_update", {})
    return {
        "customer_update": {
            "allowed_updates": customer.get("allowed_updates") or [],
            "enabled": customer.get("enabled", False),
        },
        "invoice_history": {"enabled": given.get("invoice_history", {}).get("enabled", False)},
        "payment_method_update": {
            "enabled": given.get("payment_method_update", {}).get("enabled", False),
            "payment_method_configuration": None,
        },
        "subscription_cancel": {
            "cancellation_reason": {
                "enabled": cancel.get("cancellation_reason", {}).get("enabled", False),
                "options": cancel.get("cancellation_reason", {}).get("options") or [],
            },
            "enabled": cancel.get("enabled", False),
            "mode": cancel.get("mode", "at_period_end"),
            "proration_behavior": cancel.get("proration_behavior", "none"),
        },
        "subscription_update": {
            "billing_cycle_anchor": update.get("billing_cycle_anchor"),
            "default_allowed_updates": update.get("default_allowed_updates") or [],
            "enabled": update.get("enabled", False),
            "proration_behavior": update.get("proration_behavior", "none"),
            "schedule_at_period_end": {
                "conditions": [
                    {"type": condition["type"]}
                    for condition in update.get("schedule_at_period_end", {}).get("conditions") or []
                ]
            },
            "trial_update_behavior": update.get("trial_update_behavior", "end_trial"),
        },
    }


def _switchable(product: Mapping[str, Any]) -> Json:
    quantity = product.get("adjustable_quantity") or {}
    return {
        "adjustable_quantity": {
            "enabled": quantity.get("enabled", False),
            "maximum": quantity.get("maximum"),
            "minimum": quantity.get("minimum", 1),
        },
        "prices": list(product["prices"]),
        "product": product["product"],
    }


def _flow(given: Mapping[str, Any]) -> Json:
    after = given.get("after_completion", {"type": "portal_homepage"})
    return {
        "after_completion": {
            "hosted_confirmation": after.get("hosted_confirmation"),
            "redirect": after.get("redirect"),
            "type": after["type"],
        },
        **{
            name: {"retention": None, "subscription": given[name]["subscription"]}
            if name == "subscription_cancel" and name in given
            else given.get(name)
            for name in _FLOWS
        },
        "type": given["type"],
    }
