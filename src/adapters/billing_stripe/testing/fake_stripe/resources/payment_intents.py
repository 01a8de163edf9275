"""Payment intents, of invoices and of payments without one, and their charges."""

import attrs

from billing_stripe.testing import adjustments, builders, objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing import collection
from billing_stripe.testing.fake_stripe.billing.attachment import attach_to, existing
from billing_stripe.testing.fake_stripe.billing.cards import CARDS, declined
from billing_stripe.testing.fake_stripe.billing.payments import attempt
from billing_stripe.testing.fake_stripe.errors import StripeError, refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    ANYTHING,
    BOOLEAN,
    METADATA,
    TEXT,
    Form,
    Integer,
    Listed,
    Period,
    Required,
    Text,
    choice,
    listing,
    merged_metadata,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.PaymentIntent,
    noun="payment_intent",
    key=lambda source: source.payment_id,
    render=builders.payment_intent,
    expandable=frozenset({"customer", "invoice", "latest_charge", "payment_method"}),
)
CHARGE = Kind(
    source=objects.Charge,
    noun="charge",
    key=lambda source: source.charge_id,
    render=adjustments.charge,
    expandable=frozenset({"customer", "invoice", "payment_intent"}),
)
CREATE = Form(
    amount=Required(Integer(least=1)),
    currency=Required(Text(3)),
    automatic_payment_methods=ANYTHING,
    confirm=BOOLEAN,
    customer=TEXT,
    description=TEXT,
    metadata=METADATA,
    off_session=BOOLEAN,
    payment_method=TEXT,
    payment_method_types=Listed(TEXT),
    return_url=TEXT,
    setup_future_usage=choice("off_session", "on_session"),
    shipping=ANYTHING,
)
CANCEL = Form(cancellation_reason=choice("abandoned", "duplicate", "fraudulent", "requested_by_customer"))


def create(call: Call) -> objects.PaymentIntent:
    """POST /v1/payment_intents"""
    account, params = call.account, call.params
    if "customer" in params:
        account.get(objects.Customer, params["customer"], "customer")
    method = existing(account, params["payment_method"]) if "payment_method" in params else None
    intent = account.create(
        objects.PaymentIntent(
            payment_id=account.new_id("pi"),
            customer_id=params.get("customer"),
            created_at=call.now,
            amount=params["amount"],
            currency=params["currency"].lower(),
            status="requires_payment_method" if method is None else "requires_confirmation",
            payment_method_id=None if method is None else method.payment_method_id,
            description=params.get("description"),
            setup_future_usage=params.get("setup_future_usage"),
            metadata=merged_metadata({}, params),
        )
    )
    return _confirmed(account, intent, intent.payment_method_id) if params.get("confirm") else intent


def retrieve(call: Call) -> objects.PaymentIntent:
    """GET /v1/payment_intents/:id"""
    return call.account.get(objects.PaymentIntent, call.id)


def intents(call: Call) -> Listing:
    """GET /v1/payment_intents"""
    return Listing(select(call, objects.PaymentIntent, customer="customer_id"), KIND.noun)


def confirm(call: Call) -> objects.PaymentIntent:
    """POST /v1/payment_intents/:id/confirm, as a browser does with the client secret."""
    intent = retrieve(call)
    return _confirmed(call.account, intent, call.params.get("payment_method") or intent.payment_method_id)


def cancel(call: Call) -> objects.PaymentIntent:
    """POST /v1/payment_intents/:id/cancel"""
    intent = retrieve(call)
    if intent.status in ("succeeded", "canceled"):
        raise refused(
            f"You cannot cancel this PaymentIntent because it has a status of {intent.status}.",
            code="payment_intent_unexpected_state",
        )
    canceled = attrs.evolve(intent, status="canceled", canceled_at=call.now)
    return call.account.update(canceled, "payment_intent.canceled")


def confirm_with(
    account: Account, intent: objects.PaymentIntent, method_name: str, *, authenticated: bool = False
) -> objects.PaymentIntent:
    """Pay an intent with a payment method while the customer is there; its invoice follows."""
    if intent.status in ("succeeded", "canceled"):
        raise refused(
            f"You cannot confirm this PaymentIntent because it has a status of {intent.status}.",
            code="payment_intent_unexpected_state",
        )
    method = existing(account, method_name)
    if method.customer_id is None and intent.customer_id is not None:
        method = attach_to(account, method.payment_method_id, intent.customer_id)
    invoice = account.find(objects.Invoice, intent.invoice_id)
    if invoice is None:
        return attempt(account, intent, method, authenticated=authenticated)
    collection.collect(account, invoice, method, authenticated=authenticated, automatic=False)
    return account.get(objects.PaymentIntent, intent.payment_id)


def retrieve_charge(call: Call) -> objects.Charge:
    """GET /v1/charges/:id"""
    return call.account.get(objects.Charge, call.id)


def charges(call: Call) -> Listing:
    """GET /v1/charges"""
    asked = select(call, objects.Charge, customer="customer_id", payment_intent="payment_id")
    return Listing(asked, CHARGE.noun)


def _confirmed(account: Account, intent: objects.PaymentIntent, method_name: str | None) -> objects.PaymentIntent:
    if method_name is None:
        raise refused("You cannot confirm this PaymentIntent because it's missing a payment method.")
    confirmed = confirm_with(account, intent, method_name)
    if confirmed.error is not None:
        raise _declined(account, confirmed)
    return confirmed


def _declined(account: Account, intent: objects.PaymentIntent) -> StripeError:
    method = account.get(objects.PaymentMethod, intent.payment_method_id or "")
    shown = account.show(intent, account.api_version)
    return declined(CARDS[method.test_card], payment_intent=shown, charge=intent.latest_charge_id)


RESOURCE = Resource(
    kinds=[KIND, CHARGE],
    routes=[
        Route("POST", "/v1/payment_intents", create, CREATE),
        Route("GET", "/v1/payment_intents", intents, listing(customer=TEXT, created=Period())),
        Route("GET", "/v1/payment_intents/{id}", retrieve),
        Route(
            "POST",
            "/v1/payment_intents/{id}/confirm",
            confirm,
            Form(payment_method=TEXT, off_session=BOOLEAN, return_url=TEXT, mandate_data=ANYTHING),
        ),
        Route("POST", "/v1/payment_intents/{id}/cancel", cancel, CANCEL),
        Route("GET", "/v1/charges", charges, listing(customer=TEXT, payment_intent=TEXT, created=Period())),
        Route("GET", "/v1/charges/{id}", retrieve_charge),
    ],
)
