"""Handlers about tenants: lists, one tenant, and how it came to its state."""

from typing import Final

from billing_app.dashboard import dashboard_url
from billing_app.http.operations.problems import Problem
from billing_app.http.operator.bodies import SearchBody
from billing_app.http.operator.calling import OperatorCall
from billing_app.http.operator.parameters import LONGEST, MAX_LIMIT
from billing_app.http.operator.tenant_answers import (
    AttentionAnswer,
    CustomersAnswer,
    DecisionsAnswer,
    HeldInvoice,
    HeldSubscription,
    LinkedCustomer,
    TenantAnswer,
    TimelineAnswer,
    UncertainAnswer,
    customer_answer,
    decision_answer,
    grant_answer,
    timeline_entry,
)
from billing_core.model import Attention, SubscriptionInvoice, TenantId, TenantSubscription
from billing_core.oversight.explain import explain
from billing_core.oversight.tenant_details import read_tenant
from billing_core.payloads import access_section, provisional_section

_INVOICES_SHOWN: Final = 20
_DECISIONS_SHOWN: Final = 20
_ANY: Final = "any"


async def list_tenants(call: OperatorCall[None]) -> CustomersAnswer:
    """Answer a page of customers with their tenants."""
    linked, search = call.query.word("linked", ("true", "false"), _ANY), call.query.text("search")
    if search is not None and "@" in search:
        detail = "Addresses of requests are logged: search for an e-mail address by POST /tenant-search."
        raise Problem(400, "email_in_address", detail)
    return await _customers(
        call,
        linked=None if linked == _ANY else linked == "true",
        search=search,
        after=call.query.text("after"),
        limit=call.query.limit,
    )


async def search_tenants(call: OperatorCall[SearchBody]) -> CustomersAnswer:
    """Answer a page of customers that a text finds."""
    body = call.body
    if not 1 <= body.limit <= MAX_LIMIT or not 0 < len(body.text) <= LONGEST:
        detail = f"text must have 1 to {LONGEST} characters, and limit must be between 1 and {MAX_LIMIT}."
        raise Problem(400, "bad_request", detail)
    return await _customers(call, linked=body.linked, search=body.text, after=body.after, limit=body.limit)


async def _customers(
    call: OperatorCall[None] | OperatorCall[SearchBody],
    *,
    linked: bool | None,
    search: str | None,
    after: str | None,
    limit: int,
) -> CustomersAnswer:
    found = await call.tools.state_upkeep.customers(linked=linked, search=search, after=after or "", limit=limit)
    return CustomersAnswer(
        customers=tuple(map(customer_answer, found)),
        next_after=found[-1].customer_id if len(found) == limit else None,
    )


async def show_tenant(call: OperatorCall[None]) -> TenantAnswer:
    """Answer a tenant, found by its id or that of one of its objects."""
    tenant_id, reader = await _owner(call), call.services.reader
    rules = call.services.rules.current
    found = await read_tenant(tenant_id, reader=reader, timeline=call.services.timeline, policy=rules.policy)
    invoices = await reader.invoices(tenant_id, limit=_INVOICES_SHOWN)
    decisions = await call.tools.state_upkeep.decisions(about=tenant_id, before=None, limit=_DECISIONS_SHOWN)
    return TenantAnswer(
        tenant_id=tenant_id,
        sequence=found.state.sequence,
        as_of=found.state.as_of,
        access=access_section(found.verdict),
        test_clock=found.verdict.test_clock,
        access_without_grants=access_section(found.verdict_without_grants),
        attention=_attention(found.attention),
        subscriptions=tuple(_subscription(each, call) for each in found.state.subscriptions),
        invoices=tuple(_invoice(each, call) for each in invoices),
        customers=tuple(
            LinkedCustomer(
                customer_id=each.customer_id,
                deleted=each.snapshot is not None and each.snapshot.deleted,
                dashboard_url=_link(each.customer_id, call),
            )
            for each in found.customers
        ),
        grants=tuple(grant_answer(each, found.state.as_of) for each in found.grants),
        decisions=tuple(map(decision_answer, decisions)),
        provisional=tuple(map(provisional_section, found.state.views)),
    )


async def show_timeline(call: OperatorCall[None]) -> TimelineAnswer:
    """Answer how a tenant came to its state."""
    tenant_id = await _owner(call)
    history = await call.services.timeline.history(
        tenant_id, since=call.query.moment("since"), until=call.query.moment("until"), limit=call.query.limit
    )
    if history is None:
        raise Problem(404, "not_found", f"{tenant_id} has no history yet.")
    explained = explain(history, policy=call.services.rules.current.policy)
    return TimelineAnswer(
        tenant_id=tenant_id,
        earlier_events=explained.cut,
        timeline=tuple(map(timeline_entry, explained.timeline)),
    )


async def list_decisions(call: OperatorCall[None]) -> DecisionsAnswer:
    """Answer a page of decisions about links."""
    limit = call.query.limit
    found = await call.tools.state_upkeep.decisions(
        about=call.query.text("about"), before=call.query.number("before"), limit=limit
    )
    return DecisionsAnswer(
        decisions=tuple(map(decision_answer, found)), next_before=found[-1].number if len(found) == limit else None
    )


async def _owner(call: OperatorCall[None]) -> TenantId:
    """Return the tenant of a path. Raises Problem (404)."""
    name = call.ids["tenant"]
    owner = await call.tools.state_upkeep.owner(name)
    if owner is None:
        raise Problem(404, "not_found", f"No tenant is known for {name[:60]}.")
    return owner


def _attention(attention: Attention) -> AttentionAnswer:
    return AttentionAnswer(
        needed=attention.needed,
        dead_events=attention.dead_events,
        uncertain=tuple(
            UncertainAnswer(
                kind=each.kind, object_id=each.object_id, complete=each.complete, ambiguous=each.basis.ambiguous
            )
            for each in attention.uncertain
        ),
    )


def _subscription(held: TenantSubscription, call: OperatorCall[None]) -> HeldSubscription:
    seen = held.snapshot
    return HeldSubscription(
        subscription_id=seen.subscription_id,
        customer_id=seen.customer_id,
        status=seen.status,
        plan_code=seen.plan_code,
        seat_count=seen.seat_count,
        current_period_end=seen.current_period_end,
        rests_on=tuple(held.provenance.event_ids),
        observed_at=held.provenance.observed_at,
        dashboard_url=_link(seen.subscription_id, call),
    )


def _invoice(held: SubscriptionInvoice, call: OperatorCall[None]) -> HeldInvoice:
    seen = held.snapshot
    return HeldInvoice(
        invoice_id=seen.invoice_id,
        number=seen.number,
        status=seen.status,
        total=seen.total,
        amount_remaining=seen.amount_remaining,
        currency=seen.currency,
        due_at=seen.due_at,
        next_payment_attempt_at=seen.next_payment_attempt_at,
        dashboard_url=_link(seen.invoice_id, call),
    )


def _link(object_id: str, call: OperatorCall[None]) -> str | None:
    stripe = call.services.settings.stripe
    return dashboard_url(object_id, livemode=stripe.livemode, account=stripe.account_id)
