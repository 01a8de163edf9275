"""Handlers that correct the links of customers to tenants."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from billing_app.http.operations.problems import Problem
from billing_app.http.operator.bodies import LinkBody, MoveBody, MoveWanted, UnlinkBody, UnlinkWanted, why_of
from billing_app.http.operator.calling import OperatorCall
from billing_app.http.operator.recording import recorded
from billing_app.http.operator.tenant_answers import (
    LinkChangeAnswer,
    LinkedAnswer,
    difference_answers,
    planned_messages,
)
from billing_core.errors import LinkChangedError, LinkRefusedError, TenantConflictError
from billing_core.model import CustomerId, LinkAction, TenantId
from billing_core.state.relinking import LinkChange

Decide = Callable[..., Awaitable[LinkChange]]


async def link(call: OperatorCall[LinkBody]) -> LinkedAnswer:
    """Link a customer to a tenant; the events that waited for it are processed."""
    body = call.body
    customer, tenant = CustomerId(body.customer_id), TenantId(body.tenant_id)
    why = why_of(body)
    await _require_known(call, customer, tenant, create=body.create)
    try:
        async with recorded(call, "link", body, {"object": customer, "to": tenant}) as entry:
            made = await call.tools.service.link(customer, tenant, actor=call.operator.subject, reason=why)
            entry.result = {"made": made}
    except TenantConflictError:
        detail = f"{customer} belongs to another tenant. Move it instead."
        raise Problem(409, "linked_elsewhere", detail) from None
    return LinkedAnswer(audit_id=entry.audit_id, made=made)


async def try_move(call: OperatorCall[MoveWanted]) -> LinkChangeAnswer:
    """Answer what moving an object would change."""
    return await _try(call, call.body.object_id, TenantId(call.body.to_tenant), _move(call, call.body))


async def move(call: OperatorCall[MoveBody]) -> LinkChangeAnswer:
    """Give an object to another tenant, with everything that belongs to it."""
    body = call.body
    why, tenant = why_of(body), TenantId(body.to_tenant)
    await _require_known(call, body.object_id, tenant, create=body.create)
    decide = partial(_move(call, body), reason=why)
    about = {"object": body.object_id, "to": tenant, "keep_history": body.keep_history}
    return await _carry_out(call, LinkAction.MOVE, about, decide)


async def try_unlink(call: OperatorCall[UnlinkWanted]) -> LinkChangeAnswer:
    """Answer what taking an object away from a tenant would change."""
    return await _try(call, call.body.object_id, TenantId(call.body.from_tenant), _unlink(call, call.body))


async def unlink(call: OperatorCall[UnlinkBody]) -> LinkChangeAnswer:
    """Take an object away from a tenant without giving it to another."""
    body = call.body
    why, tenant = why_of(body), TenantId(body.from_tenant)
    await _require_known(call, body.object_id, tenant, create=True)
    decide = partial(_unlink(call, body), reason=why)
    about = {"object": body.object_id, "from": tenant, "keep_history": body.keep_history}
    return await _carry_out(call, LinkAction.UNLINK, about, decide)


def _move(call: OperatorCall[Any], wanted: MoveWanted) -> Decide:
    return partial(
        call.tools.service.move,
        wanted.object_id,
        TenantId(wanted.to_tenant),
        actor=call.operator.subject,
        keep_history=wanted.keep_history,
    )


def _unlink(call: OperatorCall[Any], wanted: UnlinkWanted) -> Decide:
    return partial(
        call.tools.service.unlink,
        wanted.object_id,
        TenantId(wanted.from_tenant),
        actor=call.operator.subject,
        keep_history=wanted.keep_history,
    )


async def _try(call: OperatorCall[Any], object_id: str, tenant: TenantId, decide: Decide) -> LinkChangeAnswer:
    known = await _require_known(call, object_id, tenant, create=True)
    try:
        return _answer(await decide(dry_run=True), audit_id=None, tenant_known=known)
    except LinkRefusedError as refused:
        raise _refusal(refused) from None


async def _carry_out(
    call: OperatorCall[Any], action: LinkAction, about: dict[str, object], decide: Decide
) -> LinkChangeAnswer:
    """Carry out a decision, if what it changes is what the operator has confirmed."""
    body = call.body

    def approve(change: LinkChange) -> None:
        if len(change.differences) != body.confirm or body.fingerprint not in (None, change.fingerprint):
            raise LinkChangedError(changes=len(change.differences))

    try:
        async with recorded(call, action.value, body, about) as entry:
            change = await decide(approve=approve)
            entry.result = {"changed": len(change.differences), "messages": len(change.events)}
    except LinkRefusedError as refused:
        raise _refusal(refused) from None
    except LinkChangedError as changed:
        raise Problem(409, changed.code, str(changed), matched=changed.changes) from None
    call.tools.publish(change.events)
    return _answer(change, audit_id=entry.audit_id, tenant_known=True)


def _refusal(refused: LinkRefusedError) -> Problem:
    return Problem(409, refused.code, str(refused))


async def _require_known(call: OperatorCall[Any], payer: str, tenant: TenantId, *, create: bool) -> bool:
    """Return whether a tenant is known. Raises Problem: 404 for an object that no event has named, 409, 422."""
    if (fault := call.services.settings.tenants.fault_of(tenant)) is not None:
        raise Problem(422, "bad_tenant_id", f"The id of the tenant {fault}.")
    seen, known = await call.tools.state_upkeep.knows(payer=payer, tenant=tenant)
    if not seen:
        raise Problem(404, "unknown_customer", f"No event has named {payer[:60]} yet.")
    if not known and not create:
        raise Problem(
            409, "unknown_tenant", f"The tenant {tenant[:60]} is not known. Confirm that it is to be created."
        )
    return known


def _answer(change: LinkChange, *, audit_id: int | None, tenant_known: bool) -> LinkChangeAnswer:
    decision = change.decision
    return LinkChangeAnswer(
        dry_run=audit_id is None,
        audit_id=audit_id,
        object_id=decision.object_id,
        action=decision.action.value,
        from_tenant=decision.from_tenant,
        to_tenant=decision.to_tenant,
        tenant_known=tenant_known,
        withdrawn_messages=change.withdrawn,
        reprocessed_events=change.reprocessed,
        fingerprint=change.fingerprint,
        differences=difference_answers(change.differences),
        messages=planned_messages(change.events),
    )
