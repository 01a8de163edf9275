"""Customers."""

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Resource, Route

KIND = Kind(
    source=objects.Customer,
    noun="customer",
    prefix="cus",
    key=lambda source: source.customer_id,
    render=builders.customer,
    expandable=frozenset({"invoice_settings.default_payment_method", "test_clock"}),
)


def retrieve(call: Call) -> objects.Customer:
    """GET /v1/customers/:id; a deleted one has only id and flag."""
    return call.account.get(objects.Customer, call.id)


RESOURCE = Resource(kinds=[KIND], routes=[Route("GET", "/v1/customers/{id}", retrieve)])
