"""Customers."""

from typing import Any

import attrs

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.account import Account, Deleted
from billing_stripe.testing.fake_stripe.billing.attachment import attach_to
from billing_stripe.testing.fake_stripe.billing.payments import resolve_method
from billing_stripe.testing.fake_stripe.billing.times import now_on
from billing_stripe.testing.fake_stripe.errors import missing
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    ANYTHING,
    METADATA,
    TEXT,
    Clearable,
    Field,
    Form,
    Integer,
    Listed,
    Period,
    choice,
    listing,
    merged_metadata,
    unsupported,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.resources.subscriptions import end_subscription
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.Customer,
    noun="customer",
    key=lambda source: source.customer_id,
    render=builders.customer,
    expandable=frozenset({"invoice_settings.default_payment_method", "test_clock"}),
)
_ADDRESS = Form(**{part: Clearable(TEXT) for part in ("city", "country", "line1", "line2", "postal_code", "state")})
_FIELDS: dict[str, Field] = {
    "address": Clearable(_ADDRESS),
    "balance": Integer(least=None),
    "description": Clearable(TEXT),
    "email": Clearable(TEXT),
    "invoice_settings": Form(
        default_payment_method=Clearable(TEXT),
        custom_fields=ANYTHING,
        footer=Clearable(TEXT),
        rendering_options=ANYTHING,
    ),
    "metadata": METADATA,
    "name": Clearable(TEXT),
    "phone": Clearable(TEXT),
    "preferred_locales": Listed(TEXT),
    "shipping": ANYTHING,
    "source": TEXT,
    "tax_exempt": Clearable(choice("none", "exempt", "reverse")),
    **unsupported("cash_balance", "invoice_prefix", "next_invoice_sequence", "tax"),
}
CREATE = Form(payment_method=TEXT, test_clock=TEXT, **unsupported("tax_id_data"), **_FIELDS)
UPDATE = Form(**_FIELDS)
LIST = listing(email=TEXT, created=Period(), test_clock=TEXT)


def create(call: Call) -> objects.Customer:
    """POST /v1/customers"""
    account, params = call.account, call.params
    clock_id = params.get("test_clock")
    if clock_id is not None:
        account.get(objects.Clock, clock_id, "test_clock")
    customer = objects.Customer(
        customer_id=account.new_id("cus"),
        created_at=now_on(account, clock_id),
        email=None,
        name=None,
        currency=None,
        default_payment_method_id=None,
        test_clock=clock_id,
    )
    customer = attrs.evolve(customer, **_changes(customer, params))
    account.put(customer)
    card = params.get("payment_method") or params.get("source")
    method = None if card is None else attach_to(account, card, customer.customer_id)
    default = params.get("invoice_settings", {}).get("default_payment_method")
    if default is not None and default == card and method is not None:
        default = method.payment_method_id
    if default is None and method is not None and "source" in params:
        default = method.payment_method_id
    if default is not None:
        customer = _with_default(account, customer, default)
    return account.create(customer)


def retrieve(call: Call) -> objects.Customer:
    """GET /v1/customers/:id; a deleted one has only id and flag."""
    return call.account.get(objects.Customer, call.id)


def update(call: Call) -> objects.Customer:
    """POST /v1/customers/:id"""
    account, params = call.account, call.params
    customer = existing(account, call.id)
    changed = attrs.evolve(customer, **_changes(customer, params))
    if "source" in params:
        method = attach_to(account, params["source"], customer.customer_id)
        changed = attrs.evolve(changed, default_payment_method_id=method.payment_method_id)
    settings = params.get("invoice_settings", {})
    if "default_payment_method" in settings:
        changed = _with_default(account, changed, settings["default_payment_method"])
    return account.update(changed)


def delete(call: Call) -> Deleted:
    """DELETE /v1/customers/:id: its subscriptions end at once, its payment methods are detached."""
    account = call.account
    customer = existing(account, call.id)
    for subscription in account.all(objects.Subscription):
        if subscription.customer_id == customer.customer_id and subscription.ended_at is None:
            end_subscription(account, subscription)
    for method in account.all(objects.PaymentMethod):
        if method.customer_id == customer.customer_id:
            account.put(attrs.evolve(method, customer_id=None))
    gone = attrs.evolve(customer, deleted=True)
    account.put(gone)
    account.emit("customer.deleted", gone)
    return Deleted(identifier=customer.customer_id, noun=KIND.noun)


def customers(call: Call) -> Listing:
    """GET /v1/customers; those on test clocks only for a given clock."""
    asked = select(call, objects.Customer, email="email")
    clock = call.params.get("test_clock")
    return Listing([each for each in asked if not each.deleted and each.test_clock == clock], KIND.noun)


def existing(account: Account, customer_id: str, param: str = "id") -> objects.Customer:
    """Return a customer that is not deleted. Raises StripeError `resource_missing`."""
    customer = account.get(objects.Customer, customer_id, param)
    if customer.deleted:
        raise missing(KIND.noun, customer_id, param)
    return customer


def _changes(customer: objects.Customer, params: dict[str, Any]) -> dict[str, Any]:
    names = ("balance", "description", "email", "name", "phone")
    changes: dict[str, Any] = {name: params[name] for name in names if name in params}
    if "address" in params:
        blank = dict.fromkeys(_ADDRESS.fields)
        changes["address"] = None if params["address"] is None else {**blank, **params["address"]}
    if "tax_exempt" in params:
        changes["tax_exempt"] = params["tax_exempt"] or "none"
    return {**changes, "metadata": merged_metadata(customer.metadata, params)}


def _with_default(account: Account, customer: objects.Customer, method_id: str | None) -> objects.Customer:
    if method_id is not None:
        param = "invoice_settings[default_payment_method]"
        resolve_method(account, method_id, customer.customer_id, param)
    return attrs.evolve(customer, default_payment_method_id=method_id)


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/customers", create, CREATE),
        Route("GET", "/v1/customers", customers, LIST),
        Route("GET", "/v1/customers/{id}", retrieve),
        Route("POST", "/v1/customers/{id}", update, UPDATE),
        Route("DELETE", "/v1/customers/{id}", delete),
    ],
)
