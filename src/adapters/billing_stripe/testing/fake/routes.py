"""The endpoints of the fake Stripe: objects by id, and the lists that belong to them."""

from collections.abc import Callable, Mapping

import attrs

from billing_stripe.testing import accounts, builders, objects
from billing_stripe.testing.fake.answers import Json, beginning, missing, not_found, page
from billing_stripe.testing.fake.state import State
from billing_stripe.testing.thin import ThinEvent, thin_event
from billing_stripe.testing.versions import API_VERSIONS


@attrs.frozen(kw_only=True)
class ApiRequest:
    """One authenticated request."""

    path: str
    id: str
    """The id in the path; empty if there is none."""
    query: Mapping[str, str]
    api_version: str
    """The API version of the response."""


Handler = Callable[[ApiRequest, State], Json]

_OLDEST = API_VERSIONS[0]


def customer(request: ApiRequest, state: State) -> Json:
    """GET /v1/customers/:id; a deleted one has only id and flag."""
    source = state.find(objects.Customer, request.id)
    if source is None:
        raise missing("customer", request.id)
    return builders.customer(source, request.api_version)


def subscription(request: ApiRequest, state: State) -> Json:
    """GET /v1/subscriptions/:id"""
    rendered = _subscription(state, request.id, "id", request.api_version)
    return {**rendered, "items": beginning(rendered["items"])}


def subscription_items(request: ApiRequest, state: State) -> Json:
    """GET /v1/subscription_items?subscription="""
    identifier = request.query.get("subscription", "")
    rendered = _subscription(state, identifier, "subscription", request.api_version)
    return page(rendered["items"]["data"], request.query, "/v1/subscription_items", "subscription_item")


def invoice(request: ApiRequest, state: State) -> Json:
    """GET /v1/invoices/:id"""
    rendered = _invoice(request, state)
    return {**rendered, "lines": beginning(rendered["lines"])}


def invoice_lines(request: ApiRequest, state: State) -> Json:
    """GET /v1/invoices/:id/lines"""
    return page(_invoice(request, state)["lines"]["data"], request.query, request.path, "invoice line item")


def invoice_payments(request: ApiRequest, state: State) -> Json:
    """GET /v1/invoice_payments, by invoice or by payment intent."""
    wanted_invoice = request.query.get("invoice")
    wanted_intent = request.query.get("payment[payment_intent]")
    payments = [payment for source in state.all(objects.Invoice) if (payment := _invoice_payment(source)) is not None]
    matching = [
        payment
        for payment in payments
        if wanted_invoice in (None, payment["invoice"])
        and wanted_intent in (None, payment["payment"]["payment_intent"])
    ]
    return page(matching, request.query, "/v1/invoice_payments", "invoice_payment")


def active_entitlements(request: ApiRequest, state: State) -> Json:
    """GET /v1/entitlements/active_entitlements?customer="""
    customer_id = request.query.get("customer", "")
    source = state.find(objects.Entitlements, f"entitlements:{customer_id}")
    if source is None and state.find(objects.Customer, customer_id) is None:
        raise missing("customer", customer_id)
    members = [] if source is None else accounts.entitlement_summary(source)["entitlements"]["data"]
    return page(members, request.query, "/v1/entitlements/active_entitlements", "active entitlement")


def checkout_session(request: ApiRequest, state: State) -> Json:
    """GET /v1/checkout/sessions/:id"""
    source = state.find(objects.CheckoutSession, request.id)
    if source is None:
        raise missing("checkout.session", request.id)
    return builders.checkout_session(source, request.api_version)


def event(request: ApiRequest, state: State) -> Json:
    """GET /v1/events/:id"""
    body = state.event(request.id)
    if body is None:
        raise missing("event", request.id)
    return dict(body)


def core_event(request: ApiRequest, state: State) -> Json:
    """GET /v2/core/events/:id"""
    source = state.find(ThinEvent, request.id)
    if source is None:
        raise not_found()
    return thin_event(source)


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
    source = state.find(objects.Subscription, identifier)
    if source is None:
        raise missing("subscription", identifier, param)
    return builders.subscription(source, api_version)


def _invoice(request: ApiRequest, state: State) -> Json:
    """Return the invoice with all of its lines."""
    source = state.find(objects.Invoice, request.id)
    if source is None:
        raise missing("invoice", request.id)
    return builders.invoice(source, request.api_version)


def _invoice_payment(source: objects.Invoice) -> Json | None:
    """Return the payment of an invoice; the oldest API version names its payment intent."""
    intent = builders.invoice(source, _OLDEST)["payment_intent"]
    if intent is None:
        return None
    paid = source.status == "paid"
    return {
        "id": f"inpay_{intent.removeprefix('pi_')}",
        "object": "invoice_payment",
        "amount_paid": source.amount_paid if paid else None,
        "amount_requested": source.amount_due,
        "created": int((source.finalized_at or source.created_at).timestamp()),
        "currency": source.currency,
        "invoice": source.invoice_id,
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent, "type": "payment_intent"},
        "status": "paid" if paid else "canceled" if source.status == "void" else "open",
        "status_transitions": {
            "canceled_at": None if source.voided_at is None else int(source.voided_at.timestamp()),
            "paid_at": None if source.paid_at is None else int(source.paid_at.timestamp()),
        },
    }
