"""Payment methods: cards and bank accounts for tests, attached to customers."""

import attrs

from billing_stripe.testing import accounts, objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing.attachment import attach_to, existing, new_method
from billing_stripe.testing.fake_stripe.billing.cards import CARDS, bank_account
from billing_stripe.testing.fake_stripe.errors import invalid, missing, refused
from billing_stripe.testing.fake_stripe.forms import (
    ANYTHING,
    INTEGER,
    METADATA,
    TEXT,
    Form,
    Params,
    Required,
    choice,
    listing,
    merged_metadata,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.PaymentMethod,
    noun="payment_method",
    key=lambda source: source.payment_method_id,
    render=accounts.payment_method,
    expandable=frozenset({"customer"}),
)
_CARD = Form(token=TEXT, number=TEXT, exp_month=INTEGER, exp_year=INTEGER, cvc=TEXT)
CREATE = Form(
    type=Required(choice("card", "sepa_debit")),
    card=_CARD,
    sepa_debit=Form(iban=Required(TEXT)),
    billing_details=ANYTHING,
    metadata=METADATA,
)
UPDATE = Form(
    card=Form(exp_month=INTEGER, exp_year=INTEGER), billing_details=ANYTHING, metadata=METADATA, allow_redisplay=TEXT
)
LIST = listing(customer=TEXT, type=TEXT, allow_redisplay=TEXT)


def create(call: Call) -> objects.PaymentMethod:
    """POST /v1/payment_methods"""
    kind = call.params["type"]
    details = call.params.get(kind)
    if details is None:
        raise invalid(f"Missing required param: {kind}.", param=kind, code="parameter_missing")
    method = _new_bank_account(call.account, details) if kind == "sepa_debit" else _new_card(call.account, details)
    method = attrs.evolve(method, metadata=merged_metadata({}, call.params))
    call.account.put(method)
    return method


def retrieve(call: Call) -> objects.PaymentMethod:
    """GET /v1/payment_methods/:id; one of the names for tests works, too."""
    return existing(call.account, call.id)


def update(call: Call) -> objects.PaymentMethod:
    """POST /v1/payment_methods/:id"""
    method = retrieve(call)
    card = call.params.get("card", {})
    return call.account.update(
        attrs.evolve(
            method,
            exp_month=card.get("exp_month", method.exp_month),
            exp_year=card.get("exp_year", method.exp_year),
            metadata=merged_metadata(method.metadata, call.params),
        )
    )


def attach(call: Call) -> objects.PaymentMethod:
    """POST /v1/payment_methods/:id/attach"""
    return attach_to(call.account, call.id, call.params["customer"])


def detach(call: Call) -> objects.PaymentMethod:
    """POST /v1/payment_methods/:id/detach, for good; it is no default any more."""
    account, method = call.account, call.account.get(objects.PaymentMethod, call.id)
    if method.customer_id is None:
        raise refused("The payment method you provided is not attached to a customer so detachment is impossible.")
    customer = account.get(objects.Customer, method.customer_id)
    gone = attrs.evolve(method, customer_id=None)
    account.update(gone, "payment_method.detached")
    if customer.default_payment_method_id == method.payment_method_id:
        account.update(attrs.evolve(customer, default_payment_method_id=None))
    for subscription in account.all(objects.Subscription):
        if subscription.default_payment_method_id == method.payment_method_id:
            account.update(attrs.evolve(subscription, default_payment_method_id=None))
    return gone


def methods(call: Call) -> Listing:
    """GET /v1/payment_methods; without a customer there are none."""
    customer_id = call.params.get("customer")
    if customer_id is not None:
        call.account.get(objects.Customer, customer_id, "customer")
    return _of(call.account, customer_id)


def of_customer(call: Call) -> Listing:
    """GET /v1/customers/:id/payment_methods"""
    call.account.get(objects.Customer, call.id)
    return _of(call.account, call.id)


def one_of_customer(call: Call) -> objects.PaymentMethod:
    """GET /v1/customers/:id/payment_methods/:method"""
    method = call.account.get(objects.PaymentMethod, call.ids["method"])
    if method.customer_id != call.id:
        raise missing(KIND.noun, method.payment_method_id)
    return method


def _new_card(account: Account, details: Params) -> objects.PaymentMethod:
    method = new_method(account, details.get("token") or details.get("number") or "tok_visa", "card[token]")
    return attrs.evolve(
        method,
        exp_month=details.get("exp_month", method.exp_month),
        exp_year=details.get("exp_year", method.exp_year),
    )


def _new_bank_account(account: Account, details: Params) -> objects.PaymentMethod:
    known = bank_account(details["iban"])
    return objects.PaymentMethod(
        payment_method_id=account.new_id("pm"),
        customer_id=None,
        created_at=account.now,
        last4=CARDS[known].last4,
        type="sepa_debit",
        test_card=known,
    )


def _of(account: Account, customer_id: str | None) -> Listing:
    found = [
        method
        for method in account.all(objects.PaymentMethod)
        if customer_id is not None and method.customer_id == customer_id
    ]
    return Listing(found, KIND.noun)


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/payment_methods", create, CREATE),
        Route("GET", "/v1/payment_methods", methods, LIST),
        Route("GET", "/v1/payment_methods/{id}", retrieve),
        Route("POST", "/v1/payment_methods/{id}", update, UPDATE),
        Route("POST", "/v1/payment_methods/{id}/attach", attach, Form(customer=Required(TEXT))),
        Route("POST", "/v1/payment_methods/{id}/detach", detach),
        Route("GET", "/v1/customers/{id}/payment_methods", of_customer, listing(type=TEXT, allow_redisplay=TEXT)),
        Route("GET", "/v1/customers/{id}/payment_methods/{method}", one_of_customer),
    ],
)
