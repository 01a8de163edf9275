"""Follow the provider's catalog: products are of the plan that their metadata or their mapped prices say.

Prices of plans that their ids do not show are kept with it: a coming phase of a subscription shows nothing else.

What is found is part of the rules in force, under a generation of its own: all processes read state by the same, and
the state of tenants is read again when it changes.
"""

from collections.abc import Callable
from datetime import timedelta

import attrs

from billing_core.model import CatalogSnapshot, PlanCatalog, RulesInForce, plans_of_products, prices_to_know
from billing_core.periodic import Periodic
from billing_core.state.ports import RulesRegister, TenantReader
from billing_core.state.rules import fingerprint_of


@attrs.frozen(kw_only=True)
class ProductReport:
    """The result of one look at the provider's catalog."""

    generation: int
    """The generation in force now; 0 if no rules ever were."""
    products: int = 0
    """Products that are of a plan by their metadata or their mapped prices."""
    changed: bool = False
    """Whether that put a new generation in force."""


class ProductFollower(Periodic[ProductReport]):
    """Puts what the stored catalog says about products in force. Any number of processes may do this at once."""

    def __init__(
        self,
        *,
        reader: TenantReader,
        register: RulesRegister,
        every: timedelta,
        observe: Callable[[ProductReport], None],
    ) -> None:
        super().__init__(every=every, observe=observe)
        self._reader = reader
        self._register = register

    async def run_once(self) -> ProductReport:
        """Compare the stored catalog with the rules in force now."""
        active = await self._register.active()
        if active is None:
            return ProductReport(generation=0)
        shown = [record.snapshot for record in await self._reader.catalog()]
        catalog = [seen for seen in shown if isinstance(seen, CatalogSnapshot)]
        plans = active.rules.plans
        found = plans_of_products(catalog, PlanCatalog(plans))
        prices = prices_to_know(catalog, PlanCatalog(plans, product_plans=found))
        rules = attrs.evolve(active.rules, product_plans=found, known_prices=prices)
        if rules == active.rules:
            return ProductReport(generation=active.generation, products=len(found))
        new = RulesInForce(rules, active.generation + 1)
        # If others were put in force meanwhile, the next look compares with those.
        changed = await self._register.activate(new, fingerprint=fingerprint_of(new.rules), actor="product follower")
        return ProductReport(generation=active.generation + changed, products=len(found), changed=changed)
