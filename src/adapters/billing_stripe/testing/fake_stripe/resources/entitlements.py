"""A customer's features."""

from billing_stripe.testing import accounts, objects
from billing_stripe.testing.fake_stripe.errors import missing
from billing_stripe.testing.fake_stripe.forms import TEXT, Required, listing
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.Entitlements,
    noun="entitlements.active_entitlement_summary",
    key=lambda source: f"entitlements:{source.customer_id}",
    render=lambda source, api_version: accounts.entitlement_summary(source),
)


def active(call: Call) -> Listing:
    """GET /v1/entitlements/active_entitlements?customer="""
    customer_id = call.params["customer"]
    source = call.account.find(objects.Entitlements, f"entitlements:{customer_id}")
    if source is None and call.account.find(objects.Customer, customer_id) is None:
        raise missing("customer", customer_id)
    members = [] if source is None else accounts.entitlement_summary(source)["entitlements"]["data"]
    return Listing(members, "active entitlement")


RESOURCE = Resource(
    kinds=[KIND],
    routes=[Route("GET", "/v1/entitlements/active_entitlements", active, listing(customer=Required(TEXT)))],
)
