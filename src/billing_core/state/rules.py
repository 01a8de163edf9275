"""The rules in force: stored, numbered, and the same for all processes, whatever their own files say."""

import hashlib
from collections.abc import AsyncIterator, Collection, Sequence
from enum import Enum
from typing import Final

import attrs

from billing_core.converters import rules_to_json
from billing_core.model import (
    AccessVerdict,
    BillingRules,
    RulesInForce,
    SubscriptionId,
    TenantState,
    TenantSubscription,
)
from billing_core.state.ports import LockedTenants, RulesRegister

_PAGE: Final = 500


class RulesMovedError(Exception):
    """Other rules were put in force than those by which a unit of work reads. Roll it back, reload and begin again."""


def require_current(rules: RulesInForce, tenants: LockedTenants) -> None:
    """Raise RulesMovedError unless these rules are in force, as of the locks of tenants."""
    if tenants.generation != rules.generation:
        raise RulesMovedError


class RulesBook:
    """The rules by which this process reads state: those that are in force, as of the last look."""

    def __init__(self, own: BillingRules, register: RulesRegister | None = None) -> None:
        """Begin with the rules of this process; they hold until others are found in the register, if there is one."""
        self._register = register
        self._current = RulesInForce(own)

    @property
    def current(self) -> RulesInForce:
        """The rules in force, as of the last look."""
        return self._current

    async def as_of(self, generation: int) -> RulesInForce:
        """Return the rules in force, given the generation that the store has now. Raises: as `reload`."""
        return self._current if generation == self._current.generation else await self.reload()

    async def refresh(self) -> RulesInForce:
        """Return the rules in force now; without a register, those of this process. Raises StoreUnavailableError."""
        return self._current if self._register is None else await self.reload()

    async def access_of(self, state: TenantState) -> AccessVerdict:
        """Return the access of a tenant as of its state, by the rules in force then. Raises: as `reload`."""
        policy = (await self.as_of(state.generation)).policy
        return policy.evaluate(state.access_facts, state.as_of)

    async def reload(self) -> RulesInForce:
        """Read the rules in force. Raises StoreUnavailableError; RuntimeError if there is no register to read."""
        if self._register is None:
            raise RuntimeError("rules were put in force, and this service was not given the register that has them")
        active = await self._register.active()
        if active is not None and active.generation != self._current.generation:
            self._current = active
        return self._current


class Activation(Enum):
    """The end of an attempt to put the rules of a process in force."""

    ACTIVATED = "activated"
    UNCHANGED = "unchanged"
    """They are in force already."""
    SUPERSEDED = "superseded"
    """They were in force before others: this process is older than those that activated them."""
    TAKES_PLANS_AWAY = "takes_plans_away"
    """Live subscriptions would lose their plan."""


@attrs.frozen(kw_only=True)
class ActivationReport:
    """The result of an attempt to put rules in force."""

    result: Activation
    generation: int
    """The generation in force now."""
    lost: Collection[SubscriptionId] = ()
    """Live subscriptions that would lose their plan."""


async def activate(register: RulesRegister, own: BillingRules, *, actor: str, always: bool = False) -> ActivationReport:
    """Put the rules of a process in force, if that is what its deployment means.

    Rules that were never in force are new, and so are the first ones; rules that were superseded never come back by
    themselves, so that an old process in a rolling deployment follows the new ones. New rules that would take the plan
    of a live subscription away wait for an operator. With `always` they are put in force whatever they do.

    Raises: StoreUnavailableError.
    """
    fingerprint = fingerprint_of(own)
    while True:
        active = await register.active()
        generation = 0 if active is None else active.generation
        if active is not None and fingerprint_of(active.rules) == fingerprint:
            return ActivationReport(result=Activation.UNCHANGED, generation=generation)
        if active is not None:
            own = own.with_catalog_of(active.rules)  # until the catalog is looked at again
        if active is not None and not always:
            if await register.was_active(fingerprint):
                return ActivationReport(result=Activation.SUPERSEDED, generation=generation)
            lost = await _losing_their_plan(register, RulesInForce(own)) if active.rules.plans else ()
            if lost:
                return ActivationReport(result=Activation.TAKES_PLANS_AWAY, generation=generation, lost=lost)
        if await register.activate(RulesInForce(own, generation + 1), fingerprint=fingerprint, actor=actor):
            return ActivationReport(result=Activation.ACTIVATED, generation=generation + 1)


def fingerprint_of(rules: BillingRules) -> str:
    """Return a text that is the same for equal rules, in every process, whatever the provider's catalog says."""
    return hashlib.sha256(rules_to_json(rules.without_catalog()).encode()).hexdigest()


async def _losing_their_plan(register: RulesRegister, new: RulesInForce) -> Sequence[SubscriptionId]:
    live = [held.snapshot async for held in live_subscriptions(register)]
    planned = [seen for seen in live if seen.plan_code is not None]
    return [seen.subscription_id for seen in planned if new.catalog.read_subscription(seen).plan_code is None]


async def live_subscriptions(register: RulesRegister) -> AsyncIterator[TenantSubscription]:
    """Yield every subscription that has not ended, by id."""
    after = SubscriptionId("")
    while page := await register.live_subscriptions(after=after, limit=_PAGE):
        for held in page:
            yield held
        after = page[-1].snapshot.subscription_id
