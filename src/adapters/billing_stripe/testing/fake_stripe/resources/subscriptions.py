"""Subscriptions: the endpoints. What they do is in `billing`."""

import attrs

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.account import Account, Due
from billing_stripe.testing.fake_stripe.billing import changes, collection, ending, pausing, periods, updates
from billing_stripe.testing.fake_stripe.billing.items import CHANGED_ITEMS, NEW_ITEMS
from billing_stripe.testing.fake_stripe.billing.payments import resolve_method
from billing_stripe.testing.fake_stripe.billing.starting import start
from billing_stripe.testing.fake_stripe.errors import invalid, missing, refused
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
    unsupported,
    within,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route
from billing_stripe.testing.versions import Shape

KIND = Kind(
    source=objects.Subscription,
    noun="subscription",
    key=lambda source: source.subscription_id,
    render=builders.subscription,
    events="customer.subscription",
    expandable=frozenset(
        {"customer", "default_payment_method", "latest_invoice", "pending_setup_intent", "schedule", "test_clock"}
    ),
    included={"discounts": lambda _account, source, api_version: builders.discounts(source, api_version)},
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
    **unsupported("proration_behavior", "proration_date"),
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
    updates.check_collection(params, params.get("collection_method", "charge_automatically"))
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
        coupon_id=updates.coupon_id(account, params, customer.customer_id, None),
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
    updates.check(account, subscription, params, call.api_version)
    if subscription.pending_update is not None and _changes_items(params):
        subscription = collection.expire_pending(account, subscription)
    described = attrs.evolve(subscription, **updates.attributes(account, subscription, params))
    if _changes_items(params):
        change = changes.plan(account, subscription, params)
        change = attrs.evolve(change, after=updates.merged(subscription, described, change.after))
        updated = changes.make(account, change, payment=params.get("payment_behavior", "allow_incomplete"))
        updates.follow_schedule(account, updated)
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
    described = attrs.evolve(subscription, **updates.cancellation(params))
    ended = ending.end(account, described, prorate=params.get("prorate", False))
    if params.get("invoice_now"):
        collection.bill_end(account, ended)
    return account.get(objects.Subscription, call.id)


def pause(call: Call) -> objects.Subscription:
    """POST /v1/subscriptions/:id/pause, in flexible billing mode and without a schedule."""
    bill_for = call.params.get("bill_for", {})
    return pausing.pause(
        call.account,
        retrieve(call),
        unused_from=bill_for.get("unused_time_from", {}).get("type", "now"),
        bill_usage=bill_for.get("outstanding_usage_through", {}).get("type", "now") == "now",
        invoice=call.params.get("invoicing_behavior") == "invoice",
    )


def resume(call: Call) -> objects.Subscription:
    """POST /v1/subscriptions/:id/resume: a new period begins, and is invoiced."""
    account, params, subscription = call.account, call.params, retrieve(call)
    if subscription.status != "paused":
        raise refused("Only subscriptions with status `paused` can be resumed.")
    anchor = params.get("billing_cycle_anchor", "now")
    kind = anchor if isinstance(anchor, str) else anchor["type"]
    on_success = params.get("payment_behavior") == "resume_on_payment_success"
    return pausing.resume(account, subscription, keep_anchor=kind == "unchanged", only_if_paid=on_success)


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
    ending.end(account, subscription)


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
        Due(source=objects.Subscription, tasks=periods.due),
        Due(source=objects.Invoice, tasks=collection.due_invoice),
    ],
)
