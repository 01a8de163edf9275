"""The features of products. Subscriptions that exist have them from their next period on."""

from billing_stripe.testing import accounts, objects
from billing_stripe.testing.fake_stripe.account import Deleted
from billing_stripe.testing.fake_stripe.errors import missing, refused
from billing_stripe.testing.fake_stripe.forms import TEXT, Form, Required, listing
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.ProductFeature,
    noun="product_feature",
    key=lambda source: source.product_feature_id,
    render=lambda source, api_version: accounts.product_feature(source),
)
ATTACH = Form(entitlement_feature=Required(TEXT))


def attach(call: Call) -> objects.ProductFeature:
    """POST /v1/products/:product/features; each feature once, and none that is archived."""
    account = call.account
    feature = account.get(objects.Feature, call.params["entitlement_feature"], "entitlement_feature")
    if not feature.active:
        raise refused("An archived feature cannot be attached to a product.", param="entitlement_feature")
    if any(attached.feature.feature_id == feature.feature_id for attached in _attached(call)):
        raise refused("This feature is already attached to this product.", param="entitlement_feature")
    attached = objects.ProductFeature(
        product_feature_id=account.new_id("prodft"), product_id=call.ids["product"], feature=feature
    )
    account.put(attached)
    return attached


def retrieve(call: Call) -> objects.ProductFeature:
    """GET /v1/products/:product/features/:id"""
    found = call.account.get(objects.ProductFeature, call.id)
    if found.product_id != call.ids["product"]:
        raise missing(KIND.noun, call.id)
    return found


def remove(call: Call) -> Deleted:
    """DELETE /v1/products/:product/features/:id"""
    attached = retrieve(call)
    call.account.remove(attached.product_feature_id)
    return Deleted(identifier=attached.product_feature_id, noun=KIND.noun)


def product_features(call: Call) -> Listing:
    """GET /v1/products/:product/features"""
    return Listing(_attached(call), KIND.noun)


def _attached(call: Call) -> list[objects.ProductFeature]:
    product = call.account.get(objects.Product, call.ids["product"])
    return [each for each in call.account.all(objects.ProductFeature) if each.product_id == product.product_id]


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/products/{product}/features", attach, ATTACH),
        Route("GET", "/v1/products/{product}/features", product_features, listing()),
        Route("GET", "/v1/products/{product}/features/{id}", retrieve),
        Route("DELETE", "/v1/products/{product}/features/{id}", remove),
    ],
)
