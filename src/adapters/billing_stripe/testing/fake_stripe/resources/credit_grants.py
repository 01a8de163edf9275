"""Credit grants, and the balance that they make up. Invoices do not use the credit here."""

from collections.abc import Iterable

import attrs

from billing_stripe.testing import accounts, objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing.times import now_on
from billing_stripe.testing.fake_stripe.errors import Json, invalid, refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    METADATA,
    MOMENT,
    TEXT,
    Clearable,
    Form,
    Integer,
    Listed,
    Required,
    Text,
    choice,
    listing,
    merged_metadata,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route
from billing_stripe.testing.versions import Shape

KIND = Kind(
    source=objects.CreditGrant,
    noun="billing.credit_grant",
    key=lambda source: source.credit_grant_id,
    render=accounts.credit_grant,
    expandable=frozenset({"customer", "test_clock"}),
)
_SCOPE = Form(price_type=choice("metered"), prices=Listed(Form(id=Required(TEXT))))
CREATE = Form(
    amount=Required(
        Form(
            type=Required(choice("monetary")),
            monetary=Form(currency=Required(Text(3)), value=Required(Integer(least=1))),
        )
    ),
    applicability_config=Required(Form(scope=Required(_SCOPE))),
    customer=Required(TEXT),
    category=choice("paid", "promotional"),
    effective_at=MOMENT,
    expires_at=MOMENT,
    metadata=METADATA,
    name=Text(100),
    priority=Integer(),
)
UPDATE = Form(expires_at=Clearable(MOMENT), metadata=METADATA)
SUMMARY = Form(
    customer=Required(TEXT),
    filter=Required(
        Form(
            type=Required(choice("applicability_scope", "credit_grant")),
            applicability_scope=_SCOPE,
            credit_grant=TEXT,
        )
    ),
)


def create(call: Call) -> objects.CreditGrant:
    """POST /v1/billing/credit_grants"""
    account, params = call.account, call.params
    customer = account.get(objects.Customer, params["customer"], "customer")
    if "monetary" not in params["amount"]:
        raise invalid("Missing required param: amount[monetary].", param="amount[monetary]", code="parameter_missing")
    now = now_on(account, customer.test_clock)
    expires_at = params.get("expires_at")
    if expires_at is not None and expires_at <= params.get("effective_at", now):
        raise invalid("The credit grant must expire after it becomes effective.", param="expires_at")
    return account.create(
        objects.CreditGrant(
            credit_grant_id=account.new_id("credgr"),
            customer_id=customer.customer_id,
            created_at=now,
            amount=params["amount"]["monetary"]["value"],
            currency=params["amount"]["monetary"]["currency"].lower(),
            category=params.get("category", "paid"),
            name=params.get("name"),
            priority=params.get("priority", 50),
            effective_at=params.get("effective_at", now),
            expires_at=expires_at,
            metadata=merged_metadata({}, params),
            test_clock=customer.test_clock,
        )
    )


def retrieve(call: Call) -> objects.CreditGrant:
    """GET /v1/billing/credit_grants/:id"""
    return call.account.get(objects.CreditGrant, call.id)


def update(call: Call) -> objects.CreditGrant:
    """POST /v1/billing/credit_grants/:id"""
    grant, params = retrieve(call), call.params
    expires_at = params.get("expires_at", grant.expires_at)
    return _changed(call, attrs.evolve(grant, expires_at=expires_at, metadata=merged_metadata(grant.metadata, params)))


def expire(call: Call) -> objects.CreditGrant:
    """POST /v1/billing/credit_grants/:id/expire"""
    grant = _usable(call)
    return _changed(call, attrs.evolve(grant, expires_at=now_on(call.account, grant.test_clock)))


def void(call: Call) -> objects.CreditGrant:
    """POST /v1/billing/credit_grants/:id/void"""
    grant = _usable(call)
    return _changed(call, attrs.evolve(grant, voided_at=now_on(call.account, grant.test_clock)))


def grants(call: Call) -> Listing:
    """GET /v1/billing/credit_grants"""
    return Listing(select(call, objects.CreditGrant, customer="customer_id"), KIND.noun)


def summary(call: Call) -> Json:
    """GET /v1/billing/credit_balance_summary: what is effective now, by currency."""
    account, wanted = call.account, call.params["filter"].get("credit_grant")
    customer = account.get(objects.Customer, call.params["customer"], "customer")
    usable = [
        grant
        for grant in account.all(objects.CreditGrant)
        if grant.customer_id == customer.customer_id
        and wanted in (None, grant.credit_grant_id)
        and _is_usable(account, grant)
    ]
    shown: Json = {
        "object": "billing.credit_balance_summary",
        "balances": [_balance(currency, usable) for currency in sorted({grant.currency for grant in usable})],
        "customer": customer.customer_id,
        "livemode": False,
    }
    if Shape(call.api_version).customer_account:
        shown["customer_account"] = None
    return shown


def _balance(currency: str, usable: Iterable[objects.CreditGrant]) -> Json:
    value = sum(grant.amount for grant in usable if grant.currency == currency)
    amount = {"monetary": {"currency": currency, "value": value}, "type": "monetary"}
    return {"available_balance": amount, "ledger_balance": amount}


def _is_usable(account: Account, grant: objects.CreditGrant) -> bool:
    now = now_on(account, grant.test_clock)
    expired = grant.expires_at is not None and grant.expires_at <= now
    return grant.voided_at is None and grant.effective_at <= now and not expired


def _usable(call: Call) -> objects.CreditGrant:
    grant = retrieve(call)
    if not _is_usable(call.account, grant):
        raise refused("This credit grant is voided or expired.")
    return grant


def _changed(call: Call, grant: objects.CreditGrant) -> objects.CreditGrant:
    return call.account.update(attrs.evolve(grant, updated_at=now_on(call.account, grant.test_clock)))


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/billing/credit_grants", create, CREATE),
        Route("GET", "/v1/billing/credit_grants", grants, listing(customer=TEXT)),
        Route("GET", "/v1/billing/credit_grants/{id}", retrieve),
        Route("POST", "/v1/billing/credit_grants/{id}", update, UPDATE),
        Route("POST", "/v1/billing/credit_grants/{id}/expire", expire),
        Route("POST", "/v1/billing/credit_grants/{id}/void", void),
        Route("GET", "/v1/billing/credit_balance_summary", summary, SUMMARY),
    ],
)
