"""Grants of access that operators make and revoke, and what each changes for its tenant."""

import secrets
from datetime import datetime

import attrs

from billing_core.model import AccessGrant, GrantId, RulesInForce, TenantId
from billing_core.state.due_access import change_grant
from billing_core.state.ports import NO_CHANGES, BillingTransaction, Changes
from billing_core.state.rules import require_current


@attrs.frozen(kw_only=True)
class GrantChange:
    """A grant, and what has to be written of it: nothing if it stays as it is."""

    grant: AccessGrant
    changes: Changes = NO_CHANGES


async def make_grant(
    transaction: BillingTransaction,
    rules: RulesInForce,
    tenant_id: TenantId,
    *,
    plan_code: str,
    until: datetime | None,
    reason: str,
    actor: str,
    grant_id: GrantId | None,
) -> GrantChange:
    """Lock a tenant and grant it a plan from now on; the grant that has this id stays, if there is one.

    Raises: ValueError if `until` has passed or a text is blank; RulesMovedError.
    """
    tenants = await transaction.lock_tenants([tenant_id])
    require_current(rules, tenants)
    if grant_id is not None and (made := await transaction.grant(grant_id)) is not None:
        return GrantChange(grant=made)
    grant = AccessGrant(
        grant_id=grant_id or GrantId(f"grant_{secrets.token_hex(12)}"),
        tenant_id=tenant_id,
        plan_code=plan_code,
        until=until,
        actor=actor,
        reason=reason,
        granted_at=tenants.now,
    )
    if not grant.holds(tenants.now):
        raise ValueError("the end of the grant has passed")
    return GrantChange(grant=grant, changes=await change_grant(transaction, rules.policy, grant, tenants))


async def end_grant(
    transaction: BillingTransaction, rules: RulesInForce, grant_id: GrantId, *, reason: str, actor: str
) -> GrantChange | None:
    """Lock the tenant of a grant and revoke the grant; None if there is no such grant.

    Raises: ValueError if the reason is blank; RulesMovedError.
    """
    found = await transaction.grant(grant_id)
    if found is None:
        return None
    tenants = await transaction.lock_tenants([found.tenant_id])
    require_current(rules, tenants)
    grant = await transaction.grant(grant_id) or found
    if grant.revoked_at is not None:
        return GrantChange(grant=grant)
    grant = attrs.evolve(grant, revoked_at=tenants.now, revoked_by=actor, revoked_reason=reason)
    return GrantChange(grant=grant, changes=await change_grant(transaction, rules.policy, grant, tenants))
