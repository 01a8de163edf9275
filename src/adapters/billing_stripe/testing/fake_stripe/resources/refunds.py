"""Refunds of charges."""

import attrs

from billing_stripe.testing import adjustments, objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.errors import invalid, refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    METADATA,
    TEXT,
    Form,
    Integer,
    Params,
    choice,
    listing,
    merged_metadata,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.Refund,
    noun="refund",
    key=lambda source: source.refund_id,
    render=adjustments.refund,
    expandable=frozenset({"charge", "payment_intent"}),
)
CREATE = Form(
    amount=Integer(least=1),
    charge=TEXT,
    metadata=METADATA,
    payment_intent=TEXT,
    reason=choice("duplicate", "fraudulent", "requested_by_customer"),
)


def create(call: Call) -> objects.Refund:
    """POST /v1/refunds"""
    account, params = call.account, call.params
    charge = _charge(account, params)
    left = charge.amount - charge.amount_refunded
    amount = params.get("amount", left)
    if left == 0:
        raise refused(f"Charge {charge.charge_id} has already been refunded.", code="charge_already_refunded")
    if amount > left:
        raise refused(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount")
    refund = account.create(
        objects.Refund(
            refund_id=account.new_id("re"),
            payment_id=charge.payment_id,
            charge_id=charge.charge_id,
            created_at=call.now,
            amount=amount,
            currency=charge.currency,
            reason=params.get("reason"),
            customer_id=charge.customer_id,
            metadata=merged_metadata({}, params),
        )
    )
    account.update(attrs.evolve(charge, amount_refunded=charge.amount_refunded + amount), "charge.refunded")
    return _after_bank(account, charge, refund)


def retrieve(call: Call) -> objects.Refund:
    """GET /v1/refunds/:id"""
    return call.account.get(objects.Refund, call.id)


def update(call: Call) -> objects.Refund:
    """POST /v1/refunds/:id"""
    refund = retrieve(call)
    return _changed(call.account, attrs.evolve(refund, metadata=merged_metadata(refund.metadata, call.params)))


def refunds(call: Call) -> Listing:
    """GET /v1/refunds"""
    return Listing(select(call, objects.Refund, charge="charge_id", payment_intent="payment_id"), KIND.noun)


def _charge(account: Account, params: Params) -> objects.Charge:
    if "charge" in params:
        return account.get(objects.Charge, params["charge"], "charge")
    if "payment_intent" not in params:
        raise invalid(
            "One of the following params should be provided for this request: payment_intent or charge.",
            code="parameter_missing",
        )
    intent = account.get(objects.PaymentIntent, params["payment_intent"], "payment_intent")
    if intent.latest_charge_id is None or intent.status != "succeeded":
        raise refused(f"This PaymentIntent ({intent.payment_id}) does not have a successful charge to refund.")
    return account.get(objects.Charge, intent.latest_charge_id)


def _after_bank(account: Account, charge: objects.Charge, refund: objects.Refund) -> objects.Refund:
    """Let the refund fail, or be pending, if the test card says so."""
    method = account.find(objects.PaymentMethod, charge.payment_method_id)
    match None if method is None else method.test_card:
        case "refundFail":
            failed = _changed(account, attrs.evolve(refund, status="failed"))
            account.emit("refund.failed", failed)
            return failed
        case "pendingRefund":
            return _changed(account, attrs.evolve(refund, status="pending"))
    return refund


def _changed(account: Account, refund: objects.Refund) -> objects.Refund:
    """Store a refund, with the events of both names."""
    before = account.get(objects.Refund, refund.refund_id)
    account.update(refund)
    account.emit("charge.refund.updated", refund, before=before)
    return refund


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/refunds", create, CREATE),
        Route("GET", "/v1/refunds", refunds, listing(charge=TEXT, payment_intent=TEXT)),
        Route("GET", "/v1/refunds/{id}", retrieve),
        Route("POST", "/v1/refunds/{id}", update, Form(metadata=METADATA)),
    ],
)
