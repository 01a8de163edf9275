"""A tenant as decisions about it see it: its state as shown, its customers, and the rules in force."""

from collections.abc import Iterable
from datetime import datetime

import attrs

from billing_core.model import (
    CustomerId,
    Plan,
    PlanCatalog,
    RulesInForce,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantId,
    TenantState,
)
from billing_core.operations.errors import OperationRefusedError, Refusal
from billing_core.state.ports import TenantReader
from billing_core.state.rules import RulesBook


@attrs.frozen(kw_only=True)
class Account:
    """All that is known of a tenant when a decision about it is made."""

    state: TenantState
    rules: RulesInForce
    customers: tuple[TenantCustomer, ...] = ()
    """Linked ones, by id."""
    unseen: tuple[SubscriptionSnapshot, ...] = ()
    """Subscriptions that the provider has and no event has shown yet."""

    @property
    def tenant_id(self) -> TenantId:
        """The tenant."""
        return self.state.tenant_id

    @property
    def catalog(self) -> PlanCatalog:
        """The plans in force."""
        return self.rules.catalog

    @property
    def subscriptions(self) -> tuple[SubscriptionSnapshot, ...]:
        """All subscriptions, ended ones too, as they are shown to the tenant; then those that are not shown yet."""
        return (*(each.snapshot for each in self.state.subscriptions), *self.unseen)

    def beside(self, found: Iterable[SubscriptionSnapshot]) -> "Account":
        """Return the account with what the provider has: a checkout may be complete before its event arrives."""
        known = {seen.subscription_id for seen in self.subscriptions}
        unseen = [self.catalog.read_subscription(seen) for seen in found if seen.subscription_id not in known]
        return attrs.evolve(self, unseen=(*self.unseen, *unseen))

    @property
    def live(self) -> tuple[SubscriptionSnapshot, ...]:
        """The subscriptions that have not ended."""
        return tuple(seen for seen in self.subscriptions if not seen.ended)

    @property
    def customer_id(self) -> CustomerId | None:
        """The customer that pays: of a live subscription, else the first linked one that is not deleted."""
        paying = [seen.customer_id for seen in self.live]
        linked = [each.customer_id for each in self.customers if each.snapshot is None or not each.snapshot.deleted]
        return next((id_ for id_ in (*paying, *linked) if not self._deleted(id_)), None)

    def _deleted(self, customer_id: CustomerId) -> bool:
        known = next((each.snapshot for each in self.customers if each.customer_id == customer_id), None)
        return known is not None and known.deleted

    @property
    def trial_used(self) -> bool:
        """Whether any subscription ever had a trial."""
        return any(seen.trial_ends_at is not None for seen in self.subscriptions)

    def now(self, seen: SubscriptionSnapshot) -> datetime:
        """Return the time of a subscription, in whole seconds: its test clock's, or the store's."""
        clock = self.state.clocks.get(seen.test_clock or "")
        return (clock or self.state.as_of).replace(microsecond=0)

    def require_plan(self, plan_code: str) -> Plan:
        """Return a plan in force. Raises: OperationRefusedError."""
        plan = self.catalog.plan(plan_code)
        if plan is None:
            raise OperationRefusedError(Refusal.UNKNOWN_PLAN)
        return plan

    def require_customer(self) -> CustomerId:
        """Return the customer that pays. Raises: OperationRefusedError if there is none yet."""
        if self.customer_id is None:
            raise OperationRefusedError(Refusal.NO_CUSTOMER)
        return self.customer_id

    def payer(self, named: CustomerId | None) -> CustomerId | None:
        """Return the customer that pays for something new: the named one where customers are shared, else the own one.

        None if the tenant has none yet, so that it is created. Raises: OperationRefusedError for another tenant's, and
        where customers are shared and none is known or named: no customer is created for one of several tenants.
        """
        shared = self.rules.tenants.link != "customer"
        own = {self.customer_id, *(each.customer_id for each in self.customers)}
        if named is not None and not shared and named not in own:
            raise OperationRefusedError(Refusal.NO_CUSTOMER)
        found = named or self.customer_id
        if found is None and shared:
            raise OperationRefusedError(Refusal.NO_CUSTOMER)
        return found

    def require_subscription(self, subscription_id: SubscriptionId) -> SubscriptionSnapshot:
        """Return a live subscription with all of its items. Raises: OperationRefusedError."""
        found = next((seen for seen in self.live if seen.subscription_id == subscription_id), None)
        if found is None:
            raise OperationRefusedError(Refusal.NO_SUBSCRIPTION)
        if found.partial:
            raise OperationRefusedError(Refusal.STATE_INCOMPLETE)
        return found

    def rivals(self, plan: Plan, *, beside: SubscriptionSnapshot | None = None) -> tuple[SubscriptionSnapshot, ...]:
        """Return the live subscriptions to the same plan or to another one of its group."""
        return tuple(
            seen
            for seen in self.live
            if (beside is None or seen.subscription_id != beside.subscription_id)
            and group_of(self.catalog, seen.plan_code) == group_of(self.catalog, plan.plan_code)
        )


def group_of(catalog: PlanCatalog, plan_code: str | None) -> str | None:
    """Return the group of a plan: a tenant has one live subscription per group. Without one, the plan is its own."""
    plan = None if plan_code is None else catalog.plan(plan_code)
    return plan_code if plan is None else f"group:{plan.group}" if plan.group is not None else plan_code


class AccountReader:
    """Reads accounts."""

    def __init__(self, reader: TenantReader, rules: RulesBook) -> None:
        self._reader = reader
        self._rules = rules

    async def load(self, tenant_id: TenantId) -> Account:
        """Return the account of a tenant; an empty one if it is unknown. Raises: StoreUnavailableError."""
        state = await self._reader.state(tenant_id)
        customers = await self._reader.customers(tenant_id)
        rules = await self._rules.as_of(state.generation)
        return Account(state=state, rules=rules, customers=tuple(customers))
