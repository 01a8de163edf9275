"""Tax ids of customers."""

import re

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.account import Deleted
from billing_stripe.testing.fake_stripe.billing.times import now_on
from billing_stripe.testing.fake_stripe.errors import missing, refused
from billing_stripe.testing.fake_stripe.forms import TEXT, Form, Required, listing
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.resources.customers import existing
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.TaxId,
    noun="tax_id",
    key=lambda source: source.tax_id,
    render=builders.tax_id,
    events="customer.tax_id",
    expandable=frozenset({"customer", "owner.customer"}),
)
_EU_VAT = re.compile(r"[A-Z]{2}[0-9A-Z+*]{2,12}")


def create(call: Call) -> objects.TaxId:
    """POST /v1/customers/:id/tax_ids"""
    account, params = call.account, call.params
    customer = existing(account, call.id)
    if params["type"] == "eu_vat" and not _EU_VAT.fullmatch(params["value"]):
        raise refused(f"Invalid value for {params['type']}.", param="value", code="tax_id_invalid")
    return account.create(
        objects.TaxId(
            tax_id=account.new_id("txi"),
            customer_id=customer.customer_id,
            created_at=now_on(account, customer.test_clock),
            type=params["type"],
            value=params["value"],
        )
    )


def retrieve(call: Call) -> objects.TaxId:
    """GET /v1/customers/:id/tax_ids/:tax_id"""
    found = call.account.get(objects.TaxId, call.ids["tax_id"])
    if found.customer_id != call.id:
        raise missing(KIND.noun, found.tax_id)
    return found


def tax_ids(call: Call) -> Listing:
    """GET /v1/customers/:id/tax_ids"""
    existing(call.account, call.id)
    found = [each for each in call.account.all(objects.TaxId) if each.customer_id == call.id]
    return Listing(found, KIND.noun)


def delete(call: Call) -> Deleted:
    """DELETE /v1/customers/:id/tax_ids/:tax_id"""
    gone = retrieve(call)
    call.account.remove(gone.tax_id)
    call.account.emit("customer.tax_id.deleted", gone)
    return Deleted(identifier=gone.tax_id, noun=KIND.noun)


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/customers/{id}/tax_ids", create, Form(type=Required(TEXT), value=Required(TEXT))),
        Route("GET", "/v1/customers/{id}/tax_ids", tax_ids, listing()),
        Route("GET", "/v1/customers/{id}/tax_ids/{tax_id}", retrieve),
        Route("DELETE", "/v1/customers/{id}/tax_ids/{tax_id}", delete),
    ],
)
