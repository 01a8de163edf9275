"""Invoice items: amounts that the next invoice will contain."""

import attrs

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.account import Account, Deleted
from billing_stripe.testing.fake_stripe.billing.lines import amount_of
from billing_stripe.testing.fake_stripe.billing.times import now_on
from billing_stripe.testing.fake_stripe.errors import invalid, refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    BOOLEAN,
    METADATA,
    TEXT,
    Clearable,
    Form,
    Integer,
    Params,
    Required,
    Text,
    listing,
    merged_metadata,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.InvoiceItem,
    noun="invoiceitem",
    key=lambda source: source.invoice_item_id,
    render=builders.invoice_item,
    expandable=frozenset({"customer", "invoice", "test_clock"}),
)
CREATE = Form(
    amount=Integer(least=None),
    currency=Text(3),
    customer=Required(TEXT),
    description=TEXT,
    metadata=METADATA,
    pricing=Form(price=TEXT),
    quantity=Integer(least=1),
    subscription=TEXT,
)
UPDATE = Form(amount=Integer(least=None), description=Clearable(TEXT), metadata=METADATA)
LIST = listing(customer=TEXT, invoice=TEXT, pending=BOOLEAN)


def create(call: Call) -> objects.InvoiceItem:
    """POST /v1/invoiceitems"""
    account, params = call.account, call.params
    customer = account.get(objects.Customer, params["customer"], "customer")
    at = now_on(account, customer.test_clock)
    price = _price(account, params)
    if price is None and not {"amount", "currency"} <= params.keys():
        raise invalid("You must specify either `amount` and `currency`, or `pricing`.", param="amount")
    quantity = params.get("quantity", 1)
    return account.create(
        objects.InvoiceItem(
            invoice_item_id=account.new_id("ii"),
            customer_id=customer.customer_id,
            created_at=at,
            amount=params["amount"] if price is None else amount_of(price, quantity),
            period=objects.Span(at, at),
            currency=params["currency"].lower() if price is None else price.currency,
            description=params.get("description"),
            price=price,
            quantity=quantity,
            subscription_id=params.get("subscription"),
            metadata=merged_metadata({}, params),
            test_clock=customer.test_clock,
        )
    )


def retrieve(call: Call) -> objects.InvoiceItem:
    """GET /v1/invoiceitems/:id"""
    return call.account.get(objects.InvoiceItem, call.id)


def update(call: Call) -> objects.InvoiceItem:
    """POST /v1/invoiceitems/:id, while it is pending."""
    item, params = _pending(call), call.params
    changed = attrs.evolve(
        item,
        amount=params.get("amount", item.amount),
        description=params.get("description", item.description),
        metadata=merged_metadata(item.metadata, params),
    )
    return call.account.update(changed)


def delete(call: Call) -> Deleted:
    """DELETE /v1/invoiceitems/:id, while it is pending."""
    item = _pending(call)
    call.account.remove(call.id)
    call.account.emit("invoiceitem.deleted", item)
    return Deleted(identifier=call.id, noun=KIND.noun)


def items(call: Call) -> Listing:
    """GET /v1/invoiceitems"""
    asked = select(
        call,
        objects.InvoiceItem,
        customer="customer_id",
        invoice="invoice_id",
        pending=lambda item: item.invoice_id is None,
    )
    return Listing(asked, KIND.noun)


def _price(account: Account, params: Params) -> objects.Price | None:
    if "pricing" not in params:
        return None
    price = account.get(objects.Price, params["pricing"].get("price", ""), "pricing[price]")
    if price.recurring:
        raise refused("The price specified is set to `type=recurring`, but this field only accepts one-time prices.")
    return price


def _pending(call: Call) -> objects.InvoiceItem:
    item = retrieve(call)
    if item.invoice_id is not None:
        raise refused("You can only change invoice items that are not part of an invoice.", code="invoice_not_editable")
    return item


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/invoiceitems", create, CREATE),
        Route("GET", "/v1/invoiceitems", items, LIST),
        Route("GET", "/v1/invoiceitems/{id}", retrieve),
        Route("POST", "/v1/invoiceitems/{id}", update, UPDATE),
        Route("DELETE", "/v1/invoiceitems/{id}", delete),
    ],
)
