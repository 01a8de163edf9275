"""Setup intents: payment methods for later payments."""

import attrs

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing.cards import CARDS, declined
from billing_stripe.testing.fake_stripe.billing.times import now_on
from billing_stripe.testing.fake_stripe.errors import refused
from billing_stripe.testing.fake_stripe.forms import (
    ANYTHING,
    BOOLEAN,
    METADATA,
    TEXT,
    Form,
    Listed,
    Period,
    choice,
    listing,
    merged_metadata,
    within,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.resources.payment_methods import attach_to
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.SetupIntent,
    noun="setup_intent",
    prefix="seti",
    key=lambda source: source.setup_intent_id,
    render=builders.setup_intent,
    expandable=frozenset({"customer", "payment_method"}),
)
CREATE = Form(
    automatic_payment_methods=ANYTHING,
    confirm=BOOLEAN,
    customer=TEXT,
    metadata=METADATA,
    payment_method=TEXT,
    payment_method_types=Listed(TEXT),
    return_url=TEXT,
    usage=choice("off_session", "on_session"),
)


def create(call: Call) -> objects.SetupIntent:
    """POST /v1/setup_intents"""
    account, params = call.account, call.params
    customer_id = params.get("customer")
    clock_id = None
    if customer_id is not None:
        clock_id = account.get(objects.Customer, customer_id, "customer").test_clock_id
    intent = account.create(
        objects.SetupIntent(
            setup_intent_id=account.new_id("seti"),
            customer_id=customer_id,
            created_at=now_on(account, clock_id),
            usage=params.get("usage", "off_session"),
            payment_method_id=params.get("payment_method"),
            status="requires_confirmation" if "payment_method" in params else "requires_payment_method",
            metadata=merged_metadata({}, params),
        )
    )
    return confirm_with(account, intent, intent.payment_method_id) if params.get("confirm") else intent


def retrieve(call: Call) -> objects.SetupIntent:
    """GET /v1/setup_intents/:id"""
    return call.account.get(objects.SetupIntent, call.id)


def intents(call: Call) -> Listing:
    """GET /v1/setup_intents"""
    params = call.params
    matching = [
        intent
        for intent in call.account.all(objects.SetupIntent)
        if params.get("customer") in (None, intent.customer_id)
        and params.get("payment_method") in (None, intent.payment_method_id)
        and within(params.get("created"), intent.created_at)
    ]
    return Listing(matching, KIND.noun)


def confirm(call: Call) -> objects.SetupIntent:
    """POST /v1/setup_intents/:id/confirm, as a browser does with the client secret."""
    intent = retrieve(call)
    return confirm_with(call.account, intent, call.params.get("payment_method") or intent.payment_method_id)


def cancel(call: Call) -> objects.SetupIntent:
    """POST /v1/setup_intents/:id/cancel"""
    intent = retrieve(call)
    _check_open(intent)
    return call.account.update(attrs.evolve(intent, status="canceled"), "setup_intent.canceled")


def confirm_with(
    account: Account, intent: objects.SetupIntent, method_name: str | None, *, authenticated: bool = False
) -> objects.SetupIntent:
    """Set a payment method up and attach it to the intent's customer. Raises StripeError if its bank declines it."""
    _check_open(intent)
    if method_name is None:
        raise refused("You cannot confirm this SetupIntent because it's missing a payment method.")
    if intent.customer_id is None:
        method = account.get(objects.PaymentMethod, method_name, "payment_method")
    else:
        method = attach_to(account, method_name, intent.customer_id)
    card = CARDS[method.test_card]
    if not card.attaches:
        raise declined(card)
    tried = attrs.evolve(intent, payment_method_id=method.payment_method_id)
    if card.authentication != "never" and not authenticated:
        waiting = attrs.evolve(tried, status="requires_action")
        account.put(waiting)
        account.emit("setup_intent.requires_action", waiting)
        return waiting
    account.put(attrs.evolve(method, set_up=True))
    done = attrs.evolve(tried, status="succeeded")
    account.put(done)
    account.emit("setup_intent.succeeded", done)
    for subscription in account.all(objects.Subscription):
        if subscription.pending_setup_intent_id == done.setup_intent_id:
            account.update(
                attrs.evolve(
                    subscription,
                    pending_setup_intent_id=None,
                    default_payment_method_id=method.payment_method_id,
                )
            )
    return done


def _check_open(intent: objects.SetupIntent) -> None:
    if intent.status in ("succeeded", "canceled"):
        raise refused(
            f"This SetupIntent's status is {intent.status}, so it can no longer be changed.",
            code="setup_intent_unexpected_state",
        )


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/setup_intents", create, CREATE),
        Route("GET", "/v1/setup_intents", intents, listing(customer=TEXT, payment_method=TEXT, created=Period())),
        Route("GET", "/v1/setup_intents/{id}", retrieve),
        Route(
            "POST",
            "/v1/setup_intents/{id}/confirm",
            confirm,
            Form(payment_method=TEXT, return_url=TEXT, mandate_data=ANYTHING),
        ),
        Route("POST", "/v1/setup_intents/{id}/cancel", cancel, Form(cancellation_reason=TEXT)),
    ],
)
