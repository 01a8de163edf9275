"""Products."""

from typing import Any

import attrs

from billing_stripe.testing import catalog, objects
from billing_stripe.testing.fake_stripe.account import Deleted
from billing_stripe.testing.fake_stripe.errors import refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    BOOLEAN,
    METADATA,
    TEXT,
    Clearable,
    Field,
    Form,
    Listed,
    Period,
    Required,
    listing,
    merged_metadata,
    unsupported,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.resources import prices
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.Product,
    noun="product",
    key=lambda source: source.product_id,
    render=catalog.product,
    expandable=frozenset({"default_price"}),
)
_FIELDS: dict[str, Field] = {
    "active": BOOLEAN,
    "description": Clearable(TEXT),
    "metadata": METADATA,
    "unit_label": Clearable(TEXT),
    **unsupported(
        "images",
        "marketing_features",
        "package_dimensions",
        "shippable",
        "statement_descriptor",
        "tax_code",
        "url",
    ),
}
CREATE = Form(id=TEXT, name=Required(TEXT), default_price_data=prices.INLINE, **_FIELDS)
UPDATE = Form(name=TEXT, default_price=TEXT, **_FIELDS)
LIST = listing(active=BOOLEAN, ids=Listed(TEXT), created=Period())


def create(call: Call) -> objects.Product:
    """POST /v1/products; the id may be given."""
    account, params = call.account, call.params
    product_id = params.get("id") or account.new_id("prod")
    if account.find(objects.Product, product_id) is not None:
        raise refused(f"Product already exists with id: {product_id}", param="id", code="resource_already_exists")
    product = objects.Product(product_id=product_id, name=params["name"], created_at=call.now)
    product = account.create(attrs.evolve(product, **_changes(product, params)))
    if "default_price_data" in params:
        price = prices.new_price(account, {**params["default_price_data"], "product": product_id})
        product = account.update(attrs.evolve(product, default_price_id=price.price_id))
    return product


def retrieve(call: Call) -> objects.Product:
    """GET /v1/products/:id"""
    return call.account.get(objects.Product, call.id)


def update(call: Call) -> objects.Product:
    """POST /v1/products/:id"""
    product, params = retrieve(call), call.params
    changes = {**_changes(product, params), "name": params.get("name", product.name), "updated_at": call.now}
    if "default_price" in params:
        changes["default_price_id"] = call.account.get(objects.Price, params["default_price"], "default_price").price_id
    return call.account.update(attrs.evolve(product, **changes))


def delete(call: Call) -> Deleted:
    """DELETE /v1/products/:id, while it has no prices."""
    product = retrieve(call)
    if any(price.product_id == product.product_id for price in call.account.all(objects.Price)):
        raise refused("This product cannot be deleted because it has one or more user-created prices.")
    call.account.remove(product.product_id)
    call.account.emit("product.deleted", product)
    return Deleted(identifier=product.product_id, noun=KIND.noun)


def products(call: Call) -> Listing:
    """GET /v1/products"""
    asked, ids = select(call, objects.Product, active="active"), call.params.get("ids")
    return Listing([product for product in asked if ids is None or product.product_id in ids], KIND.noun)


def _changes(product: objects.Product, params: dict[str, Any]) -> dict[str, Any]:
    names = ("active", "description", "unit_label")
    changes: dict[str, Any] = {name: params[name] for name in names if name in params}
    return {**changes, "metadata": merged_metadata(product.metadata, params)}


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/products", create, CREATE),
        Route("GET", "/v1/products", products, LIST),
        Route("GET", "/v1/products/{id}", retrieve),
        Route("POST", "/v1/products/{id}", update, UPDATE),
        Route("DELETE", "/v1/products/{id}", delete),
    ],
)
