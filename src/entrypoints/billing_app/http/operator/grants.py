"""Handlers about access that operators give beside what is paid for."""

from billing_app.http.operations.problems import Problem
from billing_app.http.operator.bodies import GrantBody, WhyBody, why_of
from billing_app.http.operator.calling import OperatorCall
from billing_app.http.operator.recording import recorded
from billing_app.http.operator.tenant_answers import (
    GrantedAnswer,
    GrantsAnswer,
    PlanAnswer,
    PlanChoicesAnswer,
    grant_answer,
)
from billing_core.model import GrantId, TenantId


async def list_plans(call: OperatorCall[None]) -> PlanChoicesAnswer:
    """Answer the plans in force."""
    plans = call.services.rules.current.rules.plans
    return PlanChoicesAnswer(plans=tuple(PlanAnswer(plan_code=each.plan_code, name=each.name) for each in plans))


async def list_grants(call: OperatorCall[None]) -> GrantsAnswer:
    """Answer the last grants, of one tenant or of all."""
    tenant = call.query.text("tenant")
    found = await call.services.reader.grants(None if tenant is None else TenantId(tenant), limit=call.query.limit)
    return GrantsAnswer(grants=tuple(grant_answer(each, call.now) for each in found))


async def add_grant(call: OperatorCall[GrantBody]) -> GrantedAnswer:
    """Grant a tenant full access to a plan, and notify it."""
    body, tenant = call.body, TenantId(call.ids["tenant_id"])
    why = why_of(body)
    await _require_grantable(call, tenant)
    about = {"tenant": tenant, "plan": body.plan_code, "until": body.until and body.until.isoformat()}
    async with recorded(call, "grant", body, about) as entry:
        made = await call.tools.service.grant(
            tenant, plan_code=body.plan_code, until=body.until, reason=why, actor=call.operator.subject
        )
        entry.result = {"grant": made.grant.grant_id, "messages": len(made.events)}
    call.tools.publish(made.events)
    return GrantedAnswer(audit_id=entry.audit_id, grant=grant_answer(made.grant, call.now), changed=True)


async def revoke_grant(call: OperatorCall[WhyBody]) -> GrantedAnswer:
    """Revoke a grant now, and notify its tenant. One that is revoked stays as it is."""
    name, why = call.ids["grant_id"], why_of(call.body)
    async with recorded(call, "revoke_grant", call.body, {"grant": name}) as entry:
        result = await call.tools.service.revoke_grant(GrantId(name), reason=why, actor=call.operator.subject)
        entry.result = {"found": result is not None, "messages": 0 if result is None else len(result.events)}
    if result is None:
        raise Problem(404, "not_found", f"There is no grant {name[:60]}.")
    call.tools.publish(result.events)
    return GrantedAnswer(
        audit_id=entry.audit_id, grant=grant_answer(result.grant, call.now), changed=bool(result.events)
    )


async def _require_grantable(call: OperatorCall[GrantBody], tenant: TenantId) -> None:
    """Raise Problem: 422 for a plan or an end that cannot be meant, 409 for a tenant that is not known."""
    body = call.body
    if (fault := call.services.settings.tenants.fault_of(tenant)) is not None:
        raise Problem(422, "bad_tenant_id", f"The id of the tenant {fault}.")
    if not body.plan_code.strip():
        raise Problem(422, "unknown_plan", "The plan code must not be blank.")
    plans = [each.plan_code for each in call.services.rules.current.rules.plans]
    if plans and body.plan_code not in plans and not body.force:
        raise Problem(422, "unknown_plan", f"There is no plan {body.plan_code[:60]!r}. The plans: {', '.join(plans)}.")
    if body.until is not None and body.until <= call.now:
        raise Problem(422, "end_has_passed", "The end of the grant has passed.")
    _, known = await call.tools.state_upkeep.knows(payer="", tenant=tenant)
    if not known and not body.create:
        raise Problem(
            409, "unknown_tenant", f"The tenant {tenant[:60]} is not known. Confirm that it is to be created."
        )
