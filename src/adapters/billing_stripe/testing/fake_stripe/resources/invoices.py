"""Invoices and their lines."""

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.forms import listing
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.Invoice,
    noun="invoice",
    prefix="in",
    key=lambda source: source.invoice_id,
    render=builders.invoice,
    expandable=frozenset({"customer", "subscription", "parent.subscription_details.subscription"}),
    shown_lists=("lines",),
)


def retrieve(call: Call) -> objects.Invoice:
    """GET /v1/invoices/:id"""
    return call.account.get(objects.Invoice, call.id)


def lines(call: Call) -> Listing:
    """GET /v1/invoices/:id/lines"""
    rendered = KIND.render(retrieve(call), call.api_version)
    return Listing(rendered["lines"]["data"], "invoice line item")


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("GET", "/v1/invoices/{id}", retrieve),
        Route("GET", "/v1/invoices/{id}/lines", lines, listing()),
    ],
)
