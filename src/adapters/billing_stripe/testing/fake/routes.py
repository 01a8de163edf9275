"""The endpoints of the fake Stripe: objects by id, and the lists that belong to them."""

from collections.abc import Callable, Mapping

import attrs

from billing_stripe.testing import accounts, builders, objects
from billing_stripe.testing.fake.answers import Json, beginning, missing, not_found, page
from billing_stripe.testing.fake.state import State
from billing_stripe.testing.thin import ThinEvent, thin_event
from billing_stripe.testing.versions import API_VERSIONS


@attrs.frozen(kw_only=True)
class Call:
    """One authenticated request."""

    path: str
    id: str
    """The id in the path; empty where there is none."""
    query: Mapping[str, str]
    api_version: str
    """The version to answer in."""


Handler = Callable[[Call, State], Json]

_OLDEST = API_VERSIONS[0]


def customer(call: Call, state: State) -> Json:
    """GET /v1/customers/:id; a deleted one is a stump."""
    fact = state.find(objects.Customer, call.id)
    if fact is None:
        raise missing("customer", call.id)
    return builders.customer(fact, call.api_version)


def subscription(call: Call, state: State) -> Json:
    """GET /v1/subscriptions/:id"""
    rendered = _subscription(state, call.id, "id", call.api_version)
    return {**rendered, "items": beginning(rendered["items"])}


def subscription_items(call: Call, state: State) -> Json:
    """GET /v1/subscription_items?subscription="""
    identifier = call.query.get("subscription", "")
    rendered = _subscription(state, identifier, "subscription", call.api_version)
    return page(rendered["items"]["data"], call.query, "/v1/subscription_items", "subscription_item")


def invoice(call: Call, state: State) -> Json:
    """GET /v1/invoices/:id"""
    rendered = _invoice(call, state)
    return {**rendered, "lines": beginning(rendered["lines"])}


def invoice_lines(call: Call, state: State) -> Json:
    """GET /v1/invoices/:id/lines"""
    return page(_invoice(call, state)["lines"]["data"], call.query, call.path, "invoice line item")


def invoice_payments(call: Call, state: State) -> Json:
    """GET /v1/invoice_payments, of one invoice or by one payment intent: the way from a payment to what it pays."""
    wanted_invoice = call.query.get("invoice")
    wanted_intent = call.query.get("payment[payment_intent]")
    payments = [payment for fact in state.all(objects.Invoice) if (payment := _invoice_payment(fact)) is not None]
    matching = [
        payment
        for payment in payments
        if wanted_invoice in (None, payment["invoice"])
        and wanted_intent in (None, payment["payment"]["payment_intent"])
    ]
    return page(matching, call.query, "/v1/invoice_payments", "invoice_payment")


def active_entitlements(call: Call, state: State) -> Json:
    """GET /v1/entitlements/active_entitlements?customer="""
    customer_id = call.query.get("customer", "")
    fact = state.find(objects.Entitlements, f"entitlements:{customer_id}")
    if fact is None and state.find(objects.Customer, customer_id) is None:
        raise missing("customer", customer_id)
    members = [] if fact is None else accounts.entitlement_summary(fact)["entitlements"]["data"]
    return page(members, call.query, "/v1/entitlements/active_entitlements", "active entitlement")


def checkout_session(call: Call, state: State) -> Json:
    """GET /v1/checkout/sessions/:id"""
    fact = state.find(objects.CheckoutSession, call.id)
    if fact is None:
        raise missing("checkout.session", call.id)
    return builders.checkout_session(fact, call.api_version)


def event(call: Call, state: State) -> Json:
    """GET /v1/events/:id"""
    body = state.event(call.id)
    if body is None:
        raise missing("event", call.id)
    return dict(body)


def core_event(call: Call, state: State) -> Json:
    """GET /v2/core/events/:id"""
    fact = state.find(ThinEvent, call.id)
    if fact is None:
        raise not_found()
    return thin_event(fact)


GET: dict[str, Handler] = {
    "/v1/customers/{id}": customer,
    "/v1/subscriptions/{id}": subscription,
    "/v1/subscription_items": subscription_items,
    "/v1/invoices/{id}": invoice,
    "/v1/invoices/{id}/lines": invoice_lines,
    "/v1/invoice_payments": invoice_payments,
    "/v1/entitlements/active_entitlements": active_entitlements,
    "/v1/checkout/sessions/{id}": checkout_session,
    "/v1/events/{id}": event,
    "/v2/core/events/{id}": core_event,
}


def _subscription(state: State, identifier: str, param: str, api_version: str) -> Json:
    fact = state.find(objects.Subscription, identifier)
    if fact is None:
        raise missing("subscription", identifier, param)
    return builders.subscription(fact, api_version)


def _invoice(call: Call, state: State) -> Json:
    """The invoice with all of its lines."""
    fact = state.find(objects.Invoice, call.id)
    if fact is None:
        raise missing("invoice", call.id)
    return builders.invoice(fact, call.api_version)


def _invoice_payment(fact: objects.Invoice) -> Json | None:
    """What was or is to be paid on an invoice; the oldest version's rendering knows the payment intent's id."""
    intent = builders.invoice(fact, _OLDEST)["payment_intent"]
    if intent is None:
        return None
    paid = fact.status == "paid"
    return {
        "id": f"inpay_{intent.removeprefix('pi_')}",
        "object": "invoice_payment",
        "amount_paid": fact.amount_paid if paid else None,
        "amount_requested": fact.amount_due,
        "created": int((fact.finalized_at or fact.created_at).timestamp()),
        "currency": fact.currency,
        "invoice": fact.invoice_id,
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent, "type": "payment_intent"},
        "status": "paid" if paid else "canceled" if fact.status == "void" else "open",
        "status_transitions": {
            "canceled_at": None if fact.voided_at is None else int(fact.voided_at.timestamp()),
            "paid_at": None if fact.paid_at is None else int(fact.paid_at.timestamp()),
        },
    }
