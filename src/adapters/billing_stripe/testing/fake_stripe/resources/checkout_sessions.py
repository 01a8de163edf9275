"""Checkout sessions."""

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Resource, Route

KIND = Kind(
    source=objects.CheckoutSession,
    noun="checkout.session",
    prefix="cs_test",
    key=lambda source: source.session_id,
    render=builders.checkout_session,
    expandable=frozenset({"customer", "invoice", "subscription"}),
)


def retrieve(call: Call) -> objects.CheckoutSession:
    """GET /v1/checkout/sessions/:id"""
    return call.account.get(objects.CheckoutSession, call.id)


RESOURCE = Resource(kinds=[KIND], routes=[Route("GET", "/v1/checkout/sessions/{id}", retrieve)])
