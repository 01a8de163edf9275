"""Plans, the legacy twins of recurring prices."""

from typing import Any

import attrs

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.account import Deleted
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    BOOLEAN,
    INTEGER,
    METADATA,
    TEXT,
    Clearable,
    Form,
    Integer,
    Required,
    Text,
    choice,
    listing,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.resources import prices
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route


@attrs.frozen
class Plan:
    """A price as a plan. Only the price is stored."""

    price: objects.Price


KIND = Kind(
    source=Plan,
    noun="plan",
    key=lambda source: None,
    render=lambda source, api_version: builders.plan(source.price, api_version),
    expandable=frozenset({"product"}),
)
_PRODUCT = Form(id=TEXT, name=Required(TEXT), active=BOOLEAN, metadata=METADATA, unit_label=TEXT)


@attrs.frozen
class _Product:
    """The id of a product, or the parameters of a new one."""

    def read(self, value: Any, name: str) -> Any:
        """Return the id or the parameters."""
        return _PRODUCT.read(value, name) if isinstance(value, dict) else TEXT.read(value, name)


CREATE = Form(
    active=BOOLEAN,
    amount=Required(INTEGER),
    currency=Required(Text(3)),
    interval=Required(choice("day", "week", "month", "year")),
    interval_count=Integer(least=1),
    metadata=METADATA,
    nickname=TEXT,
    product=Required(_Product()),
    usage_type=choice("licensed", "metered"),
)
UPDATE = Form(active=BOOLEAN, metadata=METADATA, nickname=Clearable(TEXT))
LIST = listing(active=BOOLEAN, product=TEXT)


def create(call: Call) -> Plan:
    """POST /v1/plans"""
    given = dict(call.params)
    product = given.pop("product")
    recurring = {name: given.pop(name) for name in ("interval", "interval_count", "usage_type") if name in given}
    key = "product_data" if isinstance(product, dict) else "product"
    params = {"unit_amount": given.pop("amount"), "recurring": recurring, key: product, **given}
    plan = Plan(prices.create(attrs.evolve(call, params=params)))
    call.account.emit("plan.created", plan)
    return plan


def retrieve(call: Call) -> Plan:
    """GET /v1/plans/:id"""
    return Plan(call.account.get(objects.Price, call.id))


def update(call: Call) -> Plan:
    """POST /v1/plans/:id"""
    before = retrieve(call)
    after = Plan(prices.update(call))
    call.account.emit("plan.updated", after, before=before)
    return after


def delete(call: Call) -> Deleted:
    """DELETE /v1/plans/:id"""
    plan = retrieve(call)
    call.account.remove(plan.price.price_id)
    call.account.emit("plan.deleted", plan)
    call.account.emit("price.deleted", plan.price)
    return Deleted(identifier=plan.price.price_id, noun=KIND.noun)


def plans(call: Call) -> Listing:
    """GET /v1/plans"""
    asked = select(call, objects.Price, active="active", product="product_id")
    return Listing([KIND.render(Plan(each), call.api_version) for each in asked if each.recurring], KIND.noun)


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/plans", create, CREATE),
        Route("GET", "/v1/plans", plans, LIST),
        Route("GET", "/v1/plans/{id}", retrieve),
        Route("POST", "/v1/plans/{id}", update, UPDATE),
        Route("DELETE", "/v1/plans/{id}", delete),
    ],
)
