"""Decide on the start of a subscription."""

from collections.abc import Iterator
from typing import Literal

import attrs

from billing_core.model import CustomerId, Plan
from billing_core.operations.account import Account
from billing_core.operations.commands import NewItem, StartSubscription, Trial
from billing_core.operations.errors import OperationRefusedError, Refusal
from billing_core.operations.items import Terms, has_seats, new_items, seats_of, terms_of


@attrs.frozen(kw_only=True)
class NewSubscription:
    """A wanted subscription."""

    plan_code: str
    terms: Terms = attrs.field(factory=Terms)
    seats: int | None = None
    """None: the fewest that the plan allows."""
    addons: tuple[str, ...] = ()
    """Plan codes of add-ons, each at most once; those that are sold by the seat get as many seats as the plan."""
    trial: bool | None = None
    """True demands a trial, False declines one; None takes the plan's if the tenant had none yet."""


@attrs.frozen(kw_only=True)
class Opening:
    """The part that a start and a checkout have in common."""

    items: tuple[NewItem, ...]
    trial: Trial | None


def decide_opening(account: Account, wanted: NewSubscription) -> Opening:
    """Decide on items and trial of a new subscription."""
    plan = account.require_plan(wanted.plan_code)
    for seen in account.rivals(plan):
        raise OperationRefusedError(
            Refusal.PAYMENT_PENDING if seen.status == "incomplete" else Refusal.ALREADY_SUBSCRIBED
        )
    currency = next((seen.currency for seen in account.live if seen.currency is not None), None)
    terms = attrs.evolve(wanted.terms, currency=wanted.terms.currency or currency)
    items = new_items(plan, terms, wanted.seats)
    added = _addons(account, plan, wanted, terms_of(items[0].price, terms))
    return Opening(items=(*items, *added), trial=_trial(account, plan, wanted.trial))


def _addons(account: Account, plan: Plan, wanted: NewSubscription, terms: Terms) -> Iterator[NewItem]:
    """Yield the items of add-ons, billed in the same interval and currency as the plan."""
    for code in dict.fromkeys(wanted.addons):
        addon = account.require_plan(code)
        if addon.grants_access or addon.plan_code == plan.plan_code:
            raise OperationRefusedError(Refusal.NOT_AN_ADDON)
        if account.rivals(addon):
            raise OperationRefusedError(Refusal.ALREADY_SUBSCRIBED)
        yield from new_items(addon, terms, seats_of(plan, wanted.seats) if has_seats(addon) else None)


def _trial(account: Account, plan: Plan, wanted: bool | None) -> Trial | None:
    if wanted is False:
        return None
    if not plan.trial_days:
        if wanted:
            raise OperationRefusedError(Refusal.NO_TRIAL)
        return None
    if account.trial_used:
        if wanted:
            raise OperationRefusedError(Refusal.TRIAL_USED)
        return None
    return Trial(days=plan.trial_days)


def decide_start(
    account: Account,
    wanted: NewSubscription,
    *,
    customer_id: CustomerId,
    payment: Literal["on_file", "confirm", "off_session"] = "confirm",
    promotion_code_id: str | None = None,
) -> StartSubscription:
    """Decide on a start without the provider's page."""
    opening = decide_opening(account, wanted)
    return StartSubscription(
        tenant_id=account.tenant_id,
        customer_id=customer_id,
        items=opening.items,
        payment=payment,
        trial=opening.trial,
        promotion_code_id=promotion_code_id,
        currency=wanted.terms.currency,
    )
