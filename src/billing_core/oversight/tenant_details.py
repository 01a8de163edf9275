"""Read a tenant as operators see it."""

from collections.abc import Sequence
from typing import Final

import attrs

from billing_core.model import (
    AccessGrant,
    AccessPolicy,
    AccessVerdict,
    Attention,
    TenantCustomer,
    TenantId,
    TenantState,
)
from billing_core.oversight.ports import TenantTimeline
from billing_core.state.ports import TenantReader

GRANTS_SHOWN: Final = 100


@attrs.frozen(kw_only=True)
class TenantDetails:
    """A tenant with its access, and everything that decides on it."""

    state: TenantState
    verdict: AccessVerdict
    verdict_without_grants: AccessVerdict
    """The access by what is paid for alone."""
    customers: Sequence[TenantCustomer]
    grants: Sequence[AccessGrant]
    """The last ones, revoked and ended ones among them."""
    attention: Attention


async def read_tenant(
    tenant_id: TenantId, *, reader: TenantReader, timeline: TenantTimeline, policy: AccessPolicy
) -> TenantDetails:
    """Return a tenant, decided by a policy. An unknown one has nothing. Raises: StoreUnavailableError."""
    state = await reader.state(tenant_id)
    paid_for = attrs.evolve(state.access_facts, grants=())
    return TenantDetails(
        state=state,
        verdict=policy.evaluate(state.access_facts, state.as_of),
        verdict_without_grants=policy.evaluate(paid_for, state.as_of),
        customers=await reader.customers(tenant_id),
        grants=await reader.grants(tenant_id, limit=GRANTS_SHOWN),
        attention=await timeline.attention(tenant_id),
    )
