"""The rules of a configuration."""

from billing_app.settings import Settings
from billing_core.model import BillingRules, TenantRules


def own_rules(settings: Settings, *, tenants: TenantRules) -> BillingRules:
    """Return the rules that this process was configured with; those in force may be others."""
    return BillingRules(plans=settings.catalog.plans, access=settings.access, scope=settings.scope, tenants=tenants)
