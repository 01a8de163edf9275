"""Subscriptions: the endpoints. What they do is in `billing`."""

from datetime import datetime
from typing import Any

import attrs

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.account import Account, Due
from billing_stripe.testing.fake_stripe.billing import changes, invoicing, lifecycle
from billing_stripe.testing.fake_stripe.billing.items import CHANGED_ITEMS, NEW_ITEMS
from billing_stripe.testing.fake_stripe.billing.payments import resolve_method
from billing_stripe.testing.fake_stripe.billing.starting import start
from billing_stripe.testing.fake_stripe.billing.times import now_on
from billing_stripe.testing.fake_stripe.errors import StripeError, invalid, missing, refused
from billing_stripe.testing.fake_stripe.forms import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    METADATA,
    MOMENT,
    TEXT,
    Clearable,
    Either,
    Field,
    Form,
    Listed,
    Params,
    Period,
    Required,
    choice,
    listing,
    merged_metadata,
    unsupported,
    within,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.resources.coupons import resolve_discount
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route
from billing_stripe.testing.versions import Shape

KIND = Kind(
    source=objects.Subscription,
    noun="subscription",
    prefix="sub",
    key=lambda source: source.subscription_id,
    render=builders.subscription,
    events="customer.subscription",
    expandable=frozenset(
        {"customer", "default_payment_method", "latest_invoice", "pending_setup_intent", "schedule", "test_clock"}
    ),
    shown_lists=("items",),
)
PRORATION = choice("always_invoice", "create_prorations", "none")
_CANCELLATION = Form(
    comment=Clearable(TEXT),
    feedback=Clearable(
        choice(
            "customer_service",
            "low_quality",
            "missing_features",
            "other",
            "switched_service",
            "too_complex",
            "too_expensive",
            "unused",
        )
    ),
    feedback_option=Clearable(TEXT),
)
_FIELDS: dict[str, Field] = {
    "automatic_tax": ANYTHING,
    "cancel_at_period_end": BOOLEAN,
    "collection_method": choice("charge_automatically", "send_invoice"),
    "days_until_due": INTEGER,
    "description": Clearable(TEXT),
    "discounts": Clearable(Listed(Form(coupon=TEXT, promotion_code=TEXT, discount=TEXT))),
    "invoice_settings": ANYTHING,
    "metadata": METADATA,
    "off_session": BOOLEAN,
    "payment_behavior": choice(
        "allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"
    ),
    "payment_settings": Form(
        payment_method_options=ANYTHING,
        payment_method_types=ANYTHING,
        save_default_payment_method=choice("off", "on_subscription"),
    ),
    "proration_behavior": PRORATION,
    "trial_end": Either(("now",), MOMENT),
    "trial_from_plan": BOOLEAN,
    **unsupported(
        "add_invoice_items",
        "application_fee_percent",
        "billing_schedules",
        "billing_thresholds",
        "default_source",
        "default_tax_rates",
        "on_behalf_of",
        "pending_invoice_item_interval",
        "transfer_data",
    ),
    "trial_settings": Form(
        end_behavior=Required(
            Form(
                missing_payment_method=choice("cancel", "create_invoice", "pause"),
                billing_cycle_anchor=choice("now", "unchanged"),
            )
        )
    ),
}
_CANCEL_AT = Either(("min_period_end", "max_period_end"), MOMENT)
CREATE = Form(
    customer=Required(TEXT),
    items=Required(NEW_ITEMS),
    billing_cycle_anchor=MOMENT,
    billing_mode=Form(type=Required(choice("classic", "flexible")), flexible=ANYTHING),
    cancel_at=_CANCEL_AT,
    currency=TEXT,
    default_payment_method=TEXT,
    trial_period_days=INTEGER,
    **unsupported("backdate_start_date", "billing_cycle_anchor_config", "customer_account"),
    **_FIELDS,
)
UPDATE = Form(
    items=CHANGED_ITEMS,
    billing_cycle_anchor=choice("now", "unchanged"),
    cancel_at=Clearable(_CANCEL_AT),
    cancellation_details=_CANCELLATION,
    default_payment_method=Clearable(TEXT),
    pause_collection=Clearable(
        Form(behavior=Required(choice("keep_as_draft", "mark_uncollectible", "void")), resumes_at=MOMENT)
    ),
    proration_date=MOMENT,
    **_FIELDS,
)
CANCEL = Form(cancellation_details=_CANCELLATION, invoice_now=BOOLEAN, prorate=BOOLEAN)
PAUSE = Form(
    type=choice("subscription"),
    bill_for=Form(
        outstanding_usage_through=Form(type=Required(choice("none", "now"))),
        unused_time_from=Form(type=Required(choice("item_current_period_start", "none", "now"))),
    ),
    invoicing_behavior=choice("invoice", "pending_invoice_item"),
)
RESUME = Form(
    billing_cycle_anchor=Either(("now", "unchanged"), Form(type=Required(choice("now", "unchanged")))),
    payment_behavior=choice("resume_on_payment_attempt", "resume_on_payment_success"),
    proration_behavior=PRORATION,
    proration_date=MOMENT,
)
LIST = listing(
    customer=TEXT,
    price=TEXT,
    plan=TEXT,
    status=choice(
        "active",
        "all",
        "canceled",
        "ended",
        "incomplete",
        "incomplete_expired",
        "past_due",
        "paused",
        "trialing",
        "unpaid",
    ),
    collection_method=choice("charge_automatically", "send_invoice"),
    created=Period(),
    current_period_start=Period(),
    current_period_end=Period(),
    test_clock=TEXT,
)
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


def create(call: Call) -> objects.Subscription:
    """POST /v1/subscriptions"""
    account, params = call.account, dict(call.params)
    customer = account.get(objects.Customer, params["customer"], "customer")
    if customer.deleted:
        raise missing("customer", customer.customer_id, "customer")
    if params.get("payment_behavior") == "pending_if_incomplete":
        raise invalid(
            "`payment_behavior=pending_if_incomplete` can only be used when updating a subscription.",
            param="payment_behavior",
        )
    _check_collection(params, params.get("collection_method", "charge_automatically"))
    if "default_payment_method" in params:
        resolve_method(account, params["default_payment_method"], customer.customer_id, "default_payment_method")
    flexible = Shape(call.api_version).flexible_by_default
    if "billing_mode" in params:
        flexible = params["billing_mode"]["type"] == "flexible"
    if isinstance(params.get("cancel_at"), str):
        params["cancel_at_period_end"] = True
        del params["cancel_at"]
    return start(
        account,
        customer,
        params,
        flexible=flexible,
        coupon_id=_coupon_id(account, params, customer.customer_id, None),
    )


def retrieve(call: Call) -> objects.Subscription:
    """GET /v1/subscriptions/:id"""
    return call.account.get(objects.Subscription, call.id)


def subscriptions(call: Call) -> Listing:
    """GET /v1/subscriptions: without canceled ones unless a status says otherwise, or those on test clocks."""
    params = call.params
    matching = [each for each in call.account.all(objects.Subscription) if _matches(each, params)]
    return Listing(matching, KIND.noun)


def update(call: Call) -> objects.Subscription:
    """POST /v1/subscriptions/:id"""
    account, params = call.account, call.params
    subscription = retrieve(call)
    payment = params.get("payment_behavior", "allow_incomplete")
    _check_update(account, subscription, params, payment)
    if payment == "pending_if_incomplete":
        _check_pending(subscription, params, call.api_version)
    if subscription.pending_update is not None and _changes_items(params):
        subscription = lifecycle.expire_pending(account, subscription)
    described = attrs.evolve(subscription, **_settings(account, subscription, params))
    if _changes_items(params):
        change = changes.plan(account, subscription, params)
        change = attrs.evolve(change, after=_merged(subscription, described, change.after))
        updated = changes.make(account, change, payment=payment)
        _follow_schedule(account, updated)
    else:
        updated = account.update(described)
    if params.get("trial_end") == "now" and updated.status == "trialing":
        updated = changes.end_trial_now(account, updated)
    return updated


def cancel(call: Call) -> objects.Subscription:
    """DELETE /v1/subscriptions/:id"""
    account, params, subscription = call.account, call.params, retrieve(call)
    if subscription.ended_at is not None:
        raise missing(KIND.noun, call.id)
    described = attrs.evolve(subscription, **_cancellation(params))
    return lifecycle.end(
        account, described, prorate=params.get("prorate", False), invoice_now=params.get("invoice_now", False)
    )


def pause(call: Call) -> objects.Subscription:
    """POST /v1/subscriptions/:id/pause, in flexible billing mode and without a schedule."""
    account, params, subscription = call.account, call.params, retrieve(call)
    if not subscription.flexible_billing:
        raise refused("Only subscriptions with `billing_mode[type]=flexible` can be paused.")
    if subscription.schedule_id is not None:
        raise refused("Subscriptions that are managed by a subscription schedule cannot be paused.")
    if subscription.status not in ("active", "past_due", "trialing"):
        raise refused(f"Subscriptions with status `{subscription.status}` cannot be paused.")
    now = now_on(account, subscription.test_clock)
    unused = params.get("bill_for", {}).get("unused_time_from", {}).get("type", "now")
    start_at = subscription.span.start if unused == "item_current_period_start" else now
    credits = [] if unused == "none" else changes.credits_from(account, subscription, start_at)
    stopped = tuple(
        attrs.evolve(item, period=objects.Span(item.period.start, max(item.period.start, now)))
        for item in subscription.items
    )
    paused = account.update(attrs.evolve(subscription, status="paused", items=stopped, paused_at=now))
    account.emit("customer.subscription.paused", paused)
    if params.get("invoicing_behavior") == "invoice" and credits:
        draft = invoicing.create_draft(account, paused, credits, reason="subscription_update")
        lifecycle.advance_invoice(account, draft)
    else:
        invoicing.add_pending(account, paused, credits)
    return account.get(objects.Subscription, call.id)


def resume(call: Call) -> objects.Subscription:
    """POST /v1/subscriptions/:id/resume: a new period begins, and is invoiced."""
    account, params, subscription = call.account, call.params, retrieve(call)
    if subscription.status != "paused":
        raise refused("Only subscriptions with status `paused` can be resumed.")
    anchor = params.get("billing_cycle_anchor", "now")
    kind = anchor if isinstance(anchor, str) else anchor["type"]
    on_success = params.get("payment_behavior") == "resume_on_payment_success"
    return changes.resume(account, subscription, keep_anchor=kind == "unchanged", only_if_paid=on_success)


def migrate(call: Call) -> objects.Subscription:
    """POST /v1/subscriptions/:id/migrate to the flexible billing mode, for good."""
    subscription = retrieve(call)
    if subscription.flexible_billing:
        raise refused("This subscription is already in the flexible billing mode.", param="billing_mode[type]")
    return call.account.update(attrs.evolve(subscription, flexible_billing=True))


def item_list(call: Call) -> Listing:
    """GET /v1/subscription_items?subscription="""
    source = call.account.get(objects.Subscription, call.params["subscription"], "subscription")
    rendered = KIND.render(source, call.api_version)
    return Listing(rendered["items"]["data"], "subscription_item")


def end_subscription(account: Account, subscription: objects.Subscription) -> None:
    """End a subscription at once, as the deletion of its customer does."""
    lifecycle.end(account, subscription)


def _matches(subscription: objects.Subscription, params: Params) -> bool:
    status = params.get("status")
    if status == "ended":
        fits = subscription.status in ("canceled", "incomplete_expired")
    elif status is None:
        fits = subscription.status != "canceled"
    else:
        fits = status in ("all", subscription.status)
    price_id = params.get("price") or params.get("plan")
    if subscription.test_clock is not None and not params.keys() & {"customer", "test_clock"}:
        return False
    return (
        fits
        and params.get("customer") in (None, subscription.customer_id)
        and params.get("test_clock") in (None, subscription.test_clock)
        and params.get("collection_method") in (None, subscription.collection_method)
        and (price_id is None or any(item.price.price_id == price_id for item in subscription.items))
        and within(params.get("created"), subscription.created_at)
        and within(params.get("current_period_start"), min(item.period.start for item in subscription.items))
        and within(params.get("current_period_end"), max(item.period.end for item in subscription.items))
    )


def _changes_items(params: Params) -> bool:
    return "items" in params or params.get("billing_cycle_anchor") == "now"


def _check_update(account: Account, subscription: objects.Subscription, params: Params, payment: str) -> None:
    if subscription.ended_at is not None and params.keys() - {"cancellation_details", "metadata"}:
        raise refused(
            "A canceled subscription can only update its cancellation_details and metadata.",
            code="resource_missing",
        )
    _check_collection(
        params, params.get("collection_method", subscription.collection_method), subscription.days_until_due
    )
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


def _check_collection(params: Params, method: str, known_days: int | None = None) -> None:
    days = params.get("days_until_due", known_days)
    if method == "send_invoice" and days is None:
        raise invalid(
            "If `collection_method=send_invoice` is set, you must also set `days_until_due`.", param="days_until_due"
        )
    if method == "charge_automatically" and "days_until_due" in params:
        raise invalid("`days_until_due` can only be set when `collection_method=send_invoice`.", param="days_until_due")


def _settings(account: Account, subscription: objects.Subscription, params: Params) -> dict[str, Any]:
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
        changed["coupon_id"] = _coupon_id(account, params, subscription.customer_id, subscription.coupon_id)
        if changed["coupon_id"] != subscription.coupon_id:
            changed["discounted_at"] = now_on(account, subscription.test_clock)
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
    return changed | _cancellation(params) | _scheduled_end(account, subscription, params)


def _trial(subscription: objects.Subscription, trial_end: datetime, now: datetime) -> dict[str, Any]:
    if trial_end <= now:
        raise refused("Invalid timestamp: must be an integer Unix timestamp in the future.", param="trial_end")
    started = now if subscription.trial is None else subscription.trial.start
    trial = objects.Span(started if subscription.status == "trialing" else now, trial_end)
    items = tuple(attrs.evolve(item, period=trial) for item in subscription.items)
    return {"trial": trial, "items": items, "status": "trialing", "billing_cycle_anchor": trial_end}


def _cancellation(params: Params) -> dict[str, Any]:
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


def _merged(
    before: objects.Subscription, described: objects.Subscription, changed: objects.Subscription
) -> objects.Subscription:
    """Return a subscription with the changed items and anchor, and with the other attributes as an update says."""
    anchor = changed.billing_cycle_anchor if changed.billing_cycle_anchor != before.billing_cycle_anchor else None
    items = changed.items
    if described.trial != before.trial and described.trial is not None:
        items = tuple(attrs.evolve(item, period=described.trial) for item in items)
    return attrs.evolve(described, items=items, billing_cycle_anchor=anchor or described.billing_cycle_anchor)


def _follow_schedule(account: Account, subscription: objects.Subscription) -> None:
    """Let the current phase of a schedule follow a direct change of items; later phases overwrite it."""
    schedule = account.find(objects.SubscriptionSchedule, subscription.schedule_id)
    if schedule is None or schedule.status != "active":
        return
    phases = list(schedule.phases)
    prices = {item.price.price_id: item.quantity for item in subscription.items}
    phases[schedule.current_phase] = attrs.evolve(phases[schedule.current_phase], prices=prices)
    account.update(attrs.evolve(schedule, phases=tuple(phases)))


def _coupon_id(account: Account, params: Params, customer_id: str, current: str | None) -> str | None:
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


def _unsupported(param: str, what: str) -> StripeError:
    return invalid(f"FakeStripe does not support {what}.", param=param)


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/subscriptions", create, CREATE),
        Route("GET", "/v1/subscriptions", subscriptions, LIST),
        Route("GET", "/v1/subscriptions/{id}", retrieve),
        Route("POST", "/v1/subscriptions/{id}", update, UPDATE),
        Route("DELETE", "/v1/subscriptions/{id}", cancel, CANCEL),
        Route("POST", "/v1/subscriptions/{id}/pause", pause, PAUSE),
        Route("POST", "/v1/subscriptions/{id}/resume", resume, RESUME),
        Route(
            "POST",
            "/v1/subscriptions/{id}/migrate",
            migrate,
            Form(billing_mode=Required(Form(type=Required(choice("flexible")), flexible=ANYTHING))),
        ),
        Route("GET", "/v1/subscription_items", item_list, listing(subscription=Required(TEXT))),
    ],
    due=[
        Due(source=objects.Subscription, tasks=lifecycle.due),
        Due(source=objects.Invoice, tasks=lifecycle.due_invoice),
    ],
)
