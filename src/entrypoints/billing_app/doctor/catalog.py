"""Checks of the catalog itself: whether each plan can be sold as it is listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from billing_app.doctor.results import CheckResult, ok, warn
from billing_app.troubleshooting import CatalogTrouble
from billing_core.model import Plan
from billing_core.operations.errors import OperationRefusedError
from billing_core.operations.items import Terms, lead_role, new_items

_CHECK: Final = "plans"


def check_plans(plans: Sequence[Plan]) -> Iterator[CheckResult]:
    """Check that a subscription can be started with each price that names a plan, as an operation would.

    One that cannot is a warning: the subscriptions that are on it already are recognized all the same.
    """
    findings = [finding for plan in plans if (finding := _check_plan(plan)) is not None]
    yield from findings or [ok(_CHECK, f"all {len(plans)} plans can be sold")]


def _check_plan(plan: Plan) -> CheckResult | None:
    role = lead_role(plan)
    leading = [price for price in plan.prices if price.role == role] if role else [None]
    for price in leading:
        terms = Terms()
        if price is not None:
            terms = Terms(interval=price.interval, interval_count=price.interval_count, currency=price.currency)
        try:
            new_items(plan, terms, None)
        except OperationRefusedError as exc:
            with_price = "" if price is None else f" with the price {price.price_id or price.lookup_key}"
            return warn(
                _CHECK,
                f"plan {plan.plan_code} cannot be sold{with_price}: {exc}",
                'Give each price an interval and a currency of its own, for example interval = "year", or leave the '
                "plan as it is if no one is to start with it.",
                CatalogTrouble.PLAN_CANNOT_BE_STARTED,
            )
    return None
