"""Setup intents: payment methods for later payments."""

import attrs

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.billing import setups
from billing_stripe.testing.fake_stripe.billing.times import now_on
from billing_stripe.testing.fake_stripe.filters import select
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
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.SetupIntent,
    noun="setup_intent",
    key=lambda source: source.setup_intent_id,
    render=builders.setup_intent,
    expandable=frozenset({"customer", "payment_method"}),
)
CREATE = Form(
    automatic_payment_methods=ANYTHING,
    confirm=BOOLEAN,
    customer=TEXT,
    description=TEXT,
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
        clock_id = account.get(objects.Customer, customer_id, "customer").test_clock
    intent = account.create(
        objects.SetupIntent(
            setup_intent_id=account.new_id("seti"),
            customer_id=customer_id,
            created_at=now_on(account, clock_id),
            usage=params.get("usage", "off_session"),
            payment_method_id=params.get("payment_method"),
            description=params.get("description"),
            status="requires_confirmation" if "payment_method" in params else "requires_payment_method",
            metadata=merged_metadata({}, params),
        )
    )
    return setups.confirm(account, intent, intent.payment_method_id) if params.get("confirm") else intent


def retrieve(call: Call) -> objects.SetupIntent:
    """GET /v1/setup_intents/:id"""
    return call.account.get(objects.SetupIntent, call.id)


def intents(call: Call) -> Listing:
    """GET /v1/setup_intents"""
    asked = select(call, objects.SetupIntent, customer="customer_id", payment_method="payment_method_id")
    return Listing(asked, KIND.noun)


def confirm(call: Call) -> objects.SetupIntent:
    """POST /v1/setup_intents/:id/confirm, as a browser does with the client secret."""
    intent = retrieve(call)
    return setups.confirm(call.account, intent, call.params.get("payment_method") or intent.payment_method_id)


def cancel(call: Call) -> objects.SetupIntent:
    """POST /v1/setup_intents/:id/cancel"""
    intent = retrieve(call)
    setups.check_open(intent)
    return call.account.update(attrs.evolve(intent, status="canceled"), "setup_intent.canceled")


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
