"""The rules by which state is read and access is decided, as one value."""

from functools import cached_property

import attrs

from billing_core.model.access import AccessPolicy
from billing_core.model.plan import KnownPrice, Plan, PlanCatalog
from billing_core.model.scope import ProductScope
from billing_core.model.tenant_rules import TenantRules


@attrs.frozen(kw_only=True)
class BillingRules:
    """The plans that are sold, what they give access to, which products are ours, and what names a tenant."""

    plans: tuple[Plan, ...] = ()
    access: AccessPolicy = attrs.field(factory=AccessPolicy)
    scope: ProductScope = attrs.field(factory=ProductScope)
    tenants: TenantRules = attrs.field(factory=TenantRules)
    product_plans: tuple[tuple[str, str], ...] = ()
    """Products and their plans, by product: what the provider's catalog says beside `plans`. No file has it."""
    known_prices: tuple[KnownPrice, ...] = ()
    """Prices of plans that their ids do not show, from the same source."""

    def without_catalog(self) -> "BillingRules":
        """Return the part that a file has."""
        return attrs.evolve(self, product_plans=(), known_prices=())

    def with_catalog_of(self, other: "BillingRules") -> "BillingRules":
        """Return these rules with what others say of the provider's catalog."""
        return attrs.evolve(self, product_plans=other.product_plans, known_prices=other.known_prices)


@attrs.frozen
class RulesInForce:
    """Rules with their number, and what follows from them. Built once, because a catalog remembers what it read."""

    rules: BillingRules = attrs.field(factory=BillingRules)
    generation: int = 0
    """The number under which they were activated; 0 for rules that never were."""

    @cached_property
    def catalog(self) -> PlanCatalog:
        """The plans and the scope, ready to read snapshots by."""
        rules = self.rules
        return PlanCatalog(rules.plans, rules.scope, rules.product_plans, rules.known_prices)

    @cached_property
    def policy(self) -> AccessPolicy:
        """The access policy, in which add-ons grant nothing by themselves."""
        return self.rules.access.with_plans(self.rules.plans)

    @property
    def tenants(self) -> TenantRules:
        """The rules on tenants."""
        return self.rules.tenants
