"""The start of a subscription."""

from datetime import datetime, timedelta

import attrs

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing import invoicing
from billing_stripe.testing.fake_stripe.billing.changes import default_of, unpaid
from billing_stripe.testing.fake_stripe.billing.collection import collect
from billing_stripe.testing.fake_stripe.billing.items import check_intervals, new_items
from billing_stripe.testing.fake_stripe.billing.lines import charges, trial_lines
from billing_stripe.testing.fake_stripe.billing.payments import outcome
from billing_stripe.testing.fake_stripe.billing.times import now_on
from billing_stripe.testing.fake_stripe.errors import refused
from billing_stripe.testing.fake_stripe.forms import Params, merged_metadata


def start(
    account: Account, customer: objects.Customer, params: Params, *, flexible: bool, coupon_id: str | None = None
) -> objects.Subscription:
    """Start a subscription of a customer.

    Args:
        account: of the customer.
        customer: who pays.
        params: those of `POST /v1/subscriptions`.
        flexible: its billing mode.
        coupon_id: of its discount.

    Raises: StripeError if a payment that the request demands fails; nothing is started then.
    """
    now = now_on(account, customer.test_clock)
    subscription = described(account, customer, params, now, flexible=flexible, coupon_id=coupon_id)
    behavior = params.get("payment_behavior", "allow_incomplete")
    lines = (
        trial_lines(account, subscription) if subscription.trial else charges(account, subscription, subscription.items)
    )
    due = invoicing.describe(account, subscription, lines, reason="subscription_create", at=now).total
    automatic = subscription.collection_method == "charge_automatically"
    method = default_of(account, subscription)
    if automatic and due > 0 and method is None and behavior in ("allow_incomplete", "error_if_incomplete"):
        raise refused(
            "This customer has no attached payment source or default payment method. Please consider adding a default "
            "payment method. For more information, visit "
            "https://stripe.com/docs/billing/subscriptions/payment-methods-setting#payment-method-priority.",
            code="resource_missing",
        )
    charged = automatic and due > 0
    waits = charged and (behavior == "default_incomplete" or outcome(method) != "succeeded")
    if subscription.trial is not None:
        subscription = _prepare_later_payment(account, attrs.evolve(subscription, status="trialing"), behavior)
    else:
        subscription = attrs.evolve(subscription, status="incomplete" if waits else "active")
    invoice_id = account.new_id("in")
    subscription = account.create(attrs.evolve(subscription, latest_invoice_id=invoice_id))
    draft = invoicing.create_draft(account, subscription, lines, reason="subscription_create", invoice_id=invoice_id)
    if automatic or due == 0:
        invoice = invoicing.finalize(account, draft)
        if invoice.status == "open" and behavior != "default_incomplete":
            invoice = collect(account, invoice)
        if invoice.status == "open" and behavior == "error_if_incomplete":
            raise unpaid(account.get(objects.PaymentIntent, invoice.payment_id or ""))
    return account.get(objects.Subscription, subscription.subscription_id)


def described(
    account: Account,
    customer: objects.Customer,
    params: Params,
    now: datetime,
    *,
    flexible: bool,
    coupon_id: str | None,
) -> objects.Subscription:
    trial_end = _trial_end(params, now)
    trial = None if trial_end is None else objects.Span(now, trial_end)
    anchor = trial_end or now
    items = new_items(account, params["items"], period=trial, anchor=anchor, at=now)
    fixed = params.get("billing_cycle_anchor")
    if fixed is not None and trial is None:
        anchor = fixed
        items = tuple(attrs.evolve(item, period=objects.Span(now, min(item.period.end, fixed))) for item in items)
    _check_currency(customer, items)
    check_intervals(items, flexible=flexible)
    cancel_at = params.get("cancel_at")
    if params.get("cancel_at_period_end"):
        cancel_at = min(item.period.end for item in items)
    settings = params.get("trial_settings", {}).get("end_behavior", {})
    return objects.Subscription(
        subscription_id=account.new_id("sub"),
        customer_id=customer.customer_id,
        status="incomplete",
        created_at=now,
        items=items,
        metadata=merged_metadata({}, params),
        trial=trial,
        cancel_at_period_end=params.get("cancel_at_period_end", False),
        cancel_at=cancel_at,
        canceled_at=None if cancel_at is None else now,
        collection_method=params.get("collection_method", "charge_automatically"),
        days_until_due=params.get("days_until_due"),
        flexible_billing=flexible,
        coupon_id=coupon_id,
        billing_cycle_anchor=anchor,
        default_payment_method_id=params.get("default_payment_method"),
        save_default_payment_method=params.get("payment_settings", {}).get("save_default_payment_method")
        == "on_subscription",
        description=params.get("description"),
        missing_payment_method=settings.get("missing_payment_method", "create_invoice"),
        test_clock=customer.test_clock,
    )


def _trial_end(params: Params, now: datetime) -> datetime | None:
    if "trial_end" in params and "trial_period_days" in params:
        raise refused("You may only specify one of these parameters: trial_end, trial_period_days.", param="trial_end")
    if params.get("trial_period_days"):
        return now + timedelta(days=params["trial_period_days"])
    given: datetime | str | None = params.get("trial_end")
    if given is None or isinstance(given, str):
        return None
    if given <= now:
        raise refused("Invalid timestamp: must be an integer Unix timestamp in the future.", param="trial_end")
    return given


def _prepare_later_payment(account: Account, subscription: objects.Subscription, behavior: str) -> objects.Subscription:
    """Add the setup intent with which a customer without a payment method adds one during the trial."""
    if default_of(account, subscription) is not None or behavior != "default_incomplete":
        return subscription
    intent = account.create(
        objects.SetupIntent(
            setup_intent_id=account.new_id("seti"),
            customer_id=subscription.customer_id,
            created_at=subscription.created_at,
        )
    )
    return attrs.evolve(subscription, pending_setup_intent_id=intent.setup_intent_id)


def _check_currency(customer: objects.Customer, items: tuple[objects.Item, ...]) -> None:
    currency = items[0].price.currency
    if customer.currency not in (None, currency):
        raise refused(
            f"You cannot combine currencies on a single customer. This customer has had a subscription, coupon, or "
            f"invoice item with currency {customer.currency}"
        )
