"""Disputes, which some test cards open."""

import attrs

from billing_stripe.testing import adjustments, objects
from billing_stripe.testing.fake_stripe.errors import refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    ANYTHING,
    BOOLEAN,
    METADATA,
    TEXT,
    Form,
    listing,
    merged_metadata,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.Dispute,
    noun="dispute",
    key=lambda source: source.dispute_id,
    render=adjustments.dispute,
    events="charge.dispute",
    expandable=frozenset({"charge", "payment_intent"}),
)
UPDATE = Form(evidence=ANYTHING, metadata=METADATA, submit=BOOLEAN)


def retrieve(call: Call) -> objects.Dispute:
    """GET /v1/disputes/:id"""
    return call.account.get(objects.Dispute, call.id)


def update(call: Call) -> objects.Dispute:
    """POST /v1/disputes/:id; with evidence it is under review, unless that is only a draft (`submit=false`)."""
    dispute, params = retrieve(call), call.params
    submitted = "evidence" in params and params.get("submit", True)
    prefix = "warning_" if _is_inquiry(dispute) else ""
    return call.account.update(
        attrs.evolve(
            dispute,
            status=f"{prefix}under_review" if submitted else dispute.status,
            metadata=merged_metadata(dispute.metadata, params),
        )
    )


def close(call: Call) -> objects.Dispute:
    """POST /v1/disputes/:id/close: accept it."""
    dispute = retrieve(call)
    if dispute.status in ("won", "lost", "warning_closed"):
        raise refused("This dispute is already closed")
    status = "warning_closed" if _is_inquiry(dispute) else "lost"
    return call.account.update(attrs.evolve(dispute, status=status), "charge.dispute.closed")


def disputes(call: Call) -> Listing:
    """GET /v1/disputes"""
    return Listing(select(call, objects.Dispute, charge="charge_id", payment_intent="payment_id"), KIND.noun)


def _is_inquiry(dispute: objects.Dispute) -> bool:
    return dispute.status.startswith("warning_")


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("GET", "/v1/disputes", disputes, listing(charge=TEXT, payment_intent=TEXT)),
        Route("GET", "/v1/disputes/{id}", retrieve),
        Route("POST", "/v1/disputes/{id}", update, UPDATE),
        Route("POST", "/v1/disputes/{id}/close", close),
    ],
)
