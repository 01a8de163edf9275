"""Pages of Checkout sessions, as Stripe's command line completes them: undocumented, and used by nothing else.

Source: https://github.com/stripe/stripe-cli/tree/master/pkg/fixtures/triggers, checkout.session.completed.json
"""

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.billing import checkouts
from billing_stripe.testing.fake_stripe.errors import Json, refused
from billing_stripe.testing.fake_stripe.forms import INTEGER, TEXT, Form, Required
from billing_stripe.testing.fake_stripe.routing import Call, Resource, Route


def retrieve(call: Call) -> Json:
    """GET /v1/payment_pages/:id, by the id of the session"""
    session = call.account.get(objects.CheckoutSession, call.id)
    return {"id": session.session_id.replace("cs_", "ppage_", 1), "session_id": session.session_id}


def confirm(call: Call) -> objects.CheckoutSession:
    """POST /v1/payment_pages/:id/confirm: complete the session."""
    session = call.account.get(objects.CheckoutSession, call.id)
    if call.params["expected_amount"] != session.amount_total:
        raise refused("The amount of the Checkout Session has changed.", param="expected_amount")
    return checkouts.complete(call.account, session, call.params["payment_method"])


RESOURCE = Resource(
    routes=[
        Route("GET", "/v1/payment_pages/{id}", retrieve),
        Route(
            "POST",
            "/v1/payment_pages/{id}/confirm",
            confirm,
            Form(payment_method=Required(TEXT), expected_amount=Required(INTEGER)),
        ),
    ]
)
