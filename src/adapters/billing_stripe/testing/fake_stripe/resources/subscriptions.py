"""Subscriptions and their items."""

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.forms import TEXT, Required, listing
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.Subscription,
    noun="subscription",
    prefix="sub",
    key=lambda source: source.subscription_id,
    render=builders.subscription,
    events="customer.subscription",
    expandable=frozenset({"customer", "default_payment_method", "latest_invoice", "schedule", "test_clock"}),
    shown_lists=("items",),
)


def retrieve(call: Call) -> objects.Subscription:
    """GET /v1/subscriptions/:id"""
    return call.account.get(objects.Subscription, call.id)


def items(call: Call) -> Listing:
    """GET /v1/subscription_items?subscription="""
    source = call.account.get(objects.Subscription, call.params["subscription"], "subscription")
    rendered = KIND.render(source, call.api_version)
    return Listing(rendered["items"]["data"], "subscription_item")


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("GET", "/v1/subscriptions/{id}", retrieve),
        Route("GET", "/v1/subscription_items", items, listing(subscription=Required(TEXT))),
    ],
)
