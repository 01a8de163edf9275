"""Features, and those that a customer may use."""

import attrs

from billing_stripe.testing import accounts, objects
from billing_stripe.testing.fake_stripe.account import Follower
from billing_stripe.testing.fake_stripe.billing.entitling import entitle, entitlements_id
from billing_stripe.testing.fake_stripe.errors import missing, refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    BOOLEAN,
    METADATA,
    TEXT,
    Form,
    Required,
    Text,
    listing,
    merged_metadata,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.Entitlements,
    noun="entitlements.active_entitlement_summary",
    key=lambda source: entitlements_id(source.customer_id),
    render=lambda source, api_version: accounts.entitlement_summary(source),
    shown_lists=("entitlements",),
)
FEATURE = Kind(
    source=objects.Feature,
    noun="entitlements.feature",
    key=lambda source: source.feature_id,
    render=lambda source, api_version: accounts.feature(source),
)
CREATE = Form(lookup_key=Required(Text(80)), name=Required(Text(80)), metadata=METADATA)
UPDATE = Form(active=BOOLEAN, name=Text(80), metadata=METADATA)


def create(call: Call) -> objects.Feature:
    """POST /v1/entitlements/features; there is no event about features."""
    account, params = call.account, call.params
    feature = objects.Feature(
        feature_id=account.new_id("feat"),
        lookup_key=params["lookup_key"],
        name=params["name"],
        metadata=merged_metadata({}, params),
    )
    _claim_lookup_key(call, feature)
    account.put(feature)
    return feature


def retrieve(call: Call) -> objects.Feature:
    """GET /v1/entitlements/features/:id"""
    return call.account.get(objects.Feature, call.id)


def update(call: Call) -> objects.Feature:
    """POST /v1/entitlements/features/:id; `active` is false for one that is archived."""
    account, params, before = call.account, call.params, retrieve(call)
    changes = {name: params[name] for name in ("active", "name") if name in params}
    feature = attrs.evolve(before, **changes, metadata=merged_metadata(before.metadata, params))
    if feature.active:
        _claim_lookup_key(call, feature)
    account.put(feature)
    for attached in list(account.all(objects.ProductFeature)):
        if attached.feature.feature_id == feature.feature_id:
            account.put(attrs.evolve(attached, feature=feature))
    return feature


def features(call: Call) -> Listing:
    """GET /v1/entitlements/features; also archived ones, unless `archived` says otherwise."""
    asked = select(call, objects.Feature, archived=lambda each: not each.active, lookup_key="lookup_key")
    return Listing(asked, FEATURE.noun)


def active(call: Call) -> Listing:
    """GET /v1/entitlements/active_entitlements?customer="""
    customer_id = call.params["customer"]
    source = call.account.find(objects.Entitlements, entitlements_id(customer_id))
    if source is None and call.account.find(objects.Customer, customer_id) is None:
        raise missing("customer", customer_id)
    members = [] if source is None else accounts.entitlement_summary(source)["entitlements"]["data"]
    return Listing(members, "active entitlement")


def _claim_lookup_key(call: Call, feature: objects.Feature) -> None:
    """Raise StripeError if another feature has the lookup key; an archived one has left it free."""
    for other in call.account.all(objects.Feature):
        taken = other.active and other.lookup_key == feature.lookup_key
        if taken and other.feature_id != feature.feature_id:
            message = f"A feature with the lookup key `{feature.lookup_key}` already exists: {other.feature_id}."
            raise refused(message, param="lookup_key")


RESOURCE = Resource(
    kinds=[KIND, FEATURE],
    routes=[
        Route("POST", "/v1/entitlements/features", create, CREATE),
        Route("GET", "/v1/entitlements/features", features, listing(archived=BOOLEAN, lookup_key=TEXT)),
        Route("GET", "/v1/entitlements/features/{id}", retrieve),
        Route("POST", "/v1/entitlements/features/{id}", update, UPDATE),
        Route("GET", "/v1/entitlements/active_entitlements", active, listing(customer=Required(TEXT))),
    ],
    followers=[Follower(source=objects.Subscription, follow=entitle)],
)
