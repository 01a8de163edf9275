"""Updates of subscriptions: what their parameters change, apart from the items, and what does not go together."""

from datetime import datetime
from typing import Any

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing.payments import resolve_method
from billing_stripe.testing.fake_stripe.billing.redemption import resolve_discount
from billing_stripe.testing.fake_stripe.billing.times import now_on
from billing_stripe.testing.fake_stripe.errors import StripeError, invalid, refused
from billing_stripe.testing.fake_stripe.forms import Params, merged_metadata

_WITH_PENDING = frozenset(
    {
        "payment_behavior",
        "proration_behavior",
        "proration_date",
        "billing_cycle_anchor",
        "items",
        "trial_end",
        "trial_from_plan",
    }
)
"""Parameters of an update that may wait for its payment."""
_METADATA_WITH_PENDING = "2026-05-27"
"""The API version since which metadata may, too."""


def check(account: Account, subscription: objects.Subscription, params: Params, api_version: str) -> None:
    """Raise StripeError for parameters that do not go with each other, or with the state of the subscription."""
    if subscription.ended_at is not None and params.keys() - {"cancellation_details", "metadata"}:
        raise refused(
            "A canceled subscription can only update its cancellation_details and metadata.",
            code="resource_missing",
        )
    method = params.get("collection_method", subscription.collection_method)
    check_collection(params, method, subscription.days_until_due)
    if params.get("payment_behavior") == "pending_if_incomplete":
        _check_pending(subscription, params, api_version)
    if subscription.schedule_id is not None and params.keys() & {"cancel_at", "cancel_at_period_end"}:
        raise refused(
            f"The subscription is managed by the subscription schedule `{subscription.schedule_id}`, and updating any "
            "cancelation behavior directly is not allowed. Please update the schedule instead.",
        )
    if params.get("default_payment_method") is not None:
        resolve_method(account, params["default_payment_method"], subscription.customer_id, "default_payment_method")


def _check_pending(subscription: objects.Subscription, params: Params, api_version: str) -> None:
    """Raise StripeError for an update that cannot wait for its payment."""
    unsupported = params.keys() - _WITH_PENDING
    if api_version >= _METADATA_WITH_PENDING:
        unsupported = unsupported - {"metadata"}
    if unsupported:
        names = sorted(unsupported)
        raise invalid(
            "The following parameters are not supported when `payment_behavior=pending_if_incomplete`: "
            f"{', '.join(names)}.",
            param=names[0],
        )
    if subscription.collection_method == "send_invoice":
        raise invalid(
            "`payment_behavior=pending_if_incomplete` requires `collection_method=charge_automatically`.",
            param="payment_behavior",
        )


def check_collection(params: Params, method: str, known_days: int | None = None) -> None:
    """Raise StripeError unless the days until an invoice is due go with the collection method."""
    days = params.get("days_until_due", known_days)
    if method == "send_invoice" and days is None:
        raise invalid(
            "If `collection_method=send_invoice` is set, you must also set `days_until_due`.", param="days_until_due"
        )
    if method == "charge_automatically" and "days_until_due" in params:
        raise invalid("`days_until_due` can only be set when `collection_method=send_invoice`.", param="days_until_due")


def attributes(account: Account, subscription: objects.Subscription, params: Params) -> dict[str, Any]:
    """Return the changed attributes of an update, apart from its items."""
    names = {
        "collection_method": "collection_method",
        "days_until_due": "days_until_due",
        "default_payment_method": "default_payment_method_id",
        "description": "description",
    }
    changed = {field: params[name] for name, field in names.items() if name in params}
    if "metadata" in params:
        changed["metadata"] = merged_metadata(subscription.metadata, params)
    if "discounts" in params:
        changed["coupon_id"] = coupon_id(account, params, subscription.customer_id, subscription.coupon_id)
        if changed["coupon_id"] != subscription.coupon_id:
            changed["discounted_at"] = now_on(account, subscription.test_clock)
            changed["promotion_code_id"] = promotion_code_id(params)
    if "pause_collection" in params:
        paused = params["pause_collection"]
        changed["pause_collection"] = None if paused is None else paused["behavior"]
        changed["pause_resumes_at"] = None if paused is None else paused.get("resumes_at")
    if "save_default_payment_method" in params.get("payment_settings", {}):
        saved = params["payment_settings"]["save_default_payment_method"]
        changed["save_default_payment_method"] = saved == "on_subscription"
    if "trial_settings" in params:
        behavior = params["trial_settings"]["end_behavior"]
        changed["missing_payment_method"] = behavior.get("missing_payment_method", "create_invoice")
    if isinstance(params.get("trial_end"), datetime):
        changed |= _trial(subscription, params["trial_end"], now_on(account, subscription.test_clock))
    return changed | cancellation(params) | _scheduled_end(account, subscription, params)


def _trial(subscription: objects.Subscription, trial_end: datetime, now: datetime) -> dict[str, Any]:
    if trial_end <= now:
        raise refused("Invalid timestamp: must be an integer Unix timestamp in the future.", param="trial_end")
    started = now if subscription.trial is None else subscription.trial.start
    trial = objects.Span(started if subscription.status == "trialing" else now, trial_end)
    items = tuple(attrs.evolve(item, period=trial) for item in subscription.items)
    return {"trial": trial, "items": items, "status": "trialing", "billing_cycle_anchor": trial_end}


def cancellation(params: Params) -> dict[str, Any]:
    """Return the changed attributes that `cancellation_details` describe."""
    details = params.get("cancellation_details", {})
    return {f"cancellation_{name}": details[name] for name in ("comment", "feedback") if name in details}


def _scheduled_end(account: Account, subscription: objects.Subscription, params: Params) -> dict[str, Any]:
    """Return the attributes of a cancellation that is scheduled or withdrawn."""
    now = now_on(account, subscription.test_clock)
    withdrawn = {"cancel_at": None, "cancel_at_period_end": False, "canceled_at": None}
    if params.get("cancel_at_period_end"):
        end = subscription.span.end
        return {"cancel_at": end, "cancel_at_period_end": True, "canceled_at": subscription.canceled_at or now}
    if params.get("cancel_at") is not None:
        given = params["cancel_at"]
        ends = [item.period.end for item in subscription.items]
        at = {"min_period_end": min(ends), "max_period_end": max(ends)}.get(given) if isinstance(given, str) else given
        if at is not None and at <= now:
            raise refused("`cancel_at` must be a timestamp in the future.", param="cancel_at")
        return {"cancel_at": at, "cancel_at_period_end": False, "canceled_at": subscription.canceled_at or now}
    if "cancel_at" in params or "cancel_at_period_end" in params:
        return withdrawn
    return {}


def merged(
    before: objects.Subscription, described: objects.Subscription, changed: objects.Subscription
) -> objects.Subscription:
    """Return a subscription with the changed items and anchor, and with the other attributes as an update says."""
    anchor = changed.billing_cycle_anchor if changed.billing_cycle_anchor != before.billing_cycle_anchor else None
    items = changed.items
    if described.trial != before.trial and described.trial is not None:
        items = tuple(attrs.evolve(item, period=described.trial) for item in items)
    return attrs.evolve(described, items=items, billing_cycle_anchor=anchor or described.billing_cycle_anchor)


def follow_schedule(account: Account, subscription: objects.Subscription) -> None:
    """Let the current phase of a schedule follow a direct change of items; later phases overwrite it."""
    schedule = account.find(objects.SubscriptionSchedule, subscription.schedule_id)
    if schedule is None or schedule.status != "active":
        return
    phases = list(schedule.phases)
    prices = {item.price.price_id: item.quantity for item in subscription.items}
    phases[schedule.current_phase] = attrs.evolve(phases[schedule.current_phase], prices=prices)
    account.update(attrs.evolve(schedule, phases=tuple(phases)))


def coupon_id(account: Account, params: Params, customer_id: str, current: str | None) -> str | None:
    """Return the coupon of `discounts`; the fake knows one at a time."""
    if "discounts" not in params:
        return current
    given = params["discounts"] or []
    if len(given) > 1:
        raise _unsupported("discounts[1]", "more than one discount")
    if not given:
        return None
    if "discount" in given[0]:
        return current
    return resolve_discount(account, given[0], customer_id, "discounts[0]").coupon_id


def promotion_code_id(params: Params) -> str | None:
    """Return the code that `discounts` names, if it names one."""
    given = params.get("discounts") or [{}]
    code = given[0].get("promotion_code")
    return None if code is None else str(code)


def _unsupported(param: str, what: str) -> StripeError:
    return invalid(f"FakeStripe does not support {what}.", param=param)
